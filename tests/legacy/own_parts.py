"""Links, iterators and updaters of a script's own, in the style of 1.11 to 5.4.

Prints their results as JSON, with true old releases too.
"""
import json

import chainer
from chainer import dataset, datasets, iterators, optimizers, training
from chainer import functions as F
from chainer import links as L
from chainer.training import extensions
import numpy as np


class Net(chainer.Chain):
    """Names that later releases gave to links."""

    def __init__(self, n, gpu):
        super(Net, self).__init__(repeat=L.Linear(n, n), device=L.Linear(n, n))
        self.gpu = gpu
        self.printable_specs = n

    def __call__(self, x):
        return self.device(self['repeat'](x))


class List(chainer.ChainList):

    def __init__(self, n, gpu):
        super(List, self).__init__(L.LSTM(n, n))
        self.device = gpu

    def __call__(self, x):
        if self.device >= 0:
            x = chainer.cuda.to_gpu(x)
        return self[0](chainer.Variable(x))


class Sorted(iterators.SerialIterator):
    """Sorts each batch."""

    def __next__(self):
        if not self._repeat and self.epoch > 0:
            raise StopIteration
        start, end = self.current_position, self.current_position + self.batch_size
        batch = sorted(self.dataset[k] for k in self._order[start:end])
        self.is_new_epoch = end >= len(self.dataset)
        if self.is_new_epoch:
            np.random.shuffle(self._order)
            self.current_position = 0
            self.epoch += 1
        else:
            self.current_position = end
        return batch

    next = __next__


class Words(dataset.Iterator):
    """Needs `epoch_detail` since 1.18."""

    def __init__(self, words):
        self.words, self.position, self.is_new_epoch = words, 0, False

    def __next__(self):
        self.position += 1
        self.is_new_epoch = self.position % 4 == 0
        return [(self.words[(self.position + k) % 8],) * 2 for k in (0, 4)]

    next = __next__

    @property
    def epoch(self):
        return self.position // 4

    @property
    def epoch_detail(self):
        return self.position / 4.


class Updater(training.StandardUpdater):
    """Replaces ``__init__``."""

    def __init__(self, iterator, optimizer, device=None):
        self._iterators = {'main': iterator}
        self._optimizers = {'main': optimizer}
        self.converter = dataset.concat_examples
        self.loss_func = None
        self.device = device
        self.iteration = 0


def of_links():
    net, x = Net(3, -1), np.ones((1, 3), 'f')
    copied = net.copy()
    F.sum(copied(chainer.Variable(x))).backward()
    return [sorted(name for name, _ in copied.namedparams()), copied.gpu,
            copied.printable_specs, float(copied.repeat.W.data.sum()),
            List(3, -1)(x).data.shape]


def of_iterators():
    np.random.seed(0)
    found = [[list(batch) for batch in
              iterators.SerialIterator(list(range(7)), 3, repeat=False)]
             for _ in range(2)]
    iterator = Sorted(list(range(7)), 3)
    found += [(iterator.next(), iterator.epoch, iterator.is_new_epoch)
              for _ in range(4)]
    iterator = iterators.SerialIterator(list(range(7)), 3)
    iterator._order = np.arange(7)[::-1]
    found.append(iterator.next())
    iterator.current_position = 1
    return found + [iterator.next()]


def of_plain_iterator():
    np.random.seed(0)
    words = np.random.randint(0, 5, 8).astype('i')
    model = L.Classifier(L.EmbedID(5, 5))
    optimizer = optimizers.SGD(.5)
    optimizer.setup(model)
    trainer = training.Trainer(
        training.StandardUpdater(Words(words), optimizer), (3, 'epoch'), out='words')
    trainer.extend(extensions.LogReport(trigger=(1, 'epoch')))
    trainer.run()
    with open('words/log') as f:
        return [[entry['iteration'], entry['main/loss']] for entry in json.load(f)]


def of_clip():
    x = chainer.Variable(np.array([-1, -.5, 0, .5, 1], 'f'))
    y = F.clip(x, -.5, .5)
    y.grad = np.ones(5, 'f')
    y.backward()
    return x.grad.tolist()


def of_training():
    np.random.seed(0)
    x = np.random.RandomState(3).randn(20, 4).astype('f')
    data = datasets.TupleDataset(x, (x.sum(1) > 0).astype('i'))
    model = L.Classifier(L.Linear(4, 2))
    optimizer = optimizers.SGD(.1)
    optimizer.setup(model)
    trainer = training.Trainer(
        Updater(iterators.SerialIterator(data, 5), optimizer, device=-1),
        (3, 'epoch'), out='result')
    # Shuffled, which draws random numbers.
    trainer.extend(extensions.Evaluator(
        iterators.SerialIterator(data[:7], 3, repeat=False), model))
    trainer.extend(extensions.LogReport())
    trainer.run()
    with open('result/log') as f:
        log = [[entry['main/loss'], entry['validation/main/loss']]
               for entry in json.load(f)]
    return [log, float(abs(model.predictor.W.data).sum()), np.random.rand()]


np.random.seed(0)
print(json.dumps([of_links(), of_iterators(), of_training(),
                  of_plain_iterator(), of_clip()], default=int))
