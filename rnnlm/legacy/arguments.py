"""Functions and links with Chainer v1's arguments, their order and defaults.

In v1, each call passed what later became configuration: ``train``, ``test``,
``use_cudnn``, ``deterministic``.  The wrappers set the configuration for that call.
"""
import contextlib
import functools
import inspect
import math

import chainer
from chainer import initializers
import numpy

from rnnlm.legacy import release

# Argument of v1 -> (name in chainer.config, its value from the argument's).
CONFIGURED = {
    'train': ('train', bool),
    'test': ('train', lambda test: not test),
    'use_cudnn': ('use_cudnn', lambda use: 'auto' if use else 'never'),
    'deterministic': ('cudnn_deterministic', bool),
}


def arguments(signature):
    """Returns a decorator that gives a function the arguments of v1.

    Args:
        signature (str): v1's signature, as after ``def f``.  Its defaults are passed
            on too.  Arguments of later versions, which it lacks, are passed unchanged.
    """
    signature = inspect.signature(eval(f'lambda {signature}: None'))

    def with_arguments(original):
        @functools.wraps(original)
        def call(*args, **kwargs):
            later = {name: kwargs.pop(name) for name in list(kwargs)
                     if name not in signature.parameters}
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            _scale_initial_values(given)
            with contextlib.ExitStack() as stack:
                for name, (key, convert) in CONFIGURED.items():
                    if name in given:
                        stack.enter_context(
                            chainer.using_config(key, convert(given.pop(name))))
                receiver = [given.pop('self')] if 'self' in given else []
                return original(*receiver, **given, **later)
        return call
    return with_arguments


def _scale_initial_values(given):
    """Converts ``wscale`` and ``bias`` of a link to the arguments that replaced them.
    """
    if 'wscale' in given:
        scale = given.pop('wscale')
        # Since 1.9 its root, also for given values; before, the factor itself.
        if not release.before(1, 9):
            scale = math.sqrt(scale)
        if scale != 1 and (not release.before(1, 9) or given['initialW'] is None):
            given['initialW'] = _scaled(given['initialW'], scale)
    if 'bias' in given:
        bias = given.pop('bias')
        if given['initial_bias'] is None:
            given['initial_bias'] = bias


def _scaled(initializer, scale):
    if initializer is None:
        return initializers.LeCunNormal(scale)
    if callable(initializer):
        return _Scaled(initializer, scale)
    return initializer * scale


class _Scaled(chainer.initializer.Initializer):

    def __init__(self, initializer, scale):
        self._initializer = initializer
        self._scale = scale
        super().__init__(getattr(initializer, 'dtype', None))

    def __call__(self, array):
        self._initializer(array)
        array *= self._scale


def init_weight(original):
    """``chainer.init_weight(array, initializer, scale=1)``."""
    def init_weight(weights, initializer, scale=1.0):
        initializers._get_initializer(_scaled(initializer, scale))(weights)
    return init_weight


def get_initializer(original):
    """``initializers._get_initializer(W, scale)``, in copies of Chainer's links."""
    def _get_initializer(initializer, scale=1.0):
        return original(initializer if scale == 1 else _scaled(initializer, scale))
    return _get_initializer


def matmul(original):
    """``F.matmul`` of v1, which treats a vector as a matrix of one column."""
    def matmul(a, b, transa=False, transb=False):
        a, b = (x.reshape(-1, 1) if x.ndim == 1 else x
                for x in map(chainer.as_variable, (a, b)))
        return original(a, b, transa=transa, transb=transb)
    return matmul


def lstm_of_1_5(original):
    """``L.LSTM(in_size, out_size)`` of 1.5 to 1.8, with its order of random numbers."""
    def __init__(self, in_size, out_size, **later):
        if later or not release.before(1, 9):
            original(self, in_size, out_size, **later)
            return
        original(self, in_size, out_size, lateral_init=0, upward_init=0)
        for link, size in (self.upward, in_size), (self.lateral, out_size):
            link.W.array[...] = numpy.random.normal(
                0, numpy.sqrt(1. / size), link.W.shape)
    return __init__


def bias_if_given(original):
    """A link of v1 that has a bias only if its initial value is given."""
    def __init__(self, *args, initial_bias=None, **kwargs):
        kwargs.setdefault('nobias', initial_bias is None)
        original(self, *args, initial_bias=initial_bias, **kwargs)
    return __init__


def embed_id_of_1_8(original):
    """``L.EmbedID(in_size, out_size, ignore_label)`` of 1.8."""
    def __init__(self, in_size, out_size, *args, **kwargs):
        if args and release.before(1, 9):
            kwargs['ignore_label'], *args = args
        original(self, in_size, out_size, *args, **kwargs)
    return __init__


def adam_of_1_2(original):
    """``Adam(alpha, beta1, beta2, lam, eps)`` of 1.0 to 1.2; ``lam`` decayed beta1."""
    def __init__(self, alpha=0.001, beta1=0.9, beta2=0.999, *args, **kwargs):
        if release.before(1, 3):
            lam, *args = args or [kwargs.pop('lam', 1.0)]
            if not 1 - 1e-7 <= lam <= 1:
                raise TypeError(f'Adam: expected lam=1 - 1e-8, because Chainer 1.3 '
                                f'removed it, found {lam!r}')
        original(self, alpha, beta1, beta2, *args, **kwargs)
    return __init__


def eps_of_1_13(place):
    """Returns a decorator for batch normalization, whose eps was 1e-5 until 1.13.

    Args:
        place (int): The place of eps among the positional arguments.
    """
    def with_eps(original):
        @functools.wraps(original)
        def call(*args, **kwargs):
            if release.before(1, 14) and len(args) <= place:
                kwargs.setdefault('eps', 1e-5)
            return original(*args, **kwargs)
        return call
    return with_eps


def mlp_convolution(original):
    """``L.MLPConvolution2D`` with ``wscale`` and ``use_cudnn``."""
    def __init__(self, in_channels, out_channels, ksize, stride=1, pad=0, wscale=1,
                 activation=chainer.functions.relu, use_cudnn=True, conv_init=None,
                 bias_init=None):
        scale = wscale if release.before(1, 9) else math.sqrt(wscale)
        if scale != 1:
            conv_init = _scaled(conv_init, scale)
        original(self, in_channels, out_channels, ksize, stride, pad, activation,
                 conv_init=conv_init, bias_init=bias_init)
    return __init__
