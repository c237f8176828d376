"""`LearningRateDecay`: the learning rate of each epoch."""
from __future__ import annotations

import math
from typing import Any, Optional

import chainer
from chainer import training

from rnnlm.errors import InputError, require_count, require_divisor, require_positive
from rnnlm.serializers.loading import MISSING


class LearningRateDecay(training.Extension):
    """Trainer extension that divides the learning rate, by epoch and on a plateau.

    Epoch e = 1, 2, ... is trained with ``lr / decay ** max(0, e - after_epoch)``,
    where ``lr`` is the optimizer's rate at the start (Adam's alpha).  Chainer's example
    did this until version 1.10, with 1.2 and 6.  After each epoch whose validation loss
    is not the lowest so far, ``lr`` itself is divided by `on_plateau`.  The rate and
    everything that it depends on are saved in snapshots.

    Args:
        decay: Divisor of the learning rate, above 0.
        after_epoch: Last epoch with the full learning rate.
        on_plateau: Divisor after an epoch without improvement, at least 1.
        key: Name of the validation loss among the reported values.

    Attributes:
        best (float): The lowest validation loss so far.
        waited (int): Number of epochs since then.

    Raises:
        rnnlm.InputError: If an argument is out of range; in a run, if the optimizer has
            no learning rate, such as AdaDelta.

    References:
        Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization"
        (2014), https://arxiv.org/abs/1409.2329
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_EDITOR  # after evaluation, before writing

    def __init__(self, decay: float, after_epoch: int, on_plateau: float = 1.0,
                 key: str = 'validation/main/loss') -> None:
        require_positive('decay', decay)
        require_count('after_epoch', after_epoch, least=0)
        require_divisor('on_plateau', on_plateau)
        self.decay = decay
        self.after_epoch = after_epoch
        self.on_plateau = on_plateau
        self.key = key
        self.best = math.inf
        self.waited = 0
        self._lr: Optional[float] = None
        self._since = 0  # first epoch with `_lr`, if it was changed later

    def initialize(self, trainer: training.Trainer) -> None:
        self._remember(trainer)
        self._set(trainer)

    def _remember(self, trainer: training.Trainer) -> None:
        """Remembers the first learning rate, unless one was resumed."""
        if self._lr is None:
            optimizer = trainer.updater.get_optimizer('main')
            self._lr = float(getattr(optimizer, rate_name(optimizer)))

    def __call__(self, trainer: training.Trainer) -> None:
        assert self._lr is not None  # set by initialize
        if self.key in trainer.observation:
            loss = float(trainer.observation[self.key])
            if loss < self.best:
                self.best, self.waited = loss, 0
            else:
                self.waited += 1
                self._lr /= self.on_plateau
        self._set(trainer)

    def rate(self, trainer: training.Trainer) -> float:
        """Returns the learning rate of a trainer's current epoch."""
        self._remember(trainer)
        return self._of_epoch(
            trainer.updater.epoch + 1, self.decay, self.after_epoch)

    def scale(self, trainer: training.Trainer, factor: float) -> None:
        """Multiplies the learning rates of a trainer that is not running."""
        self._remember(trainer)
        assert self._lr is not None
        self._lr *= factor

    def apply_changes(self, trainer: training.Trainer, decay: float, after_epoch: int,
                      lr: Optional[float] = None) -> None:
        """Applies changed settings of a resumed run from the current epoch on.

        Earlier epochs are not affected.  Calling it again has no effect.

        Args:
            trainer: The trainer, which has resumed a snapshot but is not running yet.
            decay, after_epoch: The settings of the earlier epochs.
            lr: The rate of the current epoch; if None, that of the previous epoch,
                divided according to `decay` and `after_epoch` of this extension.
        """
        self._remember(trainer)
        behind = trainer.updater.epoch
        if lr is not None:
            self._lr, self._since = lr, behind + 1
        else:
            self._lr, self._since = (
                self._of_epoch(behind, decay, after_epoch), behind)

    def _of_epoch(self, epoch: int, decay: float, after_epoch: int) -> float:
        assert self._lr is not None
        passed = max(0, epoch - max(after_epoch, self._since))
        try:
            return self._lr / decay ** passed
        except OverflowError:
            return 0.0
        except ZeroDivisionError:  # a divisor below 1
            return math.inf

    def _set(self, trainer: training.Trainer) -> None:
        optimizer = trainer.updater.get_optimizer('main')
        setattr(optimizer, rate_name(optimizer), self.rate(trainer))

    def serialize(self, serializer: Any) -> None:
        try:
            lr = serializer('lr', self._lr)
        except MISSING:  # a snapshot of a run without decay
            return
        self._lr = None if lr is None else float(lr)  # in a file it may be an integer
        try:
            self._since = int(serializer('since', self._since))
            self.best = float(serializer('best', self.best))
            self.waited = int(serializer('waited', self.waited))
        except MISSING:  # a snapshot of an older version
            self._since, self.best, self.waited = 0, math.inf, 0


def rate_name(optimizer: chainer.Optimizer) -> str:
    """Returns the name of an optimizer's learning rate: lr, or alpha for Adam."""
    for name in 'lr', 'alpha':
        if name in optimizer.hyperparam.get_dict():
            return name
    raise InputError(
        f'optimizer: expected one with a learning rate, found '
        f'{type(optimizer).__name__}; omit LearningRateDecay')
