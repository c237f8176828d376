"""`RNNForLM` with the `train` flag of Chainer v1."""
from __future__ import annotations

from typing import Any, ContextManager, Iterator

import chainer

from rnnlm import chain, model, unaltered


class RNNForLM(model.RNNForLM):
    """`rnnlm.RNNForLM` with Chainer v1's `train` flag.

    The flag alone decides whether dropout is applied; ``chainer.config.train`` is
    ignored.  It can be set at any time: ``model.train = False``,
    ``eval_model.predictor.train = False``.  Parameters are initialised in the order of
    Chainer 1.24: link by link in the order of creation, W before b, upward before
    lateral.

    Args:
        n_vocab: Size of the vocabulary.
        n_units: Size of the embedding and of both layers.
        train: Whether dropout is applied.
    """

    def __init__(self, n_vocab: int, n_units: int, train: bool = True) -> None:
        super().__init__(n_vocab, n_units)
        self.train = train

    def _params_as_drawn(self) -> Iterator[chainer.Parameter]:
        yield self.embed.W
        for layer in self.layers:
            yield layer.upward.W
            yield layer.upward.b
            yield layer.lateral.W
        yield self.output.W
        yield self.output.b

    def _features(self, ids: Any, why_steps: str) -> chainer.Variable:
        with self._configured():
            return super()._features(ids, why_steps)

    def _step(self, x: Any) -> chainer.Variable:
        with self._configured():
            return super()._step(x)

    def _configured(self) -> ContextManager:
        return chainer.using_config('train', self._is_training())

    def _is_training(self) -> bool:
        return bool(self.train)


chain.KNOWN.add(unaltered.record(RNNForLM, one_step=True))
