"""Triggers: when a snapshot is due, when to report, when to stop."""
from __future__ import annotations

import math
import time
from typing import Any, Callable, Optional

import chainer
from chainer.training import triggers

from rnnlm.errors import require, require_count


class SnapshotTrigger:
    """Trigger that fires at the end of each epoch, and after a time within it.

    Args:
        seconds: Time since it last fired after which it fires; 0 for every window.
        clock: Function that returns the time in seconds.

    Raises:
        rnnlm.InputError: If `seconds` is negative or not a number.
    """

    def __init__(self, seconds: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        require('seconds', seconds, 'a number of at least 0', lambda v: v >= 0)
        self.seconds = seconds
        self._clock = clock
        self._last = clock()

    def __call__(self, trainer: chainer.training.Trainer) -> bool:
        now = self._clock()
        if trainer.updater.is_new_epoch or now - self._last >= self.seconds:
            self._last = now
            return True
        return False


class EarlyStoppingTrigger(triggers.EarlyStoppingTrigger):
    """Chainer's EarlyStoppingTrigger, whose state is saved in snapshots.

    Its arguments are those of :class:`chainer.training.triggers.EarlyStoppingTrigger`;
    a run that is resumed stops at the same epoch as one that was not interrupted.
    """
    _trainer: Optional[chainer.training.Trainer] = None
    _asked: Optional[int] = None
    _pending: Optional[float] = None
    count: int
    best: Any

    def __call__(self, trainer: chainer.training.Trainer) -> bool:
        if self._pending is not None:
            trainer.observation.setdefault(self.monitor, self._pending)
        self._trainer, self._asked = trainer, trainer.updater.iteration
        self._pending = None
        return super().__call__(trainer)

    def serialize(self, serializer: Any) -> None:
        # A window's snapshot is written before the stop trigger is called for it.
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
    """Stop trigger that fires after a number of epochs, or without improvement.

    It has no state: a resumed run ends according to the arguments of the new trigger.

    Args:
        epochs: Maximum number of epochs.
        patience: If given, the run also ends after so many epochs in a row without a
            lower validation loss, as the trainer's `LearningRateDecay` counts them.

    Raises:
        rnnlm.InputError: If an argument is not an int of at least 1.
    """

    def __init__(self, epochs: int, patience: Optional[int] = None) -> None:
        require_count('epochs', epochs)
        if patience is not None:
            require_count('patience', patience)
        self.epochs = epochs
        self.patience = patience

    def __call__(self, trainer: chainer.training.Trainer) -> bool:
        return trainer.updater.epoch >= self.epochs or self.is_early(trainer)

    def is_early(self, trainer: chainer.training.Trainer) -> bool:
        """Returns whether the run ends for lack of improvement."""
        return self.patience is not None and (
            trainer.get_extension('LearningRateDecay').waited >= self.patience)

    def get_training_length(self) -> tuple[int, str]:
        return self.epochs, 'epoch'


class ReportTrigger:
    """Trigger that fires at the end of each epoch, and every `interval` windows.

    With Chainer's interval trigger alone, the last evaluation of a run would be
    missing in the log.

    Args:
        interval: Number of windows; None for the ends of epochs alone.

    Raises:
        rnnlm.InputError: Unless `interval` is None or an int of at least 1.
    """

    def __init__(self, interval: Optional[int] = None) -> None:
        if interval is not None:
            require_count('interval', interval)
        self.interval = interval

    def __call__(self, trainer: chainer.training.Trainer) -> bool:
        return trainer.updater.is_new_epoch or (
            self.interval is not None
            and trainer.updater.iteration % self.interval == 0)
