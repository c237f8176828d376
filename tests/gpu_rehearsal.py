"""benchmarks/gpu.py on the host: a script, run where `cupy` is `tests/cupy_on_host`.

The stand-in for CuPy has no clock of events; here they have the host's.  If PyTorch is
there its CUDA is stood in for too: what a graph would record is recorded operation by
operation on the CPU, and done again when it is replayed.
"""
import contextlib
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'benchmarks'))

import rnnlm  # noqa: E402, F401

import cupy  # noqa: E402
from cupy import _device  # noqa: E402

import gpu  # noqa: E402
import gpu_models  # noqa: E402
import gpu_parts  # noqa: E402


class Event(_device.Event):
    """One with a clock."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self._timed = not disable_timing
        super().__init__()

    def record(self, stream=None):
        assert not (self._timed and _device.is_capturing())
        super().record(stream)
        self.seconds = time.perf_counter()


def stand_in_for_torch():
    try:
        import torch
    except ImportError:
        return
    from torch.utils._python_dispatch import TorchDispatchMode

    class Graph(TorchDispatchMode):
        """What happens inside of it can be replayed."""

        def __init__(self):
            super().__init__()
            self.done = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            self.done.append((function, args, kwargs or {}, result))
            return result

        def replay(self):
            with torch.no_grad():
                for function, args, kwargs, before in self.done:
                    self.into(before, function(*args, **kwargs))

        def into(self, before, after):
            if isinstance(before, (tuple, list)):
                for one, other in zip(before, after):
                    self.into(one, other)
            elif isinstance(after, torch.Tensor) and (
                    before.data_ptr() != after.data_ptr()):
                before.copy_(after)

    class Stream:

        def wait_stream(self, other):
            assert isinstance(other, Stream)

    gpu_models.TORCH_DEVICE = 'cpu'
    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.CUDAGraph, cuda.Stream, cuda.current_stream = Graph, Stream, Stream
    cuda.stream = contextlib.nullcontext
    cuda.graph = lambda graph: graph
    cuda.empty_cache = cuda.reset_peak_memory_stats = lambda: None
    cuda.max_memory_allocated = cuda.max_memory_reserved = lambda: 2 ** 20
    torch.Tensor.pin_memory = lambda self: self
    torch.backends.mkldnn.set_flags(False)  # its scratch memory cannot be copied


def go_wrong(name, how):
    """Makes a way wrong: its gradients, or all of its process."""
    kind, args = gpu_models.WAYS[name]

    class Wrong(kind):

        def loss_and_gradients(self, ids):
            if how == 'exit':
                os._exit(3)
            loss, gradients = super().loss_and_gradients(ids)
            gradients['/l2/lateral/W'] = 1.01 * gradients['/l2/lateral/W']
            return loss, gradients

    gpu_models.WAYS[name] = Wrong, args


if __name__ == '__main__':
    cupy.cuda.Event = Event
    cupy.cuda.get_elapsed_time = lambda start, end: 1e3 * (end.seconds - start.seconds)
    stand_in_for_torch()
    # Many of them say nothing here.
    gpu_parts.LEAST, gpu_parts.ROUNDS, gpu_parts.REPLAYED = 0, 1, 5
    if 'WAYS' in os.environ:
        gpu_models.WAYS = {name: gpu_models.WAYS[name]
                           for name in os.environ['WAYS'].split(',')}
    for fault in filter(None, os.environ.get('WRONG', '').split(',')):
        go_wrong(*fault.split('='))
    gpu.PROGRAM = [sys.executable, os.path.abspath(__file__)]
    sys.exit(gpu.main())
