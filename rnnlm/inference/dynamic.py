"""Dynamic evaluation: a model that goes on learning from the text it is tested on."""
import chainer
import numpy

from rnnlm.errors import require, require_count, require_ids, require_positive

# Good learning rates for the small model of the Penn Treebank.
RATES = {'sgd': 0.07, 'rms': 0.0001}


class DynamicEvaluation:
    """Perplexity of a text by a model that adapts to it as it reads.

    The text is read in segments; after each one is predicted, the parameters move
    against its gradient g, and back towards where they began:

    .. math::
        \\theta \\leftarrow \\theta - \\eta\\, s \\odot g
            + \\lambda\\, r \\odot (\\theta_0 - \\theta)

    With rule 'sgd' s = r = 1.  With 'rms', :math:`s = 1 / (\\sqrt{MS} + \\epsilon)`,
    where MS is the mean of the squared gradients on the training text, and
    r is :math:`\\sqrt{MS}` over its mean, at most :math:`1 / \\lambda`.

    A number of its own kind: every word is still predicted before it is learned
    from, but what is evaluated is no longer the model as it was trained.

    Args:
        model: `RNNForLM`; a copy of it is what changes.
        lr (float): The rate eta; None for that of `RATES`.
        decay (float): The rate lambda.
        steps (int): Words of a segment.
        rule (str): 'sgd' or 'rms'.
        clip (float): Largest L2 norm of a segment's gradient; None for any.

    References:
        Krause, Kahembwe, Murray and Renals, "Dynamic Evaluation of Neural Sequence
        Models" (2018), https://arxiv.org/abs/1709.07432; equations 6 and 9 to 11.
    """

    def __init__(self, model, lr=None, decay=0.002, steps=5, rule='sgd', clip=None):
        require('rule', rule, "'sgd' or 'rms'", lambda v: v in RATES)
        lr = RATES[rule] if lr is None else lr
        require_positive('lr', lr)
        require_count('steps', steps)
        if clip is not None:
            require_positive('clip', clip)
        require('decay', decay, 'a ratio from 0 to 1', lambda v: 0 <= v <= 1)
        self.model = model.copy('copy')
        self.lr, self.decay, self.steps, self.clip = lr, decay, steps, clip
        self.rule = rule
        self._params = list(self.model.params())
        self._first = [param.array.copy() for param in self._params]
        self._scale = [1.0] * len(self._params)
        self._back = [decay] * len(self._params)

    def gather(self, words, windows=200, epsilon=0.001):
        """Mean squared gradients on a training text, which 'rms' needs first.

        Args:
            words: int (N,), ids.
            windows (int): Segments, evenly spread, that are looked at.
            epsilon (float): What keeps the scale finite.
        """
        require_count('windows', windows)
        require_positive('epsilon', epsilon)
        words = require_ids('words', words, least=2)
        squares = [numpy.zeros_like(first) for first in self._first]
        starts = numpy.linspace(
            0, max(0, len(words) - self.steps - 1), windows).astype(int)
        for start in starts:
            self.model.reset_state()
            self._gradient(words[start:start + self.steps + 1])
            for square, param in zip(squares, self._params):
                square += param.grad ** 2
        roots = [numpy.sqrt(square / len(starts)) for square in squares]
        mean = (sum(float(root.sum(dtype='d')) for root in roots)
                / sum(root.size for root in roots))
        self._scale = [1 / (root + epsilon) for root in roots]
        self._back = [numpy.minimum(1, self.decay * root / mean) for root in roots]

    def perplexity(self, words, progress=None):
        """Perplexity of a text as one stream, adapting all the way.

        Args:
            words: int (N + 1,), ids.
            progress: Called with the number of words read, after each segment.

        Returns:
            float
        """
        words = require_ids('words', words, least=2)
        self.model.reset_state()
        total = 0.0
        for start in range(0, len(words) - 1, self.steps):
            segment = words[start:start + self.steps + 1]
            total += self._gradient(segment)
            self._move()
            if progress:
                progress(start + len(segment) - 1)
        return float(numpy.exp(total / (len(words) - 1)))

    def _gradient(self, segment):
        """Loss of a segment (T + 1,), summed; leaves the gradients in the model."""
        segment = self.model.device.send(segment[:, None])
        with chainer.using_config('train', False):
            loss = self.model.loss(segment[:-1], segment[1:])
            self.model.cleargrads()
            loss.backward()
            loss.unchain_backward()
        return float(loss.array)

    def _move(self):
        rate = self.lr
        if self.clip is not None:
            norm = numpy.sqrt(sum(
                float((param.grad ** 2).sum()) for param in self._params))
            rate *= min(1.0, self.clip / norm if norm else 1.0)
        for param, first, scale, back in zip(
                self._params, self._first, self._scale, self._back):
            step = first - param.array
            step *= back
            param.grad *= scale
            param.grad *= rate
            step -= param.grad
            param.array += step
