"""CUDA kernels, each beside the plain function that it stands in for.

| source | what | its plain twin |
|---|---|---|
| `lstm.cuh`, `steps.cu` | the gates of a step | `functions.lstm_window` |
| `persistent*` | all steps of a layer in one launch | the same |
| `output.cu` | softmax, cross entropy, their gradient | `functions.softmax_loss` |
| `rows.cu`, `philox.cuh` | embedding, dropout | `functions.embedding`, `philox` |
| `sgd.cu` | clipping and SGD | `rnnlm.training.sgd` |

`launch` compiles and launches them through CuPy, `blas` is cuBLAS, `transfer` copies
without waiting, `plans` cuts the work of the persistent kernels to a GPU's size;
`lstm`, `output`, `rows` and `sgd` call them in turn, and `gpu` holds all of them.
"""
