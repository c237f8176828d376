"""Detection of NaN and infinity in training."""
from __future__ import annotations

import math
from typing import Any, Optional

import chainer
from chainer import backend
import numpy

from rnnlm.errors import NotFinite
from rnnlm.training import sgd


class FiniteCheck:
    """Ends a run at the first window whose loss or gradient is NaN or infinite.

    On NumPy the window is refused before the parameters change.  On a GPU, where the
    answer would have to be waited for, a window is looked at when the next one is on
    its way.
    """

    def __init__(self) -> None:
        self._last: Optional[tuple] = None

    def __call__(self, updater: Any, loss: Any, norm: Any = 0.0) -> None:
        """Checks a window.

        Args:
            updater: Its `BPTTUpdater`.
            loss: Its loss, an array of one element.
            norm: The L2 norm of its gradient, a number or an array of one element; 0
                if that may be anything.

        Raises:
            rnnlm.NotFinite: If either is NaN or infinite.
        """
        window = updater.iteration + 1
        xp = backend.get_array_module(loss)
        if xp is not numpy:
            from rnnlm.kernels.cuda.transfer import Later  # not on a CPU
            last, self._last = self._last, (
                Later(xp, loss), Later(xp, norm) if hasattr(norm, 'dtype') else norm)
            if last is None:
                return
            window -= 1
            loss, norm = last
        loss, norm = float(loss), float(norm)
        if math.isfinite(loss) and math.isfinite(norm):
            return
        optimizer = updater.get_optimizer('main')
        rates = optimizer.hyperparam.get_dict()
        rate = rates.get('lr', rates.get('alpha'))
        raise NotFinite(
            f'window {window}: expected a finite loss and gradient, found the loss '
            f'{loss:g} and a gradient of norm {norm:g} at the learning rate {rate}; '
            f'first hit: {first_hit(optimizer.target) or "the loss alone"}.  Lower the '
            'learning rate or the norm that gradients are clipped to')


def first_hit(target: chainer.Link, gradients: bool = True) -> str:
    """The first parameter of a link that is not finite, else the first gradient.

    Args:
        target: The link.
        gradients: Whether gradients are checked too.

    Returns:
        What it is and its name; '' if there is none.
    """
    params = list(target.namedparams())
    arrays = [(param.array, name) for name, param in params]
    if gradients:
        arrays += [(param.grad, f'the gradient of {name}') for name, param in params]
    for array, what in arrays:
        if array is not None and not backend.get_array_module(
                array).isfinite(array).all():
            return what
    return ''


def gradient_norm(target: chainer.Link) -> float:
    """L2 norm of all gradients of a link; 0 for those that are not NumPy's."""
    grads = [param.grad for param in target.params()]
    return math.sqrt(sum(
        sgd.sum_of_squares(grad.ravel()) for grad in grads
        if isinstance(grad, numpy.ndarray)))
