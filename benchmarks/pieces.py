"""Measures the parts of a window or a word, and the least time that each can take.

That is the time of its operations at the speed of a large matrix product (SGEMM), or
of reading its weights, if each is used for one word only.
"""
import collections
import contextlib
import time

import rnnlm  # noqa: F401
from rnnlm import functions, kernels
from rnnlm.functions import softmax_loss
from rnnlm.functions.dropout import WindowDropout
from rnnlm.kernels import threads
from rnnlm.training import sgd

import numpy
import threadpoolctl

import models
from common import median, seconds

REST = 'the rest'
LOSS, OUTSIDE, STEPS = (
    'loss: products', 'layers: products of all steps', 'layers: recurrent')
ALL_PRODUCTS = 'all products'


def called():
    """Returns the functions that compute each part: (name, owner, attribute).

    Nested calls are not counted twice.
    """
    from rnnlm.kernels import one_stream, output, recurrent  # they need llvmlite
    return ((LOSS, softmax_loss.LinearSoftmaxCrossEntropy, '_compute'),
            (LOSS, functions, 'linear_log_probabilities'),
            ('loss: passes over the logits', output, 'gradients'),
            ('loss: passes over the logits', output, 'log_probabilities'),
            (OUTSIDE, kernels, 'dot'),
            (STEPS, recurrent, 'forward'),
            (STEPS, recurrent, 'backward'),
            (ALL_PRODUCTS, one_stream.Step, 'run'),
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


def of_calls(function, arguments):
    """Returns the mean seconds of each part of a call.

    Args:
        function: The function.
        arguments (list): The argument of each call.
    """
    with clocked() as found:
        start = time.perf_counter()
        for argument in arguments:
            function(argument)
        whole = time.perf_counter() - start
    found[REST] = whole - sum(found.values())
    return {name: value / len(arguments) for name, value in found.items()}


def floors(n, V, flops):
    """Returns the seconds per word that SGEMM would need in training."""
    layers = 2 * 4 * n * n * models.LAYERS
    return {name: operations / flops for name, operations in (
        (LOSS, 3 * 2 * n * V),
        # Upward: forward, and the gradients of weights and inputs; lateral: that of the
        # weights.
        (OUTSIDE, 4 * layers),
        (STEPS, 2 * layers))}


def floors_without_training(n, V, flops):
    """Returns the seconds per word in evaluation, scoring and generation.

    With one stream the lateral weights are read at each step, in generation all
    weights.  The first are read at the speed of arrays of their size, which may be that
    of a cache.
    """
    layers, output = 2 * 4 * n * n * models.LAYERS, 2 * n * V
    lateral, every = 4 * 4 * n * n, 4 * (2 * 4 * n * n * models.LAYERS + n * V)
    return {
        'evaluation': {LOSS: output / flops, OUTSIDE: layers / flops,
                       STEPS: models.LAYERS * lateral / read_speed(lateral)},
        'scoring': {LOSS: output / flops, OUTSIDE: layers / flops,
                    STEPS: layers / flops},
        'generation': {ALL_PRODUCTS: every / read_speed(every)}}


def read_speed(size):
    """Returns the bytes per second at which all threads read `size` bytes repeatedly.

    Each thread has its own part, and computes scalar products of its halves.
    """
    count, repeats = threads.count(), 20
    parts = numpy.random.RandomState(0).rand(count, 2, size // 8 // count).astype('f')

    def read(k):
        for _ in range(repeats):
            numpy.dot(*parts[k])

    with threadpoolctl.threadpool_limits(1, 'blas'):
        threads.run(read, count)
        took = median([seconds(threads.run, read, count) for _ in range(5)])
    return repeats * size / took
