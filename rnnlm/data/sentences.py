"""`SentenceIterator`: the sentences of a text in batches."""
from __future__ import annotations

from typing import Any, Optional

import chainer
import numpy

from rnnlm.errors import InputError, require_count, require_ids

# Value after the end of a sentence in a window, which is not predicted.
PADDING = -1


class SentenceIterator(chainer.dataset.Iterator):
    """Iterator over batches of sentences of similar length.

    A sentence ends with the token between sentences, or with the text.  Its first word
    is predicted from that token, and its end is predicted too, as in ``rnnlm score``.
    A batch is read in windows.  If `is_new_batch` is true, the recurrent state must be
    reset before the window.

    With `repeat`, sentences of equal length are shuffled among themselves before each
    epoch, and then the batches are shuffled.  The order is drawn from ``numpy.random``.
    Without `repeat`, the sentences are read once, sorted by length.

    Args:
        dataset: Ids (N,).
        batch_size: Number of sentences B in a batch; the last batch may have fewer.
        between: The id of the token between sentences, for example `<eos>`.
        repeat: If false, the iterator stops after one epoch.

    Attributes:
        n_sentences, n_words (int): Total numbers; the end of a sentence is a word.
        epoch (int): Number of completed epochs.
        is_new_epoch (bool): Whether an epoch ended in the last window.
        is_new_batch (bool): Whether sentences start in the last window.

    Raises:
        rnnlm.InputError: If the dataset is not a sequence of ids, or has fewer than
            `batch_size` sentences.

    Example:
        >>> iterator = SentenceIterator([3, 4, 0, 5, 0], 2, between=0, repeat=False)
        >>> iterator.next_window(10)  # two sentences, of 1 and 2 words
        array([[ 0,  0],
               [ 5,  3],
               [ 0,  4],
               [-1,  0]], dtype=int32)
        >>> iterator.epoch
        1
    """

    def __init__(self, dataset: Any, batch_size: int, between: int,
                 repeat: bool = True) -> None:
        require_count('batch_size', batch_size)
        self.dataset = require_ids('dataset', dataset)
        self.batch_size, self.between, self.repeat = batch_size, between, repeat
        ends = numpy.flatnonzero(self.dataset == between)
        if not len(ends) or ends[-1] < len(self.dataset) - 1:
            ends = numpy.append(ends, len(self.dataset))
        self._starts = numpy.append(0, ends[:-1] + 1)
        self._lengths = ends - self._starts + 1
        self.n_sentences, self.n_words = len(ends), int(self._lengths.sum())
        if self.n_sentences < batch_size:
            raise InputError(
                f'expected at least {batch_size} sentences, the batch size, found '
                f'{self.n_sentences}; use a smaller batch size',
                'batch_size')
        self.reset()

    def reset(self) -> None:
        """Restarts from the beginning."""
        self.epoch = self._batch = self._step = self._words = 0
        self.is_new_epoch = self.is_new_batch = False
        self._previous_epoch_detail: Optional[float] = None
        self._draw_order()

    def _draw_order(self) -> None:
        self._seed = int(numpy.random.randint(2 ** 31)) if self.repeat else 0
        self._sort()

    def _sort(self) -> None:
        """Sorts the sentences into batches; the order depends only on the seed."""
        random = numpy.random.RandomState(self._seed)
        order, batches = numpy.arange(self.n_sentences), numpy.arange(self.n_batches)
        if self.repeat:
            random.shuffle(order)
            random.shuffle(batches)
        self._order = order[numpy.argsort(self._lengths[order], kind='stable')]
        self._batches = batches
        words = numpy.add.reduceat(
            self._lengths[self._order], numpy.arange(0, len(order), self.batch_size))
        self._words_before = numpy.append(0, numpy.cumsum(words[batches]))

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.n_sentences // self.batch_size)

    def windows_per_epoch(self, length: int) -> int:
        """Returns the number of windows of at most `length` steps in an epoch."""
        ends = numpy.minimum(
            numpy.arange(1, self.n_batches + 1) * self.batch_size, self.n_sentences)
        longest = numpy.sort(self._lengths)[ends - 1]
        return int((-(-longest // length)).sum())

    def next_window(self, length: int) -> numpy.ndarray:
        """Returns the next steps of a batch, at most `length`.

        Args:
            length: Maximum number of steps T, at least 1.

        Returns:
            int32 (T + 1, B): Rows t and t + 1 are the words of step t and the words to
            predict, where they are not `PADDING`.

        Raises:
            StopIteration: Without `repeat`, after one epoch.
        """
        require_count('length', length)
        if self.epoch and not self.repeat:
            raise StopIteration
        chosen = self._sentences(self._batch)
        longest = int(self._lengths[chosen].max())
        steps = numpy.arange(self._step, min(self._step + length, longest) + 1)
        self._previous_epoch_detail = self.epoch_detail
        self.is_new_batch, self.is_new_epoch = not self._step, False
        self._step = int(steps[-1])
        self._count_words()
        if self._step == longest:
            self._batch, self._step = self._batch + 1, 0
        if self._batch == self.n_batches:
            self.epoch, self.is_new_epoch = self.epoch + 1, True
            self._batch = self._words = 0
            if self.repeat:
                self._draw_order()
        return self._window(chosen, steps[:, None])

    def _sentences(self, batch: int) -> numpy.ndarray:
        start = self._batches[batch] * self.batch_size
        return self._order[start:start + self.batch_size]

    def _window(self, chosen: numpy.ndarray, steps: numpy.ndarray) -> numpy.ndarray:
        """Returns the tokens (T + 1, B) of sentences at steps (T + 1, 1)."""
        lengths = self._lengths[chosen]
        places = numpy.clip(self._starts[chosen] + steps - 1, 0, len(self.dataset) - 1)
        window = numpy.full((len(steps), self.batch_size), PADDING, numpy.int32)
        window[:, :len(chosen)] = numpy.where(
            (steps == 0) | (steps == lengths), self.between, numpy.where(
                steps < lengths, self.dataset[places], PADDING))
        return window

    def _count_words(self) -> None:
        """Counts the words of this epoch that have been read."""
        lengths = self._lengths[self._sentences(self._batch)]
        self._words = int(self._words_before[self._batch]
                          + numpy.minimum(lengths, self._step).sum())

    @property
    def epoch_detail(self) -> float:
        """Number of epochs, with the fraction of the words of the current one."""
        return self.epoch + self._words / self.n_words

    @property
    def previous_epoch_detail(self) -> Optional[float]:
        """`epoch_detail` before the last window; None before the first."""
        return self._previous_epoch_detail

    def serialize(self, serializer: Any) -> None:
        """Saves or loads the position of the iterator.

        If the batch size has changed, the iterator continues after about as many
        sentences.

        Raises:
            rnnlm.InputError: If the saved position is invalid.
        """
        previous = self._previous_epoch_detail
        epoch, batch, step, seed, size = (
            int(serializer(name, value)) for name, value in (
                ('epoch', self.epoch), ('batch', self._batch), ('step', self._step),
                ('seed', self._seed), ('batch_size', self.batch_size)))
        previous = float(serializer(  # in a file, -1 stands for None
            'previous_epoch_detail', -1.0 if previous is None else previous))
        if isinstance(serializer, chainer.Serializer):
            return
        if size != self.batch_size:
            batch, step = min(batch * size // self.batch_size, self.n_batches - 1), 0
        self._seed = seed
        self._sort()
        if batch >= self.n_batches or (
                step >= self._lengths[self._sentences(batch)].max()):
            raise InputError(
                f'iterator: expected one of {self.n_batches} batches and a step in it, '
                f'found step {step} of batch {batch}; resume another snapshot')
        self.epoch, self._batch, self._step = epoch, batch, step
        self._previous_epoch_detail = None if previous < 0 else previous
        self._count_words()
