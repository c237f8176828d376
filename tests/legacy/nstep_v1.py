#!/usr/bin/env python
"""Language model on whole sentences with the multi-layer LSTM link."""
from __future__ import print_function
import argparse

import numpy as np

import chainer
from chainer import cuda
import chainer.functions as F
import chainer.links as L
from chainer import optimizers


class SentenceModel(chainer.Chain):

    def __init__(self, n_layers, n_vocab, n_units, dropout, use_cudnn):
        super(SentenceModel, self).__init__(
            embed=L.EmbedID(n_vocab, n_units, ignore_label=-1),
            rnn=L.NStepLSTM(n_layers, n_units, n_units, dropout,
                            use_cudnn=use_cudnn),
            output=L.Linear(n_units, n_vocab),
        )
        self.n_layers = n_layers
        self.n_units = n_units
        self.use_cudnn = use_cudnn

    def init_state(self, size, volatile):
        zeros = self.xp.zeros((self.n_layers, size, self.n_units), dtype='f')
        return chainer.Variable(zeros, volatile=volatile)

    def __call__(self, sentences, train=True):
        volatile = 'off' if train else 'on'
        xp = self.xp
        xs = [chainer.Variable(xp.asarray(s[:-1]), volatile=volatile)
              for s in sentences]
        ts = chainer.Variable(
            xp.asarray(np.concatenate([s[1:] for s in sentences])),
            volatile=volatile)

        # embed all words of the minibatch at once
        sections = np.cumsum([len(x.data) for x in xs[:-1]])
        words = F.concat(xs, axis=0)
        exs = F.embed_id(words, self.embed.W, ignore_label=-1)
        exs = F.dropout(exs, ratio=0.1, train=train)
        exs = F.split_axis(exs, sections, 0, force_tuple=True)

        h = self.init_state(len(xs), volatile)
        c = self.init_state(len(xs), volatile)
        h, c, ys = self.rnn(h, c, exs, train=train)
        y = self.output(F.dropout(F.concat(ys, axis=0), train=train))
        return F.softmax_cross_entropy(
            F.tanh(y, use_cudnn=self.use_cudnn) * 5, ts,
            use_cudnn=self.use_cudnn)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--gpu', '-g', type=int, default=-1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--layer', type=int, default=2)
    parser.add_argument('--unit', type=int, default=12)
    parser.add_argument('--dropout', type=float, default=0.4)
    args = parser.parse_args()
    np.random.seed(args.seed)

    vocab = {'<eos>': 0}
    sentences = []
    for line in open(args.text):
        ids = [vocab.setdefault(w, len(vocab)) for w in line.split()]
        sentences.append(np.array([0] + ids + [0], dtype=np.int32))
    train, valid = sentences[:-12], sentences[-12:]

    model = SentenceModel(args.layer, len(vocab), args.unit, args.dropout,
                          use_cudnn=args.gpu >= 0)
    if args.gpu >= 0:
        cuda.get_device(args.gpu).use()
        model.to_gpu()
    optimizer = optimizers.Adam(alpha=0.01)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.GradientClipping(0.3))
    optimizer.use_cleargrads()

    batchsize = 4
    for iteration in range(1, 41):
        order = np.random.permutation(len(train))[:batchsize]
        loss = model([train[i] for i in order])
        model.cleargrads()
        loss.backward()
        optimizer.update()
        if iteration % 5 == 0:
            print('loss', repr(float(cuda.to_cpu(loss.data))))

    loss = model(valid, train=False)
    print('eval', repr(float(cuda.to_cpu(loss.data))))


if __name__ == '__main__':
    main()
