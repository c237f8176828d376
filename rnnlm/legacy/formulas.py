"""Formulas and random initial values that later releases changed."""
import chainer
from chainer import functions as F
from chainer import initializers
from chainer.functions.math import clip as clip_functions
import numpy

from rnnlm.legacy import release


def sigmoid_cross_entropy(original):
    """Until 1.5: the sum over all elements, also of label -1, per example."""
    def sigmoid_cross_entropy(x, t, *args, **kwargs):
        if not release.before(1, 6):
            return original(x, t, *args, **kwargs)
        t = chainer.as_variable(t).array.astype(x.dtype)
        return F.sum(F.softplus(x) - x * t) / len(t)
    return sigmoid_cross_entropy


def layer_normalization_init(original):
    """``L.LayerNormalization``, whose initial values may be arrays."""
    def __init__(self, size=None, eps=1e-6, initial_gamma=None, initial_beta=None):
        initial_gamma, initial_beta = (
            initializers.Constant(value) if isinstance(value, numpy.ndarray) else value
            for value in (initial_gamma, initial_beta))
        original(self, size, eps, initial_gamma, initial_beta)
    return __init__


def layer_normalization(original):
    """``L.LayerNormalization`` until 2.1: eps is added to the standard deviation."""
    def forward(self, x):
        if self.gamma.array is None:
            self._initialize_params(x.size // x.shape[0])
        x = x - F.broadcast_to(F.mean(x, axis=1, keepdims=True), x.shape)
        deviation = F.sqrt(F.mean(x ** 2, axis=1, keepdims=True)) + self.eps
        x = x / F.broadcast_to(deviation, x.shape)
        return F.bias(F.scale(x, self.gamma), self.beta)
    return forward


class Clip(clip_functions.Clip):
    """`F.clip` until 5.4: its gradient at the bounds is 0."""

    def backward(self, indexes, grad_outputs):
        x, = self.get_retained_inputs()
        node = clip_functions.ClipGrad(x.array, self.x_min, self.x_max)
        node.cond = node.cond * (x.array != self.x_min) * (x.array != self.x_max)
        return node.apply(grad_outputs)


def clip(original):
    def clip(x, x_min, x_max):
        return Clip(x_min, x_max).apply((x,))[0]
    return clip


def orthogonal(original):
    """`Orthogonal` until 5.4, by a singular value decomposition."""
    def __call__(self, array):
        if array.ndim < 2 or not array.size or len(array) > array.size // len(array):
            original(self, array)
            return
        rows, columns = len(array), array.size // len(array)
        u, _, v = numpy.linalg.svd(
            numpy.random.normal(size=(rows, columns)), full_matrices=False)
        found = u if u.shape == (rows, columns) else v
        chainer.backend.copyto(
            array, (found * self.scale).reshape(array.shape).astype(array.dtype))
    return __call__


def fans(original):
    """``get_fans(shape)`` until 1.24: the second is the number of output channels."""
    def get_fans(shape):
        fan_in, _ = original(shape)
        return fan_in, shape[0]
    return get_fans


# (name, first release that changed it, what replaced it, function)
ROWS = (
    ('chainer.functions.sigmoid_cross_entropy', '1.6', 'normalize=False',
     sigmoid_cross_entropy),
    ('chainer.links.LayerNormalization.__init__', '3.0', 'initializers.Constant(array)',
     layer_normalization_init),
    ('chainer.links.LayerNormalization.forward', '3.0',
     'eps is added to the variance', layer_normalization),
    ('chainer.functions.clip', '6.0', 'a gradient of 1 at the bounds', clip),
    ('chainer.initializers.Orthogonal.__call__', '6.0', 'a QR decomposition',
     orthogonal),
    ('chainer.initializer.get_fans', '2.0', 'fans that include the kernel', fans),
)
