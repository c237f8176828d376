#!/usr/bin/env python
"""Characters by two LSTM layers, in the style of Chainer 1.0 to 1.4."""
from __future__ import print_function
import argparse
import copy
import os
import pickle

from chainer import cuda
from chainer import FunctionSet
from chainer import optimizers
from chainer import Variable
import chainer.functions as F
import numpy as np

STATE = 'c1', 'h1', 'c2', 'h2'


class Net(FunctionSet):

    def __init__(self, kinds, width):
        super(Net, self).__init__(
            embed=F.EmbedID(kinds, width),
            in1=F.Linear(width, 4 * width), back1=F.Linear(width, 4 * width),
            in2=F.Linear(width, 4 * width), back2=F.Linear(width, 4 * width),
            out=F.Linear(width, kinds))
        for array in self.parameters:
            array[:] = np.random.uniform(-0.08, 0.08, array.shape)

    def nothing(self, streams, volatile=False):
        def zeros():
            return np.zeros((streams, self.embed.W.shape[1]), dtype=np.float32)
        return dict((name, Variable(zeros(), volatile=volatile)) for name in STATE)

    def step(self, ids, before, train=True):
        x = self.embed(Variable(np.asarray(ids, dtype=np.int32), volatile=not train))
        c1, h1 = F.lstm(before['c1'], self.in1(F.dropout(x, 0.3, train))
                        + self.back1(before['h1']))
        c2, h2 = F.lstm(before['c2'], self.in2(F.dropout(h1, ratio=0.3, train=train))
                        + self.back2(before['h2']))
        return self.out(F.dropout(h2, train=train)), dict(zip(STATE, (c1, h1, c2, h2)))


def loss_of(net, text):
    state, total = net.nothing(1, volatile=True), 0.0
    for now, after in zip(text, text[1:]):
        y, state = net.step([now], state, train=False)
        t = Variable(np.array([after], dtype=np.int32), volatile=True)
        total += float(F.softmax_cross_entropy(y, t).data)
    return total / (len(text) - 1)


def write(net, kinds, count):
    state, last, logs = net.nothing(1, volatile=True), 0, []
    for _ in range(count):
        y, state = net.step([last], state, train=False)
        p = cuda.to_cpu(F.softmax(y).data)[0].astype(np.float64)
        last = np.random.choice(kinds, p=p / p.sum())
        logs.append(np.log(p[last]))
    return float(np.mean(logs))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--gpu', type=int, default=-1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--out', default='.')
    parser.add_argument('--width', type=int, default=14)
    parser.add_argument('--updates', type=int, default=40)
    parser.add_argument('--streams', type=int, default=4)
    parser.add_argument('--words', action='store_true')
    args = parser.parse_args()
    np.random.seed(args.seed)
    with open(args.text) as f:
        text = f.read()
    if args.words:
        text = text.replace('\n', ' <eos> ').split()
    kinds = sorted(set(text))
    ids = np.array([kinds.index(item) for item in text], dtype=np.int32)
    held_out = min(len(ids) // 8, 2000)
    ids, valid = ids[:-held_out], ids[-held_out:]

    net = Net(len(kinds), args.width)
    if args.gpu >= 0:
        cuda.init(args.gpu)
        net.to_gpu()
    rule = optimizers.RMSprop(lr=2e-3, alpha=0.95, eps=1e-8)
    rule.setup(net.collect_parameters())
    starts = [len(ids) * k // args.streams for k in range(args.streams)]
    state, at = net.nothing(args.streams), 0
    for update in range(1, args.updates + 1):
        loss = Variable(np.zeros((), dtype=np.float32))
        for _ in range(5):
            y, state = net.step([ids[(s + at) % len(ids)] for s in starts], state)
            at += 1
            t = np.array([ids[(s + at) % len(ids)] for s in starts], dtype=np.int32)
            loss += F.softmax_cross_entropy(y, Variable(t))
        if update % 5 == 0:
            print('loss', repr(float(loss.data) / 5))
            rule.lr *= 0.99
        rule.zero_grads()
        loss.backward()
        loss.unchain_backward()
        rule.weight_decay(1e-4)
        rule.clip_grads(1)
        rule.update()

    path = os.path.join(args.out, 'net.pickle')
    with open(path, 'wb') as f:
        pickle.dump(copy.deepcopy(net).to_cpu(), f, -1)
    with open(path, 'rb') as f:
        net = pickle.load(f)
    print('sample', repr(write(net, len(kinds), 60)))
    print('eval', repr(loss_of(net, valid)))


if __name__ == '__main__':
    main()
