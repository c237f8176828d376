#!/usr/bin/env python
"""The first 10,000 letters of The Time Machine, learned by heart.

    python examples/tasks/time_machine.py timemachine.txt

The running example of "Dive into Deep Learning", https://d2l.ai, up to its version
0.17, sections 8.5 to 9.2 (later versions changed the sizes): characters of H. G.
Wells's novel, lower case, all that is no letter one blank; the first 10,000; one LSTM
layer of 256 units on one-hot vectors; 32 streams of 35 steps; SGD at rate 1, the
gradient clipped to norm 1; 500 epochs, after which the book prints a perplexity of
about 1.1 on the text that it was trained on.

The book's loss is the mean over the T = 35 steps, that of `rnnlm.BPTTUpdater` the sum:
its gradient is T times as long.  An update is the same with 1 / T of the rate and T
times the threshold:

    lr g min(1, clip / |g|) = (lr / T) (T g) min(1, (clip T) / |T g|)

Where the book's streams begin anew at a random place in every epoch, ours run on.
"""
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
    """Ids of the first letters and blanks of a book, and their vocabulary."""
    lines = (''.join(c if 'a' <= c <= 'z' else ' ' for c in line.lower())
             for line in options.read_book(path).splitlines())
    # Between two lines there is nothing, as in the book.
    text = ''.join(' '.join(line.split()) for line in lines)[:LETTERS]
    if len(text) < STREAMS:
        raise rnnlm.InputError(
            f'{path}: expected at least {STREAMS} letters and blanks, found '
            f'{len(text)}; give an English text')
    vocabulary = rnnlm.Vocabulary.from_tokens(text)
    return vocabulary.encode(text), vocabulary


def make_model(n_vocab, units=256):
    """One layer that reads one-hot vectors: an embedding that is the identity."""
    model = rnnlm.RNNForLM(n_vocab, units, n_layers=1, dropout=0,
                           init_scale=units ** -0.5, n_embed=n_vocab)
    model.embed.W.array[...] = numpy.eye(n_vocab)
    return model


def keep_one_hot(optimizer):
    """A hook: the embedding stays, and has no part in the norm of the gradient."""
    optimizer.target.predictor.embed.W.grad[...] = 0


def make_trainer(model, ids, epochs, out):
    """The trainer of a run; its log has the mean 'main/loss' of each epoch."""
    classifier = options.classifier(model)
    optimizer = chainer.optimizers.SGD(lr=RATE / STEPS).setup(classifier)
    optimizer.add_hook(keep_one_hot)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(CLIP * STEPS))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(ids, STREAMS), optimizer, STEPS)
    trainer = training.Trainer(updater, (epochs, 'epoch'), out=out)
    trainer.extend(extensions.LogReport(postprocess=rnnlm.add_perplexity))
    trainer.extend(show, trigger=(max(1, epochs // 20), 'epoch'))
    return trainer


def show(trainer):
    entry = trainer.get_extension('LogReport').log[-1]
    print('epoch {epoch:3}  perplexity {perplexity:7.4f}  {elapsed_time:.0f} '
          'seconds'.format(**entry), flush=True)


def main(argv=None):
    parser = options.parser(__doc__, epochs=500)
    parser.add_argument('file', help='the book, as text')
    parser.add_argument('--units', type=int, default=256,
                        help='LSTM units (default: 256)')
    parser.add_argument('--out', default='result_time_machine',
                        help='folder for the log (default: result_time_machine)')
    args = options.parse(parser, argv)
    options.check_folder(args.out)
    ids, vocabulary = read(args.file)
    print(f'{len(ids):,} characters, {len(vocabulary)} different')
    model = make_model(len(vocabulary), args.units)
    make_trainer(model, ids, args.epochs, args.out).run()


if __name__ == '__main__':
    options.run(main)
