"""Dropout with one mask for all steps of a window."""
from __future__ import annotations

from typing import Any, Union

import chainer
from chainer import functions as F

from rnnlm.errors import InputError, require_ratio
from rnnlm.links.masks import Masked


class LockedDropout(Masked):
    """Dropout with one mask for all steps of a window, called variational dropout.

    .. math::
        y_t = m \\odot h_t

    with elements of m that are 0 or 1 / (1 - ratio).  The mask has the shape of a step,
    (B, n), so each stream has its own.  It is drawn in the first step of a window.  A
    `rnnlm.LanguageModel` calls `begin_window`; without one, call it before each window.

    Args:
        ratio (float): Ratio of elements dropped, in [0, 1).

    Raises:
        rnnlm.errors.InputError: If the ratio is out of range, or if the link is used in
            two places of different sizes.

    Example:
        >>> drop = LockedDropout(0.5)
        >>> h = numpy.ones((2, 3), dtype='f')
        >>> bool((drop(h).array == drop(h).array).all())
        True

    References:
        Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in
        Recurrent Neural Networks" (2016), https://arxiv.org/abs/1512.05287
    """

    def __init__(self, ratio: float = 0.5) -> None:
        require_ratio('ratio', ratio)
        super().__init__()
        self.ratio = ratio

    def forward(self, h: Union[chainer.Variable, Any]) -> chainer.Variable:
        """Applies the mask to one step: h (B, n) -> (B, n).

        If B is smaller than in the first step, the first B rows of the mask are used.
        """
        if not self.drops():
            return chainer.as_variable(h)
        if self.mask is not None and len(self.mask) < len(h):
            self.begin_window()
        self.draw(h.shape, h.dtype)
        if self.mask.shape[1:] != h.shape[1:]:
            raise InputError(
                f'h: expected {self.mask.shape[1]} features, the size of the mask in '
                f'this window, found {h.shape[1]}; use a LockedDropout of its own in '
                'each place')
        return F.dropout(h, self.ratio, mask=self.mask[:len(h)])
