"""Detection of NaN and infinity during training."""
from __future__ import annotations

import math
from typing import Any

import chainer
from chainer import backend
import numpy

from rnnlm.errors import NotFinite
from rnnlm.training import sgd


class FiniteCheck:
    """Check that ends a run at the first window whose loss or gradient is not finite.

    On NumPy, the check precedes the update.  On a GPU, where reading a value means
    waiting, a window is checked after the next one has been launched.
    """

    def __init__(self) -> None:
        self._last: Any = None  # `Later`, of the last window

    def __call__(self, updater: Any, loss: Any, norm: Any = 0.0) -> None:
        """Checks the loss and the gradient of a window.

        Args:
            updater: The `BPTTUpdater`.
            loss: The loss, an array of one element.
            norm: The L2 norm of the gradient, a number or an array of one element; 0
                skips the check of the gradient.

        Raises:
            rnnlm.NotFinite: If either is NaN or infinite.
        """
        window = updater.iteration + 1
        xp = backend.get_array_module(loss)
        if xp is not numpy:
            from rnnlm.kernels.cuda.transfer import Later  # imported on a GPU only
            arrays = [loss, norm] if hasattr(norm, 'dtype') else [loss]
            last, self._last = self._last, Later(xp, *arrays)
            if last is None:
                return
            window -= 1
            loss, norm = (last.read() + [0.0])[:2]
        loss, norm = numpy.asarray(loss).item(), numpy.asarray(norm).item()
        if math.isfinite(loss) and math.isfinite(norm):
            return
        optimizer = updater.get_optimizer('main')
        rates = optimizer.hyperparam.get_dict()
        rate = rates.get('lr', rates.get('alpha'))
        raise NotFinite(
            f'window {window}: expected a finite loss and gradient, found the loss '
            f'{loss:g} and a gradient of norm {norm:g} at the learning rate {rate}; '
            f'first affected: {first_hit(optimizer.target) or "the loss alone"}.  '
            'Lower the learning rate or the clipping norm')


def first_hit(target: chainer.Link, gradients: bool = True) -> str:
    """Finds the first parameter of a link that is not finite, else such a gradient.

    Args:
        target: The link.
        gradients: Whether to check gradients too.

    Returns:
        A description with its name; '' if there is none.
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
    """Returns the L2 norm of all gradients of a link; those on a GPU count as 0."""
    grads = [param.grad for param in target.params()]
    return sgd.norm_of([grad.ravel() for grad in grads
                        if isinstance(grad, numpy.ndarray)])
