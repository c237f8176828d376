#!/usr/bin/env python
"""Feed-forward language model of two preceding words, on the stock updater."""
from __future__ import print_function
import argparse

import numpy as np

import chainer
from chainer import cuda
import chainer.functions as F
import chainer.links as L
from chainer import training
from chainer.training import extensions


class WordModel(chainer.Chain):

    def __init__(self, n_vocab, n_units):
        super(WordModel, self).__init__(
            embed=L.EmbedID(n_vocab, n_units),
            hidden=L.Linear(2 * n_units, n_units),
            norm=L.BatchNormalization(n_units),
            score=L.Linear(n_units, n_vocab),
        )
        self.train = True
        self.seen = 0

    def __call__(self, x):
        xp = cuda.get_array_module(x.data)
        self.seen += int(xp.ones_like(x.data).sum())
        h = F.reshape(self.embed(x), (x.data.shape[0], -1))
        h = self.hidden(F.dropout(h, 0.2, self.train))
        h = F.relu(self.norm(h, test=not self.train))
        return self.score(F.dropout(h, ratio=0.3, train=self.train))


class TestModeEvaluator(extensions.Evaluator):

    def evaluate(self):
        predictor = self.get_target('main').predictor
        predictor.train = False
        ret = super(TestModeEvaluator, self).evaluate()
        predictor.train = True
        return ret


@training.make_extension(trigger=(2, 'epoch'))
def announce(trainer):
    optimizer = trainer.updater.get_optimizer('main')
    print('start', trainer.updater.iteration, optimizer.lr, optimizer.momentum)


@training.make_extension(trigger=(5, 'iteration'), priority=50)
def print_loss(trainer):
    print('loss', repr(float(trainer.observation['main/loss'].data)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--batchsize', '-b', type=int, default=30)
    parser.add_argument('--epoch', '-e', type=int, default=3)
    parser.add_argument('--gpu', '-g', type=int, default=-1)
    parser.add_argument('--out', '-o', default='result')
    parser.add_argument('--resume', '-r', default='')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--unit', '-u', type=int, default=16)
    args = parser.parse_args()
    np.random.seed(args.seed)

    vocab = {}
    words = open(args.text).read().replace('\n', ' <eos> ').split()
    data = np.array([vocab.setdefault(w, len(vocab)) for w in words], 'i')
    contexts = np.vstack([data[:-2], data[1:-1]]).T.copy()
    train = chainer.datasets.TupleDataset(contexts[:-120], data[2:-120])
    test = chainer.datasets.TupleDataset(contexts[-120:], data[-120:])

    model = L.Classifier(WordModel(len(vocab), args.unit))
    if args.gpu >= 0:
        cuda.get_device(args.gpu).use()
        model.to_gpu()
    optimizer = chainer.optimizers.MomentumSGD(lr=0.1)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer.WeightDecay(0.001))

    train_iter = chainer.iterators.SerialIterator(train, args.batchsize)
    test_iter = chainer.iterators.SerialIterator(
        test, args.batchsize, repeat=False, shuffle=False)
    updater = training.StandardUpdater(train_iter, optimizer, device=args.gpu)
    trainer = training.Trainer(updater, (args.epoch, 'epoch'), out=args.out)

    evaluator = TestModeEvaluator(test_iter, model, device=args.gpu)
    trainer.extend(evaluator)
    trainer.extend(extensions.dump_graph('main/loss'))
    trainer.extend(extensions.LinearShift('momentum', (0.5, 0.9), (10, 30)),
                   trigger=(1, 'iteration'))
    trainer.extend(extensions.ExponentialShift('lr', 0.8, target=0.01),
                   trigger=(1, 'epoch'))
    trainer.extend(announce, invoke_before_training=True)
    trainer.extend(print_loss)
    trainer.extend(extensions.LogReport(log_name='log'))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'main/loss', 'validation/main/loss',
         'main/accuracy', 'validation/main/accuracy']))
    trainer.extend(extensions.ProgressBar(update_interval=1000))

    if args.resume:
        chainer.serializers.load_npz(args.resume, trainer)
    trainer.run()

    result = evaluator()
    print('seen', model.predictor.seen)
    print('accuracy', repr(float(result['validation/main/accuracy'])))
    print('eval', repr(float(result['validation/main/loss'])))


if __name__ == '__main__':
    main()
