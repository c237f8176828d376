#!/usr/bin/env python
"""Words by links, in the style of Chainer 1.5 to 1.10; the model stands beside."""
from __future__ import print_function
import argparse
import os

import chainer
from chainer import cuda
from chainer import links as L
from chainer import optimizers
from chainer import serializers
import numpy as np
from six import moves

import volatile_net

parser = argparse.ArgumentParser()
parser.add_argument('--gpu', type=int, default=-1)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--text', default='text.txt')
parser.add_argument('--out', default='.')
parser.add_argument('--width', type=int, default=12)
parser.add_argument('--streams', type=int, default=4)
parser.add_argument('--sweeps', type=int, default=2)
args = parser.parse_args()
np.random.seed(args.seed)
xp = cuda.cupy if args.gpu >= 0 else np

kinds = {}
with open(args.text) as f:
    ids = [kinds.setdefault(word, len(kinds))
           for word in f.read().replace('\n', ' <eos> ').split()]
held_out = min(len(ids) // 6, 2000)
valid = np.array(ids[-held_out:], dtype=np.int32)
ids = np.array(ids[:-held_out], dtype=np.int32)

model = L.Classifier(volatile_net.Words(len(kinds), args.width))
model.compute_accuracy = False
for param in model.params():
    param.data[...] = np.random.uniform(-0.1, 0.1, param.data.shape)
if args.gpu >= 0:
    cuda.get_device(args.gpu).use()
    model.to_gpu()
rule = optimizers.SGD(lr=1)
rule.setup(model)
rule.add_hook(chainer.optimizer.GradientClipping(0.5))


def loss_of(model, text):
    model = model.copy()
    model.predictor.train = False
    model.predictor.forget()
    total = 0.0
    for k in moves.range(len(text) - 1):
        x, t = (chainer.Variable(xp.asarray(text[j:j + 1]), volatile='on')
                for j in (k, k + 1))
        total += float(model(x, t).data)
    return total / (len(text) - 1)


def column(at):
    starts = moves.range(0, len(ids) // args.streams * args.streams,
                         len(ids) // args.streams)
    return chainer.Variable(xp.array(
        [ids[(start + at) % len(ids)] for start in starts], dtype=np.int32))


sweep = len(ids) // args.streams
loss, seen = 0, 0.0
for at in moves.range(sweep * args.sweeps // 5 * 5):
    loss += model(column(at), column(at + 1))
    if at % 5 == 4:
        seen += float(loss.data) / 5
        model.zerograds()
        loss.backward()
        loss.unchain_backward()
        rule.update()
        loss = 0
    if at % 30 == 29:
        print('loss', repr(seen / 6))
        seen = 0.0
    if at and at % sweep == 0:
        print('eval', repr(loss_of(model, valid)))
        rule.new_epoch()
        rule.lr /= 1.2

names = [os.path.join(args.out, name) for name in ('words.model', 'words.state')]
for name, part in zip(names, (model, rule)):
    serializers.save_npz(name, part)
again = L.Classifier(volatile_net.Words(len(kinds), args.width, train=False))
again.compute_accuracy = False
other = optimizers.SGD(lr=0.5)
other.setup(again)
for name, part in zip(names, (again, other)):
    serializers.load_npz(name, part)
assert other.t == rule.t
print('eval', repr(loss_of(again, valid)))
