"""What a run prints: lines that stay, and one line of progress."""
import datetime
import math
import sys
import time

from chainer import training


def say(text):
    print(text, file=Console())


class Console:
    """Standard output that training does not depend on.

    Whatever happens to it, a closed pipe or a full disk, the training goes on.
    The last line may be one that the next text takes the place of.
    """

    def __init__(self):
        self._passing = False

    def write(self, text):
        text = text.replace('\033[J', '')  # of PrintReport, for another progress bar
        if self._passing:
            text = '\r\033[K' + text
        self._passing = False
        self._write(text)

    def pass_by(self, line):
        """Shows a line until the next text comes."""
        self._write('\r\033[K' + line)
        self._passing = True
        self.flush()

    def _write(self, text):
        try:
            sys.stdout.write(text)
        except (OSError, ValueError):
            pass

    def flush(self):
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            pass


class ProgressLine(training.Extension):
    """One line that says how far the training is, how fast, and until when.

    Args:
        console: `Console`, shared with those who print.
        epochs (int): Sweeps in all.
        words (int): Words of a window.
        clock: Seconds, as `time.time`.
    """
    trigger = 1, 'iteration'
    priority = training.PRIORITY_READER

    def __init__(self, console, epochs, words, clock=time.time):
        self._console, self._epochs, self._words = console, epochs, words
        self._clock = clock
        self._shown = self._first = None
        self._loss = None

    def __call__(self, trainer):
        updater = trainer.updater
        now = self._clock(), updater.iteration, updater.epoch_detail
        if self._first is None:
            self._first = self._shown = now
        if now[0] - self._shown[0] < 0.5:
            return
        loss = float(trainer.observation['main/loss'].array)
        self._loss = loss if self._loss is None else 0.8 * self._loss + 0.2 * loss
        seconds, windows, _ = (b - a for a, b in zip(self._shown, now))
        self._shown = now
        left = (now[0] - self._first[0]) * (self._epochs - now[2]) / (
            now[2] - self._first[2])
        self._console.pass_by(
            f'epoch {now[2]:.2f} of {self._epochs}   perplexity '
            f'{math.exp(min(self._loss, 99)):.4g}   '
            f'{windows * self._words / seconds:,.0f} words/s   '
            f'{datetime.timedelta(seconds=round(left))} left')

    def finalize(self):
        self._console.write('')
