#!/usr/bin/env python
"""LSTM language model with init_scope and the configuration of version 2."""
from __future__ import print_function
import argparse
import copy

import numpy as np

import chainer
from chainer import cuda
import chainer.functions as F
from chainer import initializers
import chainer.links as L
from chainer import optimizers


class RNNLM(chainer.Chain):

    def __init__(self, n_vocab, n_units, dropout=0.5):
        super(RNNLM, self).__init__()
        self.dropout = dropout
        with self.init_scope():
            self.embed = L.EmbedID(
                n_vocab, n_units, initialW=initializers.Normal(0.3))
            self.l1 = L.LSTM(None, n_units)
            self.l2 = L.LSTM(n_units, n_units, forget_bias_init=0.5)
            self.l3 = L.Linear(n_units, n_vocab)
            self.scale = chainer.Parameter(
                initializers.Constant(0.9), (n_units,))

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()

    def __call__(self, x):
        h = self.embed(x)
        h = self.l1(F.dropout(h, self.dropout))
        h = self.l2(F.dropout(h, ratio=self.dropout))
        h = h * F.broadcast_to(self.scale, h.shape)
        if chainer.config.train:
            h = F.dropout(h, ratio=self.dropout)
        return self.l3(h)


def evaluate(model, dataset, xp):
    model = copy.deepcopy(model)
    model.predictor.reset_state()
    total = 0.0
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        for i in range(len(dataset) - 1):
            loss = model(xp.asarray(dataset[i:i + 1]),
                         xp.asarray(dataset[i + 1:i + 2]))
            assert loss.creator is None
            total += float(loss.data)
    return total / (len(dataset) - 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--gpu', '-g', type=int, default=-1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--unit', '-u', type=int, default=12)
    parser.add_argument('--batchsize', '-b', type=int, default=4)
    parser.add_argument('--bproplen', '-l', type=int, default=5)
    args = parser.parse_args()
    np.random.seed(args.seed)
    xp = cuda.cupy if args.gpu >= 0 else np

    vocab = {}
    words = open(args.text).read().replace('\n', ' <eos> ').split()
    data = np.array([vocab.setdefault(w, len(vocab)) for w in words], 'i')
    train, valid = data[:-100], data[-100:]

    model = L.Classifier(RNNLM(len(vocab), args.unit, dropout=0.3))
    model.compute_accuracy = False
    if args.gpu >= 0:
        cuda.get_device_from_id(args.gpu).use()
        model.to_gpu()
    optimizer = optimizers.AdaGrad(lr=0.2)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.GradientClipping(1.0))
    optimizer.add_hook(chainer.optimizer.WeightDecay(1e-4))

    jump = len(train) // args.batchsize
    offsets = np.arange(args.batchsize) * jump
    loss, shown = 0, 0.0
    for i in range(40 * args.bproplen):
        x = xp.asarray(train[(offsets + i) % len(train)])
        t = xp.asarray(train[(offsets + i + 1) % len(train)])
        loss += model(x, t)
        if (i + 1) % args.bproplen == 0:
            shown += float(cuda.to_cpu(loss.data)) / args.bproplen
            model.cleargrads()
            loss.backward()
            loss.unchain_backward()
            optimizer.update()
            loss = 0
        if (i + 1) % (5 * args.bproplen) == 0:
            print('loss', repr(shown / 5))
            shown = 0.0
    print('eval', repr(evaluate(model, valid, xp)))


if __name__ == '__main__':
    main()
