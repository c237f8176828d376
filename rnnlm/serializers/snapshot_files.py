"""Snapshots of a trainer: finding the newest that is whole, and going on from it."""
from __future__ import annotations

import logging
import os
import re
import warnings
from typing import Any, Optional, Union

from chainer import training

from rnnlm.errors import InputError
from rnnlm.serializers.archive import open_verified
from rnnlm.serializers.loading import Deserializer, checked_arrays
from rnnlm.serializers.npz import Npz

logger = logging.getLogger(__name__)


def resume(path: Union[str, os.PathLike], trainer: training.Trainer) -> str:
    """Loads a snapshot of a trainer, written by `Snapshot` or by Chainer 1.11 to 7.8.

    Args:
        path: Snapshot file; or a folder, for the newest undamaged snapshot in it.
        trainer: A trainer with the same optimizer and extensions as the one that was
            saved.

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
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            checked_arrays(npz, f'updater/model:{name}/', optimizer.target)
        _check_batch(npz, trainer.updater.get_iterator('main'))
        try:
            with warnings.catch_warnings():
                # Old snapshots lack the triggers' memory; Chainer guesses it.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                Deserializer(npz).load(trainer)
        except KeyError as e:
            raise InputError(
                f'{path}: expected a snapshot of a run with the same optimizer and '
                f'extensions, found no {e}') from e
        except (TypeError, ValueError, OverflowError, AttributeError) as e:
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
    """The N of a ``snapshot_iter_N``; None for other files."""
    match = re.fullmatch(r'snapshot_iter_(\d+)', os.path.basename(path))
    return int(match.group(1)) if match else None


def is_whole(path: str) -> bool:
    """Whether a file is whole; if not, a warning says what is wrong."""
    try:
        open_verified(path).close()
        return True
    except InputError as e:
        logger.warning('passed over: %s', e)
        return False


def newest_snapshot(folder: str) -> str:
    """Path of the newest snapshot in a folder that is whole.

    Which ones were passed over, and why, is logged as a warning.

    Raises:
        rnnlm.errors.InputError: if there is none.
    """
    paths = snapshots_in(folder)
    for path in paths:
        if is_whole(path):
            return path
    found = f'{len(paths)}, all of them damaged' if paths else 'none'
    raise InputError(
        f'{folder}: expected a whole snapshot_iter_N to go on from, found {found}')


def _check_batch(npz: Npz, iterator: Any) -> None:
    batch = getattr(iterator, 'batch_size', None)
    if 'updater/state/l1/h' in npz:
        shape, _ = npz.describe('updater/state/l1/h')
        # Without a state, None is in its place.
        if batch is not None and shape and shape[:1] != (batch,):
            raise InputError(
                f'{npz.path}: expected a run with the batch size {batch}, found one '
                f'with {shape[0]}; resume it with that one')
