"""Chainer 7.8.1's PTB example, reimplemented: the reference for rnnlm.

It does not import `rnnlm`, and does everything step by step, in the order in which the
example does it.
"""
import chainer
from chainer import functions as F
from chainer import links as L
from chainer import training
import numpy


class RNNForLM(chainer.Chain):
    """EmbedID, two LSTM layers and Linear, with dropout before each but the first."""

    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.LSTM(n_units, n_units)
            self.l2 = L.LSTM(n_units, n_units)
            self.l3 = L.Linear(n_units, n_vocab)
        for p in self.params():
            p.array[...] = numpy.random.uniform(-0.1, 0.1, p.shape)

    def reset_state(self):
        for layer in self.l1, self.l2:
            layer.reset_state()

    def forward(self, x):
        embedded = self.embed(x)
        first = self.l1(F.dropout(embedded))
        second = self.l2(F.dropout(first))
        return self.l3(F.dropout(second))


class ParallelSequentialIterator(chainer.dataset.Iterator):
    """A text read in `batch_size` places at once, a word a call."""

    def __init__(self, dataset, batch_size, repeat=True):
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeat = repeat
        n = len(dataset)
        self.offsets = [stream * n // batch_size for stream in range(batch_size)]
        self.epoch = self.iteration = 0
        self.is_new_epoch = False
        self._previous_epoch_detail = -1.0

    def reset(self):
        self.epoch = self.iteration = 0
        self.is_new_epoch = False
        self._previous_epoch_detail = -1.0

    def __next__(self):
        n = len(self.dataset)
        if not self.repeat and self.iteration * self.batch_size >= n:
            raise StopIteration
        words = self.get_words()
        self._previous_epoch_detail = self.epoch_detail
        self.iteration += 1
        labels = self.get_words()
        epoch = self.iteration * self.batch_size // n
        self.is_new_epoch = epoch > self.epoch
        if self.is_new_epoch:
            self.epoch = epoch
        return list(zip(words, labels))

    def get_words(self):
        n = len(self.dataset)
        return [self.dataset[(start + self.iteration) % n] for start in self.offsets]

    @property
    def epoch_detail(self):
        return self.iteration * self.batch_size / len(self.dataset)

    @property
    def previous_epoch_detail(self):
        previous = self._previous_epoch_detail
        return None if previous < 0 else previous

    def serialize(self, serializer):
        self.iteration = serializer('iteration', self.iteration)
        self.epoch = serializer('epoch', self.epoch)
        try:
            self._previous_epoch_detail = serializer(
                'previous_epoch_detail', self._previous_epoch_detail)
        except KeyError:
            self._previous_epoch_detail = max(
                -1.0, (self.iteration - 1) * self.batch_size / len(self.dataset))


class BPTTUpdater(training.updaters.StandardUpdater):
    """Truncated backpropagation through time over `bprop_len` words."""

    def __init__(self, train_iter, optimizer, bprop_len, device):
        super().__init__(train_iter, optimizer, device=device)
        self.bprop_len = bprop_len

    def update_core(self):
        iterator = self.get_iterator('main')
        optimizer = self.get_optimizer('main')
        loss = 0
        for _ in range(self.bprop_len):
            batch = iterator.__next__()
            x, t = self.converter(batch, self.device)
            loss += optimizer.target(x, t)
            self.step_done()
        self.window_done(loss)
        optimizer.target.cleargrads()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()

    def step_done(self):
        """Overridden by `compare`, to record the values of each step."""

    def window_done(self, loss):
        """Overridden by `compare`, to record the loss of the window."""
