#!/usr/bin/env python
"""Trains with a loss that samples words: BlackOut or negative sampling.

    python examples/large_vocabulary/sampled.py --loss blackout
    python examples/large_vocabulary/sampled.py --loss negative --corpus FOLDER

The losses are Chainer's `L.BlackOut` and `L.NegativeSampling`.  A small link passes the
features of the model to them, and `rnnlm.BPTTUpdater` trains it step by step.  See also
`rnnlm.adaptive_model` for large vocabularies, which needs no sampling and is fused.

References:
    Ji, Vishwanathan, Satish, Anderson and Dubey, "BlackOut: Speeding up Recurrent
    Neural Network Language Models With Very Large Vocabularies" (2016)
    Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words
    and Phrases and their Compositionality" (2013)
"""
import argparse

import rnnlm  # first: it makes Chainer importable

import chainer
from chainer import functions as F
from chainer import links as L
import numpy

# Words are sampled in proportion to their counts to this power.
POWER = {'blackout': 0.4, 'negative': 0.75}


class SampledOutput(chainer.Chain):
    """Output layer that uses the weights of a sampled loss.

    Args:
        sampled: Link with weights W (V, n) that computes the loss of (h, t).
        bias: (V,), added to the products W h to give logits.
    """

    def __init__(self, sampled, bias):
        super().__init__()
        self.bias = bias.astype('f')
        self.register_persistent('bias')
        with self.init_scope():
            self.sampled = sampled

    def forward(self, h):
        return F.linear(h, self.sampled.W, self.bias)


class SampledLoss(chainer.Chain):
    """Training target: the sampled loss of a model with a `SampledOutput`."""

    def __init__(self, model):
        super().__init__()
        with self.init_scope():
            self.predictor = model

    def forward(self, x, t):
        loss = self.predictor.output.sampled(self.predictor.features(x), t)
        chainer.report({'loss': loss}, self)
        return loss


def make_output(name, n_units, counts, samples):
    """Makes the output layer for one of the losses."""
    noise = numpy.maximum(counts, 1) ** POWER[name]
    if name == 'blackout':
        return SampledOutput(
            L.BlackOut(n_units, noise, samples), numpy.zeros(len(noise)))
    # The products W h are log p - log(samples q), if q is the sampling probability.
    return SampledOutput(L.NegativeSampling(n_units, noise, samples, power=1),
                         numpy.log(noise / noise.sum()))


def perplexity(model, words):
    """Returns the perplexity, by the softmax over all words."""
    log_probs = rnnlm.score_text(model, words)
    return float(numpy.exp(-log_probs.mean()))


def train(corpus, loss='blackout', units=100, epochs=5, samples=50, lr=0.5, batch=20,
          steps=20, show=print):
    """Trains a one-layer model; returns it and its validation perplexities."""
    V = len(corpus.vocabulary)
    counts = numpy.bincount(corpus.train, minlength=V)
    model = rnnlm.LanguageModel(
        L.EmbedID(V, units), [L.LSTM(units, units)],
        make_output(loss, units, counts, samples), dropout=0.1)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-0.1, 0.1, param.shape)
    target = SampledLoss(model)
    optimizer = chainer.optimizers.SGD(lr).setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    iterator = rnnlm.ParallelSequentialIterator(corpus.train, batch)
    updater = rnnlm.BPTTUpdater(iterator, optimizer, steps, -1)
    found = [perplexity(model, corpus.valid)]
    while updater.epoch < epochs:
        updater.update()
        if updater.epoch >= len(found):
            found.append(perplexity(model, corpus.valid))
            show(f'epoch {updater.epoch:2}  validation perplexity {found[-1]:.1f}')
    return model, found


def positive(text):
    """Returns the value of an option, an integer from 1 to 2**31 - 1."""
    if not 1 <= int(text) < 2 ** 31:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 1 to 2**31 - 1, found {text}')
    return int(text)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default='demo', help='a folder, or demo (default)')
    add('--loss', choices=list(POWER), default='blackout')
    add('--unit', type=positive, default=100)
    add('--epoch', type=positive, default=5)
    add('--samples', type=positive, default=50,
        help='words sampled for each word')
    rnnlm.add_options(parser, 'seed', seed=0)
    args = parser.parse_args(argv)
    numpy.random.seed(args.seed)
    try:
        corpus = rnnlm.load_corpus(args.corpus)
    except rnnlm.InputError as e:
        parser.error(f'--corpus: {e}')
    print(corpus.summary())
    model, _ = train(corpus, args.loss, args.unit, args.epoch, args.samples)
    print(f'test perplexity {perplexity(model, corpus.test):.1f}')


if __name__ == '__main__':
    main()
