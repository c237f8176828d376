#!/usr/bin/env python
"""The language model of Chainer's examples/ptb in plain Chainer, for v2 and v1.

The models compute the same as `rnnlm.RNNForLM` and `rnnlm.v1.RNNForLM`, with the same
initial parameters.  They use Chainer's own links, one step at a time, and the training
loop of the official example.  This is a reference to read and to compare with; it is
several times slower.
"""
import rnnlm  # before Chainer

import chainer
from chainer import functions as F
from chainer import links as L
import numpy


class RNNForLM(chainer.Chain):
    """Model of Chainer 2 to 7: dropout while ``chainer.config.train`` is true."""

    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.LSTM(n_units, n_units)
            self.l2 = L.LSTM(n_units, n_units)
            self.l3 = L.Linear(n_units, n_vocab)
        for param in self.params_as_drawn():
            param.array[...] = numpy.random.uniform(-0.1, 0.1, param.shape)

    def params_as_drawn(self):
        return self.params()  # sorted by name

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()

    def forward(self, x):  # (B,) word ids
        h0 = self.embed(x)             # (B, n)
        h1 = self.l1(F.dropout(h0))
        h2 = self.l2(F.dropout(h1))
        return self.l3(F.dropout(h2))  # (B, V) logits of the next word


class RNNForLMOfV1(RNNForLM):
    """Model of Chainer 1.11 to 1.24: dropout while its ``train`` flag is true."""

    def __init__(self, n_vocab, n_units, train=True):
        super().__init__(n_vocab, n_units)
        self.train = train

    def params_as_drawn(self):  # in the order in which they were added
        layers = [(layer.upward.W, layer.upward.b, layer.lateral.W)
                  for layer in (self.l1, self.l2)]
        return [self.embed.W, *layers[0], *layers[1], self.l3.W, self.l3.b]

    def forward(self, x):
        with chainer.using_config('train', self.train):
            return super().forward(x)


def update(optimizer, words):
    """Trains on a window of words (T + 1, B); returns the loss, summed over steps."""
    model = optimizer.target  # L.Classifier: softmax_cross_entropy, mean over the batch
    loss = 0
    for x, t in zip(words[:-1], words[1:]):
        loss += model(x, t)
    model.cleargrads()
    loss.backward()
    loss.unchain_backward()  # truncates the gradient, not the state
    optimizer.update()
    return float(loss.array)


def main(windows=20, batch_size=20, length=35):
    numpy.random.seed(0)
    corpus = rnnlm.load_corpus('demo')
    words = rnnlm.ParallelSequentialIterator(corpus.train, batch_size)
    model = L.Classifier(RNNForLM(len(corpus.vocabulary), n_units=50))
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    for k in range(windows):
        loss = update(optimizer, words.next_window(length))
        print(f'window {k + 1}: perplexity {numpy.exp(loss / length):.2f}')


if __name__ == '__main__':
    main()
