#!/usr/bin/env python
"""A recurrent language model in the style of Chainer 1.11 to 1.24, on a golden file.

Prints the mean loss of every window and the loss of validation.
"""
from __future__ import print_function
import argparse
import json

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import training
from chainer.training import extensions


class LanguageModel(chainer.Chain):

    def __init__(self, n_vocab, n_units, train=True):
        super(LanguageModel, self).__init__(
            embed=L.EmbedID(n_vocab, n_units),
            l1=L.LSTM(n_units, n_units),
            l2=L.LSTM(n_units, n_units),
            l3=L.Linear(n_units, n_vocab),
        )
        self.train = train
        for param in self.params():
            param.data[...] = np.random.uniform(-0.1, 0.1, param.data.shape)

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()

    def __call__(self, x):
        h = self.l1(F.dropout(self.embed(x), train=self.train))
        h = self.l2(F.dropout(h, train=self.train))
        return self.l3(F.dropout(h, train=self.train))


class Streams(chainer.dataset.Iterator):

    def __init__(self, words, batch_size, repeat=True):
        self.words, self.batch_size, self.repeat = words, batch_size, repeat
        self.iteration = self.epoch = 0
        self.is_new_epoch = False
        self.offsets = [k * len(words) // batch_size for k in range(batch_size)]

    def __next__(self):
        if not self.repeat and self.iteration * self.batch_size >= len(self.words):
            raise StopIteration
        now = self.column()
        self.iteration += 1
        epoch = self.iteration * self.batch_size // len(self.words)
        self.is_new_epoch = self.epoch < epoch
        self.epoch = epoch
        return list(zip(now, self.column()))

    def column(self):
        return [self.words[(k + self.iteration) % len(self.words)]
                for k in self.offsets]

    @property
    def epoch_detail(self):
        return self.iteration * self.batch_size / float(len(self.words))

    def serialize(self, serializer):
        self.iteration = serializer('iteration', self.iteration)
        self.epoch = serializer('epoch', self.epoch)


class Updater(training.StandardUpdater):

    def __init__(self, train_iter, optimizer, bprop_len, device):
        super(Updater, self).__init__(train_iter, optimizer, device=device)
        self.bprop_len = bprop_len

    def update_core(self):
        assert self.device < 0  # a number, as it was given
        optimizer = self.get_optimizer('main')
        loss = 0
        for _ in range(self.bprop_len):
            batch = self.get_iterator('main').__next__()
            x, t = self.converter(batch, self.device)
            loss += optimizer.target(chainer.Variable(x), chainer.Variable(t))
        print('window', repr(float(loss.data) / self.bprop_len))
        optimizer.target.cleargrads()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('golden')
    parser.add_argument('--out', '-o', default='result')
    args = parser.parse_args()
    with open(args.golden) as f:
        golden = json.load(f)
    n, n_vocab = golden['corpus']['N'], golden['corpus']['V']
    noise = np.random.RandomState(2015).randint(0, 5, size=n + 600)
    words = np.zeros(n + 600, dtype=np.int32)
    for k in range(n + 599):
        words[k + 1] = (7 * words[k] + noise[k]) % n_vocab

    np.random.seed(golden['seed'])
    model = L.Classifier(LanguageModel(n_vocab, golden['n_units']))
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=1.0)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.GradientClipping(golden['gradclip']))
    updater = Updater(Streams(words[:n], golden['batchsize']), optimizer,
                      golden['bproplen'], -1)
    trainer = training.Trainer(updater, (golden['windows'], 'iteration'), args.out)
    trainer.extend(extensions.LogReport(trigger=(10, 'iteration')))
    trainer.extend(extensions.snapshot(trigger=(golden['windows'], 'iteration')))
    trainer.run()

    evaluated = model.copy()
    evaluated.predictor.train = False
    evaluator = extensions.Evaluator(
        Streams(words[n:], 1, repeat=False), evaluated, device=-1,
        eval_hook=lambda _: evaluated.predictor.reset_state())
    print('valid', repr(float(evaluator()['main/loss'])))


if __name__ == '__main__':
    main()
