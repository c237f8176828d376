"""Implementations of `models` in processes of their own, which take turns."""
import contextlib
import multiprocessing
import time

import rnnlm  # noqa: F401

import numpy

import models
from common import median, memory, random_ids, seconds

V, B = 10000, 20
SLOW = 'official', 'per step'
PEAK = 'at peak SGEMM speed'

# Largest differences from Chainer, relative to the loss and to the largest element of a
# gradient.  bfloat16 has 8 bits, so each factor is off by up to 1 in 512.
LIMIT, LIMIT_BFLOAT16 = 1e-4, 2e-2


class Way:
    """An implementation (`models.WAYS`), in a process of its own."""

    def __init__(self, name, sizes, vocabulary=V):
        context = multiprocessing.get_context('spawn')
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=serve, args=(other, name, sizes, vocabulary), daemon=True)
        self._process.start()

    def __call__(self, method, *args):
        """Calls a method; returns its result and the seconds that it took."""
        self._pipe.send((method, args))
        return self._pipe.recv()

    def seconds(self, method, *args):
        """Returns the seconds of a call, after one that is not timed."""
        self(method, *args)
        return self(method, *args)[1]

    def close(self):
        self._pipe.close()
        self._process.join()


def serve(pipe, name, sizes, vocabulary):
    """Makes the model, and executes the calls from a pipe."""
    before = memory('VmHWM')
    way = models.WAYS[name](
        models.make_weights(vocabulary, **sizes), V=vocabulary, **sizes)
    with contextlib.suppress(EOFError):
        while True:
            method, args = pipe.recv()
            start = time.perf_counter()
            if method == 'peak':
                result = (memory('VmHWM') - before) / 2 ** 20
            else:
                result = getattr(way, method)(*args)
            pipe.send((result, time.perf_counter() - start))


@contextlib.contextmanager
def started(ways, sizes, vocabulary=V):
    made = {name: Way(name, sizes, vocabulary) for name in ways}
    try:
        yield made
    finally:
        for way in made.values():
            way.close()


def check(made, sizes):
    """Checks that all implementations compute the same loss and gradients.

    Returns:
        dict: name -> largest difference from Chainer's; and the seconds of the first
        call with torch.compile, which compiles, or None.
    """
    ids = random_ids(sizes['T'], seed=1)
    expected_loss, expected = made['official']('loss_and_gradients', ids)[0]
    worst, compiling = {}, None
    for name, way in made.items():
        (loss, gradients), took = way('loss_and_gradients', ids)
        if name == 'torch compiled':
            compiling = took
        worst[name] = max(abs(loss / expected_loss - 1), *(float(
            abs(g - expected[key]).max() / abs(expected[key]).max())
            for key, g in gradients.items()))
        limit = LIMIT_BFLOAT16 if name == 'torch bfloat16' else LIMIT
        assert worst[name] < limit, (name, sizes, worst[name], limit)
    return worst, compiling


def sgemm_flops():
    """Returns the FLOP/s of a large matrix product."""
    a, b = numpy.random.RandomState(0).rand(2, 2048, 2048).astype('f')
    numpy.dot(a, b)
    return 2 * 2048 ** 3 / median([seconds(numpy.dot, a, b) for _ in range(7)])


def race(made, sizes, rounds, slow_every):
    """Measures seconds per window in turns; slow implementations only in some.

    PEAK is the time that its products would take at the speed of SGEMM in that turn.
    """
    times = {name: [] for name in (PEAK, *made)}
    operations = models.flops_per_word(sizes['n'], V) * sizes['T'] * B
    for turn in range(rounds):
        times[PEAK].append(operations / sgemm_flops())
        for name, way in made.items():
            if name in SLOW and turn % slow_every:
                times[name].append(numpy.nan)
                continue
            way('train', random_ids(sizes['T']))  # not timed
            windows = 1 if name in SLOW else 3
            times[name].append(sum(
                way('train', random_ids(sizes['T']))[1]
                for _ in range(windows)) / windows)
    return {name: numpy.array(t) for name, t in times.items()}
