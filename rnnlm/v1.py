"""Chainer v1's spelling of the language model: the `train` flag."""
import chainer

from rnnlm import model, unaltered


class RNNForLM(model.RNNForLM):
    """`rnnlm.RNNForLM` with Chainer v1's `train` flag.

    The flag alone decides about dropout, whatever ``chainer.config.train`` says,
    and may be set at any time: ``model.train = False``,
    ``eval_model.predictor.train = False``.  Parameters are drawn in the order of
    Chainer 1.24: link by link as they were added, W before b, upward before
    lateral.

    Args:
        n_vocab (int): Size of the vocabulary.
        n_units (int): Size of the embedding and of both layers.
        train (bool): Whether dropout works.
    """

    def __init__(self, n_vocab, n_units, train=True):
        super().__init__(n_vocab, n_units)
        self.train = train

    def _params_as_drawn(self):
        yield self.embed.W
        for layer in self.layers:
            yield layer.upward.W
            yield layer.upward.b
            yield layer.lateral.W
        yield self.output.W
        yield self.output.b

    def _features(self, ids, why_steps):
        with self._configured():
            return super()._features(ids, why_steps)

    def _step(self, x):
        with self._configured():
            return super()._step(x)

    def _configured(self):
        return chainer.using_config('train', bool(self.train))


model.KNOWN.add(unaltered.record(RNNForLM))
