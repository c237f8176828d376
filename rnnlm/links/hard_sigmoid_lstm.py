"""LSTM layer with hard sigmoid gates."""
from __future__ import annotations

import math
from typing import Any, Optional, Union

import chainer
from chainer import functions as F
from chainer import links as L

from rnnlm.errors import is_real, require
from rnnlm.functions.gates import GATES, SLOPES
from rnnlm.links.sizes import require_sizes


class HardSigmoidLSTM(L.LSTM):
    """LSTM layer with hard sigmoid gates, as in Keras.

    Like :class:`chainer.links.LSTM`, with :math:`\\sigma(z)` replaced by
    ``clip(slope * z + 0.5, 0, 1)``.  The slope is saved with the parameters.

    Args:
        in_size (int): Size m of the inputs; None for that of the first input.
        out_size (int): Size n of the outputs; if None, `in_size` is it, and the size of
            the inputs is that of the first one.
        slope (float): 0.2, as in Keras 1 and 2, or 1/6, as in Keras 3.

    Raises:
        rnnlm.errors.InputError: If the slope is another one, or a size is not an
            integer of at least 1.

    Example:
        >>> layer = HardSigmoidLSTM(3, 2)
        >>> layer(numpy.zeros((20, 3), dtype='f')).shape
        (20, 2)
    """

    c: Any  # the recurrent state, Variables or None
    h: Any

    def __init__(self, in_size: Optional[int], out_size: Optional[int] = None,
                 slope: float = 0.2) -> None:
        require_sizes(in_size, out_size)
        require('slope', slope, '0.2 or 1/6',
                lambda v: is_real(v) and v in SLOPES.values())
        super().__init__(in_size, out_size)
        self.slope = float(slope)
        self.register_persistent('slope')

    def forward(self, x: Union[chainer.Variable, Any]) -> chainer.Variable:
        """Computes one step: x (B, m) -> h (B, n)."""
        if self.upward.W.array is None:  # the input size was left out
            with chainer.using_device(self.device):
                self.upward._initialize_params(math.prod(x.shape[1:]))
                self._initialize_params()
        c_before, h_before = self.c, self.h
        rest = []  # of the states, if there are fewer streams than before
        if h_before is not None and len(h_before) > len(x):
            (c_before, *rest_c), (h_before, *rest_h) = (
                F.split_axis(state, [len(x)], axis=0) for state in (c_before, h_before))
            rest = [*rest_c, *rest_h]
        z = self.upward(x)
        if h_before is not None:
            z += self.lateral(h_before)
        gates = {gate: z[:, k::4] for k, gate in enumerate(GATES)}
        c = F.tanh(gates['a']) * self._gate(gates['i'])
        if c_before is not None:
            c += self._gate(gates['f']) * c_before
        h = self._gate(gates['o']) * F.tanh(c)
        self.c, self.h = (
            (F.concat([state, old], axis=0) for state, old in zip((c, h), rest))
            if rest else (c, h))
        return h

    def _gate(self, z):
        return F.clip(self.slope * z + 0.5, 0., 1.)
