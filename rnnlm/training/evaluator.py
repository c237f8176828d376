"""`PerplexityEvaluator`: the perplexity of a text during training."""
import math
from typing import Any, Callable, Dict, Optional, Tuple

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import reporter as reporter_module
from chainer.reporter import report
from chainer.training import extensions
from chainer.training.extensions.evaluator import _IteratorProgressBar
import numpy

from rnnlm import states
from rnnlm.chain import LanguageModel, language_model
from rnnlm.data.iterators import ParallelSequentialIterator, has_ids
from rnnlm.errors import require, require_count, require_ids
from rnnlm.parallel import SINGLE_PROCESS, Group
from rnnlm.training.windows import (
    is_fused_loss, loss_of_logits, why_not_windows)

# Steps times streams in one window of evaluation: enough for the matrix products to run
# at full speed, few enough to fit into any machine's memory.
EVALUATION_CHUNK = 1000


class PerplexityEvaluator(extensions.Evaluator):
    """Evaluator that reads a text in windows and carries the recurrent state.

    Reports '.../main/loss', the mean of -log p(word) over the text, which equals the
    result of :class:`chainer.training.extensions.Evaluator` word by word.  The
    perplexity is its exponential.  The model's own recurrent state is saved and
    restored, so the model being trained can be evaluated.

    Args:
        iterator: `ParallelSequentialIterator` with ``repeat=False``.
        target: :class:`chainer.links.Classifier` on an `RNNForLM`.  Any other target is
            evaluated by Chainer's Evaluator.
        group (rnnlm.parallel.Group): Processes that share the evaluation, if there are
            enough streams; otherwise rank 0 evaluates, and sends the result to others.
        kwargs: Arguments of Chainer's Evaluator, such as ``progress_bar=True``.
            Without an ``eval_hook`` each evaluation starts from a reset state; with
            one, from the state of the last evaluation as the hook leaves it.
        unknown (int): If given, the id of ``<unk>``.  If windows are fused, the mean
            over all other words of the text is then reported too, as
            '.../main/known_loss'.

    Attributes:
        progress: Function called with the number of words read, after each window.

    Raises:
        rnnlm.errors.InputError: If the iterator repeats, and so never ends, or
            `unknown` is not an integer of at least 0.
    """

    def __init__(self, iterator: Any, target: Any, *args: Any,
                 group: Group = SINGLE_PROCESS, unknown: Optional[int] = None,
                 **kwargs: Any) -> None:
        main = iterator['main'] if isinstance(iterator, dict) else iterator
        require('iterator', main, 'one that ends, repeat=False',
                lambda i: getattr(i, 'repeat', False) is not True)
        if unknown is not None:
            require_count('unknown', unknown, least=0)
        super().__init__(iterator, target, *args, **kwargs)
        self.group, self.unknown = group, unknown
        self.progress: Optional[Callable[[int], object]] = None
        self._left: states.State = {}

    def initialize(self, trainer: Any) -> None:
        """Checks the ids of the text before training starts."""
        model, iterator = language_model(self._targets['main']), self._iterators['main']
        if model is not None and isinstance(
                iterator, ParallelSequentialIterator) and has_ids(iterator.dataset):
            model._check_ids(require_ids('iterator', iterator.dataset))

    def evaluate(self) -> Dict[str, Any]:
        streams = getattr(self._iterators['main'], 'batch_size', 1)
        # States may have more streams than this text, so they are ignored here.
        if self._why_not_windows(forget=True) or streams < self.group.size:
            return self.group.on_root(lambda: self._evaluate(slice(None)))
        return self._evaluate(self.group.rows(streams))

    def _why_not_windows(self, forget=False):
        target = self._targets['main']
        if self.eval_func or getattr(target, 'compute_accuracy', False):
            return 'the accuracy or an eval_func is requested'
        iterator = self._iterators['main']
        return why_not_windows(target, iterator, self.converter, forget=forget)

    def _evaluate(self, rows):
        target = self._targets['main']
        model = language_model(target)
        if model is None:
            return super().evaluate()
        if self.device is None and model.xp is not numpy:
            self.device = model.device
        state = states.get(target)
        # Behaves as if the model were a copy made for evaluation, whose state is the
        # one that the last evaluation left, until a hook resets it.
        states.set_back(target, self._left)
        if self.eval_hook is None:
            model.reset_state()
        try:
            if self._why_not_windows():
                return super().evaluate()
            return self._evaluate_windows(target, model, rows)
        finally:
            self._left = states.get(target)
            states.set_back(target, state)

    def _evaluate_windows(self, target, model, rows):
        if self.eval_hook:
            self.eval_hook(self)
        iterator = self._iterators['main']
        iterator.reset()
        # Windows can be longer than in training, since no graph is kept.
        length = max(1, EVALUATION_CHUNK // iterator.batch_size)
        loss, steps, of_unknown = 0.0, 0, numpy.zeros(2)
        progress = None
        if self._progress_bar and self.group.is_root:
            progress = _IteratorProgressBar(iterator)
        with chainer.no_backprop_mode():
            while True:
                try:
                    window = iterator.next_window(length)[:, rows]
                except StopIteration:
                    break
                # This process's part of the mean over all streams.
                share = window.shape[1] / iterator.batch_size
                model._check_ids(window)
                window = model.device.send(window)
                x, t = window[:-1], window[1:]
                if is_fused_loss(target):
                    h = model._features(x, '')
                    found = model._loss_of_features(h, t)
                    of_unknown += self._of_unknown(model, h, t)
                else:
                    found = loss_of_logits(target, model._logits(x, ''), t)
                loss += share * float(found.array)
                steps += len(window) - 1
                self.group.heartbeat()
                if self.progress:
                    self.progress(steps * iterator.batch_size)
                if progress:
                    progress.update()
        if progress:
            progress.close()
        if rows != slice(None):
            loss = self.group.sum(loss)
            of_unknown = numpy.array([self.group.sum(value) for value in of_unknown])
        observation = {}
        with reporter_module.report_scope(observation):
            if steps:
                report({'loss': loss / steps}, target)
                self._report_known(loss, steps, *of_unknown)
        return observation

    def _of_unknown(self, model, h, t):
        """Returns the sum of -log p of the unknown words of a window, and their number.

        The output layer is computed again for these words only.
        """
        there = t == self.unknown  # (T, B)
        if self.unknown is None or not there.any():
            return numpy.zeros(2)
        found = sum_of_losses(model, h, t, there)
        return numpy.array([float(found.array), int(there.sum())])

    def _report_known(self, loss, steps, of_unknown, n_unknown):
        """Reports the mean loss of the words that are not ``<unk>``, if there are any.

        Args:
            loss (float): The sum over the steps of the mean over the streams.
            steps, n_unknown: Numbers of steps and of unknown words in the text.
            of_unknown (float): The sum of the loss over the unknown words.
        """
        streams = self._iterators['main'].batch_size
        n_known = steps * streams - n_unknown
        if self.unknown is not None and n_known > 0:
            report({'known_loss': (loss * streams - of_unknown) / n_known},
                   self._targets['main'])


def sum_of_losses(model: LanguageModel, h: chainer.Variable, t: Any, there: Any
                  ) -> chainer.Variable:
    """Computes the sum of -log p over some words of a window.

    The output layer is computed for these words only.

    Args:
        model: The model.
        h: Input of its output layer, Variable (T, B, n).
        t: The words to predict, int (T, B).
        there: Which of them count, bool (T, B); at least one.
    """
    T, B, n = h.shape
    h, t = F.reshape(h, (T * B, 1, n)), t.reshape(T * B, 1)
    if not there.all():
        k = model.xp.flatnonzero(there)
        h, t = h[k], t[k]
    return model._loss_of_features(h, t)


def make_classifier(model: chainer.Link) -> L.Classifier:
    """Returns a Classifier of `model` that computes only the loss."""
    classifier = L.Classifier(model)
    classifier.compute_accuracy = False
    return classifier


def make_evaluator(words: Any, classifier: L.Classifier,
                   group: Group = SINGLE_PROCESS, unknown: Optional[int] = None
                   ) -> PerplexityEvaluator:
    """Returns an evaluator of a text, read as one stream."""
    return PerplexityEvaluator(
        ParallelSequentialIterator(words, 1, repeat=False), classifier, group=group,
        unknown=unknown)


def evaluate_perplexity(evaluator: extensions.Evaluator) -> float:
    """Computes the perplexity with an evaluator, outside of any trainer."""
    return evaluate_perplexities(evaluator)[0]


def evaluate_perplexities(evaluator: extensions.Evaluator) -> Tuple[float, float]:
    """Computes the perplexities of all and of known words; the latter may be NaN."""
    with chainer.Reporter().scope({}):
        result = evaluator()
    loss, = (value for name, value in result.items() if name.endswith('main/loss'))
    known = [value for name, value in result.items()
             if name.endswith('main/known_loss')]
    with numpy.errstate(over='ignore'):
        return float(numpy.exp(loss)), float(numpy.exp(known[0] if known else math.nan))
