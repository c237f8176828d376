"""Triggers: when a snapshot is due, when to report, when to stop."""
import math
import time

import chainer
from chainer.training import triggers

from rnnlm.errors import require, require_count


class SnapshotTrigger:
    """Fires at the end of each epoch, and whenever some time has passed.

    Args:
        seconds (float): Time; 0 for every window.
        clock: Seconds, as `time.monotonic`.
    """

    def __init__(self, seconds, clock=time.monotonic):
        require('seconds', seconds, 'a number of at least 0', lambda v: v >= 0)
        self.seconds = seconds
        self._clock = clock
        self._last = clock()

    def __call__(self, trainer):
        now = self._clock()
        if trainer.updater.is_new_epoch or now - self._last >= self.seconds:
            self._last = now
            return True
        return False


class EarlyStoppingTrigger(triggers.EarlyStoppingTrigger):
    """Chainer's, with its memory in the snapshots."""
    _trainer = _asked = _pending = None

    def __call__(self, trainer):
        if self._pending is not None:
            trainer.observation.setdefault(self.monitor, self._pending)
        self._trainer, self._asked = trainer, trainer.updater.iteration
        self._pending = None
        return super().__call__(trainer)

    def serialize(self, serializer):
        # A window's snapshot is written before this is asked about the window.
        value = self._pending
        if self._trainer and self._asked != self._trainer.updater.iteration:
            value = self._trainer.observation.get(self.monitor)
            value = None if value is None else float(getattr(value, 'array', value))
        value = serializer('pending', math.nan if value is None else value)
        if not isinstance(serializer, chainer.Serializer):
            self._pending = None if math.isnan(value) else float(value)
        for name in '_interval_trigger', '_max_trigger', '_summary':
            part = getattr(self, name)
            if hasattr(part, 'serialize'):
                part.serialize(serializer[name.strip('_')])
        self.count = serializer('count', self.count)
        self.best = serializer('best', self.best)


class EpochsTrigger:
    """Stops a trainer after some epochs; unlike Chainer's it has no memory.

    A run that goes on with another number of epochs ends after that many.

    Args:
        epochs (int): Their number.
    """

    def __init__(self, epochs):
        require_count('epochs', epochs)
        self.epochs = epochs

    def __call__(self, trainer):
        return trainer.updater.epoch >= self.epochs

    def get_training_length(self):
        return self.epochs, 'epoch'


class ReportTrigger:
    """Fires at the end of each epoch, and every `interval` windows.

    Chainer's interval trigger alone would leave the last evaluation of a run out of
    the log.

    Args:
        interval (int): Number of windows; None for epochs alone.
    """

    def __init__(self, interval=None):
        if interval is not None:
            require_count('interval', interval)
        self.interval = interval

    def __call__(self, trainer):
        return trainer.updater.is_new_epoch or (
            self.interval is not None
            and trainer.updater.iteration % self.interval == 0)
