#!/usr/bin/env python
"""Every optimizer that Chainer 1.11 to 7.8 has, and every standard extension.

Understood by all of these releases; what it prints is what resuming is judged by.
"""
from __future__ import print_function
import argparse

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import training
from chainer.training import extensions

NAMES = ('SGD', 'MomentumSGD', 'NesterovAG', 'AdaGrad', 'AdaDelta', 'Adam', 'RMSprop',
         'RMSpropGraves', 'SMORMS3')


class Net(chainer.Chain):

    def __init__(self):
        super(Net, self).__init__(out=L.Linear(3, 2))
        self.out.W.data[...] = np.arange(6).reshape(2, 3) / 10.

    def __call__(self, x):
        return self.out(x)


class EachUpdater(training.StandardUpdater):
    """Updates one model after the other with the same batch."""

    def update_core(self):
        x, t = self.converter(self.get_iterator('main').next(), self.device)
        for name in NAMES:
            optimizer = self.get_optimizer('main' if name == 'SGD' else name)
            net = optimizer.target
            loss = F.softmax_cross_entropy(net(chainer.Variable(x)),
                                           chainer.Variable(t))
            if name == 'SGD':
                chainer.report({'loss': loss}, net)
            for param in net.params():
                param.zerograd() if hasattr(param, 'zerograd') else param.cleargrad()
            loss.backward()
            optimizer.update()
            print('loss', name, repr(float(loss.data)))


@training.make_extension(trigger=(1, 'iteration'), priority=-200)
def say(trainer):
    updater = trainer.updater
    print('lr', updater.iteration, repr(updater.get_optimizer('main').lr))
    print('momentum', updater.iteration,
          repr(updater.get_optimizer('MomentumSGD').momentum))
    for key in sorted(trainer.observation):
        print('seen', updater.iteration, key)


def evaluated(net):
    def loss(x, t):
        value = F.softmax_cross_entropy(net(x), t)
        chainer.report({'loss': value}, net)
    return loss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', '-o', default='result')
    parser.add_argument('--resume', '-r', default='')
    parser.add_argument('--stop', type=int, default=7)
    args = parser.parse_args()

    draw = np.random.RandomState(0)
    data = chainer.datasets.TupleDataset(
        draw.normal(size=(20, 3)).astype('f'), draw.randint(0, 2, 20).astype('i'))
    made = {}
    for name in NAMES:
        optimizer = getattr(chainer.optimizers, name)()
        optimizer.setup(Net())
        optimizer.add_hook(chainer.optimizer.WeightDecay(0.01))
        made['main' if name == 'SGD' else name] = optimizer
    net = made['main'].target

    np.random.seed(2)
    iterator = chainer.iterators.SerialIterator(data, 4)  # five an epoch
    trainer = training.Trainer(
        EachUpdater(iterator, made), (args.stop, 'iteration'), out=args.out)
    trainer.extend(extensions.Evaluator(
        chainer.iterators.SerialIterator(data, 4, repeat=False, shuffle=False), net,
        eval_func=evaluated(net)), trigger=(2, 'iteration'))
    trainer.extend(extensions.ExponentialShift('lr', 0.5), trigger=(1, 'epoch'))
    trainer.extend(extensions.LinearShift(
        'momentum', (0.2, 0.8), (3, 12), made['MomentumSGD']),
        trigger=(1, 'iteration'))
    trainer.extend(extensions.dump_graph('main/loss'))
    trainer.extend(extensions.LogReport(trigger=(1, 'epoch')))
    trainer.extend(extensions.PrintReport(['epoch', 'iteration', 'main/loss']),
                   trigger=(1, 'epoch'))
    trainer.extend(extensions.ProgressBar(update_interval=1000))
    trainer.extend(extensions.snapshot(), trigger=(7, 'iteration'))
    trainer.extend(extensions.snapshot_object(net, 'model_iter_{.updater.iteration}'),
                   trigger=(7, 'iteration'))
    trainer.extend(say)
    if args.resume:
        chainer.serializers.load_npz(args.resume, trainer)
    trainer.run()
    for name in NAMES:
        target = made['main' if name == 'SGD' else name].target
        print('sum', name, *[repr(float(abs(p.data.astype('d')).sum()))
                             for _, p in sorted(target.namedparams())])


if __name__ == '__main__':
    main()
