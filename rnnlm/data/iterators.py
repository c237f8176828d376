"""`ParallelSequentialIterator`: one long text read in several places at once."""
import chainer
import numpy

from rnnlm.errors import InputError, require_count, require_ids


class ParallelSequentialIterator(chainer.dataset.Iterator):
    """Reads a sequence of word ids in `batch_size` streams.

    Stream b starts at ``b * len(dataset) // batch_size`` and every call moves all
    streams by one word; past the end they go on at the beginning.  An epoch is
    over when the streams together have read as many words as there are.

    ``next(iterator)`` gives one step as in Chainer's examples/ptb, a list of
    (word, next word).  `next_window` gives many steps as one array.

    Args:
        dataset: Sequence of ints (N,), at least one word a stream.
        batch_size (int): Number of streams B.
        repeat (bool): If false, the iterator stops after one epoch.
        rows (slice): Which of the streams come out, where other processes read the
            others; all by default.  Epochs are counted over all of them.

    Attributes:
        epoch (int): Number of epochs that are over.
        is_new_epoch (bool): Whether an epoch ended in the last call.
        iteration (int): Number of steps read.
        offsets (list of int): Where the streams start.
        whole (numpy.ndarray): int32 (T + 1, B), the last window of all streams.

    Raises:
        rnnlm.errors.InputError: if the dataset is no sequence of ints, or
            `batch_size` is less than 1 or more than N.
    """

    def __init__(self, dataset, batch_size, repeat=True, rows=slice(None)):
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

    def reset(self):
        """Goes back to the beginning."""
        self.epoch = 0
        self.is_new_epoch = False
        self.iteration = 0
        self._previous_epoch_detail = None
        self.whole = None

    def __next__(self):
        words, next_words = self.next_window(1)
        # NumPy's own ints, as the official iterator gives for an array.
        return list(zip(words, next_words))

    def next_window(self, length):
        """The next `length` steps of all streams.

        Counts as one call: `is_new_epoch` says whether an epoch ended anywhere in
        the window, `previous_epoch_detail` is that of its beginning.

        Args:
            length (int): Number of steps T, at least 1.

        Returns:
            numpy.ndarray: int32 (T + 1, B), or of fewer streams with `rows`; rows t
            and t + 1 are the words of step t and the words to predict.  Without
            `repeat` the last window may be shorter.

        Raises:
            StopIteration: without `repeat`, after one epoch.
        """
        require_count('length', length)
        n_words = len(self.dataset)
        if not self.repeat:
            left = -(-n_words // self.batch_size) - self.iteration
            if left <= 0:
                raise StopIteration
            length = min(length, left)
        steps = numpy.arange(self.iteration, self.iteration + length + 1)
        self.whole = self._ids[
            (steps[:, None] + numpy.asarray(self.offsets)) % n_words]

        self._previous_epoch_detail = self.epoch_detail
        self.iteration += length
        epoch = self.iteration * self.batch_size // n_words
        self.is_new_epoch = self.epoch < epoch
        self.epoch = max(self.epoch, epoch)
        return self.whole[:, self.rows]

    @property
    def epoch_detail(self):
        """float: Number of epochs, with the part of the one not yet over."""
        return self.iteration * self.batch_size / len(self.dataset)

    @property
    def previous_epoch_detail(self):
        """float: `epoch_detail` before the last call; ``None`` before the first."""
        return self._previous_epoch_detail

    def serialize(self, serializer):
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
