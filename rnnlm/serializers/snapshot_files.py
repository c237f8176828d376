"""Snapshots of a trainer: finding the newest that is whole, and going on from it."""
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

from rnnlm.errors import InputError
from rnnlm.serializers import snapshot_values
from rnnlm.serializers.archive import open_archive, open_verified
from rnnlm.serializers.loading import Deserializer
from rnnlm.serializers.npz import Npz

logger = logging.getLogger(__name__)


def resume(path: Union[str, os.PathLike], trainer: training.Trainer) -> str:
    """Loads a snapshot of a trainer, written by `Snapshot` or by Chainer 1.11 to 7.8.

    Extensions that the snapshot knows nothing of begin anew, and those that the trainer
    does not have are left out; a warning names them.  With another batch size the
    recurrent states begin at zeros and the text goes on where as much of it has been
    read, which a warning says too.

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
        kept = _Kept(trainer)
        try:
            with warnings.catch_warnings(), _tolerating(npz, trainer):
                # Old snapshots lack the triggers' memory; Chainer guesses it.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                Deserializer(npz).load(trainer)
        except InputError:
            kept.restore()
            raise
        except KeyError as e:
            kept.restore()
            raise InputError(
                f'{path}: expected a snapshot of a run with the same optimizer and '
                f'extensions of the same kinds, found no {e}') from e
        except Exception as e:  # whatever an extension makes of a value
            kept.restore()
            raise InputError(
                f'{path}: expected a snapshot that fits this trainer, found one that '
                f'does not ({type(e).__name__}: {e})') from e
    return path


def snapshots_in(folder: str) -> list[str]:
    """Paths of the ``snapshot_iter_N`` in a folder, that of the most windows first.

    Raises:
        rnnlm.errors.InputError: if there is no such folder.
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
    """The N of a ``snapshot_iter_N``, as it is written; None for other files."""
    match = re.fullmatch(r'snapshot_iter_(0|[1-9][0-9]*)', os.path.basename(path))
    return int(match.group(1)) if match else None


def is_whole(path: str) -> bool:
    """Whether a snapshot of a trainer is whole; if not, a warning says what is wrong.
    """
    if not os.path.isfile(path):  # a pipe would be waited for
        logger.warning('passed over: %s: expected a file, found another thing', path)
        return False
    try:
        with open_verified(path) as archive:
            if 'updater/iteration' not in archive:
                raise InputError(
                    f'{path}: expected a snapshot of a trainer, found another file')
        return True
    except InputError as e:
        logger.warning('passed over: %s', e)
        return False


def newest_snapshot(folder: str) -> str:
    """Path of the newest snapshot in a folder that is whole.

    That of the most windows, by what is in the files ``snapshot_iter_N`` and
    ``snapshot_epoch_N``, perhaps with ``.npz`` or ``.h5`` behind.  Which ones were
    passed over, and why, is logged as a warning.

    Raises:
        rnnlm.errors.InputError: if there is none.
    """
    paths = all_snapshots_in(folder)
    for path in paths:
        if is_whole(path):
            return path
    found = f'{len(paths)}, all of them damaged' if paths else 'none'
    raise InputError(
        f'{folder}: expected a whole snapshot_iter_N to go on from, found {found}')


class _Kept:
    """What a trainer holds, to be put back if a snapshot turns out not to fit."""

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
            return  # saving it would be an exchange; a job of several ends by the error
        saved, start = chainer.serializers.DictionarySerializer(), trainer._start_at
        trainer._start_at = 0.0  # one that does not run yet has no time to save
        try:
            saved.save(trainer)
            self._arrays = {
                name: numpy.array(array) for name, array in saved.target.items()}
        except Exception as e:  # of an extension that cannot be saved before the run
            logger.debug('not kept: %s', e)
        finally:
            trainer._start_at = start

    def restore(self) -> None:
        """Puts it back."""
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
    """Paths of the snapshots in a folder, of any of the names people give them.

    That of the most windows comes first; a name counts where a file cannot be read.
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
    """The number of windows that a snapshot is of; None if the file does not say."""
    if not os.path.isfile(path):
        return None
    try:
        with open_archive(path) as archive:
            found = archive['updater/iteration']
            return int(found) if snapshot_values.is_count(found) else None
    except (InputError, KeyError, ValueError):
        return None


@contextlib.contextmanager
def _tolerating(npz: Npz, trainer: training.Trainer) -> Iterator[None]:
    """While a snapshot is loaded: leaves out what it knows nothing of.

    An extension, a trigger or a stop trigger that is new then begins anew.
    """
    new = []
    group = getattr(trainer.updater, 'group', None)
    tell = logger.info if group and not group.is_root else logger.warning
    entries, stop_trigger = trainer._extensions, trainer.stop_trigger
    trainer._extensions = type(entries)()
    for name, entry in entries.items():
        left = _Entry(entry.extension, entry.trigger)
        if _is_new(npz, f'extensions/{name}', entry.extension):
            tell('%s: nothing is saved of the extension %s, which begins anew',
                 npz.path, name)
            new.append(entry.extension)
            left.extension = None
        if _is_new(npz, f'extension_triggers/{name}', entry.trigger):
            new.append(entry.trigger)
            left.trigger = None
        trainer._extensions[name] = left
    if _is_new(npz, 'stop_trigger', stop_trigger):
        tell('%s: nothing is saved of the stop trigger, which begins anew', npz.path)
        new.append(stop_trigger)
        trainer.stop_trigger = None
    known = tuple(f'extensions/{name}/' for name in entries)
    gone = {key.split('/')[1] for key in npz
            if key.startswith('extensions/') and not key.startswith(known)}
    for name in sorted(gone):
        tell('%s: what is saved of the extension %s is left out; the trainer does not '
             'have it', npz.path, name)
    try:
        yield
    finally:
        trainer._extensions, trainer.stop_trigger = entries, stop_trigger
    for thing in new:
        with contextlib.suppress(KeyError):
            # Chainer's triggers guess what they would have seen until now.
            thing.serialize(Deserializer({}))


class _Entry:
    """As much of an entry of a trainer's extensions as is loaded."""

    def __init__(self, extension: Any, trigger: Any) -> None:
        self.extension = extension
        self.trigger = trigger


def _is_new(npz: Npz, path: str, thing: Any) -> bool:
    """Whether something has a memory, and a snapshot has nothing of it."""
    if not hasattr(thing, 'serialize'):
        return False
    memory = chainer.serializers.DictionarySerializer()
    try:
        thing.serialize(memory)
    except Exception:  # others' code, which may not be ready to be saved
        return False
    return bool(memory.target) and not any(
        f'{path}/{name}' in npz for name in memory.target)
