"""The fused functions: a whole (T, B) window at once, on NumPy and CuPy."""
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
