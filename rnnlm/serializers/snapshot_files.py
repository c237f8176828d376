"""Finding the newest undamaged snapshot of a trainer, and resuming from it."""
from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from typing import Any, Iterator, Optional, Union

import chainer
from chainer import training
import numpy

from rnnlm.errors import InputError, printable
from rnnlm.serializers import snapshot_values
from rnnlm.serializers.archive import open_archive, open_verified
from rnnlm.serializers.loading import Deserializer
from rnnlm.serializers.model_files import (
    names_in_files, refuse_extra, unknown_names)
from rnnlm.serializers.npz import Npz

logger = logging.getLogger(__name__)


def resume(path: Union[str, os.PathLike], trainer: training.Trainer) -> str:
    """Loads a snapshot of a trainer, written by `Snapshot` or by Chainer 1.11 to 7.8.

    Extensions that the snapshot lacks start from their initial state; saved extensions
    that the trainer lacks are ignored; a warning names both.  If the batch size
    differs, the recurrent states start at zero and training continues at the same
    position of the epoch, again with a warning.

    Args:
        path: Snapshot file; or a folder, for the newest undamaged snapshot in it.
        trainer: A trainer with a model of the same sizes and the same optimizer as the
            one that was saved.

    Returns:
        The path of the snapshot.

    Raises:
        rnnlm.InputError: If the file cannot be read, is damaged or not a snapshot, or
            does not fit the trainer.

    Example:
        >>> def make_trainer(epochs):
        ...     model = chainer.links.Classifier(rnnlm.RNNForLM(n_vocab=10, n_units=8))
        ...     optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
        ...     words = rnnlm.ParallelSequentialIterator([1, 2, 3] * 50, batch_size=5)
        ...     updater = rnnlm.BPTTUpdater(words, optimizer, bprop_len=10)
        ...     trainer = chainer.training.Trainer(updater, (epochs, 'epoch'), 'run')
        ...     trainer.extend(rnnlm.Snapshot())
        ...     return trainer
        >>> make_trainer(epochs=1).run()
        >>> trainer = make_trainer(epochs=2)
        >>> rnnlm.resume('run/snapshot_iter_3', trainer)
        'run/snapshot_iter_3'
        >>> trainer.updater.epoch
        1
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        path = newest_snapshot(path)
    with open_verified(path) as npz:
        if 'updater/iteration' not in npz:
            raise InputError(
                f'{path}: expected a snapshot of a trainer (snapshot_iter_N), found a '
                'file without updater/iteration; is it a model?')
        snapshot_values.check(npz, trainer)
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            extra = unknown_names(npz, f'updater/model:{name}/',
                                  names_in_files(optimizer.target))
            if extra:
                refuse_extra(npz, extra)
        backup = _Backup(trainer)
        try:
            with warnings.catch_warnings(), _ignoring_missing(npz, trainer):
                # Old snapshots lack the state of triggers, which Chainer then guesses.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                Deserializer(npz).load(trainer)
            _check_states_used(npz, trainer)
        except InputError:
            backup.restore()
            raise
        except KeyError as e:
            backup.restore()
            raise InputError(
                f'{path}: expected a snapshot of a run with the same optimizer and '
                f'extensions of the same kinds, found no {e}') from e
        except Exception as e:  # an extension can raise anything for a bad value
            backup.restore()
            raise InputError(
                f'{path}: expected a snapshot that fits this trainer, found one that '
                f'does not ({type(e).__name__}: {e})') from e
    return path


def _check_states_used(npz: Npz, trainer: training.Trainer) -> None:
    """Raises InputError for the state of another optimizer, such as Adam's for SGD."""
    saved: dict[str, set[str]] = {}
    for key in npz:
        folder, _, name = key.rpartition('/')
        saved.setdefault(folder, set()).add(name)
    for name, optimizer in trainer.updater.get_all_optimizers().items():
        for path, param in optimizer.target.namedparams():
            rule = param.update_rule
            if not all(type(thing).__module__.startswith('chainer.')
                       for thing in (optimizer, rule)):
                continue  # it may save anything
            folder = f'updater/optimizer:{name}{path}'
            for value in sorted(saved.get(folder, ())):
                if value not in (rule.state or {}) and not hasattr(rule, value):
                    raise InputError(
                        f'{npz.path}: expected a snapshot of a run with the same '
                        f'optimizer, {type(optimizer).__name__}, found '
                        f'{printable(folder, 200)}/{printable(value, 80)}, which it '
                        'does not have')


def snapshots_in(folder: str) -> list[str]:
    """Returns the paths of all ``snapshot_iter_N`` in a folder, largest N first.

    Raises:
        rnnlm.errors.InputError: If the folder does not exist.
    """
    try:
        names = os.listdir(folder)
    except OSError as e:
        raise InputError(
            f'{folder}: expected the folder of a run, found: {e.strerror}') from None
    numbers = {name: snapshot_number(name) for name in names}
    return [os.path.join(folder, name) for _, name in sorted(
        ((number, name) for name, number in numbers.items() if number is not None),
        reverse=True)]


def snapshot_number(path: str) -> Optional[int]:
    """Returns the N of a file name ``snapshot_iter_N``; None for other names."""
    match = re.fullmatch(r'snapshot_iter_(0|[1-9][0-9]*)', os.path.basename(path))
    return int(match.group(1)) if match else None


def is_undamaged(path: str) -> bool:
    """Returns whether a snapshot is undamaged; if not, logs a warning with the reason.
    """
    if not os.path.isfile(path):  # opening a pipe would block
        logger.warning('skipped: %s: expected a file, found something else', path)
        return False
    try:
        with open_verified(path) as archive:
            if 'updater/iteration' not in archive:
                raise InputError(
                    f'{path}: expected a snapshot of a trainer, found another file')
        return True
    except InputError as e:
        logger.warning('skipped: %s', e)
        return False


def newest_snapshot(folder: str) -> str:
    """Returns the path of the newest undamaged snapshot in a folder.

    The newest is the one with most windows, read from the files ``snapshot_iter_N`` and
    ``snapshot_epoch_N``, optionally with ``.npz`` or ``.h5`` appended.  A warning is
    logged for each snapshot that is skipped, with the reason.

    Raises:
        rnnlm.errors.InputError: If there is none.
    """
    paths = all_snapshots_in(folder)
    for path in paths:
        if is_undamaged(path):
            return path
    found = f'{len(paths)}, all of them damaged' if paths else 'none'
    raise InputError(
        f'{folder}: expected an undamaged snapshot_iter_N to resume, found {found}')


class _Backup:
    """Copy of a trainer's state, to restore it if a snapshot does not fit."""

    def __init__(self, trainer: training.Trainer) -> None:
        self._trainer = trainer
        self._arrays: Optional[dict] = None
        self._seconds = trainer._snapshot_elapsed_time
        self._rules = [
            param.update_rule
            for optimizer in trainer.updater.get_all_optimizers().values()
            for param in optimizer.target.params()
            if getattr(param.update_rule, '_state', 0) is None]
        group = getattr(trainer.updater, 'group', None)
        if group is not None and group.size > 1:
            return  # saving would communicate, and a parallel run ends on this error
        saved, start = chainer.serializers.DictionarySerializer(), trainer._start_at
        trainer._start_at = 0.0  # before the run starts there is no time to save
        try:
            saved.save(trainer)
            self._arrays = {
                name: numpy.array(array) for name, array in saved.target.items()}
        except Exception as e:  # an extension that cannot be saved before the run
            logger.debug('no backup: %s', e)
        finally:
            trainer._start_at = start

    def restore(self) -> None:
        """Restores the state."""
        if self._arrays is None:
            return
        for rule in self._rules:
            rule._state = None
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter('ignore')
            chainer.serializers.NpzDeserializer(
                self._arrays, strict=False).load(self._trainer)
        self._trainer._snapshot_elapsed_time = self._seconds


def all_snapshots_in(folder: str) -> list[str]:
    """Returns the paths of the snapshots in a folder, under any of the usual names.

    The one with most windows comes first; if a file cannot be read, its name counts.
    """
    iterations = {path: snapshot_number(path) for path in snapshots_in(folder)}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if re.fullmatch(r'snapshot_(iter|epoch)_[0-9]+(\.(npz|h5|hdf5))?', name):
            inside = window_in(path)
            if inside is not None:
                iterations[path] = inside
    return sorted(iterations, key=lambda path: (iterations[path], path), reverse=True)


def window_in(path: str) -> Optional[int]:
    """Returns the number of windows stored in a snapshot; None if it has none."""
    if not os.path.isfile(path):
        return None
    try:
        with open_archive(path) as archive:
            found = archive['updater/iteration']
            return int(found) if snapshot_values.is_count(found) else None
    except (InputError, KeyError, ValueError):
        return None


@contextlib.contextmanager
def _ignoring_missing(npz: Npz, trainer: training.Trainer) -> Iterator[None]:
    """Ignores extensions and triggers that a snapshot lacks, while it is loaded.

    They then start from their initial state.
    """
    new = []
    group = getattr(trainer.updater, 'group', None)
    tell = logger.info if group and not group.is_root else logger.warning
    # Chainer's loader fails on missing entries.  So while it runs, the trainer only has
    # the extensions and triggers that the snapshot has.
    entries, stop_trigger = trainer._extensions, trainer.stop_trigger
    trainer._extensions = type(entries)()
    for name, entry in entries.items():
        left = _Entry(entry.extension, entry.trigger)
        if _is_new(npz, f'extensions/{name}', entry.extension):
            tell('%s: the snapshot lacks the extension %s, which starts afresh',
                 npz.path, name)
            new.append(entry.extension)
            left.extension = None
        if _is_new(npz, f'extension_triggers/{name}', entry.trigger):
            new.append(entry.trigger)
            left.trigger = None
        trainer._extensions[name] = left
    if _is_new(npz, 'stop_trigger', stop_trigger):
        tell('%s: the snapshot lacks the stop trigger, which starts afresh', npz.path)
        new.append(stop_trigger)
        trainer.stop_trigger = None
    known = tuple(f'extensions/{name}/' for name in entries)
    gone = {key.split('/')[1] for key in npz
            if key.startswith('extensions/') and not key.startswith(known)}
    for name in sorted(gone):
        tell('%s: ignored the saved extension %s, which the trainer does not have',
             npz.path, name)
    try:
        yield
    finally:
        trainer._extensions, trainer.stop_trigger = entries, stop_trigger
    for thing in new:
        with contextlib.suppress(KeyError):
            # Chainer's triggers then guess their state.
            thing.serialize(Deserializer({}))


class _Entry:
    """Stand-in for an entry of a trainer's extensions, with the parts to be loaded."""

    def __init__(self, extension: Any, trigger: Any) -> None:
        self.extension = extension
        self.trigger = trigger


def _is_new(npz: Npz, path: str, thing: Any) -> bool:
    """Returns whether an object has state to load, and the snapshot has none of it."""
    if not hasattr(thing, 'serialize'):
        return False
    memory = chainer.serializers.DictionarySerializer()
    try:
        thing.serialize(memory)
    except Exception:  # foreign code, which may not be ready to be saved
        return False
    return bool(memory.target) and not any(
        f'{path}/{name}' in npz for name in memory.target)
