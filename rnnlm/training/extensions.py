"""Trainer extensions: snapshots and the log."""
from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Callable, Optional

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.errors import InputError, NotFinite, require_count
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.npz import save_npz
from rnnlm.serializers.snapshot_files import snapshot_number, snapshots_in
from rnnlm.training import nan_check, state


class Snapshot(training.Extension):
    """Trainer extension that saves the trainer as ``snapshot_iter_N`` each epoch.

    A snapshot appears under its name only when it is complete and on the disk; older
    ones are deleted after that.  If it cannot be written, for example because the disk
    is full, a warning is logged and training continues.

    In a group of processes all of them need the extension, and rank 0 writes the file.

    Args:
        n_retains: How many of the newest snapshots to keep; None for all.

    Raises:
        rnnlm.InputError: If `n_retains` is not None or an int of at least 1.
        rnnlm.NotFinite: In a run, if a parameter is NaN or infinite; older snapshots
            are kept.
    """
    trigger = 1, 'epoch'
    priority = -100  # after all others, as in Chainer

    def __init__(self, n_retains: Optional[int] = 2) -> None:
        if n_retains is not None:
            require_count('n_retains', n_retains)
        self.n_retains = n_retains
        self._due = False  # the last one could not be written

    def __call__(self, trainer: training.Trainer) -> None:
        self._due = True
        with best_effort('a snapshot'):
            self.write(trainer)

    def finish(self, trainer: training.Trainer) -> None:
        """Writes the last snapshot of a run if that was not possible before.

        Raises:
            OSError: If it still cannot be written.
        """
        group = getattr(trainer.updater, 'group', SINGLE_PROCESS)
        if group.on_root(lambda: self._due):
            group.on_all(lambda: self.write(trainer))

    def write(self, trainer: training.Trainer) -> str:
        """Writes a snapshot now.

        Returns:
            Its path.

        Raises:
            OSError: If it cannot be written.
            rnnlm.NotFinite: If a parameter is NaN or infinite.
        """
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            hit = nan_check.first_hit(optimizer.target, gradients=False)
            if hit:
                raise NotFinite(
                    f'window {trainer.updater.iteration}: expected finite parameters '
                    f'to save, found NaN or infinity in {hit}; the older snapshots '
                    'are unchanged')
        path = os.path.join(trainer.out, f'snapshot_iter_{trainer.updater.iteration}')
        group = getattr(trainer.updater, 'group', SINGLE_PROCESS)
        if not group.is_root:  # send their data to rank 0
            state.serialize(
                chainer.serializers.DictionarySerializer(), trainer.updater)
            return path
        save_npz(path, trainer, follow=False)
        self._due = False
        if self.n_retains is not None:
            self._delete_old(trainer)
        return path

    def _delete_old(self, trainer: training.Trainer) -> None:
        with contextlib.suppress(InputError):  # a folder that cannot be listed
            so_far = [old for old in snapshots_in(trainer.out)
                      if snapshot_number(old) <= trainer.updater.iteration
                      and os.path.isfile(old)]
            for old in so_far[self.n_retains:]:
                with contextlib.suppress(OSError):
                    os.unlink(old)


class Log(extensions.LogReport):
    """Chainer's LogReport, whose file is replaced atomically.

    Args:
        trigger: When an entry is added, as for
            :class:`chainer.training.extensions.LogReport`.
        postprocess: Function called with each entry, a dict, which it may change; for
            example `rnnlm.add_perplexity`.
        filename: Name of the file in the trainer's folder.  Two logs need two names.
    """
    default_name = 'LogReport'

    def __init__(self, trigger: Any = (1, 'epoch'),
                 postprocess: Optional[Callable[[dict], object]] = None,
                 filename: str = 'log') -> None:
        super().__init__(trigger=trigger, postprocess=postprocess)
        self._log_name = None  # the file is written here
        self._filename = filename
        self._n_written = 0

    def __call__(self, trainer: training.Trainer) -> None:
        super().__call__(trainer)
        with best_effort('the log'):
            self.finish(trainer)

    def finish(self, trainer: training.Trainer) -> None:
        """Writes the file if it lacks entries.

        Raises:
            OSError: If it cannot be written.
        """
        if len(self.log) != self._n_written:
            with writing(os.path.join(trainer.out, self._filename), follow=False) as f:
                f.write(json.dumps(self.log, indent=4).encode())
            self._n_written = len(self.log)


def add_perplexity(result: dict) -> None:
    """Adds the perplexities to an entry of the log; a postprocess for `Log`.

    Args:
        result: The entry, changed in place: 'perplexity' is exp of 'main/loss',
            'val_perplexity' that of 'validation/main/loss', and 'val_known', the
            perplexity of known words, that of 'validation/main/known_loss', if these
            are in the entry.

    Example:
        >>> entry = {'main/loss': 4.0}
        >>> rnnlm.add_perplexity(entry)
        >>> round(entry['perplexity'], 3)
        54.598
    """
    for name, key in (('perplexity', 'main/loss'),
                      ('val_perplexity', 'validation/main/loss'),
                      ('val_known', 'validation/main/known_loss')):
        if key in result:
            with numpy.errstate(over='ignore'):
                result[name] = float(numpy.exp(result[key]))
