"""Files that a run writes as it goes: snapshots, the best model, the log."""
import contextlib
import json
import logging
import math
import os
import time

import chainer
from chainer import training
from chainer.training import extensions, triggers

from rnnlm import finite, resumption
from rnnlm.errors import NotFinite, require, require_count
from rnnlm.parallel import ALONE
from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.loading import MISSING
from rnnlm.serializers.model_files import load_model
from rnnlm.serializers.npz import save_npz
from rnnlm.serializers.snapshot_files import snapshot_number, snapshots_in

logger = logging.getLogger(__name__)


class Snapshot(training.Extension):
    """Writes all of a trainer into ``snapshot_iter_N`` in ``trainer.out``.

    A snapshot stands under its name only when it is whole and on the disk; older ones
    are deleted after that.  One that cannot be written, since the disk is full say, is
    reported, and the training goes on.

    In a group of processes all of them must have it, and the first one writes.

    Args:
        n_retains (int): How many of the newest to keep; None for all.

    Raises:
        rnnlm.errors.NotFinite: in a run, if a parameter is NaN or infinite: such a
            snapshot would be worth nothing, and the older ones are kept.
    """
    trigger = 1, 'epoch'
    priority = -100  # after all others, as in Chainer

    def __init__(self, n_retains=2):
        if n_retains is not None:
            require_count('n_retains', n_retains)
        self.n_retains = n_retains

    def __call__(self, trainer):
        with best_effort('a snapshot'):
            self.write(trainer)

    def write(self, trainer):
        """Writes a snapshot now.

        Returns:
            str: its path.

        Raises:
            OSError: if it cannot be written.
        """
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            hit = finite.first_hit(optimizer.target, gradients=False)
            if hit:
                raise NotFinite(
                    f'window {trainer.updater.iteration}: expected finite parameters '
                    f'to save, found NaN or infinity in {hit}; the older snapshots '
                    'are as they were')
        path = os.path.join(trainer.out, f'snapshot_iter_{trainer.updater.iteration}')
        group = getattr(trainer.updater, 'group', ALONE)
        if not group.is_first:  # give the first what it is to write
            resumption.serialize(
                chainer.serializers.DictionarySerializer(), trainer.updater)
            return path
        save_npz(path, trainer)
        if self.n_retains is not None:
            so_far = [old for old in snapshots_in(trainer.out)
                      if snapshot_number(old) <= trainer.updater.iteration]
            for old in so_far[self.n_retains:]:
                with contextlib.suppress(OSError):
                    os.unlink(old)
        return path


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


class BestModel(training.Extension):
    """Keeps the model of the lowest validation loss in a file.

    While the file cannot be written the model is kept in memory, and each epoch tries
    again.

    Args:
        target: The link to save, a Classifier say.
        path (str): File to write.
        key (str): What is reported of the validation.
    """
    trigger = 1, 'epoch'

    def __init__(self, target, path, key='validation/main/loss'):
        self.target = target
        self.path = path
        self.key = key
        self.loss = math.inf
        self._written = math.inf  # the loss of the model in the file
        self._unwritten = None

    def initialize(self, trainer):
        if self._unwritten is None and not os.path.exists(self.path):
            self.loss = self._written = math.inf  # what a snapshot remembers is gone

    def __call__(self, trainer):
        loss = float(trainer.observation.get(self.key, math.inf))
        if loss < self.loss:
            self.loss = loss
            arrays = chainer.serializers.DictionarySerializer()
            arrays.save(self.target)
            self._unwritten = {
                name: array.copy() for name, array in arrays.target.items()}
        with best_effort(self.path):
            self.write()

    def write(self):
        """Writes the file, if the best model is not in it yet.

        Raises:
            OSError: if it cannot be written.
        """
        if self._unwritten is not None:
            save_npz(self.path, self._unwritten)
            self._unwritten = None
            self._written = self.loss

    def take_over(self, other):
        """Goes on with the best model of another run of the same file, if better."""
        if other.loss < self.loss:
            self.loss, self._written, self._unwritten = (
                other.loss, other._written, other._unwritten)

    def load(self):
        """Gives the target the parameters that were best, if any were."""
        if self._unwritten is not None:
            chainer.serializers.NpzDeserializer(self._unwritten).load(self.target)
        elif self.loss < math.inf:
            load_model(self.path, self.target)

    def serialize(self, serializer):
        try:
            self._written = float(serializer('loss', self._written))
        except MISSING:  # a snapshot of a run without it
            return
        if not isinstance(serializer, chainer.Serializer):
            self.loss = self._written


class Log(extensions.LogReport):
    """Chainer's LogReport, with a file ``log`` that is replaced whole.

    Args:
        trigger, postprocess: As for LogReport.
    """
    default_name = 'LogReport'

    def __init__(self, trigger, postprocess):
        super().__init__(trigger=trigger, postprocess=postprocess)
        self._log_name = None  # the file is written here
        self._n_written = 0

    def __call__(self, trainer):
        super().__call__(trainer)
        if len(self.log) != self._n_written:
            with best_effort('the log'):
                with writing(os.path.join(trainer.out, 'log')) as f:
                    f.write(json.dumps(self.log, indent=4).encode())
                self._n_written = len(self.log)
