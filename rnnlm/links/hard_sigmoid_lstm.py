"""LSTM layer with hard sigmoid gates."""
from __future__ import annotations

from typing import Any, Union

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
        in_size (int): Size m of the inputs.
        out_size (int): Size n of the outputs.
        slope (float): 0.2, as in Keras 1 and 2, or 1/6, as in Keras 3.

    Raises:
        rnnlm.errors.InputError: If the slope is another one, or a size is not an
            integer of at least 1.

    Example:
        >>> layer = HardSigmoidLSTM(3, 2)
        >>> layer(numpy.zeros((20, 3), dtype='f')).shape
        (20, 2)
    """

    def __init__(self, in_size: int, out_size: int, slope: float = 0.2) -> None:
        require_sizes(in_size, out_size)
        require('slope', slope, '0.2 or 1/6',
                lambda v: is_real(v) and v in SLOPES.values())
        super().__init__(in_size, out_size)
        self.slope = float(slope)
        self.register_persistent('slope')

    def forward(self, x: Union[chainer.Variable, Any]) -> chainer.Variable:
        """Computes one step: x (B, m) -> h (B, n)."""
        c_before, h_before = getattr(self, 'c'), getattr(self, 'h')
        z = self.upward(x)
        if h_before is not None:
            z += self.lateral(h_before)
        gates = {gate: z[:, k::4] for k, gate in enumerate(GATES)}
        c = F.tanh(gates['a']) * self._gate(gates['i'])
        if c_before is not None:
            c += self._gate(gates['f']) * c_before
        self.c, self.h = c, self._gate(gates['o']) * F.tanh(c)
        return self.h

    def _gate(self, z):
        return F.clip(self.slope * z + 0.5, 0., 1.)
