"""`run`: runs a trainer, and saves a snapshot when a signal stops it."""
from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import threading
from typing import Any, Callable, Optional, Sequence

from chainer import training

from rnnlm.errors import NotFinite
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.atomic import best_effort, make_folder
from rnnlm.serializers.snapshot_files import (
    all_snapshots_in, newest_snapshot, resume)
from rnnlm.training.best_model import BestModel
from rnnlm.training.extensions import Log, Snapshot
from rnnlm.training.plotting import PerplexityPlot

logger = logging.getLogger(__name__)


def run(trainer: training.Trainer,
        autoload: bool = False) -> tuple[int, Optional[str]]:
    """Runs a trainer, and saves a snapshot if a signal stops it.

    The first SIGINT, SIGTERM, SIGHUP or (on Windows, by Ctrl-Break) SIGBREAK ends the
    run after the current window and writes ``snapshot_iter_N`` into ``trainer.out``;
    the second one stops at once.  In a group of processes, a signal to any of them
    stops all after the same window.

    Args:
        trainer: The trainer.
        autoload: If true, first resumes from the newest undamaged snapshot in
            ``trainer.out``, if there is one: the ``snapshot_iter_N`` or
            ``snapshot_epoch_N`` with most windows.

    Returns:
        The number of the signal, or 0 if the training was completed; and the path of
        the snapshot, or None.

    Raises:
        OSError: If the snapshot cannot be written, or at the end a file of `Snapshot`,
            `BestModel`, `Log` or `PerplexityPlot`; older snapshots are kept.
        rnnlm.NotFinite: If a loss, a gradient or a parameter is NaN or infinite.

    Example:
        >>> model = chainer.links.Classifier(rnnlm.RNNForLM(n_vocab=10, n_units=8))
        >>> optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
        >>> iterator = rnnlm.ParallelSequentialIterator([1, 2, 3] * 50, batch_size=5)
        >>> updater = rnnlm.BPTTUpdater(iterator, optimizer, bprop_len=10)
        >>> trainer = chainer.training.Trainer(updater, (2, 'epoch'), out='result')
        >>> rnnlm.run(trainer)
        (0, None)
        >>> trainer.updater.iteration
        6
    """
    group = getattr(trainer.updater, 'group', SINGLE_PROCESS)
    if autoload:
        newest = group.on_root(lambda: newest_snapshot(trainer.out) if os.path.isdir(
            trainer.out) and all_snapshots_in(trainer.out) else None)
        if newest:
            group.on_all(lambda: resume(newest, trainer))
    with best_effort(trainer.out):
        make_folder(trainer.out)
    if threading.current_thread() is not threading.main_thread():
        trainer.run(show_loop_exception_msg=False)
        _finish(trainer, group)
        return 0, None
    # Signals set a flag; the stop trigger reads it between windows.
    given = trainer.stop_trigger
    stop = trainer.stop_trigger = _StopTrigger(given, group)
    # Signals that are ignored, as in a script's background job, stay ignored.  A
    # handler that is None was not set in Python, and cannot be restored.
    stop.before = {number: signal.getsignal(number) for number in _STOP_SIGNALS
                   if signal.getsignal(number) not in (signal.SIG_IGN, None)}
    for number in stop.before:
        signal.signal(number, stop.receive)
    try:
        trainer.run(show_loop_exception_msg=False)
        if stop.over or not stop.signal:
            _finish(trainer, group)
            return 0, None
        return stop.signal, Snapshot(n_retains=None).write(trainer)
    except NotFinite as e:
        e.signal = group.agree_on_signal(stop.received)
        raise
    finally:
        if trainer.stop_trigger is stop:
            trainer.stop_trigger = given
        for number, handler in stop.before.items():
            signal.signal(number, handler)


def _finish(trainer: training.Trainer, group: Any) -> None:
    """Writes files at the end of a run that could not be written during it.

    Raises:
        OSError: If one still cannot be written; the others are written first.
    """
    added = [entry.extension for entry in trainer._extensions.values()]
    # Each process has a part of a snapshot, so all of them write together.
    works: list[Callable[[], object]] = [
        functools.partial(extension.finish, trainer)
        for extension in added if isinstance(extension, Snapshot)]
    works.append(lambda: group.on_root(lambda: _attempt([
        functools.partial(extension.finish, trainer) for extension in added
        if isinstance(extension, (BestModel, Log, PerplexityPlot))])))
    _attempt(works)


def _attempt(works: Sequence[Callable[[], object]]) -> None:
    """Calls all functions, and then raises the first OSError."""
    errors = []
    for work in works:
        try:
            work()
        except OSError as e:
            errors.append(e)
    for error in errors[1:]:
        logger.warning('%s', error)
    if errors:
        raise errors[0]


# No system has all of these.
_STOP_SIGNALS = [getattr(signal, name)
                 for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK')
                 if hasattr(signal, name)]


class _StopTrigger:
    """Stop trigger that also fires after a signal.

    The trainer's loop reads its trigger once.  After this the trainer has the original
    trigger again, so that extensions see and change that one.
    """

    before: dict

    def __init__(self, trigger: Any, group: Any) -> None:
        self._trigger = trigger
        self._group = group
        self.received = 0
        self.signal = 0  # as agreed by all processes of the group
        self.over = False  # whether the original trigger has fired

    def receive(self, number: int, frame: object) -> None:
        self.received = number
        for other, handler in self.before.items():
            signal.signal(other, handler)
        if not self._group.is_root:
            return
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write(
                f'\n{signal.Signals(number).name}: finishing the window, then saving a '
                'snapshot; repeat to stop at once\n')

    def __call__(self, trainer: training.Trainer) -> bool:
        if trainer.stop_trigger is self:
            trainer.stop_trigger = self._trigger
        self.over = self._trigger(trainer)
        self.signal = self._group.agree_on_signal(self.received)
        return self.over or bool(self.signal)

    def __getattr__(self, name: str) -> Any:
        if name == '_trigger':  # before it is set
            raise AttributeError(name)
        return getattr(self._trigger, name)  # for example get_training_length
