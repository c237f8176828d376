#!/usr/bin/env python
"""Memorises the first 10,000 letters of The Time Machine.

    python examples/tasks/time_machine.py timemachine.txt

This is the running example of "Dive into Deep Learning", https://d2l.ai, up to version
0.17, sections 8.5 to 9.2 (later versions changed the sizes).  The text is H. G. Wells's
novel by character, in lower case, with all that is not a letter replaced by one blank;
the first 10,000 characters.  The model has one LSTM layer of 256 units on one-hot
vectors.  It is trained with 32 streams of 35 steps, SGD at rate 1, the gradient clipped
to norm 1, for 500 epochs.  The book then prints a perplexity of about 1.1 on the
training text.

The book's loss is the mean over the T = 35 steps, that of `rnnlm.BPTTUpdater` the sum,
so its gradient is T times as long.  The update is the same with 1 / T of the rate and T
times the threshold:

    lr g min(1, clip / |g|) = (lr / T) (T g) min(1, (clip T) / |T g|)

The book's streams start at a new random offset in every epoch; ours continue.
"""
import os
import shlex

import rnnlm

import chainer
from chainer import training
from chainer.training import extensions
import numpy

import options

STEPS, STREAMS = 35, 32
RATE, CLIP = 1.0, 1.0
LETTERS = 10000


def read(path):
    """Reads the first letters and blanks of a book; returns ids and vocabulary."""
    lines = (''.join(c if 'a' <= c <= 'z' else ' ' for c in line.lower())
             for line in options.read_book(path).splitlines())
    # Lines are joined without a blank, as in the book.
    text = ''.join(' '.join(line.split()) for line in lines)[:LETTERS]
    if len(text) < STREAMS:
        raise rnnlm.InputError(
            f'{path}: expected at least {STREAMS} letters and blanks, found '
            f'{len(text)}; give an English text')
    vocabulary = rnnlm.Vocabulary.from_tokens(text)
    return vocabulary.encode(text), vocabulary


def make_model(n_vocab, units=256):
    """Makes a one-layer model on one-hot vectors: its embedding is the identity."""
    model = rnnlm.RNNForLM(n_vocab, units, n_layers=1, dropout=0,
                           init_scale=units ** -0.5, n_embed=n_vocab)
    model.embed.W.array[...] = numpy.eye(n_vocab)
    return model


def keep_one_hot(optimizer):
    """Keeps the embedding constant, and out of the gradient norm (a hook)."""
    optimizer.target.predictor.embed.W.grad[...] = 0


def make_trainer(model, ids, epochs, out):
    """Makes the trainer of a run; its log has the mean 'main/loss' of each epoch."""
    classifier = options.classifier(model)
    optimizer = chainer.optimizers.SGD(lr=RATE / STEPS).setup(classifier)
    optimizer.add_hook(keep_one_hot)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(CLIP * STEPS))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(ids, STREAMS), optimizer, STEPS)
    trainer = training.Trainer(updater, (epochs, 'epoch'), out=out)
    trainer.extend(extensions.LogReport(postprocess=rnnlm.add_perplexity))
    trainer.extend(options.show_progress, trigger=(10, 'iteration'))
    trainer.extend(show, trigger=(max(1, epochs // 20), 'epoch'))
    return trainer


def show(trainer):
    entry = trainer.get_extension('LogReport').log[-1]
    options.progress()
    print('epoch {epoch:3}  perplexity {perplexity:7.4f}  {elapsed_time:.0f} '
          'seconds'.format(**entry), flush=True)


def continued(model, vocabulary, beginning='time', length=50):
    """Returns a beginning and its most probable continuation, as the book prints it."""
    known = ''.join(c for c in beginning if c in vocabulary) or vocabulary.words[0]
    ids = rnnlm.generate(model, vocabulary.encode(known), length, sample=False)
    return known + ''.join(vocabulary.decode(list(ids)))


def main(argv=None):
    parser = options.parser(__doc__, epochs=500)
    parser.add_argument('file', help='the book, as text')
    parser.add_argument('--units', type=int, default=256,
                        help='LSTM units (default: 256)')
    parser.add_argument('--out', default='result_time_machine',
                        help='folder for the model and the log (default: '
                             'result_time_machine)')
    args = options.parse(parser, argv)
    options.require_count('--units', args.units)
    ids, vocabulary = read(args.file)
    options.save_vocabulary(args.out, vocabulary)
    print(f'{len(ids):,} characters, {len(vocabulary)} different')
    model = make_model(len(vocabulary), args.units)
    make_trainer(model, ids, args.epochs, args.out).run()
    rnnlm.save_npz(os.path.join(args.out, 'model.npz'), model)
    print(continued(model, vocabulary))
    print(f'written {args.out}/; more text with: rnnlm generate '
          f'{shlex.quote(args.out)}')


if __name__ == '__main__':
    options.run(main)
