"""Trainer extensions: snapshots, the best model, the log, the learning rate."""
import contextlib
import json
import logging
import math
import os

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.errors import NotFinite, require_count, require_positive
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.loading import MISSING
from rnnlm.serializers.model_files import load_model
from rnnlm.serializers.npz import save_npz
from rnnlm.serializers.snapshot_files import snapshot_number, snapshots_in
from rnnlm.training import nan_check, state

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
            hit = nan_check.first_hit(optimizer.target, gradients=False)
            if hit:
                raise NotFinite(
                    f'window {trainer.updater.iteration}: expected finite parameters '
                    f'to save, found NaN or infinity in {hit}; the older snapshots '
                    'are as they were')
        path = os.path.join(trainer.out, f'snapshot_iter_{trainer.updater.iteration}')
        group = getattr(trainer.updater, 'group', SINGLE_PROCESS)
        if not group.is_root:  # give the first what it is to write
            state.serialize(
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


class LearningRateDecay(training.Extension):
    """Divides the learning rate by `decay` in every epoch after `after_epoch`.

    Epoch e = 1, 2, ... is trained with ``lr / decay ** max(0, e - after_epoch)``,
    where ``lr`` is the optimizer's rate at the start.  Chainer's example had it
    until version 1.10, with 1.2 and 6.  The rate survives a resume.

    Args:
        decay (float): Divisor of the learning rate.
        after_epoch (int): Last epoch with the whole learning rate.
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_WRITER + 1  # before the rate is reported

    def __init__(self, decay, after_epoch):
        require_positive('decay', decay)
        require_count('after_epoch', after_epoch, least=0)
        self.decay = decay
        self.after_epoch = after_epoch
        self._lr = None

    def initialize(self, trainer):
        self.scale(trainer, 1)
        self(trainer)

    def __call__(self, trainer):
        passed = max(0, trainer.updater.epoch + 1 - self.after_epoch)
        try:
            rate = self._lr / self.decay ** passed
        except OverflowError:
            rate = 0.0
        except ZeroDivisionError:  # by a divisor below 1
            rate = math.inf
        trainer.updater.get_optimizer('main').lr = rate

    def scale(self, trainer, factor):
        """Multiplies the rates of a trainer, before it is run, by a factor."""
        if self._lr is None:
            self._lr = trainer.updater.get_optimizer('main').lr
        self._lr *= factor

    def serialize(self, serializer):
        try:
            self._lr = serializer('lr', self._lr)
        except MISSING:  # a snapshot of a run without decay
            pass


def add_perplexity(result):
    """Adds 'perplexity' and 'val_perplexity' to an entry of LogReport's log."""
    for name, key in (('perplexity', 'main/loss'),
                      ('val_perplexity', 'validation/main/loss')):
        if key in result:
            with numpy.errstate(over='ignore'):
                result[name] = float(numpy.exp(result[key]))
