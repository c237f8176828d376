#!/usr/bin/env python
"""Trains AWD-LSTM (Merity, Keskar and Socher 2018), by default on the Penn Treebank.

    python examples/awd/main.py --save awd.npz
    python examples/awd/finetune.py --save awd.npz
    python examples/awd/cache.py --save awd.npz

The options are those of awd-lstm-lm, with the defaults of its paper.  README.md lists
the differences.
"""
import os

import rnnlm  # first: it makes Chainer importable

import chainer
from chainer import links as L
from chainer import training
from chainer.training import extensions
import numpy

import options
from model import make_model
from training import Evaluator, KeepBest, NonMonotonic, Until, Updater, make_optimizer


def make_trainer(args, device, n_vocab, texts, model=None):
    """Makes a Chainer Trainer; returns it with its optimizer and evaluator.

    Args:
        args: The arguments; see options.py.
        device: Chainer device.
        n_vocab (int): Size of the vocabulary.
        texts: Ids for training, validation and test.
        model: A trained model, to fine-tune it; None for a new one.
    """
    fine_tuning = model is not None
    if not fine_tuning:
        model = make_model(n_vocab, args)
    target = L.Classifier(model)
    target.compute_accuracy = False
    target.to_device(device)
    optimizer = make_optimizer(
        target, args.lr, args.clip, args.wdecay, fine_tuning)
    updater = Updater(rnnlm.ParallelSequentialIterator(texts[0], args.batch_size),
                      optimizer, args.bptt, args.alpha, args.beta, device)
    trainer = training.Trainer(updater, Until(args.epochs), args.out)
    evaluator = Evaluator(
        rnnlm.ParallelSequentialIterator(texts[1], 10, repeat=False), optimizer)
    trainer.extend(evaluator)
    trainer.extend(rnnlm.Snapshot(n_retains=1))
    report = rnnlm.ReportTrigger(args.log_interval)
    trainer.extend(extensions.observe_value(
        'averaged', lambda trainer: optimizer.n_averaged or 0))
    trainer.extend(rnnlm.Log(report, rnnlm.add_perplexity))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'iteration', 'perplexity', 'val_perplexity', 'averaged',
         'elapsed_time']), trigger=report)
    return trainer, optimizer, evaluator


def run(trainer, args):
    """Trains, and returns the exit status; a signal leaves a snapshot."""
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as e:
        raise rnnlm.InputError(
            f'--out: expected a folder that can be written, found {args.out} '
            f'({e.strerror})') from None
    if args.resume:
        rnnlm.resume(args.resume, trainer)
    signal, snapshot = rnnlm.run(trainer)
    if signal:
        print(f'stopped; continue with --resume {snapshot}')
        return 128 + signal
    return 0


def test(path, model, words):
    """Prints the perplexity of the best model on a text."""
    rnnlm.load_model(path, model)
    target = L.Classifier(model)
    result = rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(words, 1, repeat=False), target)
    target.compute_accuracy = False
    print(f'test perplexity: {numpy.exp(result()["main/loss"]):.2f}')


def main(argv=None):
    parser = options.parser(__doc__)
    parser.add_argument('--out', default='result_awd',
                        help='folder of the snapshots and the log (default: '
                             'result_awd)')
    parser.add_argument('--resume', default='', help='snapshot to resume from')
    args = options.parse(parser, argv)
    device, vocabulary, texts = options.prepare(args)
    trainer, optimizer, _ = make_trainer(args, device, len(vocabulary), texts)
    trainer.extend(KeepBest(optimizer, args.save))
    trainer.extend(NonMonotonic(args.nonmono, optimizer.begin_averaging))
    status = run(trainer, args)
    if not status:
        with chainer.using_config('train', False):
            test(args.save, optimizer.target.predictor, texts[2])
    return status


if __name__ == '__main__':
    options.run(main)
