"""Training and evaluation by sentences, each from a reset state."""
from typing import Optional

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import reporter as reporter_module
from chainer.reporter import report
import numpy

from rnnlm.chain import LanguageModel
from rnnlm.data.sentences import PADDING, SentenceIterator
from rnnlm.errors import InputError
from rnnlm.training.evaluator import (
    EVALUATION_CHUNK, PerplexityEvaluator, sum_of_losses)
from rnnlm.training.updater import BPTTUpdater

# Number of sentences evaluated at a time.
BATCH = 32


class SentenceUpdater(BPTTUpdater):
    """Updater for the sentences of a `SentenceIterator`, each from a reset state.

    The loss of a window is the sum over its words of -log p, divided by the batch size
    B.  Without padding this equals the loss of a `BPTTUpdater`, the sum over the steps
    of the mean over the batch.  With padding, every word still has the same weight; a
    mean over the unfinished sentences would weight the ends of long ones more.

    'main/loss' is the mean over the words of the window.  It is reported with their
    number as its weight, so that Chainer's LogReport computes the mean over all words.

    Args:
        train_iter (SentenceIterator): The sentences.
        optimizer: An optimizer set up with a Classifier of an `RNNForLM`, whose lossfun
            is `F.softmax_cross_entropy`.  No accuracy is computed.
        bprop_len (int): Number of steps T in a window.  Longer sentences are read in
            several windows, with the recurrent state carried over.
        device: As for `BPTTUpdater`.

    Raises:
        rnnlm.errors.InputError: By `update`, if the model cannot be computed in
            windows, or has another lossfun.
    """

    def __init__(self, train_iter: SentenceIterator, optimizer: chainer.Optimizer,
                 bprop_len: int, device: object = None) -> None:
        super().__init__(train_iter, optimizer, bprop_len, device)

    @property
    def windows_per_epoch(self) -> float:
        return self.get_iterator('main').windows_per_epoch(self.bprop_len)

    def _update(self, target, optimizer, windows, window=None):
        if not windows:
            raise InputError(
                'expected a model that can be computed in windows, found that '
                f'{self.why_per_step}', 'sentences')
        if target.lossfun is not F.softmax_cross_entropy:
            raise InputError(
                'expected a Classifier with the lossfun F.softmax_cross_entropy, found '
                f'{target.lossfun!r}', 'sentences')
        super()._update(target, optimizer, windows, window)

    def _why_no_graph(self, target, optimizer):
        return 'windows of sentences have different lengths'

    def _next_window(self, target):
        iterator = self.get_iterator('main')
        window = iterator.next_window(self.bprop_len)
        if iterator.is_new_batch:
            target.predictor.reset_state()
        target.predictor.check_ids(window, PADDING)
        return window

    def _window_loss(self, target, rows, window):
        model = target.predictor
        x, t = inputs_and_targets(model, window)
        model.row_gradient = rows
        try:
            h = model._features(x, '')
        finally:
            model.row_gradient = None
        total = sum_of_losses(model, h, t, t != PADDING)
        n_words = int((window[1:] != PADDING).sum())
        target.loss = total / n_words
        report({'loss': (target.loss, n_words)}, target)
        return total / self.get_iterator('main').batch_size


class SentenceEvaluator(PerplexityEvaluator):
    """`PerplexityEvaluator` for the sentences of a `SentenceIterator`."""

    def _evaluate_windows(self, target, model, rows):
        iterator = self._iterators['main']
        iterator.reset()
        length = max(1, EVALUATION_CHUNK // iterator.batch_size)
        losses = numpy.zeros(2)  # sum and number of words
        of_unknown = numpy.zeros(2)
        with chainer.no_backprop_mode():
            while True:
                try:
                    window = iterator.next_window(length)
                except StopIteration:
                    break
                if iterator.is_new_batch:
                    model.reset_state()
                x, t = inputs_and_targets(model, window)
                h = model._features(x, '')
                losses += _sum_and_number(model, h, t, t != PADDING)
                if self.unknown is not None:
                    of_unknown += _sum_and_number(model, h, t, t == self.unknown)
                self.group.heartbeat()
                if self.progress:
                    self.progress(int(losses[1]))
        observation = {}
        with reporter_module.report_scope(observation):
            report({'loss': losses[0] / losses[1]}, target)
            known = losses - of_unknown
            if self.unknown is not None and known[1] > 0:
                report({'known_loss': known[0] / known[1]}, target)
        return observation


def make_sentence_evaluator(words: numpy.ndarray, classifier: L.Classifier,
                            between: int, unknown: Optional[int] = None
                            ) -> SentenceEvaluator:
    """Creates an evaluator of sentences; see `SentenceIterator` for `between`."""
    iterator = SentenceIterator(words, 1, between, repeat=False)
    if iterator.n_sentences > 1:
        iterator = SentenceIterator(
            words, min(BATCH, iterator.n_sentences), between, repeat=False)
    return SentenceEvaluator(iterator, classifier, unknown=unknown)


def inputs_and_targets(model: LanguageModel, window: numpy.ndarray) -> tuple:
    """Returns the words (T, B) to read and to predict, on the device of the model.

    Padding is read as word 0, and the results are ignored.
    """
    window = model.device.send(window)
    return model.xp.maximum(window[:-1], 0), window[1:]


def _sum_and_number(model, h, t, there):
    n = int(there.sum())
    if not n:
        return numpy.zeros(2)
    return numpy.array([float(sum_of_losses(model, h, t, there).array), n])
