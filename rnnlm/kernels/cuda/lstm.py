"""The steps of an LSTM layer over a window: one launch for all, or two a step.

The twin of `_forward` and `_backward` of `rnnlm.functions.lstm_window`, on a GPU.
"""
import logging

import numpy

from rnnlm.kernels.cuda import plans
from rnnlm.kernels.cuda.launch import THREADS, aligned

logger = logging.getLogger(__name__)

# Whether windows whose lateral weights fit into the multiprocessors' shared memory go
# through the persistent kernels.
persistent = True

SPACE = 32  # numbers from one barrier's counter to the next, as in the source


class Recurrent:
    """The recurrent part of a layer on a GPU.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
    """

    def __init__(self, cuda):
        self._cuda = cuda
        self._scratch = {}
        self._kernels = {}  # not of `functools`, which would keep this object alive

    def forward(self, z, b, W, hs, cs, tanh_cs, gate):
        """The steps of a window.

        Args:
            z: (T, B, 4n) interleaved, W_u x of all steps; overwritten.
            b: (4n,), the bias.
            W: (4n, n), the lateral weights.
            hs, cs: (T + 1, B, n); row 0 is the state before, the others are written.
            tanh_cs: (T, B, n), written.
            gate: T x B x 4n elements, written, for `backward` alone.
        """
        T, B, n = tanh_cs.shape
        b = aligned(self._cuda.xp, b)
        W = self._cuda.xp.ascontiguousarray(W)
        kernel = self._kernel('forward', W.dtype, T, B, n)
        if kernel:
            module, plan = kernel
            # Of each n its own, whose columns behind n are zeros for ever.
            exchange = self._array(f'exchange {n}', (2, B, plan.inner), W.dtype)
            module.launch(
                'lstm_window_forward', plan.blocks, plan.threads,
                (T, z, b, W, hs, cs, tanh_cs, gate, exchange, self._counters(1)),
                plan.shared)
            return
        for t in range(T):
            self._cuda.dot(hs[t], W.T, z[t], more=True)
            self._cuda.launch(
                W.dtype, 'lstm_step_forward', -(-B * n // THREADS), THREADS,
                (B * n, n, z[t], b, cs[t], gate[t], cs[t + 1], tanh_cs[t], hs[t + 1]))

    def backward(self, ghs, W, cs, tanh_cs, gate, gz, gc, gh):
        """The gradients of the steps of a window.

        Args:
            ghs: (T, B, n), the gradients of the outputs.
            W: (4n, n), the lateral weights.
            cs, tanh_cs, gate: from `forward`.
            gz: (T, B, 4n) interleaved, written.
            gc, gh: (B, n), the gradients of the state after the window; become those
                of the state before.
        """
        T, B, n = tanh_cs.shape
        ghs, W = map(self._cuda.xp.ascontiguousarray, (ghs, W))
        kernel = self._kernel('backward', W.dtype, T, B, n)
        if kernel:
            module, plan = kernel
            partial = self._array('partial', (plans.GROUPS, B, n), W.dtype)
            module.launch(
                'lstm_window_backward', plan.blocks, plan.threads,
                (T, ghs, W, cs, tanh_cs, gate, gz, gc, gh, partial,
                 self._counters(1 + plan.blocks // plans.GROUPS)),
                plan.shared)
            return
        for t in reversed(range(T)):
            self._cuda.launch(
                W.dtype, 'lstm_step_backward', -(-B * n // THREADS), THREADS,
                (B * n, ghs[t], gh, gate[t], cs[t], tanh_cs[t], gc, gz[t]))
            self._cuda.dot(gz[t], W, gh)

    def _kernel(self, direction, dtype, T, B, n):
        """(the compiled kernel, its plan) if the window goes through it, else None."""
        if not persistent or T < 2 or dtype != numpy.float32:
            return None
        key = direction, B, n
        if key not in self._kernels:
            self._kernels[key] = self._compile(*key)
        return self._kernels[key]

    def side_by_side(self, count, dtype, T, B, n):
        """bool: Whether windows of so many layers may be computed at the same time.

        Blocks of a persistent kernel wait for one another: two kernels that are there
        in parts could wait for ever.
        """
        found = [self._kernel(direction, dtype, T, B, n)
                 for direction in ('forward', 'backward')]
        return all(kernel is None or self._at_once(direction, *kernel)
                   >= count * kernel[1].blocks
                   for direction, kernel in zip(('forward', 'backward'), found))

    def _at_once(self, direction, module, plan):
        """int: Blocks of a kernel that run at once."""
        function = module.function(f'lstm_window_{direction}', plan.shared)
        return self._cuda.blocks_at_once(function, plan.threads, plan.shared)

    def _compile(self, direction, B, n):
        cuda = self._cuda
        plan = getattr(plans, direction)(
            n, B, cuda.multiprocessors, cuda.shared_per_block)
        if plan is None or not cuda.cooperative:
            return None
        module = cuda.module(
            numpy.float32, ('persistent.cuh', f'persistent_{direction}.cu'),
            plan.defines, cooperative=True)
        # A grid that does not fit would be cut down in silence.
        at_once = self._at_once(direction, module, plan)
        if at_once < plan.blocks:
            logger.info('no persistent kernel for %d units and %d rows: %d blocks do '
                        'not fit, %d do', n, B, plan.blocks, at_once)
            return None
        return module, plan

    def _counters(self, count):
        counters = self._array('counters', (count, SPACE), numpy.uint32)
        self._cuda.zero(counters)
        return counters

    def _array(self, name, shape, dtype):
        """An array, zeros at first, that is kept: for one stream at a time."""
        key = name, shape
        if key not in self._scratch:
            self._scratch[key] = self._cuda.xp.zeros(shape, dtype)
        return self._scratch[key]
