"""LSTM layer with dropout of its lateral weights."""
from __future__ import annotations

from typing import Any, Union

import chainer
from chainer import functions as F
from chainer import links as L

from rnnlm.errors import require, require_ratio
from rnnlm.links import masks
from rnnlm.links.sizes import require_sizes


class WeightDropLSTM(L.LSTM):
    """LSTM layer with dropout of its lateral weights (DropConnect), a mask per window.

    Like :class:`chainer.links.LSTM`, with :math:`W_l` replaced by
    :math:`m \\odot W_l`, where elements of m are 0 or 1 / (1 - ratio), while
    ``chainer.config.train`` is true.  A window begins where the state was reset,
    replaced or cut off from its graph by `unchain_backward`, and where a
    `rnnlm.LanguageModel` calls `begin_window`.  The saved weights are those before
    dropout, with the names of an `L.LSTM`.

    Args:
        in_size (int): Size m of the inputs.
        out_size (int): Size n of the outputs.
        ratio (float): Ratio of weights dropped, in [0, 1); later ``lateral.ratio``.

    Raises:
        rnnlm.errors.InputError: If the ratio is out of range, or a size is not an
            integer of at least 1.

    Example:
        >>> layer = WeightDropLSTM(3, 2, ratio=0.5)
        >>> layer(numpy.zeros((20, 3), dtype='f')).shape
        (20, 2)

    References:
        Wan, Zeiler, Zhang, LeCun and Fergus, "Regularization of Neural Networks using
        DropConnect" (2013)
        Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models"
        (2018), https://arxiv.org/abs/1708.02182
    """
    lateral: Any
    _has_begun = False  # whether a window has begun and had no step yet
    _last_states: masks.Fingerprint = ()  # after the last step of the window

    def __init__(self, in_size: int, out_size: int, ratio: float = 0.5) -> None:
        require_sizes(in_size, out_size)
        require_ratio('ratio', ratio)
        super().__init__(in_size, out_size)
        W = self.lateral.W.array
        del self.lateral
        with self.init_scope():
            self.lateral = DroppedLinear(W, ratio)

    def begin_window(self) -> None:
        """Starts a window: draws a new mask.  A `LanguageModel` calls it."""
        self._has_begun = True
        self.lateral.begin_window()

    def forward(self, x: Union[chainer.Variable, Any]) -> chainer.Variable:
        """Computes one step: x (B, m) -> h (B, n)."""
        if not self.lateral.drops():
            return super().forward(x)
        if not (self._has_begun
                or masks.is_same_window(self._last_states, (self.c, self.h))):
            self.begin_window()
        self._has_begun = False
        h = super().forward(x)
        self._last_states = masks.fingerprint((self.c, self.h))
        return h


class DroppedLinear(masks.Masked, L.Linear):
    """Linear layer without bias, with dropout of its weights, one mask per window.

    Args:
        W (array): (n_out, n_in).
        ratio (float): Ratio of weights dropped, in [0, 1).

    Raises:
        rnnlm.errors.InputError: If it is no such array, or the ratio out of its range.
    """

    def __init__(self, W: Any, ratio: float) -> None:
        require('W', W, 'an array (n_out, n_in) of floats',
                lambda v: len(getattr(v, 'shape', ())) == 2 and v.dtype.kind == 'f')
        require_ratio('ratio', ratio)
        super().__init__(W.shape[1], W.shape[0], nobias=True, initialW=W)
        self.ratio = ratio

    def begin_window(self) -> None:
        """Starts a window: draws a new mask."""
        super().begin_window()
        if self.drops():
            self.draw(self.W.shape, self.W.dtype)

    def dropped(self) -> chainer.Variable:
        """Returns the weights after dropout (n_out, n_in)."""
        if not self.drops():
            return self.W
        self.draw(self.W.shape, self.W.dtype)
        return F.dropout(self.W, self.ratio, mask=self.mask)

    def forward(self, x: Any, n_batch_axes: int = 1) -> chainer.Variable:
        """Computes the product with the weights after dropout."""
        return F.linear(x, self.dropped(), n_batch_axes=n_batch_axes)
