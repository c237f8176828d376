"""Verification of the first windows on a GPU against Chainer's own update.

`rnnlm.kernels.verification` compares the functions of a window one by one.  This module
compares complete windows: the parameters after a CUDA graph.  It also repeats a window
without kernels if a kernel turned out to be wrong during it.
"""
import chainer
from chainer import backend
import numpy

from rnnlm import states
from rnnlm.kernels import verification
from rnnlm.training.cuda_graph import WindowGraph

# Windows on which a new graph is verified.  The first covers the launches and their
# replay, the second the replay on other words.
WINDOWS = 2


def verifying():
    """Returns whether kernels may still turn out to be wrong."""
    return verification.allowed() and verification.state().mode == verification.VERIFY


def with_retry(target, compute):
    """Calls a function, and calls it again without kernels if they were refused.

    Args:
        target: The link whose states the function changes.
        compute: The function, which may be called twice.

    Returns:
        The result of `compute`.
    """
    if not verifying():
        return compute()
    before, stream = states.get(target), numpy.random.get_state()
    result = compute()
    if verification.state().refused:
        states.set_back(target, before)
        numpy.random.set_state(stream)
        result = compute()
    return result


def update(graph, target, optimizer, window, refuse):
    """Updates a target with one window by a CUDA graph, verifying the graph first.

    Args:
        graph (WindowGraph): The graph of the previous window, or None.
        target: :class:`chainer.links.Classifier` that `cuda_graph.why_not` allows.
        optimizer: Its optimizer.
        window: int32 (T + 1, B), on the host.
        refuse (bool): As in `WindowGraph`.

    Returns:
        tuple: The graph and the loss (an array).  (None, None) if the graph was wrong;
        then everything is as before the window.
    """
    size = len(window) - 1, window.shape[1]
    if graph is not None and not (
            verification.allowed() and graph.is_of(target.predictor, optimizer)
            and graph.fits(*size, refuse)):
        graph = None  # frees its memory for the next one
    if not verifying() or graph is not None and graph.verified >= WINDOWS:
        graph = graph or WindowGraph(target.predictor, optimizer, *size, refuse)
        return graph, graph.update(window)
    start = _Backup(target, optimizer)
    with verification.without():
        expected = start.by_chainer(window)
    replays = 1 if graph is not None else 2
    try:
        for _ in range(replays):
            start.restore()
            graph = graph or WindowGraph(target.predictor, optimizer, *size, refuse)
            graph.must_capture = True
            loss = graph.update(window)
            reason, finite = verification.difference(
                start.compared(expected, loss, graph.result[0]), start.kind)
            if reason:
                break
        reason = reason or (graph.verified == 0 and _why_not_clipping(graph))
    except Exception as e:  # the type depends on the versions of CuPy and the compiler
        reason = verification.failure(e)
    if reason:
        start.restore()
        verification.refuse('the CUDA graph of a window', reason)
        return None, None
    graph.must_capture = False
    graph.verified += finite
    return graph, loss


class _Backup:
    """Copy of everything that the update of a window changes.

    Attributes:
        kind (str): Precision of the products, a key of `verification.TOLERANCE`.
    """

    def __init__(self, target, optimizer):
        self._target, self._optimizer = target, optimizer
        self.kind = verification.precision(target.predictor.embed.W.dtype)
        self._params = [(name, param, param.array.copy())
                        for name, param in target.namedparams()]
        self._states = [(layer, *(v if v is None else v.array.copy()
                                  for v in (layer.c, layer.h)))
                        for layer in target.predictor._layers()]
        self._stream = numpy.random.get_state()
        self._counts = optimizer.t, [p.update_rule.t for _, p, _ in self._params]
        self._floors = {}
        for name, _, before in self._params:
            # A step is accurate only up to the last digits of the parameter.
            self._floors[f'the step of {name}'] = (
                4 * numpy.finfo(before.dtype).eps * float(abs(before).max())
                / verification.TOLERANCE[self.kind])
            # If the model is certain of each word, gradients are only rounding errors.
            self._floors[f'the gradient of {name}'] = 1e-2

    def restore(self):
        """Restores everything."""
        for (_, param, array), t in zip(self._params, self._counts[1]):
            param.array[...] = array
            param.update_rule.t = t
        for layer, *arrays in self._states:
            layer.c, layer.h = (x if x is None else chainer.Variable(x.copy())
                                for x in arrays)
        numpy.random.set_state(self._stream)
        self._optimizer.t = self._counts[0]

    def by_chainer(self, window):
        """Updates with plain functions and Chainer's optimizer.

        Returns:
            dict: What `_found` yields, on the host: two more copies of the parameters
            may be too much for the GPU.
        """
        target = self._target
        window = target.predictor.device.send(window)
        loss = target.predictor.loss(window[:-1], window[1:])
        target.cleargrads()
        loss.backward()
        loss.unchain_backward()
        norm = _norm(param.grad for _, param, _ in self._params)
        self._optimizer.update()
        found = {name: verification.on_host(array)
                 for name, array in self._found(loss.array, norm)}
        target.cleargrads()  # the graph has gradients of its own
        return found

    def _found(self, loss, norm):
        """Yields (name, array) for everything that an update has computed."""
        yield 'the loss', loss
        yield 'the norm of the gradient', norm
        for name, param, before in self._params:
            yield f'the gradient of {name}', param.grad
            yield f'the step of {name}', param.array - before
        for k, layer in enumerate(self._target.predictor._layers(), 1):
            yield f'c of layer {k}', layer.c.array
            yield f'h of layer {k}', layer.h.array

    def compared(self, expected, loss, norm):
        """Yields the elements of the first argument of `verification.difference`.

        Args:
            expected (dict): Result of `by_chainer`.
            loss, norm: Those of the update to compare, arrays of shape ().
        """
        for name, array in self._found(loss, norm):
            yield name, array, expected[name], self._floors.get(name, 0.0)


def _norm(arrays):
    """Returns the L2 norm of arrays together: float64, shape (), on their device."""
    squares = sum(map(verification.sum_of_squares, arrays))
    return backend.get_array_module(squares).sqrt(squares)


def _why_not_clipping(graph):
    """Returns what clipping and SGD do wrong, tested at several norms; or ''."""
    norm = float(_norm(graph.grads))
    if not 0 < norm < numpy.inf:
        return ''
    for ratio in 0.5, 2.0:
        reason, _ = verification.difference(
            _compared_steps(graph, norm, ratio),
            verification.precision(graph.grads[0].dtype))
        if reason:
            return reason
    return ''


def _compared_steps(graph, norm, ratio):
    """Yields what `_Backup.compared` does, for clipping to `ratio` times the norm."""
    factor = min(ratio, 1.0)
    stepped, clipped, result = graph.try_sgd(norm * ratio, rate=0.5)
    yield 'the factor of clipping', result, numpy.array([norm, factor]), 0.0
    for ours, step, g in zip(clipped, stepped, graph.grads):
        yield 'a clipped gradient', ours, g * g.dtype.type(factor), 1e-2
        yield 'a step', step, g * g.dtype.type(-0.5 * factor), 1e-2
