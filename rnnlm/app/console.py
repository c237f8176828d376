"""What a training run prints: its settings, a table, results, and a progress bar.

The bar is tqdm's, which knows about narrow and resized terminals.  What is here besides
keeps the training independent of its output.
"""
import contextlib
import math
import os
import sys
from typing import Any, Dict, List, Optional, Sequence

from chainer import training
import tqdm

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.errors import printable
from rnnlm.training import plotting
from rnnlm.training.updater import BPTTUpdater


# Of the table, as Chainer's PrintReport prints it.
COLUMNS = ['epoch', 'perplexity', 'val_perplexity', 'lr', 'words/s', 'elapsed_time']


def open_closed_streams() -> List[str]:
    """Opens the null device in place of the standard streams that are closed.

    Else the next file that is opened, a snapshot say, would get the number of one, and
    what some library prints would go into it.

    Returns:
        The names of those that were closed, 'stdout' for example.
    """
    closed = []
    for number, (name, mode) in enumerate((('stdin', 'r'), ('stdout', 'w'),
                                           ('stderr', 'w'))):
        if getattr(sys, name) is None:
            closed.append(name)
            if not _is_open(number):
                os.open(os.devnull, os.O_RDWR)  # which has this number, the lowest
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))
    return closed


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def complain(text: str) -> None:
    """Prints a line on standard error, if that is possible."""
    with contextlib.suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)
    let_go(sys.stderr)


def let_go(stream: Any) -> None:
    """Drops what a stream cannot write, which else fails once more at the exit."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Prints a line of a training run."""
    print(printable(text, keep='\n'), file=Console())


def introduce(corpus: Corpus, recipe: Recipe, updater: BPTTUpdater,
              resumed: Optional[str], device: Any, changed: Sequence[str] = ()
              ) -> None:
    """Prints what is going to be trained, and the snapshot that it resumes if any.

    Args:
        corpus, recipe, updater, device: The run.
        resumed: The snapshot that it resumes, or None.
        changed: What computes it otherwise than before, in words.
    """
    windows = len(corpus.train) / (recipe.batch_size * recipe.bprop_len)
    n_params = updater.get_optimizer('main').target.count_params()
    say(f'corpus   {corpus.summary()}')
    say(f'model    {recipe.n_layers} x {recipe.n_units} LSTM units, '
        f'{n_params:,} parameters, dropout {recipe.dropout:g}')
    group = updater.group
    by = f', {group.size} processes' if group.size > 1 else ''
    say(f'training {recipe.epochs} epochs of {windows:,.0f} windows '
        f'({recipe.batch_size} x {recipe.bprop_len} words) on {device}{by}')
    if not plotting.available():
        say('         without perplexity.png: matplotlib cannot be imported')
    if resumed:
        say(f'resumed  {resumed} at window {updater.iteration}, with its learning rate '
            'and random numbers')
        if updater.resumed_from != group.size:
            say(f'         (written by {updater.resumed_from} processes, now '
                f'{group.size}: all but rank 0 draw new random numbers)')
        for what in changed:
            say(f'         {what}; the numbers differ by rounding')


def say_results(result: Dict[str, Any], out: str) -> None:
    """Prints the perplexities that `rnnlm.train` returned, and what to do next."""
    for part in 'valid', 'test':
        say(f'{part:9}perplexity {result[part]:.3f}'
            + relative_to_limit(result[part], result['limit']))
    say(f'written  {out}/; generate text with: rnnlm generate {out}')


def relative_to_limit(perplexity: float, limit: Optional[float]) -> str:
    """How far a perplexity is from the lowest possible, if that is known."""
    if limit is None:
        return ''
    above = 100 * (perplexity / limit - 1)
    return f', {above:+.1f}% relative to the lowest possible, {limit:.3f}'


class _Output:
    """Standard output, whose errors are ignored.

    Whatever happens to it, a closed pipe or a full disk, the training continues.  tqdm
    ignores some of these errors, but not a full disk, nor a pipe that is closed while
    text for it is still buffered.
    """

    def write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
        except (OSError, ValueError):
            pass

    def flush(self) -> None:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            pass

    def __getattr__(self, name: str) -> Any:  # tqdm asks for its encoding and width
        return getattr(sys.stdout, name)


_OUTPUT = _Output()


class _Bar(tqdm.tqdm):
    monitor_interval = 0  # no thread that wakes a bar whose updates are rare


class Console:
    """A text stream of whole lines, printed above the progress bar if there is one.

    `chainer.training.extensions.PrintReport` writes its lines in pieces; the bar must
    not come between them.
    """

    def __init__(self) -> None:
        self._line = ''

    def write(self, text: str) -> None:
        # PrintReport clears the screen below it for Chainer's progress bar.
        self._line += text.replace('\033[J', '')
        lines, newline, self._line = self._line.rpartition('\n')
        if newline:
            with _Bar.external_write_mode(file=_OUTPUT):
                _OUTPUT.write(printable(lines, keep='\n\t') + newline)

    def flush(self) -> None:
        _OUTPUT.flush()


class ProgressBar(training.Extension):
    """A progress bar with the perplexity, the speed and the time left.

    The perplexity is an exponential moving average over the windows at which the bar
    was drawn.

    Args:
        epochs: Epochs in all.
        words: Words of an epoch.
        interval: Seconds between two updates of the bar.
    """
    trigger = 1, 'iteration'
    priority = training.PRIORITY_READER

    def __init__(self, epochs: int, words: int, interval: float = 0.5) -> None:
        self._epochs, self._words, self._interval = epochs, words, interval
        self._bar: Optional[_Bar] = None
        self._loss: Optional[float] = None

    def initialize(self, trainer: Any) -> None:
        self._bar = _Bar(
            total=self._epochs * self._words, initial=self._done(trainer),
            unit=' words', unit_scale=True, file=_OUTPUT, dynamic_ncols=True,
            leave=False, mininterval=self._interval, miniters=0,
            desc=f'epoch {trainer.updater.epoch_detail:.2f}/{self._epochs}',
            bar_format='{desc} |{bar}| {rate_fmt}, {remaining} left')

    def __call__(self, trainer: Any) -> None:
        bar = self._bar
        if bar is None or not bar.update(self._done(trainer) - bar.n):
            return
        # Only now: on a GPU it waits until the window is computed.
        loss = float(trainer.observation['main/loss'].array)
        self._loss = loss if self._loss is None else 0.8 * self._loss + 0.2 * loss
        bar.set_description_str(
            f'epoch {trainer.updater.epoch_detail:.2f}/{self._epochs}, perplexity '
            f'{math.exp(min(self._loss, 99)):.4g}')

    def _done(self, trainer: Any) -> int:
        # The last window may reach into the epoch after the last.
        return round(min(trainer.updater.epoch_detail, self._epochs) * self._words)

    def finalize(self) -> None:
        if self._bar is not None:
            self._bar.close()
