#!/usr/bin/env python
"""Language model on Trainer with forward methods, devices and hooks apart."""
import argparse

import numpy as np

import chainer
import chainer.functions as F
import chainer.links as L
from chainer import optimizer_hooks
from chainer import training
from chainer.training import extensions


class GRULM(chainer.Chain):

    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.rnn = L.NStepGRU(2, n_units, n_units, 0.3)
            self.norm = L.LayerNormalization(n_units)
            self.body = chainer.Sequential(
                L.Linear(n_units, n_units), F.relu, L.Linear(None, n_vocab))

    def forward(self, xs, ts):
        sections = np.cumsum([len(x) for x in xs[:-1]])
        exs = F.split_axis(self.embed(F.concat(xs, axis=0)), sections, 0)
        _, ys = self.rnn(None, exs)
        y = self.body(F.dropout(self.norm(F.concat(ys, axis=0)), ratio=0.2))
        t = F.concat(ts, axis=0)
        loss = F.softmax_cross_entropy(y, t)
        chainer.report({
            'loss': loss, 'accuracy': F.accuracy(y, t),
            'perplexity': F.exp(loss)}, self)
        return loss


@chainer.dataset.converter()
def convert(batch, device):
    return {'xs': [device.send(sentence[:-1]) for sentence in batch],
            'ts': [device.send(sentence[1:]) for sentence in batch]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', '-d', default='@numpy')
    parser.add_argument('--out', '-o', default='result')
    parser.add_argument('--resume', '-r', default=None)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--text', default='text.txt')
    parser.add_argument('--unit', '-u', type=int, default=12)
    parser.add_argument('--iteration', '-i', type=int, default=40)
    args = parser.parse_args()
    np.random.seed(args.seed)
    device = chainer.get_device(args.device)
    device.use()

    vocab = {'<eos>': 0}
    sentences = []
    with open(args.text) as f:
        for line in f:
            ids = [vocab.setdefault(w, len(vocab)) for w in line.split()]
            sentences.append(np.array([0] + ids + [0], np.int32))
    train_iter = chainer.iterators.SerialIterator(sentences[:-12], 6)
    test_iter = chainer.iterators.SerialIterator(
        sentences[-12:], 6, repeat=False, shuffle=False)

    model = GRULM(len(vocab), args.unit)
    model.to_device(device)
    optimizer = chainer.optimizers.Adam(
        alpha=0.02, weight_decay_rate=1e-3, amsgrad=True)
    optimizer.setup(model)
    optimizer.add_hook(optimizer_hooks.GradientClipping(2))
    model.rnn[0].w0.update_rule.hyperparam.alpha = 0.005

    updater = training.updaters.StandardUpdater(
        train_iter, optimizer, converter=convert, device=device)
    trainer = training.Trainer(
        updater, (args.iteration, 'iteration'), out=args.out)
    evaluator = extensions.Evaluator(
        test_iter, model, converter=convert, device=device)
    trainer.extend(evaluator, trigger=(1, 'epoch'))
    trainer.extend(extensions.ExponentialShift('alpha', 0.9),
                   trigger=training.triggers.IntervalTrigger(10, 'iteration'))
    trainer.extend(extensions.LogReport(
        trigger=(5, 'iteration'), filename='log.json',
        postprocess=lambda r: print('loss', repr(r['main/loss']))))
    trainer.extend(extensions.PrintReport(
        ['iteration', 'main/perplexity', 'main/accuracy',
         'validation/main/loss', 'elapsed_time']), trigger=(20, 'iteration'))
    trainer.extend(extensions.snapshot(
        filename='snapshot_{.updater.iteration}', n_retains=1),
        trigger=(20, 'iteration'))
    trainer.extend(extensions.snapshot_object(
        model, 'model_{.updater.iteration}.npz'), trigger=(40, 'iteration'))
    if args.resume is not None:
        chainer.serializers.load_npz(args.resume, trainer)
    trainer.run()

    result = evaluator()
    print('accuracy', repr(float(result['validation/main/accuracy'])))
    print('eval', repr(float(result['validation/main/loss'])))


if __name__ == '__main__':
    main()
