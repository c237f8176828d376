"""The model of AWD-LSTM, whose dropout masks stay the same for a whole window."""
import rnnlm
from rnnlm import functions, links, parts

import chainer
from chainer import functions as F
from chainer import links as L
import numpy


class DroppedEmbedID(links.Masked, L.EmbedID):
    """Embedding with dropout of whole words (rows), the same for all of a window.

    Args:
        n_vocab (int): Size V of the vocabulary.
        n_units (int): Size m of the embedding.
        ratio (float): Ratio of words dropped, in [0, 1).
    """

    def __init__(self, n_vocab, n_units, ratio):
        super().__init__(n_vocab, n_units)
        self.ratio = ratio

    def begin_window(self):
        super().begin_window()
        if self.drops():
            self.draw((len(self.W), 1), self.W.dtype)

    def forward(self, x):
        """Computes one step: ids (B,) -> (B, m)."""
        return self.drop(super().forward(x), x)

    def drop(self, h, x):
        if not self.drops():
            return h
        ids = x.array if isinstance(x, chainer.Variable) else x
        self.draw((len(self.W), 1), self.W.dtype)  # if begin_window was not called
        return F.dropout(h, self.ratio, mask=self.mask[ids])


def dropped_embedding_window(link, ids, row_gradient=None):
    """Computes all steps: ids (T, B) -> (T, B, m)."""
    return link.drop(parts.embedding_window(link, ids, row_gradient), ids)


class LastDropout(links.LockedDropout):
    """Locked dropout before the output layer, which records its inputs.

    Attributes:
        given (list of Variables): (steps, B, n), inputs in the current window.
    """

    def __init__(self, ratio):
        super().__init__(ratio)
        self.given = []

    def begin_window(self):
        super().begin_window()
        self.given = []

    def forward(self, h):
        """Computes one step: h (B, n) -> (B, n)."""
        if chainer.config.train:
            self.given.append(h[None])
        return super().forward(h)


def last_dropout_window(link, h):
    """Computes all steps: h (T, B, n) -> (T, B, n)."""
    if chainer.config.train:
        link.given.append(h)
    return parts.locked_dropout_window(link, h)


parts.add(DroppedEmbedID, dropped_embedding_window, state=(),
          sizes=lambda link: link.W.shape, role='embed')
parts.add(LastDropout, last_dropout_window, state=(), role='dropout')


def make_model(n_vocab, args):
    """Makes a `rnnlm.LanguageModel` as awd-lstm-lm builds and initialises it.

    Args:
        n_vocab (int): Size V of the vocabulary.
        args: The options emsize, nhid, nlayers, dropout, dropouth, dropouti, dropoute
            and wdrop.
    """
    sizes = [args.emsize] + [args.nhid] * (args.nlayers - 1) + [args.emsize]
    between = [links.LockedDropout(args.dropouth) for _ in range(args.nlayers - 1)]
    model = rnnlm.LanguageModel(
        DroppedEmbedID(n_vocab, args.emsize, args.dropoute),
        [links.WeightDropLSTM(n_in, n_out, args.wdrop)
         for n_in, n_out in zip(sizes, sizes[1:])],
        links.OutputBias(n_vocab),
        [links.LockedDropout(args.dropouti), *between, LastDropout(args.dropout)])
    model.embed.W.array[...] = numpy.random.uniform(-.1, .1, model.embed.W.shape)
    for layer in model.layers:
        bound = layer.state_size ** -.5
        W, b = layer.upward.W.array, layer.upward.b.array
        for array in W, layer.lateral.W.array, b:
            array[...] = numpy.random.uniform(-bound, bound, array.shape)
        b += numpy.random.uniform(-bound, bound, b.shape)  # PyTorch has two, added
    return model


def loss_of_window(model, x, t, alpha, beta):
    """Computes the loss of a window with regularisation, and its cross entropy.

    Args:
        model: From `make_model`.
        x, t: int (T, B), inputs and targets.
        alpha (float): Weight of the activation regularisation: the mean square of the
            last layer's output after dropout.
        beta (float): Weight of the temporal activation regularisation: the mean square
            of the change of the last layer's output between steps, before dropout.

    Returns:
        tuple of Variables: the loss and the mean cross entropy per word.
    """
    h = model.features(x)
    entropy = functions.linear_softmax_cross_entropy(
        h, model.embed.W, model.output.b, t) / len(t)
    loss = entropy
    if alpha:
        loss += alpha * F.mean(F.square(h))
    if beta and len(t) > 1:
        last = F.concat(model.dropouts[-1].given, axis=0)
        loss += beta * F.mean(F.square(last[1:] - last[:-1]))
    return loss, entropy
