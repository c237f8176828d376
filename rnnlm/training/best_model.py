"""`BestModel`: an extension that saves the model of the best epoch."""
from __future__ import annotations

import logging
import math
import os
from typing import Any, Optional, Union

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.errors import InputError, require
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.atomic import best_effort
from rnnlm.serializers.loading import MISSING
from rnnlm.serializers.model_files import load_model
from rnnlm.serializers.npz import about, write_npz
from rnnlm.training.averaging import WeightAverage

logger = logging.getLogger(__name__)


class BestModel(training.Extension):
    """Trainer extension that saves the model with the lowest validation loss.

    If the file cannot be written, the model is kept in memory and in the snapshots,
    and writing is retried after each epoch.  If the file is missing when a run is
    resumed, the model is read from the snapshot of its window, if there is one.

    Args:
        target: The link to save, for example a Classifier.
        path: File to write.  A symbolic link there is replaced.
        key: Name of the validation loss among the reported values.
        saved_as: Prefix of the target's names in snapshots; or the `WeightAverage`
            whose average the target is.

    Attributes:
        loss (float): The lowest validation loss so far.
        window (int or None): The window after which it was found.

    Raises:
        rnnlm.InputError: If the target is not a link or the path is not a name; by
            `initialize`, if it is a folder, or in a folder that does not exist.
    """
    trigger = 1, 'epoch'

    def __init__(self, target: chainer.Link, path: str,
                 key: str = 'validation/main/loss',
                 saved_as: Union[str, WeightAverage] = 'updater/model:main/') -> None:
        require('target', target, 'a link', lambda v: isinstance(v, chainer.Link))
        require('path', path, 'the name of a file',
                lambda v: isinstance(v, (str, os.PathLike)))
        self.target = target
        self.path = os.fspath(path)
        self.key = key
        self.saved_as = saved_as
        self.loss = math.inf
        self.window: Optional[int] = None
        self._written: tuple[float, Optional[int]] = math.inf, None  # in the file
        self._unwritten: Optional[dict] = None
        self._lost: Optional[str] = None

    def initialize(self, trainer: training.Trainer) -> None:
        require('path', self.path, 'a file in a folder that exists',
                lambda v: os.path.isdir(os.path.dirname(os.path.abspath(v)))
                and not os.path.isdir(v))
        self._find(trainer)
        if self._lost:
            logger.warning('%s; the best model from now on is kept', self._lost)

    def __call__(self, trainer: training.Trainer) -> None:
        # An epoch without validation leaves the best model as it is.
        loss = float(trainer.observation.get(self.key, math.inf))
        if loss < self.loss:
            self.loss, self.window = loss, _window(trainer)
            self._unwritten = {
                name: array.copy() for name, array in self._arrays().items()}
        with best_effort(self.path):
            self.write()

    def write(self) -> None:
        """Writes the file, unless the best model is already in it.

        Raises:
            OSError: If it cannot be written.
        """
        if self._unwritten is not None:
            write_npz(self.path, self._unwritten, about(self.target), follow=False)
            self._unwritten = None
            self._written = self.loss, self.window

    def finish(self, trainer: training.Trainer) -> None:
        """Writes the file at the end of a run, if it is missing or out of date.

        Raises:
            OSError: If it cannot be written, or the model is lost.
        """
        self._find(trainer)
        if self._lost and self.loss == math.inf:
            raise OSError(f'{self._lost}; train again, or use a snapshot as the model')
        if self.loss == math.inf and trainer.updater.epoch:
            logger.warning('no best model: %s was not reported at the end of an epoch',
                           self.key)
        self.write()

    def take_over(self, other: BestModel) -> None:
        """Adopts the best model of another run with the same file, if it is better."""
        if other.loss < self.loss:
            self.loss, self.window, self._written, self._unwritten = (
                other.loss, other.window, other._written, other._unwritten)

    def load(self) -> None:
        """Loads the best parameters into the target, if there are any."""
        if self._unwritten is not None:
            chainer.serializers.NpzDeserializer(self._unwritten).load(self.target)
        elif self.loss < math.inf:
            load_model(self.path, self.target)

    def serialize(self, serializer: Any) -> None:
        if isinstance(serializer, chainer.Serializer):
            _serialize(serializer, *self._written)
            if self._unwritten is not None:
                inner = serializer['unwritten']
                _serialize(inner, self.loss, self.window)
                for name, array in self._unwritten.items():
                    inner(name, array)
            return
        self._unwritten = None
        try:
            self._written = _serialize(serializer, *self._written)
        except MISSING:  # snapshot of a run without this extension
            return
        self.loss, self.window = self._written
        inner = serializer['unwritten']
        try:
            unwritten = _serialize(inner, *self._written)
        except MISSING:
            return
        # The model that could not be written was saved in the snapshot.
        self._unwritten = {name: _fitting(name, array, inner(name, None))
                           for name, array in self._arrays().items()}
        self.loss, self.window = unwritten

    def _arrays(self) -> dict:
        """Returns the arrays of the target, by their names in a file."""
        serializer = chainer.serializers.DictionarySerializer()
        serializer.save(self.target)
        return serializer.target

    def _find(self, trainer: training.Trainer) -> None:
        """Looks for the best model elsewhere if it is missing from the file."""
        if self._unwritten is not None or self.loss == math.inf:
            return
        if self._read(self.path, '') is not None:
            return
        if self.window is None:
            self.window = self._logged(trainer)
        if self.window is not None and self.window == _window(trainer):
            self._unwritten = {
                name: array.copy() for name, array in self._arrays().items()}
            return
        # The snapshot of the best window has the same parameters.
        snapshot = os.path.join(trainer.out, f'snapshot_iter_{self.window}')
        self._unwritten = self._read(snapshot, str(
            getattr(self.saved_as, 'saved_as', self.saved_as)))
        if self._unwritten is None:
            self._lost = (
                f'{self.path}: expected the best model, of window '
                f'{"?" if self.window is None else self.window}, found neither it nor '
                'the snapshot of that window')
            self.loss, self.window, self._written = math.inf, None, (math.inf, None)

    def _logged(self, trainer: training.Trainer) -> Optional[int]:
        """Returns the window of the best loss from the log, if a snapshot lacks it."""
        for entry in trainer._extensions.values():
            log = (entry.extension.log
                   if isinstance(entry.extension, extensions.LogReport) else ())
            for found in log:
                if found.get(self.key) == self.loss:
                    return found['iteration']
        return None

    def _read(self, path: str, prefix: str) -> Optional[dict]:
        """Returns the arrays of an undamaged model file; None if there is none."""
        if not os.path.isfile(path):
            return None
        try:
            with open_archive(path) as archive:
                archive.verify()
                return {name: _fitting(name, array, archive[prefix + name])
                        for name, array in self._arrays().items()}
        except (InputError, KeyError) as e:
            missing = f'{path}: lacks {e}' if isinstance(e, KeyError) else e
            logger.warning('skipped: %s', missing)
            return None


def _window(trainer: Any) -> Optional[int]:
    return getattr(getattr(trainer, 'updater', None), 'iteration', None)


def _serialize(serializer: Any, loss: float, window: Optional[int]
               ) -> tuple[float, Optional[int]]:
    """Saves or loads a loss and its window, which older snapshots lack."""
    loss = float(serializer('loss', loss))
    try:
        window = int(serializer('window', -1 if window is None else window))
    except MISSING:
        window = -1
    return loss, None if window < 0 else window


def _fitting(name: str, now: numpy.ndarray, found: Any) -> numpy.ndarray:
    """Returns an array from a file, after checking its shape and dtype."""
    if numpy.shape(found) != now.shape or found.dtype.kind != now.dtype.kind:
        raise InputError(
            f'expected {name!r} of {now.dtype} and shape {now.shape}, found another '
            'array')
    return found
