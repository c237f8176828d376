"""The output layer of a tied model."""
from __future__ import annotations

from typing import Any

import chainer
from chainer import functions as F

from rnnlm.errors import require_count


class OutputBias(chainer.Link):
    """The output layer of a tied model: its bias; its weights are the embedding's.

    Args:
        n_vocab (int): Size V of the vocabulary.

    Raises:
        rnnlm.errors.InputError: if it is no integer of at least 1.
    """

    def __init__(self, n_vocab: int) -> None:
        require_count('n_vocab', n_vocab)
        super().__init__()
        with self.init_scope():
            self.b = chainer.Parameter(0, n_vocab)

    def forward(self, h: Any, W: Any, n_batch_axes: int = 1) -> chainer.Variable:
        """Logits (..., V) of features h (..., n) and the embedding's W (V, n)."""
        return F.linear(h, W, self.b, n_batch_axes=n_batch_axes)
