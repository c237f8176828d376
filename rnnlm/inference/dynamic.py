"""Dynamic evaluation: a model that adapts to the text it is evaluated on."""
from __future__ import annotations

from typing import Callable, Optional

import chainer
import numpy

from rnnlm.chain import LanguageModel
from rnnlm.data import flat
from rnnlm.data.text import Ids
from rnnlm.errors import (
    InputError, require, require_count, require_ids, require_positive)

# Good learning rates for the small model of the Penn Treebank.
RATES = {'sgd': 0.07, 'rms': 0.0001}


def check_rates(lr: Optional[float], decay: Optional[float]) -> None:
    """Refuses a learning rate or a decay that is out of range; None is a default.

    Raises:
        rnnlm.InputError: If one is out of range.
    """
    if lr is not None:
        require_positive('lr', lr)
    if decay is not None:
        require('decay', decay, 'a ratio from 0 to 1', lambda v: 0 <= v <= 1)


class DynamicEvaluation:
    r"""Evaluator of perplexity that adapts the model to the text while reading.

    The text is read in segments.  After each segment is predicted, the parameters take
    a gradient step (with gradient g) and decay towards the trained weights
    :math:`\theta_0`:

    .. math::
        \theta \leftarrow \theta - \eta\, s \odot g
            + \lambda\, r \odot (\theta_0 - \theta)

    With rule 'sgd' s = r = 1.  With 'rms', :math:`s = 1 / (\sqrt{MS} + \epsilon)`,
    where MS is the mean of the squared gradients on the training text, and
    r is :math:`\sqrt{MS}` over its mean, at most :math:`1 / \lambda`.

    Every word is predicted before the model learns from it.  Still, the result is not
    comparable with the perplexity of a model whose parameters are fixed.

    Args:
        model: The model.  It is copied, and the copy adapts.
        lr: The learning rate :math:`\eta`; by default 0.07 for 'sgd', 0.0001 for 'rms'.
        decay: The decay rate :math:`\lambda`, from 0 to 1.
        steps: Number of words in a segment.
        rule: 'sgd' or 'rms'; 'rms' needs a call of `gather` first.
        clip: Maximum L2 norm of a segment's gradient; by default no maximum.

    Raises:
        rnnlm.InputError: If an argument is out of range.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> text = [1, 2, 3] * 50
        >>> adaptive = rnnlm.DynamicEvaluation(model, lr=1.0).perplexity(text)
        >>> fixed = numpy.exp(-rnnlm.score_text(model, text).mean())
        >>> bool(adaptive < fixed)
        True

    References:
        Krause, Kahembwe, Murray and Renals, "Dynamic Evaluation of Neural Sequence
        Models" (2018), https://arxiv.org/abs/1709.07432; equations 6 and 9 to 11.
    """

    def __init__(self, model: LanguageModel, lr: Optional[float] = None,
                 decay: float = 0.002, steps: int = 5, rule: str = 'sgd',
                 clip: Optional[float] = None) -> None:
        require('rule', rule, "'sgd' or 'rms'", lambda v: v in RATES)
        lr = RATES[rule] if lr is None else lr
        check_rates(lr, decay)
        require_count('steps', steps)
        if clip is not None:
            require_positive('clip', clip)
        self.model = model.copy('copy')
        self.lr, self.decay, self.steps, self.clip = lr, decay, steps, clip
        self.rule = rule
        self._params = list(self.model.params())
        self._first = [param.array.copy() for param in self._params]
        self._scale: list = [1.0] * len(self._params)
        self._back: list = [decay] * len(self._params)
        self._is_ready = rule != 'rms'  # whether `gather` was called, if needed

    def gather(self, words: Ids, windows: int = 200, epsilon: float = 0.001) -> None:
        """Computes mean squared gradients on a training text, as rule 'rms' needs.

        Args:
            words: Ids (N,) of the text, N >= 2.
            windows: Number of segments, evenly spread over the text.
            epsilon: Added to the roots of the means, so that the scale is finite.

        Raises:
            rnnlm.InputError: If an argument is out of range.
        """
        require_count('windows', windows)
        require_positive('epsilon', epsilon)
        ids = require_ids('words', words, 2, self.model._vocabulary_size())
        # MS of the paper, averaged over the segments.
        squares = [numpy.zeros_like(first) for first in self._first]
        # Segments spread over the text, each from a reset state, so that none depends
        # on others.
        starts = numpy.linspace(
            0, max(0, len(ids) - self.steps - 1), windows).astype(int)
        for start in starts:
            self.model.reset_state()
            self._gradient(ids[start:start + self.steps + 1])
            for square, param in zip(squares, self._params):
                square += param.grad ** 2
        roots = [numpy.sqrt(square / len(starts)) for square in squares]
        mean = (sum(float(root.sum(dtype='d')) for root in roots)
                / sum(root.size for root in roots))
        self._scale = [1 / (root + epsilon) for root in roots]
        self._back = [numpy.minimum(1, self.decay * root / mean) for root in roots]
        self._is_ready = True

    def perplexity(self, words: Ids,
                   progress: Optional[Callable[[int], object]] = None,
                   ring: bool = False) -> float:
        """Computes the perplexity of a text, read as one stream.

        A second call continues to adapt from where the first ended.

        Args:
            words: Ids (N + 1,) of the text; the first word is not predicted.
            progress: Called with the number of words read, after each segment.
            ring: Whether to predict the first word too, after the last one.

        Returns:
            exp of the mean of -log p(word); infinity or NaN if the learning rate is so
            high that the parameters diverge.

        Raises:
            rnnlm.InputError: If there are fewer than two ids, if one is not in the
                vocabulary, or if `gather` was not called for rule 'rms'.
        """
        ids = require_ids('words', words, 1 if ring else 2,
                          self.model._vocabulary_size())
        if not self._is_ready:
            raise InputError("expected a call of gather before, for 'rms', found none",
                             'rule')
        n = len(ids) if ring else len(ids) - 1
        self.model.reset_state()
        total = 0.0
        for start in range(0, n, self.steps):
            segment = flat.ring(ids, start, min(start + self.steps, n) + 1)
            total += self._gradient(segment)
            self._move()
            if progress:
                progress(start + len(segment) - 1)
        return float(numpy.exp(total / n))

    def _gradient(self, segment: numpy.ndarray) -> float:
        """Returns the summed loss of a segment (T + 1,); sets the model's gradients."""
        segment = self.model.device.send(segment[:, None])
        with chainer.using_config('train', False):
            loss = self.model.loss(segment[:-1], segment[1:])
            self.model.cleargrads()
            loss.backward()
            loss.unchain_backward()
        return float(loss.array)

    def _move(self) -> None:
        rate = self.lr
        if self.clip is not None:
            norm = numpy.sqrt(sum(
                float((param.grad ** 2).sum()) for param in self._params))
            # The gradient is clipped by lowering the rate, which has the same effect.
            rate *= min(1.0, self.clip / norm if norm else 1.0)
        for param, first, scale, back in zip(
                self._params, self._first, self._scale, self._back):
            # In place, because these arrays are as large as the model: decay first,
            # which needs the parameters before the step; then the gradient step.
            step = first - param.array
            step *= back
            param.grad *= scale
            param.grad *= rate
            step -= param.grad
            param.array += step
