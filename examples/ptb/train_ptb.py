#!/usr/bin/env python
"""Trains a recurrent language model on the Penn Treebank, with Chainer's Trainer.

The options are those of Chainer's examples/ptb/train_ptb.py.
"""
import contextlib

import rnnlm

import chainer
from chainer import links as L
from chainer import training
from chainer.training import extensions
import numpy

import options


def main():
    parser = options.training_options('Trains an RNNLM on PTB.', parallel=True)
    with rnnlm.parallel.only_root_reports():
        args = parser.parse_args()
    # With --communicator the processes of mpiexec; otherwise this one.
    with rnnlm.parallel.joined(args.communicator, args.timeout) as group, \
            contextlib.ExitStack() as stack:
        recipe = group.on_all(lambda: options.recipe_of(args))
        group.on_root(lambda: stack.enter_context(options.locked(args.out)))
        return train(args, recipe, group)


def train(args, recipe, group):
    device, corpus = group.on_all(lambda: options.prepare(args, group))
    numpy.random.set_state(group.on_root(numpy.random.get_state))
    parts = [part[:100] if args.test else part
             for part in (corpus.train, corpus.valid, corpus.test)]

    # Each iterator reads its text in parallel streams.
    train_iter = group.on_all(lambda: rnnlm.ParallelSequentialIterator(
        parts[0], recipe.batch_size, rows=group.rows(recipe.batch_size)))
    val_iter = rnnlm.ParallelSequentialIterator(parts[1], 1, repeat=False)
    test_iter = rnnlm.ParallelSequentialIterator(parts[2], 1, repeat=False)

    # The model, and a Classifier that computes its loss.
    rnn = rnnlm.RNNForLM(
        len(corpus.vocabulary), recipe.n_units, recipe.n_layers, recipe.dropout,
        recipe.init_scale, recipe.n_embed)
    model = L.Classifier(rnn)
    model.compute_accuracy = False  # only the perplexity is needed
    model.to_device(device)

    optimizer = chainer.optimizers.SGD(lr=recipe.lr)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))

    # The same initial parameters in all processes, but different dropout masks.
    group.broadcast(model)
    group.separate_random_streams()
    updater = rnnlm.BPTTUpdater(
        train_iter, optimizer, recipe.bprop_len, device, group=group)
    trainer = training.Trainer(updater, (recipe.epochs, 'epoch'), out=args.out)

    # The evaluator saves and restores the recurrent state of the model.
    trainer.extend(rnnlm.PerplexityEvaluator(val_iter, model, group=group))
    trainer.extend(rnnlm.LearningRateDecay(recipe.decay, recipe.decay_after))
    trainer.extend(rnnlm.Snapshot(n_retains=None))
    best = rnnlm.BestModel(model, args.model)
    if group.is_root:  # only rank 0 prints and writes
        extend(trainer, args, model, best if args.preset else None, corpus)
    if args.resume:
        group.on_all(lambda: rnnlm.resume(args.resume, trainer))

    # Ctrl-C finishes the window and writes a snapshot.
    signal, snapshot = rnnlm.run(trainer)
    if signal:
        print(f'stopped; resume with: {options.resume_command(snapshot)}')
        return 128 + signal

    group.on_root(best.load)
    group.broadcast(model)
    result = rnnlm.PerplexityEvaluator(test_iter, model, group=group)()
    print(f"test perplexity: {numpy.exp(result['main/loss'])}")
    if group.is_root:
        rnnlm.save_npz(args.model, model)


def extend(trainer, args, model, best, corpus):
    """Adds the extensions that print and write files."""
    if best:
        trainer.extend(best)
    report = rnnlm.ReportTrigger(10 if args.test else 500)
    trainer.extend(rnnlm.Log(report, rnnlm.add_perplexity))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'iteration', 'perplexity', 'val_perplexity', 'elapsed_time']),
        trigger=report)
    if rnnlm.PerplexityPlot.available():  # matplotlib is installed
        trainer.extend(rnnlm.PerplexityPlot(corpus.perplexity_limit), trigger=report)
    trainer.extend(extensions.ProgressBar(update_interval=1 if args.test else 10))
    trainer.extend(extensions.snapshot_object(
        model, 'model_iter_{.updater.iteration}'))


if __name__ == '__main__':
    options.run(main)
