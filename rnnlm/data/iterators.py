"""`ParallelSequentialIterator`: one long text, read in parallel streams."""
from __future__ import annotations

import logging
from typing import Any, Optional

import chainer
import numpy

from rnnlm import unaltered
from rnnlm.data import flat
from rnnlm.data.text import Ids
from rnnlm.errors import InputError, require_count, require_ids

logger = logging.getLogger(__name__)

# Datasets whose elements are the same each time they are read.  Of other datasets only
# the elements that Chainer's iterator would read are read.
SEQUENCES = numpy.ndarray, numpy.memmap, list, tuple, range


@unaltered.record
class ParallelSequentialIterator(chainer.dataset.Iterator):
    """Iterator over a sequence of word ids in `batch_size` parallel streams.

    Stream b starts at ``b * len(dataset) // batch_size``.  Each step advances all
    streams by one word, wrapping around at the end.  An epoch ends when the streams
    together have read as many words as the dataset has.

    ``next(iterator)`` returns one step as in Chainer's examples/ptb, a list of
    (word, next word).  `next_window` returns many steps as one array.

    Args:
        dataset: Ids (N,).  If there are fewer words than streams, several streams start
            at the same word, and a warning is logged.
        batch_size: Number of streams B.
        repeat: If false, the iterator stops after one epoch.
        rows: The streams to return, if other processes read the others; by default all.
            Epochs are counted over all streams.

    Attributes:
        epoch (int): Number of completed epochs.
        is_new_epoch (bool): Whether an epoch ended in the last call.
        iteration (int): Number of steps read.
        offsets (list of int): Start positions of the streams.
        whole (numpy.ndarray): The last window of all streams, int32 (T + 1, B).

    Raises:
        rnnlm.InputError: If the dataset is not a sequence of ints or is empty, or
            `batch_size` is less than 1.

    Example:
        >>> iterator = rnnlm.ParallelSequentialIterator([10, 11, 12, 13], batch_size=2)
        >>> iterator.next_window(2)  # two streams, which start with 10 and 12
        array([[10, 12],
               [11, 13],
               [12, 10]], dtype=int32)
        >>> iterator.epoch
        1
    """

    def __init__(self, dataset: Ids, batch_size: int, repeat: bool = True,
                 rows: slice = slice(None)) -> None:
        require_count('batch_size', batch_size)
        if has_ids(dataset) or not _is_dataset(dataset):
            require_ids('dataset', dataset)
        length = len(dataset)
        if not length:
            raise InputError('dataset: expected at least one word, found none')
        if length < batch_size:
            logger.warning('%d streams of %d words: some start at the same word',
                           batch_size, length)
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeat = repeat
        self.rows = rows
        self.offsets = [b * length // batch_size for b in range(batch_size)]
        self._restart()

    def reset(self) -> None:
        """Restarts from the beginning."""
        self._restart()

    def _restart(self) -> None:
        self.epoch = 0
        self.is_new_epoch = False
        self.iteration = 0
        self._previous_epoch_detail: Optional[float] = None
        self.whole: Optional[numpy.ndarray] = None
        self._unreleased = 0  # ids of a mapped file read since its pages were released

    def __next__(self) -> list[tuple]:
        if self._left() == 0:
            raise StopIteration
        words = self.get_words()
        self._previous_epoch_detail = self.epoch_detail
        self.iteration += 1
        next_words = self.get_words()
        self._count_epochs()
        return list(zip(words, next_words))

    def get_words(self) -> list:
        """Returns the current word of each stream."""
        n_words = len(self.dataset)
        return [self.dataset[(offset + self.iteration) % n_words]
                for offset in self.offsets[self.rows]]

    def next_window(self, length: int) -> numpy.ndarray:
        """Returns the next `length` steps of all streams.

        It counts as one call: `is_new_epoch` is true if an epoch ended anywhere in the
        window, and `previous_epoch_detail` is the value at its start.

        Args:
            length: Number of steps T, at least 1.

        Returns:
            int32 (T + 1, B), or fewer streams with `rows`; rows t and t + 1 are the
            words of step t and the words to predict.  Without `repeat` the last window
            may be shorter.

        Raises:
            StopIteration: Without `repeat`, after one epoch.
        """
        require_count('length', length)
        left = self._left()
        if left == 0:
            raise StopIteration
        if left is not None:
            length = min(length, left)
        steps = numpy.arange(self.iteration, self.iteration + length + 1)
        places = (steps[:, None] + numpy.asarray(self.offsets)) % len(self.dataset)
        self.whole = self._words_at(places)
        self._unreleased += places.size
        if self._unreleased > flat.MOST_PAGED:
            self._unreleased = 0
            flat.release_pages(self.dataset)

        self._previous_epoch_detail = self.epoch_detail
        self.iteration += length
        self._count_epochs()
        return self.whole[:, self.rows]

    def _words_at(self, places: numpy.ndarray) -> numpy.ndarray:
        """Reads the words at `places`; again each time, as they can change.

        Returns int32, or words that are no such ids unchanged, to be refused.
        """
        if isinstance(self.dataset, numpy.ndarray):
            words = self.dataset[places]
        else:
            words = numpy.asarray([self.dataset[k] for k in places.ravel().tolist()])
            words = words.reshape(places.shape)
        if words.dtype.kind not in 'iu':
            return words
        ids = words.astype(numpy.int32, copy=False)
        return ids if ids is words or (ids == words).all() else words

    def _left(self) -> Optional[int]:
        """Returns the number of steps left; None if there is no end."""
        if self.repeat:
            return None
        return max(0, -(-len(self.dataset) // self.batch_size) - self.iteration)

    def _count_epochs(self) -> None:
        epoch = self.iteration * self.batch_size // len(self.dataset)
        self.is_new_epoch = self.epoch < epoch
        if self.is_new_epoch:
            self.epoch = epoch

    @property
    def epoch_detail(self) -> float:
        """Number of epochs, with the fraction of the current one."""
        return self.iteration * self.batch_size / len(self.dataset)

    @property
    def current_position(self) -> int:
        """Same as `iteration`, for Chainer's progress bars."""
        return self.iteration

    @property
    def previous_epoch_detail(self) -> Optional[float]:
        """`epoch_detail` before the last call; None before the first."""
        return self._previous_epoch_detail

    def serialize(self, serializer: Any) -> None:
        self.iteration = serializer('iteration', self.iteration)
        self.epoch = serializer('epoch', self.epoch)
        # In a file, -1 stands for None.
        previous = self._previous_epoch_detail
        previous = -1.0 if previous is None else previous
        try:
            previous = serializer('previous_epoch_detail', previous)
        except KeyError:
            # Snapshots of Chainer 1 lack it; its value was that of one step before.
            previous = (self.iteration - 1) * self.batch_size / len(self.dataset)
        self._previous_epoch_detail = None if previous < 0 else previous


def has_ids(dataset: Any) -> bool:
    """Returns whether all elements of a dataset are known in advance."""
    return type(dataset) in SEQUENCES and getattr(dataset, 'dtype', int) != object


def _is_dataset(value: Any) -> bool:
    """Returns whether a value may be a Chainer dataset, with unknown elements."""
    return hasattr(value, '__len__') and hasattr(value, '__getitem__') and not (
        isinstance(value, (str, dict)))
