"""Chainer's step-by-step loop: the target is called once for each step."""
from collections.abc import Iterator
import contextlib

import chainer
from chainer.reporter import report
import numpy

from rnnlm.chain import language_model


def loss_by_steps(updater, loss_func):
    """Computes the loss of a window, summed over its steps, as Chainer's examples/ptb.

    Each step's reports would overwrite the previous ones.  So this reports their means
    over the window, with the type that was reported; without a mean, the last value.

    Args:
        updater: `BPTTUpdater`.
        loss_func: Function that computes the loss of a step, usually the target.

    Returns:
        Variable: A scalar.
    """
    iterator = updater.get_iterator('main')
    device = updater.input_device
    target = updater.get_optimizer('main').target
    if device is None and target.xp is not numpy:
        device = target.device  # without it the words would stay on the host
    model = language_model(target)
    if model is not None:
        model._end_window()  # steps since the last one
    reports = Means()
    loss = 0
    for _ in range(updater.bprop_len):
        batch = updater.converter(iterator.__next__(), device)
        with reports.of_a_step():
            loss += _call(loss_func, batch)
    reports.report()
    return loss


def _call(loss_func, batch):
    """Passes a batch as `StandardUpdater` does: arrays, by position or by name.

    Chainer's example unpacks any two elements, such as the rows of an array.
    """
    if isinstance(batch, dict):
        return loss_func(**batch)
    if isinstance(batch, (tuple, list, Iterator)) or (
            getattr(batch, 'shape', ())[:1] == (2,)):
        return loss_func(*batch)
    return loss_func(batch)


class Means:
    """Computes the means of values reported in several steps."""

    def __init__(self):
        self._sums, self._counts, self._last = {}, {}, {}

    @contextlib.contextmanager
    def of_a_step(self):
        """Collects what is reported in a step, instead of reporting it."""
        observation = {}
        try:
            scope = chainer.get_current_reporter().scope(observation)
        except IndexError:  # outside of a trainer there is no reporter
            scope = contextlib.nullcontext()
        with scope:
            yield
        for name, value in observation.items():
            number = getattr(value, 'array', value)
            if name in self._sums and _is_number(number) and _is_number(
                    self._sums[name]):
                # Not on Variables, because a function hook would see the additions.
                self._sums[name] = self._sums[name] + number
                self._counts[name] += 1
            else:
                self._sums[name], self._counts[name] = number, 1
            self._last[name] = value

    def report(self):
        """Reports the mean of each value."""
        report({name: self._mean(name) for name in self._last})

    def _mean(self, name):
        if self._counts[name] == 1:
            return self._last[name]
        mean = self._sums[name] / self._counts[name]
        is_variable = isinstance(self._last[name], chainer.Variable)
        return chainer.Variable(self._last[name].xp.asarray(mean)) if (
            is_variable) else mean


def _is_number(value):
    return getattr(value, 'shape', None) == () or isinstance(value, (int, float))
