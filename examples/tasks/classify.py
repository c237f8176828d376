#!/usr/bin/env python
"""Tells two kinds of texts apart: embedding, LSTM, its last output -> logistic.

    python examples/tasks/classify.py --epochs 12 [--masked]
    python examples/tasks/classify.py --imdb aclImdb [--masked]

The sizes are those of a widespread example for Keras on the film reviews of Maas et
al. (2011), https://ai.stanford.edu/~amaas/data/sentiment/: the 5,000 most frequent
words, the last 500 of each text with zeros before the shorter ones, embedding of 32,
100 units, Adam at 1e-3, batches of 64, 3 epochs; the clipping of the gradient is ours.
Keras's own file of the reviews is pickled, and nothing here unpickles: `--imdb` takes
the folder of texts.

Without it the texts are made up (texts.py): what a text is stands in nine words
anywhere among noise, and who remembers all nine is right in 90.1%, who remembers only
the last in 70%.

Masked, padding does not count: Keras carries the state over it.  As the state before
the first word is zero, that is a text which begins with its first word, so the texts
are moved to the front and each one's output is taken at its own last word.
"""
from rnnlm import functions  # first: rnnlm makes Chainer importable

import chainer
from chainer import functions as F
from chainer import links as L
import numpy

import options
import texts


class TextClassifier(chainer.Chain):
    """The logit of class 1 for texts that are padded in front.

    Args:
        n_vocab (int): Words, with 0 for the padding.
        units (int): LSTM units.
        masked (bool): Whether padding leaves the state as it is.
    """

    def __init__(self, n_vocab, units=100, masked=False):
        super().__init__()
        self.masked = masked
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, 32, chainer.initializers.Uniform(0.05))
            self.lstm = L.LSTM(32, units)  # its parameters, with 1 as forget bias
            self.out = L.Linear(units, 1)

    def forward(self, ids):
        """(B,) logits of ids (B, T)."""
        ids, last = ids.T, -1
        if self.masked:
            ids, last = to_front(ids)
        hs, _, _ = functions.lstm_window(
            functions.embedding(ids, self.embed.W), None, None,
            self.lstm.upward.W, self.lstm.upward.b, self.lstm.lateral.W)
        return self.out(hs[last, numpy.arange(ids.shape[1])])[:, 0]


def to_front(ids):
    """Texts (T, B) with their padding behind them, and where each one's last word is.

    A text of padding alone counts as one word of it.
    """
    lengths = numpy.maximum((ids != texts.PAD).sum(axis=0), 1)
    steps = numpy.arange(lengths.max())[:, None] + len(ids) - lengths
    return ids[steps % len(ids), numpy.arange(ids.shape[1])], lengths - 1


def train(model, data, held_out, epochs, batch=64):
    """Accuracies on the held out texts after each epoch."""
    options.require_count('epochs', epochs)
    optimizer = chainer.optimizers.Adam().setup(model)
    # Without it, over 500 steps, the loss falls and rises again.
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(1))
    ids, classes = data
    accuracies = []
    for epoch in range(1, epochs + 1):
        losses = []
        order = numpy.random.permutation(len(ids))
        for k in range(0, len(ids), batch):
            chosen = order[k:k + batch]
            loss = F.sigmoid_cross_entropy(model(ids[chosen]), classes[chosen])
            model.cleargrads()
            loss.backward()
            optimizer.update()
            losses.append(float(loss.array))
        accuracies.append(accuracy(model, *held_out))
        print(f'epoch {epoch}  loss {numpy.mean(losses):.4f}  held out: accuracy '
              f'{100 * accuracies[-1]:.1f}%', flush=True)
    return accuracies


def accuracy(model, ids, classes, batch=250):
    with chainer.no_backprop_mode():
        right = [(model(ids[k:k + batch]).array > 0) == classes[k:k + batch]
                 for k in range(0, len(ids), batch)]
    return float(numpy.concatenate(right).mean())


def main(argv=None):
    parser = options.parser(__doc__, epochs=3)
    parser.add_argument('--masked', action='store_true', help='padding does not count')
    parser.add_argument('--imdb', metavar='FOLDER', help='the folder aclImdb')
    parser.add_argument('--texts', type=int, default=5000,
                        help='texts that are made up (default: 5000)')
    parser.add_argument('--length', type=int, default=500,
                        help='words of the longest text (default: 500)')
    parser.add_argument('--units', type=int, default=100,
                        help='LSTM units (default: 100)')
    args = options.parse(parser, argv)
    options.require_count('--texts', args.texts)
    options.require_count('--length', args.length, least=texts.MARKS)
    options.require_count('--units', args.units)
    n_vocab = 5000 if args.imdb else texts.WORDS
    if args.imdb:
        data, held_out = texts.read_imdb(args.imdb, args.length, n_vocab)
    else:
        data, held_out = (texts.make_up(n, args.length) for n in (args.texts, 2000))
        print(f'the best possible accuracy is {100 * texts.BEST:.1f}%')
    train(TextClassifier(n_vocab, args.units, args.masked), data, held_out, args.epochs)


if __name__ == '__main__':
    options.run(main)
