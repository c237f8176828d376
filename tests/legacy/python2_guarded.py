#!/usr/bin/env python
"""Bigram model of words that minds the difference of Python 2 and 3."""
from __future__ import print_function
import argparse
import io
import os

try:
    import cPickle as pickle
except ImportError:
    import pickle

import numpy as np
import six

import chainer
import chainer.functions as F
from chainer import optimizers

try:
    xrange
except NameError:
    xrange = range
try:
    raw_input
except NameError:
    raw_input = input

parser = argparse.ArgumentParser()
parser.add_argument('--seed', default=0, type=int)
parser.add_argument('--text', default='')
parser.add_argument('--out', default='.')
args = parser.parse_args()
np.random.seed(args.seed)

vocab = {}
text = args.text or raw_input('text: ')
with io.open(text, encoding='utf-8') as f:
    words = f.read().replace(u'\n', u' <eos> ').split()
data = np.array([vocab.setdefault(w, len(vocab)) for w in words], 'i')
inverse = {}
for word, index in six.iteritems(vocab):
    assert isinstance(word, six.text_type)
    inverse[index] = word

model = chainer.FunctionSet(embed=F.EmbedID(len(vocab), 10),
                            out=F.Linear(10, len(vocab)))
optimizer = optimizers.SGD(lr=0.5)
optimizer.setup(model.collect_parameters())

for i in xrange(40):
    index = np.random.randint(0, len(data) - 1, 20)
    x = chainer.Variable(data[index])
    t = chainer.Variable(data[index + 1])
    loss = F.softmax_cross_entropy(model.out(model.embed(x)), t)
    optimizer.zero_grads()
    loss.backward()
    optimizer.update()
    if i % 5 == 4:
        print('loss', repr(float(loss.data)))

with open(os.path.join(args.out, 'bigram.pkl'), 'wb') as f:
    pickle.dump(model, f, -1)
print('last', inverse[int(data[-1])])
x = chainer.Variable(data[:-1], volatile=True)
t = chainer.Variable(data[1:], volatile=True)
loss = F.softmax_cross_entropy(model.out(model.embed(x)), t)
print('eval', repr(float(loss.data)))
