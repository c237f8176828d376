#!/usr/bin/env python
"""Words by two LSTM layers in the style of Chainer 1.0 and 1.1's PTB example.

The loss is summed into a float64 variable, to which those releases added float32.
"""
from __future__ import division, print_function
import argparse
import math

import chainer
import chainer.functions as F
from chainer import optimizers
import numpy as np

UNITS, STREAMS, WINDOW, CLIP = 12, 3, 6, 5


def make_model(n_vocab):
    model = chainer.FunctionSet(
        embed=F.EmbedID(n_vocab, UNITS),
        l1_x=F.Linear(UNITS, 4 * UNITS), l1_h=F.Linear(UNITS, 4 * UNITS),
        l2_x=F.Linear(UNITS, 4 * UNITS), l2_h=F.Linear(UNITS, 4 * UNITS),
        l3=F.Linear(UNITS, n_vocab))
    for array in model.parameters:
        array[:] = np.random.uniform(-0.1, 0.1, array.shape)
    return model


def forward(model, now, after, state, train=True):
    x = chainer.Variable(now, volatile=not train)
    t = chainer.Variable(after, volatile=not train)
    h0 = model.embed(x)
    h1_in = model.l1_x(F.dropout(h0, train=train)) + model.l1_h(state['h1'])
    c1, h1 = F.lstm(state['c1'], h1_in)
    h2_in = model.l2_x(F.dropout(h1, train=train)) + model.l2_h(state['h2'])
    c2, h2 = F.lstm(state['c2'], h2_in)
    y = model.l3(F.dropout(h2, train=train))
    return dict(c1=c1, h1=h1, c2=c2, h2=h2), F.softmax_cross_entropy(y, t)


def initial(streams, train=True):
    return dict((name, chainer.Variable(np.zeros((streams, UNITS), dtype=np.float32),
                                        volatile=not train))
                for name in ('c1', 'h1', 'c2', 'h2'))


def perplexity(model, words):
    total, state = np.zeros(()), initial(1, train=False)
    for k in range(len(words) - 1):
        state, loss = forward(model, words[k:k + 1], words[k + 1:k + 2], state, False)
        total += loss.data
    return math.exp(float(total) / (len(words) - 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    args = parser.parse_args()
    np.random.seed(args.seed)
    with open(args.text) as f:
        text = f.read().replace('\n', ' <eos> ').split()
    vocab = {}
    words = np.array([vocab.setdefault(w, len(vocab)) for w in text], dtype=np.int32)
    words, valid = words[:-40], words[-40:]
    model = make_model(len(vocab))
    optimizer = optimizers.SGD(lr=1.)
    optimizer.setup(model.collect_parameters())

    jump = len(words) // STREAMS
    state, total = initial(STREAMS), chainer.Variable(np.zeros(()))
    for k in range(60):
        now, after = (np.array([words[(jump * j + i) % len(words)]
                                for j in range(STREAMS)]) for i in (k, k + 1))
        state, loss = forward(model, now, after, state)
        total = total + loss
        if (k + 1) % WINDOW == 0:
            print('loss', repr(float(total.data) / WINDOW), total.data.dtype)
            optimizer.zero_grads()
            total.backward()
            total.unchain_backward()
            total = chainer.Variable(np.zeros(()))
            optimizer.clip_grads(CLIP)
            optimizer.update()
    print('valid', repr(perplexity(model, valid)))


if __name__ == '__main__':
    main()
