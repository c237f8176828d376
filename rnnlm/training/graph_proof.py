"""The first windows of an updater on a GPU go both ways: by kernels and by CuPy alone.

`rnnlm.kernels.proof` compares the functions of a window one by one.  Here are whole
windows: what a CUDA graph makes of the parameters, and that nothing is left of kernels
that were refused halfway.
"""
import chainer
import numpy

from rnnlm import states
from rnnlm.kernels import proof
from rnnlm.training.cuda_graph import WindowGraph

# Windows that a new graph goes both ways: of the first, its launches and their replay;
# of the second, the replay on other words.
WINDOWS = 2


def deciding():
    """bool: Whether kernels may still be refused."""
    return proof.allowed() and proof.state().mode == proof.PROVE


def again(target, compute):
    """A function's result; without kernels if they were refused on the way.

    Args:
        target: The link whose states it changes.
        compute: The function, which may be called twice.

    Returns:
        What `compute` returns.
    """
    if not deciding():
        return compute()
    before, stream = states.get(target), numpy.random.get_state()
    result = compute()
    if proof.state().refused:
        states.set_back(target, before)
        numpy.random.set_state(stream)
        result = compute()
    return result


def update(graph, target, optimizer, window, refuse):
    """One window by a graph, which proves itself first.

    Args:
        graph (WindowGraph): That of the window before; None for none.
        target: :class:`chainer.links.Classifier` that `cuda_graph.why_not` allows.
        optimizer: Its optimizer.
        window: int32 (T + 1, B), on the host.
        refuse (bool): As for `WindowGraph`.

    Returns:
        tuple: The graph and the loss, an array; (None, None) if it was refused, and
        everything is as before the window.
    """
    size = len(window) - 1, window.shape[1]
    if graph is not None and not (
            proof.allowed() and graph.is_of(target.predictor, optimizer)
            and graph.fits(*size, refuse)):
        graph = None  # its memory is free for the next
    if not deciding() or graph is not None and graph.proofs >= WINDOWS:
        graph = graph or WindowGraph(target.predictor, optimizer, *size, refuse)
        return graph, graph.update(window)
    start = _Start(target, optimizer)
    with proof.without():
        expected = start.by_chainer(window)
    kind = proof.precision(target.predictor.embed.W.dtype)
    replays = 1 if graph is not None else 2
    try:
        for _ in range(replays):
            start.put_back()
            graph = graph or WindowGraph(target.predictor, optimizer, *size, refuse)
            graph.must_capture = True
            loss = graph.update(window)
            found = start.found(loss, graph.result[0])
            reason = proof.difference(start.compared(expected, found), kind)
            if reason:
                break
        reason = reason or (graph.proofs == 0 and _why_not_clipping(graph))
    except Exception as e:  # what CuPy and a compiler raise depends on their versions
        reason = proof.failure(e)
    if reason:
        start.put_back()
        proof.refuse('the CUDA graph of a window', reason)
        return None, None
    graph.must_capture = False
    graph.proofs += all(numpy.isfinite(array).all() for array in expected.values())
    return graph, loss


class _Start:
    """Everything before a window that its update changes."""

    def __init__(self, target, optimizer):
        self._target, self._optimizer = target, optimizer
        self._params = [(name, param, param.array.copy())
                        for name, param in target.namedparams()]
        self._states = [(layer, *(v if v is None else v.array.copy()
                                  for v in (layer.c, layer.h)))
                        for layer in target.predictor.layers]
        self._stream = numpy.random.get_state()
        self._counts = optimizer.t, [p.update_rule.t for _, p, _ in self._params]

    def put_back(self):
        """Makes everything as it was."""
        for (_, param, array), t in zip(self._params, self._counts[1]):
            param.array[...] = array
            param.update_rule.t = t
        for layer, *arrays in self._states:
            layer.c, layer.h = (x if x is None else chainer.Variable(x.copy())
                                for x in arrays)
        numpy.random.set_state(self._stream)
        self._optimizer.t = self._counts[0]

    def by_chainer(self, window):
        """The update by plain functions and Chainer's optimizer: `found`."""
        target = self._target
        window = target.predictor.device.send(window)
        loss = target.predictor.loss(window[:-1], window[1:])
        target.cleargrads()
        loss.backward()
        loss.unchain_backward()
        squares = [numpy.square(proof.on_host(param.grad), dtype='d').sum()
                   for _, param, _ in self._params]
        self._optimizer.update()
        return self.found(loss.array, numpy.sqrt(sum(squares)))

    def found(self, loss, norm):
        """Dict of arrays of the host: what an update has computed."""
        found = {'the loss': loss, 'the norm of the gradient': norm}
        for name, param, before in self._params:
            found[f'the gradient of {name}'] = param.grad
            found[f'the step of {name}'] = param.array - before
        for k, layer in enumerate(self._target.predictor.layers, 1):
            found[f'c of layer {k}'] = layer.c.array
            found[f'h of layer {k}'] = layer.h.array
        return {name: numpy.array(proof.on_host(x)) for name, x in found.items()}

    def compared(self, expected, found):
        """What `proof.difference` takes."""
        kind = proof.precision(self._target.predictor.embed.W.dtype)
        floors = {}
        for name, _, before in self._params:
            # A step is known up to the last digits of the parameter.
            floors[f'the step of {name}'] = (
                4 * numpy.finfo(before.dtype).eps * float(abs(before).max())
                / proof.TOLERANCE[kind])
            # The gradients of a model that is sure of each word are rounding alone.
            floors[f'the gradient of {name}'] = 1e-2
        return [(name, found[name], array, floors.get(name, 0.0))
                for name, array in expected.items()]


def _why_not_clipping(graph):
    """What clipping and the step do wrong to a gradient of any norm; or ''."""
    grads = [proof.on_host(g).copy() for g in graph.grads]
    norm = numpy.sqrt(sum(numpy.square(g, dtype='d').sum() for g in grads))
    if not 0 < norm < numpy.inf:
        return ''
    for ratio in 0.5, 2.0:
        factor = min(ratio, 1.0)
        stepped, clipped, result = graph.try_sgd(norm * ratio, rate=0.5)
        pairs = [('the factor of clipping', result, numpy.array([norm, factor]), 0.0)]
        for ours, step, g in zip(clipped, stepped, grads):
            pairs.append(('a clipped gradient', ours, g * g.dtype.type(factor), 1e-2))
            pairs.append(('a step', step, g * g.dtype.type(-0.5 * factor), 1e-2))
        reason = proof.difference(pairs, proof.precision(grads[0].dtype))
        if reason:
            return reason
    return ''
