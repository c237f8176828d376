"""Fused functions of a window (T, B), on NumPy and CuPy.

Each replaces T calls of a Chainer function by one function node:

- `embedding`: y = W[ids]; the gradient is the sum of rows by id.
- `dropout`: y = m x, with the masks m of all steps.
- `lstm_window`: gates, cell state and output of an LSTM layer.
- `softmax_loss`: -log softmax(W x + b)[y]; the gradient is softmax - one-hot.
- `adaptive_softmax`: the same, by clusters of words.

`gates` defines the order of the gates, `lateral` computes the matrix products of the
recurrence, and `philox` the random numbers of a GPU.
"""
from rnnlm.functions.adaptive_softmax import (
    adaptive_log_probabilities, adaptive_softmax_cross_entropy)
from rnnlm.functions.dropout import WindowDropout, window_mask
from rnnlm.functions.embedding import RowGradient, embedding
from rnnlm.functions.gates import GATES
from rnnlm.functions.lstm_window import lstm_window
from rnnlm.functions.softmax_loss import (
    linear_log_probabilities, linear_softmax_cross_entropy)

__all__ = ['GATES', 'RowGradient', 'WindowDropout', 'adaptive_log_probabilities',
           'adaptive_softmax_cross_entropy', 'embedding', 'linear_log_probabilities',
           'linear_softmax_cross_entropy', 'lstm_window', 'window_mask']
