"""CUDA kernels, each with a reference implementation in CuPy or plain functions.

| source | contents | reference implementation |
|---|---|---|
| `lstm.cuh`, `steps.cu` | the gates of a step | `functions.lstm_window` |
| `persistent*` | all steps of a layer in one launch | the same |
| `output.cu` | softmax, cross entropy, their gradient | `functions.softmax_loss` |
| `rows.cu`, `philox.cuh` | embedding, dropout | `functions.embedding`, `philox` |
| `sgd.cu` | clipping and SGD | `rnnlm.training.sgd` |

`launch` compiles and launches them through CuPy, `blas` wraps cuBLAS, `transfer` copies
asynchronously, and `plans` partitions the work of the persistent kernels for a GPU.
`lstm`, `output`, `rows` and `sgd` call the kernels in order, and `gpu` combines them.
"""
