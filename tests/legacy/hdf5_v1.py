#!/usr/bin/env python
"""Saves a model and its optimizer in HDF5, reads them back and goes on."""
from __future__ import print_function
import argparse
import os

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import optimizers
from chainer import serializers


class RNN(chainer.Chain):

    def __init__(self, n_vocab, n_units):
        super(RNN, self).__init__(
            embed=L.EmbedID(n_vocab, n_units),
            mid=L.LSTM(n_units, n_units),
            out=L.Linear(n_units, n_vocab, nobias=True),
        )
        self.add_persistent('steps', 0)
        for param in self.params():
            param.data[...] = np.random.uniform(-.2, .2, param.data.shape)

    def reset_state(self):
        self.mid.reset_state()

    def __call__(self, cur_word, train=True):
        x = self.embed(cur_word)
        h = self.mid(F.dropout(x, ratio=0.3, train=train))
        self.steps += int(train)
        return self.out(F.dropout(h, ratio=0.3, train=train))


def new_model(n_vocab, n_units):
    model = L.Classifier(RNN(n_vocab, n_units))
    model.compute_accuracy = False
    optimizer = optimizers.MomentumSGD(lr=0.2, momentum=0.8)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.GradientClipping(1))
    return model, optimizer


def train(model, optimizer, dataset, start, updates, batchsize=4, bprop_len=5):
    jump = len(dataset) // batchsize
    loss = 0
    model.predictor.reset_state()
    for i in range(start, start + updates * bprop_len):
        x = np.array([dataset[jump * j + i] for j in range(batchsize)])
        t = np.array([dataset[jump * j + i + 1] for j in range(batchsize)])
        loss += model(chainer.Variable(x), chainer.Variable(t))
        if (i + 1) % bprop_len:
            continue
        model.zerograds()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()
        if (i + 1) % (4 * bprop_len) == 0:
            print('loss', repr(float(loss.data) / bprop_len))
        loss = 0


def evaluate(model, dataset):
    rnn = model.predictor.copy()
    rnn.reset_state()
    total = 0.0
    for cur, following in zip(dataset[:-1], dataset[1:]):
        x = chainer.Variable(np.array([cur]), volatile='on')
        t = chainer.Variable(np.array([following]), volatile='on')
        total += float(F.softmax_cross_entropy(rnn(x, train=False), t).data)
    return total / (len(dataset) - 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--out', default='.')
    args = parser.parse_args()
    np.random.seed(args.seed)

    vocab = {}
    words = open(args.text).read().replace('\n', ' <eos> ').split()
    data = np.array([vocab.setdefault(w, len(vocab)) for w in words], 'i')
    model_path = os.path.join(args.out, 'my.model')
    state_path = os.path.join(args.out, 'my.state')

    model, optimizer = new_model(len(vocab), 12)
    train(model, optimizer, data[:-100], 0, 20)
    serializers.save_hdf5(model_path, model)
    serializers.save_hdf5(state_path, optimizer)

    model, optimizer = new_model(len(vocab), 12)
    serializers.load_hdf5(model_path, model)
    serializers.load_hdf5(state_path, optimizer)
    assert model.predictor.steps == 100
    assert optimizer.t == 20
    train(model, optimizer, data[:-100], 0, 20)
    print('eval', repr(evaluate(model, data[-100:])))


if __name__ == '__main__':
    main()
