"""Measures the parts of a window, and the time that sgemm would need for each."""
import collections
import contextlib
import time

import rnnlm  # noqa: F401
from rnnlm import kernels
from rnnlm.functions import softmax_loss
from rnnlm.functions.dropout import WindowDropout
from rnnlm.training import sgd

import models

REST = 'the rest'


def called():
    """Returns the functions that compute each part: (name, owner, attribute).

    Nested calls are not counted twice.
    """
    from rnnlm.kernels import output, recurrent  # they need llvmlite
    return (('loss: products', softmax_loss.LinearSoftmaxCrossEntropy, '_compute'),
            ('loss: passes over the logits', output, 'gradients'),
            ('layers: products of all steps', kernels, 'dot'),
            ('layers: recurrent', recurrent, 'forward'),
            ('layers: recurrent', recurrent, 'backward'),
            ('dropout: random numbers', WindowDropout, '__init__'),
            ('SGD with its norm', sgd, 'update'))


@contextlib.contextmanager
def clocked():
    """Context that yields a Counter of the seconds of each part."""
    seconds, inside = collections.Counter(), []

    def timed(name, function):
        def call(*args, **kwargs):
            start = time.perf_counter()
            inside.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                seconds[name] += took - inside.pop()
                if inside:
                    inside[-1] += took
        return call

    with contextlib.ExitStack() as stack:
        for name, owner, attribute in called():
            function = getattr(owner, attribute)
            stack.callback(setattr, owner, attribute, function)
            setattr(owner, attribute, timed(name, function))
        yield seconds


def of_windows(way, windows):
    """Returns the mean milliseconds of each part of a window.

    Args:
        way (models.Fast): The implementation.
        windows (list): Ids (T + 1, B) each.
    """
    with clocked() as seconds:
        start = time.perf_counter()
        for ids in windows:
            way.train(ids)
        whole = time.perf_counter() - start
    seconds[REST] = whole - sum(seconds.values())
    return {name: 1e3 * found / len(windows) for name, found in seconds.items()}


def floors(n, T, B, V, flops):
    """Returns the milliseconds that sgemm would need for each part."""
    words = T * B
    layer = 2 * 4 * n * n * models.LAYERS * words
    return {name: 1e3 * operations / flops for name, operations in (
        ('loss: products', 3 * 2 * n * V * words),
        # Upward: forward, and the gradients of weights and inputs; lateral: that of the
        # weights.
        ('layers: products of all steps', 4 * layer),
        ('layers: recurrent', 2 * layer))}
