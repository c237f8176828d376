#!/usr/bin/env python
"""Language models on gated recurrent units, with links of its own."""
from __future__ import print_function
import argparse

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import optimizers


class Gate(chainer.Link):
    """Lets each unit through by a gate computed from all of them."""

    def __init__(self, n_units):
        super(Gate, self).__init__(W=(n_units, n_units), v=(n_units,))
        self.W.data[...] = np.random.normal(
            0, np.sqrt(1. / n_units), (n_units, n_units))
        self.v.data[...] = np.random.uniform(-1, 1, n_units)
        self.add_param('b', (n_units,))
        self.b.data.fill(0.5)

    def __call__(self, h):
        whole = F.sigmoid(F.matmul(h, self.v))  # a column
        assert whole.data.shape == (len(h.data), 1)
        gate = F.sigmoid(F.linear(h, self.W, self.b))
        return h * gate * F.broadcast_to(whole, h.data.shape)

    def penalty(self):
        square = F.matmul(self.v, self.v, transa=True)
        return F.reshape(square, ()) / self.v.data.size


class Stack(chainer.ChainList):

    def __init__(self, n_layers, n_units):
        super(Stack, self).__init__()
        for _ in range(n_layers):
            self.add_link(L.GRU(n_units, n_units))
        self.add_link(Gate(n_units))

    def __call__(self, hs, x):
        new = []
        for i in range(len(self) - 1):
            x = self[i](hs[i], x)
            new.append(x)
        return new, self[len(self) - 1](x)


class GRULM(chainer.Chain):

    def __init__(self, n_vocab, n_units, n_layers=2):
        super(GRULM, self).__init__(
            embed=L.EmbedID(n_vocab, n_units),
            first=L.StatefulGRU(n_units, 2 * n_units),
            mix=L.Linear(n_units, n_units, 0.5, 0.1),
            stack=Stack(n_layers, n_units),
            out=L.Linear(n_units, n_vocab, wscale=2, bias=-0.1),
        )
        self.n_units = n_units
        self.n_layers = n_layers
        self.hs = None

    def reset_state(self):
        self.first.reset_state()
        self.hs = None

    def __call__(self, x, train=True):
        h = self.first(F.dropout(self.embed(x), 0.2, train))
        left, right = F.split_axis(h, 2, 1)
        left = F.split_axis(left, 1, 1)  # one section: no tuple
        h = F.tanh(self.mix(left)) + right
        if self.hs is None:
            self.hs = [chainer.Variable(
                np.zeros((len(x.data), self.n_units), dtype=np.float32),
                volatile='auto') for _ in range(self.n_layers)]
        self.hs, y = self.stack(self.hs, h)
        return self.out(F.dropout(y, train=train))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--unit', type=int, default=10)
    args = parser.parse_args()
    np.random.seed(args.seed)

    vocab = {}
    words = open(args.text).read().replace('\n', ' <eos> ').split()
    data = np.array([vocab.setdefault(w, len(vocab)) for w in words], 'i')
    train, valid = data[:-100], data[-100:]
    model = GRULM(len(vocab), args.unit)
    optimizer = optimizers.Adam(alpha=0.01, beta1=0.8)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.WeightDecay(0.0005))

    batchsize, bprop_len = 4, 5
    jump = len(train) // batchsize
    loss = 0
    for i in range(40 * bprop_len):
        x, t = [chainer.Variable(np.array(
            [train[(jump * j + i + k) % len(train)] for j in range(batchsize)]))
            for k in (0, 1)]
        loss += F.softmax_cross_entropy(model(x), t)
        if (i + 1) % bprop_len == 0:
            if (i + 1) % (5 * bprop_len) == 0:
                print('loss', repr(float(loss.data) / bprop_len))
            loss += 0.1 * model.stack[2].penalty()
            model.zerograds()
            loss.backward()
            loss.unchain_backward()
            optimizer.weight_decay(0.0002)
            optimizer.update()
            loss = 0

    model.reset_state()
    total = 0.0
    for x, t in zip(valid[:-1], valid[1:]):
        x = chainer.Variable(np.array([x]), volatile='on')
        t = chainer.Variable(np.array([t]), volatile='on')
        total += float(F.softmax_cross_entropy(model(x, train=False), t).data)
    print('eval', repr(total / (len(valid) - 1)))


if __name__ == '__main__':
    main()
