#!/usr/bin/env python
"""Trains a recurrent language model on the Penn Treebank, with Chainer's Trainer.

The flags are those of Chainer's examples/ptb/train_ptb.py and mean the same.
"""
import rnnlm

import chainer
from chainer import links as L
from chainer import training
from chainer.training import extensions

from rnnlm import experiment, plotting, runs
from rnnlm.training import ReportTrigger

import options


def main():
    args = options.training_options('Trains an RNNLM on PTB.').parse_args()
    recipe = options.recipe_of(args)
    with runs.locked(args.out):  # no other run writes there meanwhile
        return train(args, recipe)


def train(args, recipe):
    device, corpus = options.prepare(args)
    parts = [part[:100] if args.test else part
             for part in (corpus.train, corpus.valid, corpus.test)]

    # Each iterator reads its text in parallel streams.
    train_iter = rnnlm.ParallelSequentialIterator(parts[0], recipe.batch_size)
    val_iter = rnnlm.ParallelSequentialIterator(parts[1], 1, repeat=False)
    test_iter = rnnlm.ParallelSequentialIterator(parts[2], 1, repeat=False)

    # The model, and the loss around it.
    rnn = rnnlm.RNNForLM(
        len(corpus.vocabulary), recipe.n_units, recipe.n_layers, recipe.dropout,
        recipe.init_scale, recipe.n_embed)
    model = L.Classifier(rnn)
    model.compute_accuracy = False  # only the perplexity is wanted
    model.to_device(device)

    optimizer = chainer.optimizers.SGD(lr=recipe.lr)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))

    updater = rnnlm.BPTTUpdater(train_iter, optimizer, recipe.bprop_len, device)
    trainer = training.Trainer(updater, (recipe.epochs, 'epoch'), out=args.out)

    # The same model is evaluated: the evaluator puts its state aside meanwhile.
    trainer.extend(rnnlm.PerplexityEvaluator(val_iter, model))
    best = rnnlm.BestModel(model, args.model)
    if args.preset:
        trainer.extend(best)
    trainer.extend(rnnlm.LearningRateDecay(recipe.decay, recipe.decay_after))
    report = ReportTrigger(10 if args.test else 500)
    trainer.extend(rnnlm.Log(report, rnnlm.add_perplexity))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'iteration', 'perplexity', 'val_perplexity', 'elapsed_time']),
        trigger=report)
    if plotting.available():
        trainer.extend(plotting.PerplexityPlot(corpus.perplexity_limit),
                       trigger=report)
    trainer.extend(extensions.ProgressBar(update_interval=1 if args.test else 10))
    trainer.extend(rnnlm.Snapshot(n_retains=None))
    trainer.extend(extensions.snapshot_object(
        model, 'model_iter_{.updater.iteration}'))
    if args.resume:
        rnnlm.resume(args.resume, trainer)

    # Ctrl-C finishes the window and leaves a snapshot.
    signal, snapshot = rnnlm.run(trainer)
    if signal:
        print(f'stopped; go on with --resume {snapshot}')
        return 128 + signal

    best.load()
    perplexity = experiment.perplexity(rnnlm.PerplexityEvaluator(test_iter, model))
    print(f'test perplexity: {perplexity}')
    rnnlm.save_npz(args.model, model)


if __name__ == '__main__':
    options.run(main)
