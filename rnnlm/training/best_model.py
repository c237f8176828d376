"""`BestModel`: the model of the best epoch, kept in a file beside the snapshots."""
from __future__ import annotations

import logging
import math
import os
from typing import Any, Optional

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.errors import InputError
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.atomic import best_effort
from rnnlm.serializers.loading import MISSING
from rnnlm.serializers.model_files import load_model
from rnnlm.serializers.npz import about, write_npz

logger = logging.getLogger(__name__)


class BestModel(training.Extension):
    """Trainer extension that saves the model with the lowest validation loss.

    If the file cannot be written, the model is kept in memory and in the snapshots,
    and writing is tried again after each epoch.  If the file is gone when a run is
    resumed, the model is taken from the snapshot of its window, if that is there.

    Args:
        target: The link to save, a Classifier for example.
        path: File to write.  A link there is replaced.
        key: Name of the validation loss among the reported values.

    Attributes:
        loss (float): The lowest validation loss so far.
        window (int or None): The window after which it was found.
    """
    trigger = 1, 'epoch'

    def __init__(self, target: chainer.Link, path: str,
                 key: str = 'validation/main/loss') -> None:
        self.target = target
        self.path = path
        self.key = key
        self.loss = math.inf
        self.window: Optional[int] = None
        self._written: tuple[float, Optional[int]] = math.inf, None  # of the file
        self._unwritten: Optional[dict] = None
        self._lost: Optional[str] = None

    def initialize(self, trainer: training.Trainer) -> None:
        self._find(trainer)
        if self._lost:
            logger.warning('%s; the best model from here on is kept', self._lost)

    def __call__(self, trainer: training.Trainer) -> None:
        loss = float(trainer.observation.get(self.key, math.inf))
        if loss < self.loss:
            self.loss, self.window = loss, _window(trainer)
            self._unwritten = {
                name: array.copy() for name, array in self._arrays().items()}
        with best_effort(self.path):
            self.write()

    def write(self) -> None:
        """Writes the file, if the best model is not in it yet.

        Raises:
            OSError: If it cannot be written.
        """
        if self._unwritten is not None:
            write_npz(self.path, self._unwritten, about(self.target), follow=False)
            self._unwritten = None
            self._written = self.loss, self.window

    def finish(self, trainer: training.Trainer) -> None:
        """Writes the file at the end of a run, if it is not there as it should be.

        Raises:
            OSError: If it cannot be written, or the model is lost.
        """
        self._find(trainer)
        if self._lost and self.loss == math.inf:
            raise OSError(f'{self._lost}; train again, or use a snapshot as the model')
        self.write()

    def take_over(self, other: BestModel) -> None:
        """Takes the best model of another run with the same file, if it is better."""
        if other.loss < self.loss:
            self.loss, self.window, self._written, self._unwritten = (
                other.loss, other.window, other._written, other._unwritten)

    def load(self) -> None:
        """Loads the best parameters into the target, if there are any yet."""
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
        except MISSING:  # a snapshot of a run without it
            return
        self.loss, self.window = self._written
        inner = serializer['unwritten']
        try:
            unwritten = _serialize(inner, *self._written)
        except MISSING:
            return
        self._unwritten = {name: _fitting(name, array, inner(name, None))
                           for name, array in self._arrays().items()}
        self.loss, self.window = unwritten

    def _arrays(self) -> dict:
        """The arrays of the target by name, as a file has them."""
        serializer = chainer.serializers.DictionarySerializer()
        serializer.save(self.target)
        return serializer.target

    def _find(self, trainer: training.Trainer) -> None:
        """Looks for the best model where it was lost from the file."""
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
        snapshot = os.path.join(trainer.out, f'snapshot_iter_{self.window}')
        self._unwritten = self._read(snapshot, 'updater/model:main/')
        if self._unwritten is None:
            self._lost = (
                f'{self.path}: expected the best model, of window '
                f'{"?" if self.window is None else self.window}, found neither it nor '
                'the snapshot of that window')
            self.loss, self.window, self._written = math.inf, None, (math.inf, None)

    def _logged(self, trainer: training.Trainer) -> Optional[int]:
        """The window of the best loss by the log, for snapshots that lack it."""
        for entry in trainer._extensions.values():
            log = (entry.extension.log
                   if isinstance(entry.extension, extensions.LogReport) else ())
            for found in log:
                if found.get(self.key) == self.loss:
                    return found['iteration']
        return None

    def _read(self, path: str, prefix: str) -> Optional[dict]:
        """The arrays of a whole model in a file; None if there is none."""
        if not os.path.isfile(path):
            return None
        try:
            with open_archive(path) as archive:
                archive.verify()
                return {name: _fitting(name, array, archive[prefix + name])
                        for name, array in self._arrays().items()}
        except (InputError, KeyError) as e:
            logger.warning('passed over: %s', e)
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
    """An array from a file, of the shape and the dtype of the model's."""
    if numpy.shape(found) != now.shape or found.dtype.kind != now.dtype.kind:
        raise InputError(
            f'expected {name!r} of {now.dtype} and shape {now.shape}, found another '
            'array')
    return found
