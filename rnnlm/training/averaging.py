"""`WeightAverage`: a moving average of the parameters, to evaluate and to keep."""
from __future__ import annotations

import copy
import math
from typing import Any

import chainer
from chainer import training
import numpy

from rnnlm.errors import InputError, require_positive
from rnnlm.serializers.loading import MISSING

# Windows between two updates of the average, at most: it changes little in so few.
EVERY = 10

# The average covers at most one part in this many of all windows, because the first
# ones are far from the minimum.
SHARE = 8


class WeightAverage(training.Extension):
    r"""Trainer extension that averages the parameters over the last windows.

    .. math::
        \bar\theta_k = (1 - r_k) \bar\theta_{k-1} + r_k \theta_k, \qquad
        r_k = \max\left(\frac{8}{k + 8}, 1 - e^{-m / M}\right), \quad k = 0, 1, \ldots

    where :math:`\theta_k` are the parameters after every m windows.  This is an
    exponential moving average over about M windows, or over about the last eighth of
    all windows so far if these are fewer.  SGD at a high learning rate moves around a
    minimum, and the average is closer to it, as after a decay of the learning rate.
    Training itself is not changed.  Persistent values, such as the statistics of
    batch normalisation, are copied.  The average is saved in snapshots.

    Args:
        target: The link that is trained, a Classifier for example.
        windows: M, above 0.

    Attributes:
        averaged (Link): A copy of the target with the averaged parameters.

    Raises:
        rnnlm.InputError: If an argument is invalid, or the parameters are float16.

    Example:
        >>> classifier = chainer.links.Classifier(rnnlm.RNNForLM(10, 8))
        >>> average = rnnlm.WeightAverage(classifier, windows=500)
        >>> text = rnnlm.ParallelSequentialIterator(numpy.arange(10), 1, repeat=False)
        >>> evaluator = rnnlm.PerplexityEvaluator(text, average.averaged)
        >>> best = rnnlm.BestModel(average.averaged, 'model.npz', saved_as=average)

    References:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging"
        (1992)
        Shamir and Zhang, "Stochastic Gradient Descent for Non-smooth Optimization"
        (2013), section 4: the first phase
        Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models"
        (2018), https://arxiv.org/abs/1708.02182, for averaging in language models
    """
    priority = training.PRIORITY_WRITER + 100  # before evaluation

    def __init__(self, target: chainer.Link, windows: float) -> None:
        require_positive('windows', windows)
        if any(param.dtype == numpy.float16 for param in target.params()):
            raise InputError(
                'target: expected parameters of float32 or float64, found float16, '
                'whose average would lose digits')
        self.target = target
        self.windows = windows
        self.averaged = copy.deepcopy(target)
        self.averaged.cleargrads()
        self.count = 0  # k
        self._every = max(1, min(EVERY, int(windows / 20)))  # m
        self.trigger = self._every, 'iteration'

    @property
    def saved_as(self) -> str:
        """str: Prefix of the names of the average in snapshots.

        It includes the name of the extension, which the trainer may change when it is
        added.
        """
        return f'extensions/{self.name or self.default_name}/averaged/'

    def initialize(self, trainer: Any = None) -> None:
        if not self.count:  # the parameters may have been loaded meanwhile
            self.averaged.copyparams(self.target)

    def __call__(self, trainer: Any = None) -> None:
        rate = max(SHARE / (self.count + SHARE),
                   -math.expm1(-self._every / self.windows))
        self.count += 1
        means = dict(self.averaged.namedparams())
        with chainer.using_device(self.target.device):
            for name, param in self.target.namedparams():
                mean = means[name].array
                mean *= 1 - rate
                mean += rate * param.array
            self._copy_persistent()

    def _copy_persistent(self) -> None:
        for link, mean in zip(self.target.links(), self.averaged.links()):
            for name in link._persistent:
                setattr(mean, name, copy.deepcopy(getattr(link, name)))

    def serialize(self, serializer: Any) -> None:
        try:
            self.count = int(serializer('count', self.count))
        except MISSING:  # a snapshot of a run without this extension
            return
        self.averaged.serialize(serializer['averaged'])
