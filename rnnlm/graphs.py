"""The whole update of a window on a GPU as one launch: a CUDA graph.

Chainer's graph of Python objects is not made; what `RNNForLM.loss`, its backward,
GradientClipping and SGD would do is one sequence of launches on fixed arrays, which is
recorded once and then repeated.  What changes from window to window, the words, the
key of dropout and the learning rate, stands in arrays too.
"""
import logging

import chainer
import numpy

from rnnlm import kernels, optimizing
from rnnlm.functions import philox, window_loss
from rnnlm.kernels.cuda import blas
from rnnlm.kernels.cuda.sgd import SGD

logger = logging.getLogger(__name__)


def why_not(target, model, optimizer):
    """Why a target that goes in windows cannot be updated so; '' if it can.

    Args:
        target: :class:`chainer.links.Classifier` of the model.
        model: `rnnlm.RNNForLM`.
        optimizer: A Chainer optimizer of the target.
    """
    if not kernels.gpu_for(model.xp, model.embed.W.dtype):
        return 'there are no CUDA kernels'
    reason = optimizing.why_not_plain_sgd(optimizer)
    if reason:
        return reason
    if target.compute_accuracy:
        return 'the accuracy is asked for'
    if not model.is_stock:
        return 'a link of the model is not the stock one'
    if {id(p) for p in target.params()} != {id(p) for p in model.params()}:
        return 'the target has parameters beside those of the model'
    for name, param in target.namedparams():
        if not param.array.flags.c_contiguous:
            return f'{name} is not contiguous'
        if param.update_rule.hyperparam.lr != optimizer.lr:
            return f'{name} has a learning rate of its own'
    return ''


class WindowGraph:
    """Forward, backward, clipping and SGD of windows of one shape.

    Args:
        model: `rnnlm.RNNForLM` on a GPU, which has initialised parameters.
        optimizer: One for which `why_not` knows no reason.
        T, B (int): Steps and rows of a window.
        refuse (bool): Whether a window whose gradient is not finite leaves the
            parameters as they are.

    Attributes:
        result: (2,) float64: the norm of the last gradients, and what clipping
            multiplied them with.
    """

    def __init__(self, model, optimizer, T, B, refuse=True):
        self._model, self._optimizer = model, optimizer
        self._T, self._B = T, B
        self._gpu = kernels.gpu_for(model.xp, model.embed.W.dtype)
        self._graph = None
        self._runs = 0
        self._allocate(refuse)
        self.key = self._key(T, B, refuse)

    def _key(self, T, B, refuse):
        hooks = self._optimizer._hookable._pre_update_hooks.values()
        return (T, B, refuse, self._model.dropout, chainer.config.train, blas.tf32(),
                tuple(hook.threshold for hook in hooks),
                tuple(id(p.array) for p in self._model.params()))

    def fits(self, T, B, refuse):
        """Whether windows of this shape, and the model as it is now, go through it."""
        return self.key == self._key(T, B, refuse)

    def _allocate(self, refuse):
        model, T, B = self._model, self._T, self._B
        xp, dtype, n = model.xp, model.embed.W.dtype, model.n_units
        V = model.n_vocab

        def empty(*shape, dtype=dtype):
            return xp.empty(shape, dtype)

        self._ids = xp.zeros((T + 1, B), numpy.int32)
        self._before = xp.zeros(T * B, numpy.int32)
        self._first = empty(T * B, dtype=numpy.int32)
        self._dropout_key = empty(2, dtype=numpy.uint32)
        self._rate = empty(1, dtype=numpy.float64)
        self._drops = bool(model.dropout and chainer.config.train)
        self._starts = numpy.cumsum([0] + [B * w for w in model.widths]).tolist()

        # Of each layer what its backward needs; the state before is row 0.
        self._layers = [
            (xp.zeros((T + 1, B, n), dtype), xp.zeros((T + 1, B, n), dtype),
             empty(T, B, n), empty(T, B, 4 * n)) for _ in range(model.n_layers)]
        self._states = [None] * model.n_layers
        hs = [layer[0][1:] for layer in self._layers]
        self._inputs = [empty(T, B, w) for w in model.widths] if self._drops else (
            [empty(T, B, model.n_embed)] + hs)
        self._z = empty(T, B, 4 * n)
        self._g = empty(T, B, n)
        self._g_embed = (self._g if model.n_embed == n
                         else empty(T, B, model.n_embed))
        self._gc, self._gh = empty(B, n), empty(B, n)
        rows = max(1, min(T * B, window_loss.CHUNK_ELEMENTS // V))
        self._y = empty(rows, V)
        self._rows_loss = empty(rows, dtype=numpy.float64)
        self._loss = empty()

        # The embedding comes first; its gradient is zero but for the words' rows.
        self._params = [model.embed.W] + [
            p for p in model.params() if p is not model.embed.W]
        self._grads = [xp.zeros_like(p.array) for p in self._params]
        hooks = self._optimizer._hookable._pre_update_hooks.values()
        self._sgd = SGD(
            self._gpu.cuda, [(p.array, g) for p, g in zip(self._params, self._grads)],
            None if model.tied else (self._ids[:T].reshape(-1), self._first),
            next((hook.threshold for hook in hooks), None), refuse)
        self.result = self._sgd.result

    def update(self, window):
        """One window: the loss and the parameters' update, after which it returns.

        Args:
            window: int32 (T + 1, B), on the host.

        Returns:
            array: (), the loss, the sum over the steps of the mean over the batch; to
            be read before the next window.
        """
        cuda, optimizer = self._gpu.cuda, self._optimizer
        cuda.upload(window, self._ids)
        self._take_states()
        key = philox.draw_key() if self._drops else (0, 0)
        cuda.launch(self._z.dtype, 'set_window', 1, 1,
                    (*key, optimizer.lr, self._dropout_key, self._rate))
        self._run()
        optimizer.t += 1
        for param, grad in zip(self._params, self._grads):
            param.update_rule.t += 1
            param.grad = grad
        for k, layer in enumerate(self._model.layers):
            hs, cs = self._layers[k][:2]
            self._states[k] = chainer.Variable(cs[0]), chainer.Variable(hs[0])
            layer.c, layer.h = self._states[k]
        return self._loss

    def _run(self):
        """The sequence of launches: at once, and from the second time on as a graph."""
        if self._graph is None and self._runs == 1:
            try:
                self._graph = self._gpu.cuda.capture(self._sequence)
            except Exception as e:  # what CuPy raises depends on its version
                logger.warning('no CUDA graph, launches one by one: %s', e)
        self._runs += 1
        if self._graph is None:
            self._sequence()
        else:
            self._graph.launch()

    def _take_states(self):
        """The states of the layers, if others have set them, into our arrays."""
        cuda = self._gpu.cuda
        for layer, ours, (hs, cs, _, _) in zip(
                self._model.layers, self._states, self._layers):
            if ours and layer.c is ours[0] and layer.h is ours[1]:
                continue
            for variable, to in (layer.c, cs[0]), (layer.h, hs[0]):
                if variable is None:
                    cuda.zero(to)
                elif variable.shape != to.shape:
                    raise ValueError(f'state: expected {to.shape} as the windows have '
                                     f'it, found {variable.shape}')
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
        model, gpu, dot = self._model, self._gpu, self._gpu.cuda.dot
        x = self._inputs[0]
        gpu.rows.take(model.embed.W.array, self._ids[:self._T].reshape(-1), x)
        self._drop(0, x, x)
        for k, layer in enumerate(model.layers):
            hs, cs, tanh_cs, gate = self._layers[k]
            dot(_flat(self._inputs[k]), layer.upward.W.array.T, _flat(self._z))
            gpu.recurrent.forward(self._z, layer.upward.b.array, layer.lateral.W.array,
                                  hs, cs, tanh_cs, gate)
            self._drop(k + 1, hs[1:], self._inputs[k + 1])

    def _backward(self):
        model, gpu, dot = self._model, self._gpu, self._gpu.cuda.dot
        T = self._T
        W = model.embed.W if model.tied else model.output.W
        gpu.output.compute(
            self._inputs[-1], W.array, model.output.b.array, self._ids[1:], self._y,
            self._rows_loss, self._loss,
            (self._g, self._grad(W), self._grad(model.output.b)))
        for k in reversed(range(model.n_layers)):
            layer, (hs, cs, tanh_cs, gate) = model.layers[k], self._layers[k]
            self._drop(k + 1, self._g, self._g)
            gpu.cuda.zero(self._gc)
            gpu.cuda.zero(self._gh)
            gz = self._z
            gpu.recurrent.backward(self._g, layer.lateral.W.array, cs, tanh_cs, gate,
                                   gz, self._gc, self._gh)
            gz = _flat(gz)
            dot(gz.T, _flat(self._inputs[k]), self._grad(layer.upward.W))
            dot(gz.T, _flat(hs[:T]), self._grad(layer.lateral.W))
            gpu.output.column_sums(gz, self._grad(layer.upward.b))
            dot(gz, layer.upward.W.array, _flat(self._g if k else self._g_embed))
        self._drop(0, self._g_embed, self._g_embed)
        gW, ids = self._grads[0], self._ids[:T].reshape(-1)
        if not model.tied:
            gpu.rows.clear(self._before, gW)
            gpu.cuda.copy(ids, self._before)
        gpu.rows.sum(ids, _flat(self._g_embed), self._first, gW, more=model.tied)

    def _grad(self, param):
        return next(g for p, g in zip(self._params, self._grads) if p is param)

    def _drop(self, k, x, out):
        """The k-th use of dropout; also its backward."""
        if self._drops:
            self._gpu.rows.dropout(x, out, self._dropout_key, self._model.dropout,
                                   self._starts[k], self._starts[-1])


def _flat(x):
    return x.reshape(-1, x.shape[2])
