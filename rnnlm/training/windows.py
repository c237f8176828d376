"""Whether a target can be computed in whole windows."""
from chainer import functions as F
from chainer import links as L
from chainer.dataset import convert

from rnnlm.model import RNNForLM, language_model


def why_not_windows(target, iterator=None, converter=convert.concat_examples):
    """Why windows of `target` cannot be computed as a whole; '' if they can."""
    if iterator is not None and not hasattr(iterator, 'next_window'):
        return 'the iterator has no next_window'
    if converter is not convert.concat_examples:
        return 'the converter is not concat_examples'
    model = language_model(target)
    if type(target) is not L.Classifier or model is None:
        return 'the target is not a Classifier of an RNNForLM'
    for name in '__call__', 'forward', 'loss':
        if (getattr(type(model), name) is not getattr(RNNForLM, name)
                or name in vars(model)):
            return f'the model has a {name} of its own'
    if target.lossfun is not F.softmax_cross_entropy:
        return 'the loss is not softmax_cross_entropy'
    if target.compute_accuracy and target.accfun is not F.accuracy:
        return 'the accuracy is not F.accuracy'
    if target.label_key != -1:
        return 'the label key is not -1'
    if target.local_link_hooks or model.local_link_hooks:
        return 'a link hook wants to see every call'
    return ''
