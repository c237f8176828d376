"""`PerplexityEvaluator`: the perplexity of a text during training."""
from typing import Any, Callable, Dict, Optional

import chainer
from chainer import links as L
from chainer import reporter as reporter_module
from chainer.reporter import report
from chainer.training import extensions
from chainer.training.extensions.evaluator import _IteratorProgressBar
import numpy

from rnnlm import states
from rnnlm.chain import language_model
from rnnlm.data.iterators import ParallelSequentialIterator
from rnnlm.errors import require
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

    Attributes:
        progress: Function called with the number of words read, after each window.

    Raises:
        rnnlm.errors.InputError: If the iterator repeats, and so never ends.
    """

    def __init__(self, iterator: Any, target: Any, *args: Any,
                 group: Group = SINGLE_PROCESS, **kwargs: Any) -> None:
        main = iterator['main'] if isinstance(iterator, dict) else iterator
        require('iterator', main, 'one that ends, repeat=False',
                lambda i: getattr(i, 'repeat', False) is not True)
        super().__init__(iterator, target, *args, **kwargs)
        self.group = group
        self.progress: Optional[Callable[[int], object]] = None
        self._left: states.State = {}

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
        loss, steps = 0.0, 0
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
                window = model.device.send(window)
                x, t = window[:-1], window[1:]
                if is_fused_loss(target):
                    found = model._loss(x, t, '')
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
        observation = {}
        with reporter_module.report_scope(observation):
            if steps:
                report({'loss': loss / steps}, target)
        return observation


def make_classifier(model: chainer.Link) -> L.Classifier:
    """Returns a Classifier of `model` that computes only the loss."""
    classifier = L.Classifier(model)
    classifier.compute_accuracy = False
    return classifier


def make_evaluator(words: Any, classifier: L.Classifier,
                   group: Group = SINGLE_PROCESS) -> PerplexityEvaluator:
    """Returns an evaluator of a text, read as one stream."""
    return PerplexityEvaluator(
        ParallelSequentialIterator(words, 1, repeat=False), classifier, group=group)


def evaluate_perplexity(evaluator: extensions.Evaluator) -> float:
    """Computes the perplexity with an evaluator, outside of any trainer."""
    with chainer.Reporter().scope({}):
        result = evaluator()
    loss, = (value for name, value in result.items() if name.endswith('main/loss'))
    with numpy.errstate(over='ignore'):
        return float(numpy.exp(loss))
