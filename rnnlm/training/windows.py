"""Decides which targets can be computed in windows, and computes them.

The links for which this is possible are listed in `rnnlm.parts`.
"""
import functools

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.dataset import convert
from chainer.reporter import report

from rnnlm import parts, unaltered
from rnnlm._compat import windows
from rnnlm.chain import LanguageModel, language_model
from rnnlm.data.iterators import ParallelSequentialIterator, has_ids
from rnnlm.training.steps import Means

windows.PREDICTORS.append(LanguageModel)

# Arguments of softmax_cross_entropy that keep it a function of its inputs alone.
SETTINGS = {'class_weight', 'ignore_label', 'normalize', 'reduce', 'cache_score',
            'use_chainerx'}

_official = {'loss': F.softmax_cross_entropy, 'accuracy': F.accuracy}


def why_not_windows(target, iterator=None, converter=convert.concat_examples,
                    any_loss=False, forget=False):
    """Returns why windows of `target` cannot be fused, or ''.

    Args:
        target: The link that computes the loss.
        iterator: The iterator of its words.
        converter: The function that converts batches to arrays.
        any_loss (bool): Whether the user states that lossfun depends only on its
            arguments.
        forget (bool): Whether the recurrent states are reset before the window.

    Returns:
        str: The reason; '' if they can.
    """
    if iterator is not None:
        reason = why_not_iterator(iterator)
        if reason:
            return reason
    if not _is_concat_examples(converter):
        return 'the converter is not concat_examples'
    model = language_model(target)
    if type(target) is not L.Classifier or model is None:
        return 'the target is not a Classifier of a LanguageModel'
    reason = unaltered.shadowed(target) or parts.why_not_watched(target)
    if reason:
        return reason
    # A lossfun may read other state, which only the step-by-step loop has at that step.
    if not (any_loss or is_fused_loss(target) or _is_plain_loss(target.lossfun)):
        return 'the loss is not softmax_cross_entropy'
    if target.compute_accuracy and target.accfun is not _official['accuracy']:
        return 'the accuracy is not F.accuracy'
    if target.label_key != -1:
        return 'the label key is not -1'
    streams = None
    if isinstance(iterator, ParallelSequentialIterator):
        streams = len(iterator.offsets[iterator.rows])
    return model.why_steps(streams, forget)


def why_not_iterator(iterator):
    """Returns why `next_window` may differ from calls of `next`, or ''.

    A `next_window` of a class that is not ours is trusted.
    """
    if not isinstance(iterator, ParallelSequentialIterator):
        return '' if _has_windows(type(iterator)) else (
            'the iterator has no next_window')
    reason = unaltered.overridden(type(iterator), {ParallelSequentialIterator}) or (
        unaltered.shadowed(iterator))
    if not reason and not has_ids(iterator.dataset):
        return f'the dataset is a {type(iterator.dataset).__name__}'
    return reason


def _has_windows(cls):
    """Returns whether a class has a `next_window` newer than its `__next__`."""
    for base in cls.__mro__:
        if 'next_window' in vars(base):
            return True
        if '__next__' in vars(base):
            return False
    return False


def _is_concat_examples(converter):
    """Returns whether a converter is Chainer's default, or a copy of this object."""
    default = convert.concat_examples
    return converter is default or (
        type(converter) is type(default) and vars(converter) == vars(default))


def is_fused_loss(target):
    """Returns whether output layer and loss are computed by one fused function."""
    return target.lossfun is _official['loss'] and not target.compute_accuracy


def _is_plain_loss(lossfun):
    """Returns whether a lossfun is softmax_cross_entropy, possibly with arguments."""
    if type(lossfun) is functools.partial:
        return (lossfun.func is _official['loss'] and not lossfun.args
                and set(lossfun.keywords) <= SETTINGS
                and lossfun.keywords.get('reduce', 'mean') == 'mean')
    return lossfun is _official['loss']


def window_loss(target, x, t):
    """Computes the loss of a window, and reports it like the Classifier.

    Args:
        target: :class:`chainer.links.Classifier` for which `why_not_windows` returns
            ''.
        x, t: int (T, B), the words and the words to predict.

    Returns:
        Variable: The sum over the steps, a scalar.
    """
    model, T = target.predictor, len(x)
    model.check_ids(x)
    if is_fused_loss(target):
        # The fused loss never holds all logits; Classifier.y gets those of the last
        # step.
        last = []
        loss = model._loss_of_features(model._features(x, ''), t, last)
        # Of the last step, as in Chainer; an adaptive softmax does not make them.
        target.y = chainer.Variable(last[0]) if last else None
    else:
        y = model._logits(x, '')
        target.y = y[-1]
        loss = loss_of_logits(target, y, t)
        if target.compute_accuracy:
            target.accuracy = F.accuracy(y.reshape(-1, y.shape[2]), t.ravel())
            report({'accuracy': target.accuracy}, target)
    target.loss = loss / T
    report({'loss': target.loss}, target)
    return loss


def loss_of_logits(target, y, t):
    """Returns the sum over the steps (Variable) of a lossfun of y (T, B, V).

    What the lossfun reports is reported as in `steps.loss_by_steps`.
    """
    loss, reports = 0, Means()
    for y_t, t_t in zip(F.separate(y), t):
        with reports.of_a_step():
            loss += target.lossfun(y_t, t_t)
    reports.report()
    return loss
