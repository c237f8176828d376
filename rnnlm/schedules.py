"""When something happens in a run, and at which learning rate."""
import math

from chainer import training
import numpy

from rnnlm.errors import require_count, require_positive
from rnnlm.serializers.loading import MISSING


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


def add_perplexity(result):
    """Adds 'perplexity' and 'val_perplexity' to an entry of LogReport's log."""
    for name, key in (('perplexity', 'main/loss'),
                      ('val_perplexity', 'validation/main/loss')):
        if key in result:
            with numpy.errstate(over='ignore'):
                result[name] = float(numpy.exp(result[key]))
