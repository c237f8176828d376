"""Terminal output of a training run: settings, table, results and progress bar.

The bar is tqdm's, which adapts to narrow and resized terminals.  An error while writing
output never stops the training.
"""
import contextlib
import json
import math
import os
import shlex
import sys
import time
from typing import Any, Dict, List, Optional, Sequence

from chainer import training
import numpy
import tqdm

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.text import PARTS, UNITS, UNK
from rnnlm.errors import counted, printable
from rnnlm.training import plotting
from rnnlm.training.updater import BPTTUpdater


def columns(corpus: Corpus) -> List[str]:
    """Returns the columns of the table that Chainer's PrintReport prints."""
    unknown = ['val_known', 'val_unknown'] if corpus.unknown_rate('valid') else []
    return ['epoch', 'perplexity', 'val_perplexity', *unknown, 'lr',
            f'{corpus.unit}s/s', 'elapsed_time']


def say(text: str) -> None:
    """Prints a line of a training run."""
    print(printable(text, keep='\n'), file=Console())


def introduce(corpus: Corpus, recipe: Recipe, trainer: training.Trainer,
              resumed: Optional[str], device: Any, notes: Sequence[str] = (),
              initial: bool = False) -> None:
    """Prints what will be trained, and from which snapshot or model.

    Args:
        corpus, recipe, trainer, device: The run.
        resumed: The snapshot that is resumed, or None.
        notes: For a resumed run, descriptions of what has changed; for a new run, of
            the model it starts from.
        initial: Whether the run started from a trained model.
    """
    updater = trainer.updater
    target = updater.get_optimizer('main').target
    softmax = ''
    if recipe.softmax == 'adaptive':
        softmax = f'adaptive softmax {target.predictor.output.cutoffs}, '
    say(f'corpus   {corpus.summary()}')
    say_unknown(corpus, initial)
    say(f'model    {recipe.n_layers} x {recipe.n_units} LSTM units, {softmax}'
        f'{target.count_params():,} parameters, dropout {recipe.dropout:g}')
    if not resumed:
        for note in notes:
            say(f'starts   from {note}')
    group = updater.group
    by = f', {group.size} processes' if group.size > 1 else ''
    size = (f'{recipe.batch_size} sentences, at most' if recipe.sentences
            else f'{recipe.batch_size} x')
    windows = counted(updater.windows_per_epoch, 'window')
    say(f'training {counted(recipe.epochs, "epoch")} of {windows} '
        f'({size} {recipe.bprop_len} {corpus.unit}s) on {device}{by}')
    if recipe.sentences:
        say(f'         the state is reset before each sentence; each {corpus.unit} has '
            'the same weight: loss = sum / batch size')
    say_time(corpus, recipe, updater, device)
    if not plotting.available():
        say('         without perplexity.png: matplotlib cannot be imported')
    if resumed:
        rate = trainer.get_extension('LearningRateDecay').rate(trainer)
        say(f'resumed  {resumed} at window {updater.iteration}, with its random '
            f'state; learning rate {rate:g}')
        if updater.resumed_from != group.size:
            say(f'         (written by {updater.resumed_from} processes, now '
                f'{group.size}: all ranks except 0 get new random states)')
        for note in notes:
            say(f'         {note}')


def say_unknown(corpus: Corpus, initial: bool = False) -> None:
    """Prints the share of unknown tokens in each part, if the vocabulary has <unk>.

    Args:
        corpus: The text.
        initial: Whether the run started from a trained model, which may know <unk>.
    """
    if UNK not in corpus.vocabulary:
        return
    rates = [corpus.unknown_rate(part) for part in PARTS]
    shares = ' / '.join(f'{100 * rate:.3g}%' for rate in rates)
    say(f'unknown  {shares} of the {corpus.unit}s are {UNK}')
    if not rates[0]:
        # These options cannot be combined with a vocabulary.
        given = initial or (corpus.source or {}).get('vocabulary') is not None
        trained = 'not trained on this text' if initial else 'never trained'
        say(f'         {UNK} is not in the training part, and so {trained}: '
            'compare perplexities without it'
            + ('' if given else ', or use --min-count or --vocab-limit'))


# Approximate speed of training as a fraction of that of large matrix products.
EFFICIENCY = 0.4


def say_time(corpus: Corpus, recipe: Recipe, updater: BPTTUpdater, device: Any) -> None:
    """Prints about how long a run will take on this CPU, if more than a minute.

    The estimate is the number of floating point operations for all tokens, divided by
    `EFFICIENCY` times the measured speed of a matrix product.
    """
    if device.xp is not numpy:
        return
    left = max(0.0, recipe.epochs - updater.epoch_detail) * len(corpus.train)
    work = left * recipe.operations(len(corpus.vocabulary)) / updater.group.size
    minutes = work / (EFFICIENCY * _operations_per_second()) / 60
    if minutes < 1:
        return
    about = (counted(round(minutes), 'minute') if minutes < 100
             else counted(round(minutes / 60), 'hour'))
    say(f'         about {about}; reduce with --unit, --epoch or --vocab-limit')


def _operations_per_second() -> float:
    """Measures the speed of a matrix product, the fastest of three runs."""
    a = numpy.full((384, 384), 0.5, 'f')
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        a.dot(a)
        seconds.append(time.perf_counter() - start)
    return 2 * 384 ** 3 / max(min(seconds), 1e-9)


def without_them(known: float) -> str:
    """Formats the perplexity without unknown tokens; '' if there are no others."""
    return '' if math.isnan(known) else f'; {known:.3f} without them'


def say_results(result: Dict[str, Any], out: str) -> None:
    """Prints the perplexities that `rnnlm.train` returned, and what to do next."""
    unit = UNITS[result['tokens']]
    for part in 'valid', 'test':
        rate = result[f'{part}_unknown']
        unknown = '' if not rate else (
            f', with {100 * rate:.3g}% unknown {unit}s'
            + without_them(result[f'{part}_known']))
        say(f'{part:9}perplexity {result[part]:.3f}'
            + bits(result[part], result['tokens'])
            + (', state reset before each sentence' if result.get('sentences') else '')
            + relative_to_limit(result[part], result['limit']) + unknown)
    command = shlex.join(['rnnlm', 'generate', out])
    say(f'written  {out}/; generate text with: {command}')


def bits(perplexity: float, tokens: str) -> str:
    """Formats the perplexity in bits per token, if tokens are characters or bytes."""
    if tokens == 'word':
        return ''
    return f' per {UNITS[tokens]}, {numpy.log2(perplexity):.3f} bits'


def relative_to_limit(perplexity: float, limit: Optional[float]) -> str:
    """Formats a perplexity relative to the lowest possible, if that is known."""
    if limit is None:
        return ''
    above = 100 * (perplexity / limit - 1)
    return f', {above:+.1f}% relative to the lowest possible, {limit:.3f}'


class _Output:
    """Standard output without errors.

    The training continues after a closed pipe or a full disk.  tqdm ignores some of
    these errors, but not a full disk, nor a pipe that is closed while text for it is
    still buffered.
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
    monitor_interval = 0  # no thread that redraws a bar between updates

    def update_to(self, n: int) -> None:
        """Moves the bar to `n` of its total."""
        self.update(n - self.n)


def progress(total: int, unit: str, hidden: bool = False) -> _Bar:
    """Returns a progress bar on standard error, shown if that is a terminal.

    Args:
        total: Value of the bar at the end.
        unit: Unit of `total`, with a leading blank if it is a word.
        hidden: Whether to hide the bar at a terminal too.
    """
    return _Bar(total=total, unit=unit, unit_scale=True, file=sys.stderr,
                dynamic_ncols=True, leave=False,
                disable=hidden or not sys.stderr.isatty())


def to_json(value: Any) -> str:
    """Returns JSON in one line; NaN and infinity, which JSON lacks, become null."""
    # Characters that standard output cannot encode would be lost.
    encoding = getattr(sys.stdout, 'encoding', None) or 'ascii'
    ascii_only = not encoding.lower().replace('-', '').startswith('utf')
    return printable(
        json.dumps(finite(value), ensure_ascii=ascii_only, allow_nan=False))


def finite(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Console:
    """Text stream of complete lines, printed above the progress bar if there is one.

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


# Minimum number of columns of the terminal, and the format that fits.
_FORMATS = ((62, '{desc} |{bar}| {rate_fmt}, {remaining} left'),
            (46, '{desc}, {remaining} left'), (0, '{desc}'))


def _bar_format() -> str:
    """Returns the format of the bar that fits the terminal's current width."""
    columns = 80
    with contextlib.suppress(OSError, ValueError, AttributeError):
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or columns
    return next(form for width, form in _FORMATS if columns >= width)


class ProgressBar(training.Extension):
    """Progress bar with perplexity, speed and time left.

    The perplexity is an exponential moving average over the windows at which the bar
    was drawn.

    Args:
        epochs: Number of epochs.
        words: Words per epoch.
        interval: Seconds between two updates of the bar.
        unit: Name of a token, such as 'word'.
    """
    trigger = 1, 'iteration'
    priority = training.PRIORITY_READER

    def __init__(self, epochs: int, words: int, interval: float = 0.5,
                 unit: str = 'word') -> None:
        self._epochs, self._words, self._interval = epochs, words, interval
        self._unit = unit
        self._bar: Optional[_Bar] = None
        self._loss: Optional[float] = None

    def initialize(self, trainer: Any) -> None:
        self._bar = _Bar(
            total=self._epochs * self._words, initial=self._done(trainer),
            unit=f' {self._unit}s', unit_scale=True, file=_OUTPUT, dynamic_ncols=True,
            leave=False, mininterval=self._interval, miniters=0,
            desc=f'epoch {trainer.updater.epoch_detail:.2f}/{self._epochs}',
            bar_format=_bar_format())

    def __call__(self, trainer: Any) -> None:
        bar = self._bar
        if bar is None or not bar.update(self._done(trainer) - bar.n):
            return
        # Read only when drawn, because on a GPU this waits for the window.
        loss = trainer.observation['main/loss']
        # A tuple holds the loss and its weight, if weights of windows differ.
        loss = float((loss[0] if isinstance(loss, tuple) else loss).array)
        bar.bar_format = _bar_format()
        self._loss = loss if self._loss is None else 0.8 * self._loss + 0.2 * loss
        bar.set_description_str(
            f'epoch {trainer.updater.epoch_detail:.2f}/{self._epochs}, perplexity '
            f'{math.exp(min(self._loss, 99)):.4g}')

    def _done(self, trainer: Any) -> int:
        # The last window may extend beyond the last epoch.
        return round(min(trainer.updater.epoch_detail, self._epochs) * self._words)

    def finalize(self) -> None:
        if self._bar is not None:
            self._bar.close()
