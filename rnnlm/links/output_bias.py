"""Output layer of a tied model."""
from __future__ import annotations

from typing import Any

import chainer
from chainer import functions as F

from rnnlm.errors import require_count


class OutputBias(chainer.Link):
    """Output layer of a tied model: a bias; the weights are those of the embedding.

    .. math::
        y = W h + b

    Args:
        n_vocab (int): Size V of the vocabulary.

    Raises:
        rnnlm.errors.InputError: If the size is not an integer of at least 1.

    References:
        Press and Wolf, "Using the Output Embedding to Improve Language Models" (2017),
        https://arxiv.org/abs/1608.05859
    """

    def __init__(self, n_vocab: int) -> None:
        require_count('n_vocab', n_vocab)
        super().__init__()
        with self.init_scope():
            self.b = chainer.Parameter(0, n_vocab)

    def forward(self, h: Any, W: Any, n_batch_axes: int = 1) -> chainer.Variable:
        """Computes logits (..., V) from h (..., n) and the embedding's W (V, n)."""
        return F.linear(h, W, self.b, n_batch_axes=n_batch_axes)
