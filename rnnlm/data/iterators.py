"""`ParallelSequentialIterator`: one long text, read in parallel streams."""
from __future__ import annotations

from typing import Any, Optional

import chainer
import numpy

from rnnlm.data.text import Ids
from rnnlm.errors import InputError, require_count, require_ids


class ParallelSequentialIterator(chainer.dataset.Iterator):
    """Iterator over a sequence of word ids in `batch_size` parallel streams.

    Stream b starts at ``b * len(dataset) // batch_size``; every step moves all streams
    by one word, and past the end they continue at the beginning.  An epoch is over
    when the streams together have read as many words as the dataset has.

    ``next(iterator)`` gives one step as in Chainer's examples/ptb, a list of
    (word, next word).  `next_window` gives many steps as one array.

    Args:
        dataset: Ids (N,), at least one for each stream.
        batch_size: Number of streams B.
        repeat: If false, the iterator stops after one epoch.
        rows: The streams to give, where other processes read the others; all by
            default.  Epochs are counted over all streams.

    Attributes:
        epoch (int): Number of epochs that are over.
        is_new_epoch (bool): Whether an epoch ended in the last call.
        iteration (int): Number of steps read.
        offsets (list of int): Where the streams start.
        whole (numpy.ndarray): int32 (T + 1, B), the last window of all streams.

    Raises:
        rnnlm.InputError: If the dataset is not a sequence of ints, or `batch_size` is
            less than 1 or more than N.

    Example:
        >>> iterator = rnnlm.ParallelSequentialIterator([10, 11, 12, 13], batch_size=2)
        >>> iterator.next_window(2)  # two streams, which begin with 10 and 12
        array([[10, 12],
               [11, 13],
               [12, 10]], dtype=int32)
        >>> iterator.epoch
        1
    """

    def __init__(self, dataset: Ids, batch_size: int, repeat: bool = True,
                 rows: slice = slice(None)) -> None:
        require_count('batch_size', batch_size)
        self._ids = require_ids('dataset', dataset).astype(numpy.int32, copy=False)
        length = len(dataset)
        if length < batch_size:
            raise InputError(
                f'dataset: expected at least one word for each of the {batch_size} '
                f'streams, found {length} words; use a smaller batch size or a longer '
                'text')
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeat = repeat
        self.rows = rows
        self.offsets = [b * length // batch_size for b in range(batch_size)]
        self.reset()

    def reset(self) -> None:
        """Restarts at the beginning."""
        self.epoch = 0
        self.is_new_epoch = False
        self.iteration = 0
        self._previous_epoch_detail: Optional[float] = None
        self.whole: Optional[numpy.ndarray] = None

    def __next__(self) -> list[tuple]:
        words, next_words = self.next_window(1)
        # NumPy's own ints, as the official iterator gives for an array.
        return list(zip(words, next_words))

    def next_window(self, length: int) -> numpy.ndarray:
        """The next `length` steps of all streams.

        Counts as one call: `is_new_epoch` says whether an epoch ended anywhere in
        the window, `previous_epoch_detail` is that of its beginning.

        Args:
            length: Number of steps T, at least 1.

        Returns:
            int32 (T + 1, B), or of fewer streams with `rows`; rows t and t + 1 are the
            words of step t and the words to predict.  Without `repeat` the last window
            may be shorter.

        Raises:
            StopIteration: Without `repeat`, after one epoch.
        """
        require_count('length', length)
        n_words = len(self.dataset)
        if not self.repeat:
            left = -(-n_words // self.batch_size) - self.iteration
            if left <= 0:
                raise StopIteration
            length = min(length, left)
        steps = numpy.arange(self.iteration, self.iteration + length + 1)
        whole = self._ids[(steps[:, None] + numpy.asarray(self.offsets)) % n_words]
        self.whole = whole

        self._previous_epoch_detail = self.epoch_detail
        self.iteration += length
        epoch = self.iteration * self.batch_size // n_words
        self.is_new_epoch = self.epoch < epoch
        self.epoch = max(self.epoch, epoch)
        return whole[:, self.rows]

    @property
    def epoch_detail(self) -> float:
        """Number of epochs, with the fraction of the current one."""
        return self.iteration * self.batch_size / len(self.dataset)

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
            # Chainer 1 snapshots lack it; one step before is what it was.
            previous = (self.iteration - 1) * self.batch_size / len(self.dataset)
        self._previous_epoch_detail = None if previous < 0 else previous
