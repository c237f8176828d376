#!/usr/bin/env python
"""Trains a recurrent language model on the Penn Treebank, without Chainer's Trainer.

The training loop is written out, as in Chainer's example of the same name.
"""
import rnnlm

import chainer
from chainer import links as L
import numpy

import options


def evaluate(model, words):
    """Returns the perplexity of `model` on a text."""
    iterator = rnnlm.ParallelSequentialIterator(words, 1, repeat=False)
    result = rnnlm.PerplexityEvaluator(iterator, model)()
    return numpy.exp(result['main/loss'])


def main():
    parser = options.training_options('Trains an RNNLM on PTB in its own loop.')
    parser.set_defaults(model='rnnlm.model')
    args = parser.parse_args()
    recipe = options.recipe_of(args)
    device, corpus = options.prepare(args)
    train, valid, test = [
        part[:100] if args.test else part
        for part in (corpus.train, corpus.valid, corpus.test)]
    train_iter = rnnlm.ParallelSequentialIterator(train, recipe.batch_size)

    rnn = rnnlm.RNNForLM(
        len(corpus.vocabulary), recipe.n_units, recipe.n_layers, recipe.dropout,
        recipe.init_scale, recipe.n_embed)
    model = L.Classifier(rnn)
    model.compute_accuracy = False  # only the perplexity is needed
    model.to_device(device)
    optimizer = chainer.optimizers.SGD(lr=recipe.lr)
    optimizer.setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))
    if args.resume:
        rnnlm.load_model(args.resume, model)

    try:
        run_epochs(rnn, model, optimizer, train_iter, valid, device, recipe, args.test)
        print(f'test perplexity: {evaluate(model, test)}')
        status = 0
    except KeyboardInterrupt:
        print('stopped; continue from these weights with: '
              f'{options.resume_command(args.model)}')
        status = 130
    rnnlm.save_npz(args.model, model)
    rnnlm.save_npz('rnnlm.state', optimizer)
    return status


def run_epochs(rnn, model, optimizer, train_iter, valid, device, recipe, test):
    """Trains: computes the gradients of each window, and updates the parameters."""
    interval = 1 if test else 20  # windows between two reports
    losses = []
    windows = 0
    while train_iter.epoch < recipe.epochs:
        passed = max(0, train_iter.epoch + 1 - recipe.decay_after)
        optimizer.lr = recipe.lr / recipe.decay ** passed
        # (T + 1, B): inputs, and targets one step later.
        ids = device.send(train_iter.next_window(recipe.bprop_len))
        loss = rnn.loss(ids[:-1], ids[1:])  # summed over the steps
        model.cleargrads()
        loss.backward()
        loss.unchain_backward()  # truncates the graph: the next window starts here
        optimizer.update()

        windows += 1
        losses.append(float(loss.array) / (len(ids) - 1))
        if windows % interval == 0:
            print(f'iteration: {windows}')
            print(f'training perplexity: {numpy.exp(numpy.mean(losses))}', flush=True)
            losses.clear()
        if train_iter.is_new_epoch:
            print(f'epoch: {train_iter.epoch}')
            print(f'validation perplexity: {evaluate(model, valid)}', flush=True)


if __name__ == '__main__':
    options.run(main)
