#!/usr/bin/env python
"""The language model of Chainer 1.11 to 1.24's examples/ptb, small, on made-up words.

With --stop it ends after so many windows; what it prints of each is what resuming is
judged by.
"""
from __future__ import division
from __future__ import print_function
import argparse

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import training
from chainer.training import extensions

N_VOCAB = 12


class RNNForLM(chainer.Chain):

    def __init__(self, n_vocab, n_units, train=True):
        super(RNNForLM, self).__init__(
            embed=L.EmbedID(n_vocab, n_units),
            l1=L.LSTM(n_units, n_units),
            l2=L.LSTM(n_units, n_units),
            l3=L.Linear(n_units, n_vocab),
        )
        for param in self.params():
            param.data[...] = np.random.uniform(-0.3, 0.3, param.data.shape)
        self.train = train

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()

    def __call__(self, x):
        h = self.embed(x)
        h = self.l1(F.dropout(h, train=self.train))
        h = self.l2(F.dropout(h, train=self.train))
        return self.l3(F.dropout(h, train=self.train))


class Streams(chainer.dataset.Iterator):
    """Several places of the text at once; an item is a word and the one after it."""

    def __init__(self, words, batch_size, repeat=True):
        self.words = words
        self.batch_size = batch_size
        self.repeat = repeat
        self.epoch = 0
        self.is_new_epoch = False
        self.iteration = 0
        self.starts = [k * len(words) // batch_size for k in range(batch_size)]

    def __next__(self):
        n = len(self.words)
        if not self.repeat and self.iteration * self.batch_size >= n:
            raise StopIteration
        at = [start + self.iteration for start in self.starts]
        pairs = [(self.words[k % n], self.words[(k + 1) % n]) for k in at]
        self.iteration += 1
        epoch = self.iteration * self.batch_size // n
        self.is_new_epoch = self.epoch < epoch
        if self.is_new_epoch:
            self.epoch = epoch
        return pairs

    next = __next__

    @property
    def epoch_detail(self):
        return self.iteration * self.batch_size / len(self.words)

    def serialize(self, serializer):
        self.iteration = serializer('iteration', self.iteration)
        self.epoch = serializer('epoch', self.epoch)


class WindowUpdater(training.StandardUpdater):

    def __init__(self, iterator, optimizer, length, device):
        super(WindowUpdater, self).__init__(iterator, optimizer, device=device)
        self.length = length

    def update_core(self):
        loss = 0
        iterator = self.get_iterator('main')
        optimizer = self.get_optimizer('main')
        for _ in range(self.length):
            x, t = self.converter(next(iterator), self.device)
            loss += optimizer.target(chainer.Variable(x), chainer.Variable(t))
        optimizer.target.zerograds()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()


def add_perplexity(result):
    result['perplexity'] = np.exp(result['main/loss'])


@training.make_extension(trigger=(1, 'iteration'), priority=-200)
def say(trainer):
    print('window', repr(float(trainer.observation['main/loss'].data)))
    print('lr', repr(trainer.updater.get_optimizer('main').lr))
    if 'validation/main/loss' in trainer.observation:
        print('evaluated', trainer.updater.iteration)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--gpu', '-g', type=int, default=-1)
    parser.add_argument('--out', '-o', default='result')
    parser.add_argument('--resume', '-r', default='')
    parser.add_argument('--stop', type=int, default=6)
    args = parser.parse_args()

    np.random.seed(0)
    words = np.random.randint(0, N_VOCAB, 60).astype('i')
    model = L.Classifier(RNNForLM(N_VOCAB, 3))
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=1.0)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.GradientClipping(5))

    updater = WindowUpdater(Streams(words, 4), optimizer, 5, args.gpu)  # 3 an epoch
    trainer = training.Trainer(updater, (args.stop, 'iteration'), out=args.out)
    eval_model = model.copy()
    eval_model.predictor.train = False
    trainer.extend(extensions.Evaluator(
        Streams(words[:20], 1, repeat=False), eval_model, device=args.gpu,
        eval_hook=lambda _: eval_model.predictor.reset_state()))
    trainer.extend(extensions.LogReport(
        postprocess=add_perplexity, trigger=(2, 'iteration')))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'iteration', 'perplexity']), trigger=(2, 'iteration'))
    trainer.extend(extensions.ProgressBar(update_interval=1000))
    trainer.extend(extensions.ExponentialShift('lr', 0.5), trigger=(1, 'epoch'))
    trainer.extend(extensions.dump_graph('main/loss'))
    trainer.extend(extensions.snapshot(), trigger=(4, 'iteration'))
    trainer.extend(extensions.snapshot_object(
        model, 'model_iter_{.updater.iteration}'))
    trainer.extend(say)
    if args.resume:
        chainer.serializers.load_npz(args.resume, trainer)
    np.random.seed(1)  # the masks of dropout
    trainer.run()
    for name, param in sorted(model.namedparams()):
        print('sum', repr(float(abs(param.data.astype('d')).sum())))


if __name__ == '__main__':
    main()
