"""What a snapshot holds beside what Chainer saves, so that resuming is exact.

Snapshots that lack any of it, as Chainer's do, are accepted.
"""
import chainer
import numpy

from rnnlm.model import RNNForLM

# What a deserializer raises of npz files and of HDF5 files.
MISSING = KeyError, ValueError


def language_model(target):
    """The `RNNForLM` in `target`, itself or a Classifier's predictor, or None."""
    model = getattr(target, 'predictor', target)
    return model if isinstance(model, RNNForLM) else None


def serialize(serializer, updater):
    """Saves or loads the random stream, the recurrent states and the loss scales."""
    serialize_random(serializer['random'])
    for name, optimizer in updater.get_all_optimizers().items():
        _serialize_loss_scale(serializer[f'loss_scale:{name}'], optimizer)
    target = updater.get_optimizer('main').target
    model = language_model(target)
    if model is not None:
        _serialize_state(serializer['state'], model)
    else:
        _serialize_links(serializer['state'], target)


def serialize_random(serializer):
    """NumPy's random stream, from which dropout draws."""
    names = ('keys', 'position', 'has_gauss', 'gauss')
    kind, *values = numpy.random.get_state()
    try:
        values = [serializer(name, value) for name, value in zip(names, values)]
    except MISSING:
        return
    if not isinstance(serializer, chainer.Serializer):
        numpy.random.set_state((kind, *values))


def _serialize_loss_scale(serializer, optimizer):
    """The scale that Chainer's dynamic loss scaling has come to."""
    if not getattr(optimizer, '_loss_scaling_is_dynamic', False):
        return
    try:
        scale = serializer('scale', optimizer._loss_scale)
        was_nan = serializer('was_nan', optimizer._loss_scaling_isnan_ever)
    except MISSING:
        return
    optimizer._loss_scale = float(scale)
    optimizer._loss_scaling_isnan_ever = bool(was_nan)


def _serialize_state(serializer, model):
    """c and h of each layer of an `RNNForLM`; without them it would begin at zeros."""
    state = model.get_state()
    if isinstance(serializer, chainer.Serializer):
        serializer('is_set', state is not None)
        for k, (c, h) in enumerate(state or (), 1):
            serializer[f'l{k}']('c', c)
            serializer[f'l{k}']('h', h)
        return
    model.reset_state()
    try:
        is_set = serializer('is_set', False)
    except MISSING:
        return
    if is_set:
        # None makes the deserializer hand out the array as it is in the file.
        model.set_state([
            tuple(serializer[f'l{k}'](name, None) for name in 'ch')
            for k in range(1, model.n_layers + 1)])


def _serialize_links(serializer, target):
    """c and h of the recurrent links of any other target."""
    for path, link in target.namedlinks():
        if not callable(getattr(link, 'reset_state', None)):
            continue
        for name in 'ch':
            if isinstance(getattr(link, name, 0), (chainer.Variable, type(None))):
                _serialize_variable(serializer[path.strip('/')], link, name)


def _serialize_variable(serializer, link, name):
    variable = getattr(link, name)
    if isinstance(serializer, chainer.Serializer):
        serializer(name, None if variable is None else variable.array)
        return
    try:
        array = serializer(name, None)
    except MISSING:
        array = None
    setattr(link, name, None if array is None
            else chainer.Variable(link.device.send(array)))
