#!/usr/bin/env python
"""Trains a character model of a text, with the defaults of char-rnn.

    python examples/tasks/shakespeare.py input.txt

char-rnn is Andrej Karpathy's program of 2015, https://github.com/karpathy/char-rnn, and
its example text, tinyshakespeare, is data/tinyshakespeare/input.txt there.  Its
defaults: 2 layers of 128 units, windows of 50 steps, 50 streams, RMSprop at 2e-3 with
alpha 0.95, the rate multiplied by 0.97 each epoch from epoch 11, gradients clamped to
[-5, 5], no dropout, weights from -0.08 to 0.08 except a forget bias of 1, 95% of the
text for training and 5% for validation, 50 epochs.  char-rnn feeds one-hot vectors to
the first layer; here they pass through an embedding of 128.

char-rnn's loss is the sum over the steps of the mean over the streams, like that of
`rnnlm.BPTTUpdater`, so its hyperparameters can be used unchanged.
"""
import os
import shlex

import rnnlm

import chainer
from chainer import training
from chainer.training import extensions

import options

STEPS, STREAMS = 50, 50


def read(path):
    """Reads a text; returns the ids for training and validation, and the vocabulary."""
    text = options.read_book(path)
    if len(text) < 20 * STREAMS:
        raise rnnlm.InputError(
            f'{path}: expected at least {20 * STREAMS} characters, found {len(text)}')
    vocabulary = rnnlm.Vocabulary.from_tokens(text)
    ids = vocabulary.encode(text)
    cut = len(ids) * 95 // 100
    return ids[:cut], ids[cut:], vocabulary


def make_model(n_vocab, units=128):
    gates = rnnlm.functions.GATES
    model = rnnlm.RNNForLM(
        n_vocab, units, n_layers=2, dropout=0, init_scale=0.08, n_embed=128)
    for layer in model.layers:
        layer.upward.b.array[gates.index('f')::len(gates)] = 1
    return model


def make_trainer(model, train, valid, epochs, out):
    """Makes the trainer of a run; its log has 'validation/main/loss' per epoch."""
    classifier = options.classifier(model)
    optimizer = chainer.optimizers.RMSprop(lr=2e-3, alpha=0.95).setup(classifier)
    optimizer.add_hook(chainer.optimizer_hooks.GradientHardClipping(-5, 5))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(train, STREAMS), optimizer, STEPS)
    trainer = training.Trainer(updater, (epochs, 'epoch'), out=out)
    trainer.extend(rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(valid, 1, repeat=False), classifier))
    trainer.extend(rnnlm.LearningRateDecay(1 / 0.97, after_epoch=10))
    trainer.extend(extensions.LogReport())
    trainer.extend(options.show_progress, trigger=(10, 'iteration'))
    trainer.extend(show, trigger=(1, 'epoch'))
    return trainer


def show(trainer):
    entry = trainer.get_extension('LogReport').log[-1]
    options.progress()
    print('{epoch:<7}{main/loss:<10.5f}{validation/main/loss:<10.5f}'
          '{elapsed_time:.1f}'.format(**entry), flush=True)


def add_samples(trainer, model, vocabulary, length):
    """Prints a sample after each epoch, and keeps the best model in a file."""
    def sample(trainer):
        # A copy shares the parameters, and has recurrent states of its own.
        trained = rnnlm.TrainedModel(model.copy(), vocabulary)
        text = trained.generate(
            length=length, temperature=0.8, seed=trainer.updater.epoch)
        print(f'\n{text}\n', flush=True)

    trainer.extend(rnnlm.BestModel(
        trainer.updater.get_optimizer('main').target,
        os.path.join(trainer.out, 'model.npz')))
    if length:
        trainer.extend(sample, trigger=(1, 'epoch'), priority=0)  # after `show`


def main(argv=None):
    parser = options.parser(__doc__, epochs=50)
    parser.add_argument('file', help='a text')
    parser.add_argument('--units', type=int, default=128,
                        help='LSTM units of each layer (default: 128)')
    parser.add_argument('--sample', type=int, default=300, metavar='N',
                        help='characters of the sample after each epoch (default: 300)')
    parser.add_argument('--out', default='result_shakespeare',
                        help='folder for the model and the log (default: '
                             'result_shakespeare)')
    args = options.parse(parser, argv)
    options.require_count('--units', args.units)
    options.require_count('--sample', args.sample, least=0)
    train, valid, vocabulary = read(args.file)
    options.save_vocabulary(args.out, vocabulary)
    model = make_model(len(vocabulary), args.units)
    trainer = make_trainer(model, train, valid, args.epochs, args.out)
    add_samples(trainer, model, vocabulary, args.sample)
    print(f'{len(train):,} characters to train on, {len(valid):,} to validate with, '
          f'{len(vocabulary)} different; losses in nats a character\n'
          'epoch  training  validation  seconds')
    trainer.run()
    print(f'written {args.out}/; more text with: rnnlm generate '
          f'{shlex.quote(args.out)}')


if __name__ == '__main__':
    options.run(main)
