"""The steps of an LSTM layer over a window: one launch for all, or two per step.

GPU version of `_forward` and `_backward` of `rnnlm.functions.lstm_window`.
"""
import logging

import numpy

from rnnlm.kernels.cuda import plans
from rnnlm.kernels.cuda.launch import THREADS, aligned

logger = logging.getLogger(__name__)

# Whether to use the persistent kernels: for windows whose lateral weights fit into the
# multiprocessors' shared memory, or can be streamed from the L2 cache.
persistent = True

SPACE = 32  # distance between the counters of two barriers, as in the source


class Recurrent:
    """Recurrent part of a layer on a GPU.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.

    Attributes:
        may_stream (bool): Whether to use persistent kernels that stream weights.
    """

    def __init__(self, cuda):
        self._cuda = cuda
        self.may_stream = True
        self._scratch = {}
        self._streamed = None  # of any size, since there is one launch at a time
        self._kernels = {}  # not functools.lru_cache, which would keep self alive

    def forward(self, z, b, W, hs, cs, tanh_cs, gate):
        """Computes the steps of a window.

        Args:
            z: (T, B, 4n) interleaved, W_u x of all steps; overwritten.
            b: (4n,), the bias.
            W: (4n, n), the lateral weights.
            hs, cs: (T + 1, B, n); row 0 is the initial state, the others are written.
            tanh_cs: (T, B, n), written.
            gate: T x B x 4n elements, written; used only by `backward`.
        """
        T, B, n = tanh_cs.shape
        b = aligned(self._cuda.xp, b)
        W = self._cuda.xp.ascontiguousarray(W)
        kernel = self._kernel('forward', W.dtype, T, B, n)
        if kernel:
            module, plan = kernel
            # One for each n: the padding columns beyond n must stay zero.
            exchange = self._array(f'forward {n}', (2, *plan.exchange), W.dtype)
            module.launch(
                'lstm_window_forward', plan.blocks, plan.threads,
                (T, z, b, W, hs, cs, tanh_cs, gate, exchange, self._streams(plan),
                 self._counters(1)),
                plan.shared)
            return
        for t in range(T):
            self._cuda.dot(hs[t], W.T, z[t], more=True)
            self._cuda.launch(
                W.dtype, 'lstm_step_forward', -(-B * n // THREADS), THREADS,
                (B * n, n, z[t], b, cs[t], gate[t], cs[t + 1], tanh_cs[t], hs[t + 1]))

    def backward(self, ghs, W, cs, tanh_cs, gate, gz, gc, gh, started=lambda: None):
        """Computes the gradients of the steps of a window.

        Args:
            ghs: (T, B, n), the gradients of the outputs.
            W: (4n, n), the lateral weights.
            cs, tanh_cs, gate: Results of `forward`.
            gz: (T, B, 4n) interleaved, written.
            gc, gh: (B, n), the gradients of the final state; overwritten with those of
                the initial state.
            started: Called immediately before the first launch that takes long.
        """
        T, B, n = tanh_cs.shape
        ghs, W = map(self._cuda.xp.ascontiguousarray, (ghs, W))
        kernel = self._kernel('backward', W.dtype, T, B, n)
        if kernel:
            module, plan = kernel
            exchange = self._array(f'backward {n}', (2, *plan.exchange), W.dtype)
            partial = self._array('partial', (plans.GROUPS, B, n), W.dtype)
            counters = self._counters(1 + plan.blocks // plans.GROUPS)
            streams = self._streams(plan)
            started()
            module.launch(
                'lstm_window_backward', plan.blocks, plan.threads,
                (T, ghs, W, cs, tanh_cs, gate, gz, gc, gh, exchange, partial,
                 streams, counters),
                plan.shared)
            return
        started()
        for t in reversed(range(T)):
            self._cuda.launch(
                W.dtype, 'lstm_step_backward', -(-B * n // THREADS), THREADS,
                (B * n, ghs[t], gh, gate[t], cs[t], tanh_cs[t], gc, gz[t]))
            self._cuda.dot(gz[t], W, gh)

    def leaves_room(self, dtype, T, B, n):
        """Returns whether a window's backward pass leaves half of the shared memory.

        Other kernels then fit beside it.
        """
        kernel = self._kernel('backward', dtype, T, B, n)
        return kernel is not None and (
            2 * kernel[1].shared <= self._cuda.shared_per_block)

    def _kernel(self, direction, dtype, T, B, n):
        """Returns (compiled kernel, plan) for persistent windows, else None."""
        if not persistent or T < 2 or dtype != numpy.float32:
            return None
        cuda = self._cuda
        plan = getattr(plans, direction)(
            n, B, cuda.multiprocessors, cuda.shared_per_block)
        if plan is None or not cuda.cooperative:
            return None
        if plan.streamed and not (
                self.may_stream and plan.streamed * plans.BYTES <= cuda.streamable):
            return None
        key = direction, B, n
        if key not in self._kernels:
            self._kernels[key] = self._compile(direction, plan, B, n)
        return self._kernels[key]

    def _compile(self, direction, plan, B, n):
        cuda = self._cuda
        module = cuda.module(
            numpy.float32, ('persistent.cuh', f'persistent_{direction}.cu'),
            plan.defines, cooperative=True)
        # CuPy would silently shrink a grid that does not fit.
        function = module.function(f'lstm_window_{direction}', plan.shared)
        at_once = cuda.blocks_at_once(function, plan.threads, plan.shared)
        if at_once < plan.blocks:
            logger.info('no persistent kernel for %d units and batch size %d: it needs '
                        '%d blocks, and %d fit', n, B, plan.blocks, at_once)
            return None
        return module, plan

    def _streams(self, plan):
        """Returns memory for the weights that are streamed, or None."""
        if not plan.streamed:
            return None
        if self._streamed is None or self._streamed.size < plan.streamed:
            self._streamed = self._cuda.xp.empty(plan.streamed, numpy.float32)
        return self._streamed

    def _counters(self, count):
        counters = self._array('counters', (count, SPACE), numpy.uint32)
        self._cuda.zero(counters)
        return counters

    def _array(self, name, shape, dtype):
        """Returns a reusable array, initially zero; for one stream at a time."""
        key = name, shape
        if key not in self._scratch:
            self._scratch[key] = self._cuda.xp.zeros(shape, dtype)
        return self._scratch[key]
