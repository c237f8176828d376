"""Targets that can be computed in whole windows, and how.

Which links can, is in `rnnlm.parts`.
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

windows.PREDICTORS.append(LanguageModel)

# Settings of softmax_cross_entropy under which it depends on its arguments alone.
SETTINGS = {'class_weight', 'ignore_label', 'normalize', 'reduce', 'cache_score',
            'use_chainerx'}

_official = {'loss': F.softmax_cross_entropy, 'accuracy': F.accuracy}


def why_not_windows(target, iterator=None, converter=convert.concat_examples,
                    any_loss=False, forget=False):
    """Why windows of `target` cannot be computed as a whole.

    Args:
        target: The link whose loss is asked for.
        iterator: What gives its words.
        converter: What makes arrays of them.
        any_loss (bool): Whether its lossfun is said to depend on its arguments alone.
        forget (bool): Whether the recurrent states are forgotten before the window.

    Returns:
        str: the reason; '' if they can.
    """
    if iterator is not None:
        reason = why_not_iterator(iterator)
        if reason:
            return reason
    if converter is not convert.concat_examples:
        return 'the converter is not concat_examples'
    model = language_model(target)
    if type(target) is not L.Classifier or model is None:
        return 'the target is not a Classifier of a LanguageModel'
    reason = unaltered.shadowed(target) or parts.why_not_watched(target)
    if reason:
        return reason
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
    """str: Why `next_window` would not give what `next` gives; or ''.

    An iterator of another class that has a `next_window` is believed.
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
    """bool: Whether a class has a `next_window` that its `__next__` does not hide."""
    for base in cls.__mro__:
        if 'next_window' in vars(base):
            return True
        if '__next__' in vars(base):
            return False
    return False


def is_fused_loss(target):
    """bool: Whether output layer and loss are one function."""
    return target.lossfun is _official['loss'] and not target.compute_accuracy


def _is_plain_loss(lossfun):
    """Whether a lossfun is softmax_cross_entropy, perhaps with settings of its own."""
    if type(lossfun) is functools.partial:
        return (lossfun.func is _official['loss'] and not lossfun.args
                and set(lossfun.keywords) <= SETTINGS
                and lossfun.keywords.get('reduce', 'mean') == 'mean')
    return lossfun is _official['loss']


def window_loss(target, x, t):
    """The loss of a window, and the reports of its Classifier.

    Args:
        target: :class:`chainer.links.Classifier` of which `why_not_windows` knows no
            reason.
        x, t: int (T, B), the words and the words to predict.

    Returns:
        Variable: the sum over the steps, a scalar.
    """
    model, T = target.predictor, len(x)
    model.check_ids(x)
    if is_fused_loss(target):
        last = []
        loss = model._loss_of_features(model._features(x, ''), t, last)
        # Those of the last step, as in Chainer, where they are made at all.
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
    """Variable: the sum over the steps of a Classifier's lossfun of y (T, B, V)."""
    return sum(target.lossfun(y_t, t_t) for y_t, t_t in zip(F.separate(y), t))
