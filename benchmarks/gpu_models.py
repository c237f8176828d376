"""Implementations of the language model on a GPU, for gpu.py.

As in models.py, they are made from the same weights, and carry their state.  But
`train(windows)` takes several windows, from the host as they would come from an
iterator, and does not wait for the GPU.
"""
import contextlib

import rnnlm
from rnnlm import kernels
from rnnlm.kernels.cuda import lstm
from rnnlm.training import mixed_precision, updater

import chainer
import numpy

import models

DEVICE = '@cupy:0'
TORCH_DEVICE = 'cuda'
LAYERS = models.LAYERS
SIZES = {name: dict(sizes, V=10000, B=20, words=929589)
         for name, sizes in models.SIZES.items()}
# For tests.
SIZES['tiny'] = dict(n=6, dropout=0.5, T=3, scale=0.1, clip=5, V=14, B=3, words=60)

NO_CLIP = 1e30  # a norm that no gradient has, in float32 too


@contextlib.contextmanager
def switched(persistent, tf32):
    """Context that sets our options: persistent kernels, TF32."""
    before, lstm.persistent = lstm.persistent, persistent
    try:
        with chainer.using_config('tf32', tf32):
            yield
    finally:
        lstm.persistent = before


class Official(models.Official):
    """Chainer's links and optimizer, step by step."""

    def __init__(self, weights, **sizes):
        super().__init__(weights, **sizes)
        self.model.to_device(DEVICE)

    def loss(self, ids):
        # Faster than the example, which copies the words of each step separately.
        return super().loss(self.model.xp.asarray(ids))

    def train(self, windows):
        for ids in windows:
            loss = self.loss(ids)
            self.model.cleargrads()
            loss.backward()
            loss.unchain_backward()
            self.optimizer.update()


class Ours(models.PerStep):
    """rnnlm.RNNForLM and its updater.

    Args:
        graph (bool): Whether a window is a CUDA graph, else launches one by one.
        persistent (bool): Whether a layer's steps are one launch, where it fits.
        tf32 (bool): Whether matrix products are rounded to TF32.
    """

    per_step = False

    def __init__(self, weights, graph=True, persistent=True, tf32=False, **sizes):
        self.graph, self.how = graph, (persistent, tf32)
        super().__init__(weights, **sizes)
        self.model.to_device(DEVICE)
        if not kernels.gpu_for(self.model.xp, numpy.dtype('f')):
            raise RuntimeError('there are no CUDA kernels: the log says why')

    @contextlib.contextmanager
    def settings(self):
        before = updater.why_no_graph
        if not self.graph:
            updater.why_no_graph = lambda target, optimizer: 'it is measured without'
        try:
            with switched(*self.how):
                yield
        finally:
            updater.why_no_graph = before

    def train(self, windows):
        with self.settings():
            for ids in windows:
                super().train(ids)

    def loss_and_gradients(self, ids):
        self.optimizer.lr = 0.0
        for hook in self.optimizer._hookable._pre_update_hooks.values():
            hook.threshold = NO_CLIP
        with chainer.using_config('train', False):
            for _ in range(3):  # launched one by one, recorded, repeated
                self.reset()
                self.train([ids])
        if self.graph:
            self.captured()
        return float(self.model.loss.array) * (len(ids) - 1), {
            name: p.grad.copy() for name, p in self.model.predictor.namedparams()}

    def captured(self):
        """Returns the graph of a window, which must exist."""
        window_graph = self.updater._graph
        if window_graph is None or window_graph._graph is None:
            raise RuntimeError('no CUDA graph was made: the log says why')
        return window_graph._graph

    def last_loss(self):
        return float(self.model.loss.array)


class Mixed(Ours):
    """The same in mixed precision, with float32 parameters."""

    def __init__(self, weights, **sizes):
        super().__init__(weights, **sizes)
        self.optimizer.remove_hook('GradientClipping')  # it is not for float16
        mixed_precision.set_up_mixed(self.optimizer, sizes['clip'])

    def make(self, V, n, dropout):
        with chainer.using_config('dtype', chainer.mixed16):
            return rnnlm.RNNForLM(V, n, LAYERS, dropout)


class Torch(models.Torch):
    """PyTorch, eager, with the LSTM of cuDNN.

    Args:
        tf32 (bool): Whether matrix products are rounded to TF32.
    """

    def __init__(self, weights, tf32=False, **sizes):
        super().__init__(weights, **sizes)
        self.tf32, self.sizes = tf32, sizes
        self.on_gpu = self.torch.cuda.is_available()
        if self.on_gpu:
            self.modules.to(TORCH_DEVICE)
        self.optimizer = self.torch.optim.SGD(self.params, lr=1.0)

    @contextlib.contextmanager
    def settings(self):
        set_tf32(self.torch, self.tf32)
        try:
            yield
        finally:
            set_tf32(self.torch, False)

    def pinned(self, ids):
        ids = self.torch.from_numpy(ids.astype('l'))
        return ids.pin_memory() if self.on_gpu else ids

    def send(self, ids):
        ids = self.pinned(ids)
        # Without waiting: the GPU may be behind.
        return ids.to(TORCH_DEVICE, non_blocking=True) if self.on_gpu else ids

    def step(self, ids):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(ids)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.params, self.clip)
        self.optimizer.step()
        return loss.detach()

    def train(self, windows):
        with self.settings():
            for ids in windows:
                self.last = self.step(ids)

    def loss_and_gradients(self, ids):
        # cuDNN has no backward in `eval` mode: the model is made without dropout.
        self.clip = NO_CLIP
        for group in self.optimizer.param_groups:
            group['lr'] = 0.0
        for _ in range(2):
            self.reset()
            self.train([ids])
        return self.last_loss(), {
            name: self.to_chainer(name, p.grad.cpu().numpy())
            for name, p in self.named()}

    def last_loss(self):
        return float(self.last)


class TorchGraph(Torch):
    """The same as a CUDA graph."""

    captured = None

    def capture(self, ids):
        torch = self.torch
        self.ids = self.send(ids).clone()
        shape = LAYERS, ids.shape[1], self.sizes['n']
        self.state = tuple(
            torch.zeros(shape, device=TORCH_DEVICE) for _ in range(2))
        self.captured, self.last = captured(torch, self.in_place)

    def in_place(self):
        """Trains on a window, and writes the state in place."""
        state = self.state
        loss = self.step(self.ids)
        for before, after in zip(state, self.state):
            before.copy_(after)
        self.state = state
        return loss

    def send(self, ids):
        return super().send(ids) if isinstance(ids, numpy.ndarray) else ids

    def reset(self):
        if self.captured:
            for state in self.state:
                state.zero_()

    def train(self, windows):
        with self.settings():
            for ids in windows:
                if self.captured is None:
                    self.capture(ids)
                    self.reset()
                self.ids.copy_(self.pinned(ids), non_blocking=True)
                self.captured.replay()


def captured(torch, work):
    """Captures a CUDA graph in PyTorch; returns it and the result of the work."""
    # As PyTorch's documentation recommends: warm up on another stream.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph, result


def set_tf32(torch, on):
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


# The persistent kernels last: one that hangs ends all later measurements.
WAYS = {
    'official': (Official, {}),
    'torch': (Torch, {}),
    'torch tf32': (Torch, {'tf32': True}),
    'torch graph': (TorchGraph, {}),
    'torch graph tf32': (TorchGraph, {'tf32': True}),
    'functions': (Ours, {'graph': False, 'persistent': False}),
    'graph': (Ours, {'persistent': False}),
    'graph tf32': (Ours, {'persistent': False, 'tf32': True}),
    'persistent functions': (Ours, {'graph': False}),
    'persistent': (Ours, {}),
    'persistent tf32': (Ours, {'tf32': True}),
}


def make(name, sizes, weights):
    """Makes an implementation with these sizes and weights."""
    kind, how = WAYS[name]
    return kind(weights, **how, **sizes)


def find_torch():
    """Returns PyTorch, or None."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return torch


def is_torch(name):
    return name.startswith('torch')


NO_KERNEL = 'two launches per step are used at this size and precision'


def available(sizes):
    """Returns the names of usable implementations, and a dict of reasons for others.
    """
    torch = find_torch()
    missing = {}
    for name in WAYS:
        if is_torch(name) and not torch:
            missing[name] = 'PyTorch cannot be imported'
        elif name.startswith('torch graph') and not torch.cuda.is_available():
            missing[name] = 'PyTorch sees no GPU'
        elif name.startswith('persistent') and not fits(**sizes, tf32='tf32' in name):
            missing[name] = NO_KERNEL
    return [name for name in WAYS if name not in missing], missing


def fits(n, B, T, tf32, **_):
    """Returns whether persistent kernels are used for these sizes on this GPU."""
    import cupy
    gpu = kernels.gpu_for(cupy, numpy.dtype('f'))
    if not gpu:
        return False
    found = [gpu.recurrent._kernel(direction, numpy.dtype('f'), T, B, n)
             for direction in ('forward', 'backward')]
    # In TF32, cuBLAS is faster than kernels that stream the weights.
    return all(kernel and not (tf32 and kernel[1].streamed) for kernel in found)
