"""Update of a window on a GPU as one CUDA graph.

Chainer's graph of Python objects is not built.  Instead, everything that
`RNNForLM.loss`, its backward pass, GradientClipping and SGD would do is a sequence of
launches on fixed arrays, which is captured once and then replayed.  The values that
change between windows (words, dropout key, learning rate) are in arrays too.
"""
import itertools
import logging
import operator
import sys

import chainer
from chainer import links as L
import numpy

from rnnlm import kernels
from rnnlm.functions import dropout, philox, softmax_loss
from rnnlm.links import OutputBias
from rnnlm.training import sgd
from rnnlm.training.windows import is_fused_loss

logger = logging.getLogger(__name__)

# Rows of the output layer's gradient that one product computes beside a persistent
# kernel.  For larger products cuBLAS chooses kernels that need a whole multiprocessor,
# and so would wait until the persistent kernel ends.
PIECE = 2560


def why_not(target, model, optimizer):
    """Returns why windows of a target cannot be updated by a CUDA graph, or ''.

    The caller has checked that the target can be computed in windows.

    Args:
        target: :class:`chainer.links.Classifier` of the model.
        model: `rnnlm.RNNForLM`.
        optimizer: A Chainer optimizer of the target.
    """
    if not kernels.gpu_for(model.xp, model.embed.W.dtype):
        return 'there are no CUDA kernels'
    from rnnlm.kernels.cuda import launch  # imported on a GPU only
    params = list(target.namedparams())
    reason = sgd.why_not_plain_sgd(
        optimizer, params if optimizer.target is target else None)
    if reason:
        return reason
    if target.compute_accuracy:
        return 'compute_accuracy is set'
    if not is_fused_loss(target):
        return 'the loss is not plain softmax_cross_entropy'
    layers, output = model._layers(), model._output()
    if {type(layer) for layer in layers} != {L.LSTM}:
        return 'a layer is not an L.LSTM'
    if type(output) not in (L.Linear, OutputBias):
        return f'the output layer is of type {type(output).__name__}'
    if model.dropouts:
        return 'the model has dropout links'
    if len({layer.state_size for layer in layers}) > 1:
        return 'the layers have different sizes'
    if not all(name.startswith('/predictor/') for name, _ in params):
        return 'the target has parameters that the model does not have'
    rate = optimizer.lr
    for name, param in params:
        array = param.array
        if not array.flags.c_contiguous or launch.address(array) % launch.ALIGNMENT:
            return f'{name} is not contiguous, or not aligned to 16 bytes'
        if param.update_rule.hyperparam.lr != rate:
            return f'{name} has a learning rate of its own'
    return ''


class WindowGraph:
    """CUDA graph of forward, backward, clipping and SGD, for windows of one shape.

    Args:
        model: `rnnlm.RNNForLM` on a GPU, with initialised parameters.
        optimizer: An optimizer for which `why_not` returns ''.
        T, B (int): Number of steps and streams of a window.
        refuse (bool): Whether to keep the parameters if a gradient is not finite.

    Attributes:
        result: (2,) float64: the norm of the last gradients, and the factor that
            clipping multiplied them with.
        grads: list of the gradients, that of the embedding first.
        verified (int): Number of windows that matched Chainer's result.
        must_capture (bool): Whether to raise an error if no graph can be captured,
            instead of launching the kernels one by one.
    """

    def __init__(self, model, optimizer, T, B, refuse=True):
        self._model, self._optimizer = model, optimizer
        self._T, self._B = T, B
        self._gpu = kernels.gpu_for(model.xp, model.embed.W.dtype)
        # The layers' steps wait for one another, so they go first, on a stream of their
        # own; the products for the gradients of weights fill the gaps that they leave.
        self._chain = self._gpu.lane(urgent=True)
        # At 1500 units a step takes 22 us (forward) and 26 us (backward) if weights are
        # streamed, and 33 and 38 us with two launches.  But with two launches in TF32,
        # in which cuBLAS computes, it takes 15 and 17 us (H100).
        self._chain.recurrent.may_stream = not self._tf32()
        self._piece = PIECE if self._chain.recurrent.leaves_room(
            model.embed.W.dtype, T, B, model.widths[-1]) else None
        self._graph = None
        self._runs = self.verified = 0
        self.must_capture = False
        self._given, self._counts = [], []  # what the last window has handed out
        self._allocate(refuse)
        self.key = self._key(T, B, refuse)

    def _tf32(self):
        from rnnlm.kernels.cuda import blas  # imported on a GPU only
        return blas.tf32()

    def _key(self, T, B, refuse):
        return (T, B, refuse, self._model.dropout, self._model._is_training(),
                self._tf32(), self._threshold(),
                tuple(id(p.array) for p in self._model.params()))

    def _threshold(self):
        """Returns the threshold of GradientClipping (float), or None."""
        hooks = self._optimizer._hookable._pre_update_hooks.values()
        return next((hook.threshold for hook in hooks), None)

    def fits(self, T, B, refuse):
        """Returns whether this graph is valid for the window and the current model."""
        return self.key == self._key(T, B, refuse)

    def is_of(self, model, optimizer):
        """Returns whether this graph updates this model with this optimizer."""
        return self._model is model and self._optimizer is optimizer

    def _allocate(self, refuse):
        from rnnlm.kernels.cuda.sgd import SGD  # imported on a GPU only
        model, T, B = self._model, self._T, self._B
        xp, dtype, n = model.xp, model.embed.W.dtype, model.widths[-1]
        links, V = model._layers(), len(model._output().b.array)

        def empty(*shape, dtype=dtype):
            return xp.empty(shape, dtype)

        # What is uploaded for a window, and memory on the host to prepare it in.
        self._uploaded, self._rate, self._dropout_key, self._ids = _uploads(xp, T, B)
        self._prepared = _uploads(numpy, T, B)
        self._words = self._ids[:T].reshape(-1)  # the input words
        self._before = xp.zeros(T * B, numpy.int32)
        self._first = empty(T * B, dtype=numpy.int32)
        self._drops = bool(model.dropout and model._is_training())
        self._starts = dropout.starts(B, model.widths)

        # What each layer's backward needs; row 0 is the initial state.
        self._layers = [
            (xp.zeros((T + 1, B, n), dtype), xp.zeros((T + 1, B, n), dtype),
             empty(T, B, n), empty(T, B, 4 * n)) for _ in links]
        self._states = [(cs[0], hs[0]) for hs, cs, _, _ in self._layers]
        hs = [layer[0][1:] for layer in self._layers]
        self._inputs = [empty(T, B, w) for w in model.widths] if self._drops else (
            [empty(T, B, model.widths[0])] + hs)
        self._zs = [empty(T, B, 4 * n) for _ in links]
        self._gs = [empty(T, B, w) for w in model.widths]  # gradients of the inputs
        self._g_states = [(empty(B, n), empty(B, n)) for _ in links]
        rows = softmax_loss.rows_at_once(T * B, V)
        self._y = empty(rows, V)
        self._rows_loss = empty(rows, dtype=numpy.float64)
        self._loss = empty()

        # The embedding comes first; its gradient is zero except in the words' rows.
        self._params = [model.embed.W] + [
            p for p in model.params() if p is not model.embed.W]
        self.grads = [xp.zeros_like(p.array) for p in self._params]
        # The addresses of all arrays are fixed from here on: a captured graph refers to
        # them.
        self._sgd = self._make_sgd(SGD, [p.array for p in self._params], self.grads,
                                   self._threshold(), refuse)
        self.result = self._sgd.result

    def _make_sgd(self, SGD, params, grads, threshold, refuse):
        rows = None if self._model.tied else (self._words, self._first)
        return SGD(self._gpu.cuda, list(zip(params, grads)), rows, threshold, refuse)

    def try_sgd(self, threshold, rate):
        """Applies clipping and SGD to copies of the parameters, after a window.

        Args:
            threshold (float): Clipping threshold for the last gradients.
            rate (float): The learning rate.

        Returns:
            tuple: List of the steps, list of the clipped gradients, and `result`.
        """
        from rnnlm.kernels.cuda.sgd import SGD  # imported on a GPU only
        xp = self._model.xp
        params = [p.array.copy() for p in self._params]
        grads = [g.copy() for g in self.grads]
        sgd = self._make_sgd(SGD, params, grads, threshold, True)
        sgd(xp.asarray(numpy.array([rate])))
        for p, q in zip(params, self._params):
            p -= q.array
        return params, grads, sgd.result

    def update(self, window):
        """Launches the update for one window, and returns without waiting for it.

        Args:
            window: int32 (T + 1, B), on the host.

        Returns:
            array: The loss, shape (): the sum over the steps of the mean over the
            batch.  It must be read before the next window.
        """
        optimizer, layers = self._optimizer, self._model._layers()
        prepared, rate, key, ids = self._prepared
        rate[0], ids[...] = optimizer.lr, window
        if self._drops:
            key[...] = philox.draw_key()
        self._gpu.cuda.upload(prepared, self._uploaded)
        self._take_states(layers)
        self._run()
        optimizer.t += 1
        self._hand_out()
        # Here, because names in `_hand_out` refer to these objects too.
        self._counts = self._references()
        return self._loss

    def _hand_out(self):
        """Sets the gradients of the parameters and the states of the layers."""
        for param, grad in zip(self._params, self.grads):
            sgd.count_update(param)
            param._set_grad_without_check(grad)  # it has fitted since `_allocate`
        states = [(chainer.Variable(c), chainer.Variable(h)) for c, h in self._states]
        for layer, (c, h) in zip(self._model._layers(), states):
            layer.c, layer.h = c, h
        # With the arrays of all steps, because a view of a state refers to these.
        self._given = [*self.grads, *itertools.chain(
            *states, *self._states, *(layer[:2] for layer in self._layers))]

    def _references(self):
        """Returns the number of references to each gradient, state and its array."""
        return [sys.getrefcount(thing) for thing in self._given]

    def is_held(self):
        """Returns whether other code holds gradients or states of the last window.

        The next window would overwrite their memory.
        """
        return any(map(operator.gt, self._references(), self._counts))

    def _run(self):
        """Runs the sequence of launches, from the second time on as a graph."""
        if self._graph is None and self._runs == 1:
            try:
                self._graph = self._gpu.cuda.capture(self._sequence)
            except Exception as e:  # the type depends on CuPy's version
                if self.must_capture:
                    raise
                logger.warning('no CUDA graph; launching kernels one by one: %s', e)
        self._runs += 1
        if self._graph is None:
            self._sequence()
        else:
            self._graph.launch()

    def _take_states(self, layers):
        """Copies the layers' states into our arrays, if other code has set them."""
        cuda = self._gpu.cuda
        for layer, (c, h) in zip(layers, self._states):
            for variable, to in (layer.c, c), (layer.h, h):
                if variable is None:
                    cuda.zero(to)
                elif variable.shape != to.shape:
                    raise ValueError(f'state: expected shape {to.shape} for these '
                                     f'windows, found {variable.shape}')
                elif variable.array is not to:
                    cuda.copy(variable.array, to)

    def _sequence(self):
        self._forward()
        self._backward()
        self._sgd(self._rate)
        for hs, cs, _, _ in self._layers:
            self._gpu.cuda.copy(hs[self._T], hs[0])
            self._gpu.cuda.copy(cs[self._T], cs[0])

    def _forward(self):
        model, gpu, chain = self._model, self._gpu, self._chain
        x = self._inputs[0]
        gpu.rows.take(model.embed.W.array, self._words, x)
        self._drop(gpu, 0, x, x)
        start = gpu.cuda.mark()
        with chain.cuda.queue():
            chain.cuda.wait(start)
            for k, layer in enumerate(model._layers()):
                hs, cs, tanh_cs, gate = self._layers[k]
                z = self._zs[k]
                chain.cuda.dot(_flat(self._inputs[k]), layer.upward.W.array.T, _flat(z))
                chain.recurrent.forward(z, layer.upward.b.array, layer.lateral.W.array,
                                        hs, cs, tanh_cs, gate)
                self._drop(chain, k + 1, hs[1:], self._inputs[k + 1])
            end = chain.cuda.mark()
        gpu.cuda.wait(end)

    def _backward(self):
        model, gpu, chain = self._model, self._gpu, self._chain
        output = model._output()
        W = model.embed.W if model.tied else output.W
        top = len(self._layers) - 1

        def begin():  # as soon as the gradient of the output layer's input is there
            chain.cuda.wait(gpu.cuda.mark())
            self._layer_backward(top)

        gpu.output.compute(
            self._inputs[-1], W.array, output.b.array, self._ids[1:], self._y,
            self._rows_loss, self._loss,
            (self._gs[-1], self._grad(W), self._grad(output.b)), begin,
            self._piece)
        for k in reversed(range(top)):
            self._layer_backward(k)
            self._weight_gradients(k + 1)
        with chain.cuda.queue():
            layers_done = chain.cuda.mark()
            if not model.tied:
                self._embedding_gradient(chain)
            all_done = chain.cuda.mark()
        gpu.cuda.wait(layers_done)
        self._weight_gradients(0)
        gpu.cuda.wait(all_done)
        if model.tied:  # adds to the gradient of the output layer
            self._embedding_gradient(gpu)

    def _layer_backward(self, k):
        """Computes the gradients of a layer's steps and of its input.

        What follows on the main stream runs beside it, but starts after it, because a
        persistent kernel needs room on all multiprocessors at once.
        """
        gpu, chain, layer = self._gpu, self._chain, self._model._layers()[k]
        _, cs, tanh_cs, gate = self._layers[k]
        g, gz, g_state = self._gs[k + 1], self._zs[k], self._g_states[k]
        started = []
        with chain.cuda.queue():
            for array in g_state:
                chain.cuda.zero(array)
            self._drop(chain, k + 1, g, g)
            chain.recurrent.backward(
                g, layer.lateral.W.array, cs, tanh_cs, gate, gz, *g_state,
                lambda: started.append(chain.cuda.mark()))
            chain.cuda.dot(_flat(gz), layer.upward.W.array, _flat(self._gs[k]))
        gpu.cuda.wait(*started)

    def _weight_gradients(self, k):
        gpu, layer = self._gpu, self._model._layers()[k]
        gz = _flat(self._zs[k])
        gpu.cuda.dot(gz.T, _flat(self._inputs[k]), self._grad(layer.upward.W))
        gpu.cuda.dot(gz.T, _flat(self._layers[k][0][:self._T]),
                     self._grad(layer.lateral.W))
        gpu.output.column_sums(gz, self._grad(layer.upward.b))

    def _embedding_gradient(self, gpu):
        g, gW = self._gs[0], self.grads[0]
        self._drop(gpu, 0, g, g)
        if not self._model.tied:
            gpu.rows.clear(self._before, gW)
            gpu.cuda.copy(self._words, self._before)
        gpu.rows.sum(self._words, _flat(g), self._first, gW, more=self._model.tied)

    def _grad(self, param):
        return next(g for p, g in zip(self._params, self.grads) if p is param)

    def _drop(self, gpu, k, x, out):
        """Applies the k-th dropout; also its backward."""
        if self._drops:
            gpu.rows.dropout(x, out, self._dropout_key, self._model.dropout,
                             self._starts[k], self._starts[-1])


def _uploads(xp, T, B):
    """Allocates what is uploaded for a window, in one piece.

    Returns:
        tuple: All of it as int32, and its parts: learning rate (1,), dropout key (2,)
        and ids (T + 1, B).
    """
    whole = xp.zeros(4 + (T + 1) * B, numpy.int32)
    return (whole, whole[:2].view(numpy.float64), whole[2:4].view(numpy.uint32),
            whole[4:].reshape(T + 1, B))


def _flat(x):
    return x.reshape(-1, x.shape[2])
