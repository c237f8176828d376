"""What a snapshot holds beside what Chainer saves, so that resuming is exact.

Snapshots that lack any of it, as Chainer's do, are accepted.  What the processes of a
group hold comes together in one snapshot, as a single process would write it, with the
random streams of the others beside.
"""
import chainer
import numpy

from rnnlm.model import language_model
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.loading import MISSING


def serialize(serializer, updater):
    """Saves or loads the random streams, the recurrent states, the loss scales, and the
    float32 copies of mixed precision.

    All ranks of the updater's group must call it together; what rank 0 saves is whole.
    """
    group = getattr(updater, 'group', SINGLE_PROCESS)
    updater.resumed_from = _serialize_randoms(serializer, group)
    for name, optimizer in updater.get_all_optimizers().items():
        _serialize_loss_scale(serializer[f'loss_scale:{name}'], optimizer)
        _serialize_float32(serializer[f'float32:{name}'], optimizer)
    target = updater.get_optimizer('main').target
    model = language_model(target)
    if model is not None:
        _serialize_state(serializer['state'], model, group)
    else:
        _serialize_links(serializer['state'], target, group)


def _serialize_randoms(serializer, group):
    """The random streams of all ranks; the number of those in the snapshot.

    Another number of ranks goes on with the first one's, and with new ones.
    """
    if isinstance(serializer, chainer.Serializer):
        streams = group.gather(numpy.random.get_state())
        if group.is_root:
            serialize_random(serializer['random'])
            for rank, stream in enumerate(streams[1:], 1):
                serialize_random(serializer[f'random:{rank}'], stream)
        if group.size > 1:
            serializer('processes', group.size)
        return group.size
    try:
        processes = int(serializer('processes', 1))
    except MISSING:
        processes = 1
    if processes == group.size and not group.is_root:
        serialize_random(serializer[f'random:{group.rank}'])
    else:
        serialize_random(serializer['random'])
        if processes != group.size:
            group.separate_random_streams()
    return processes


def serialize_random(serializer, stream=None):
    """NumPy's random stream, from which dropout draws; or another one, to save it."""
    names = ('keys', 'position', 'has_gauss', 'gauss')
    kind, *values = stream or numpy.random.get_state()
    try:
        values = [serializer(name, value) for name, value in zip(names, values)]
    except MISSING:
        return
    if not isinstance(serializer, chainer.Serializer):
        numpy.random.set_state((kind, *values))


def _serialize_float32(serializer, optimizer):
    """The copies in float32 of parameters in float16; from those they are updated."""
    for k, (_, param) in enumerate(sorted(optimizer.target.namedparams())):
        rule = param.update_rule
        if rule is None or not rule._use_fp32_update or param.dtype != numpy.float16:
            continue
        if isinstance(serializer, chainer.Serializer):
            copy = rule._fp32_param
            serializer(str(k), (param if copy is None else copy).array.astype('f'))
            continue
        try:
            copy = serializer(str(k), None)
        except MISSING:
            continue
        if copy is not None and copy.shape == param.shape:
            rule._fp32_param = chainer.Parameter(
                param.device.send(copy.astype('f')), name=param.name)


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


def _serialize_state(serializer, model, group):
    """c and h of each layer of an `RNNForLM`; without them it would begin at zeros."""
    state = model.get_state()
    if isinstance(serializer, chainer.Serializer):
        if state is not None:
            state = [[_whole(array, group) for array in pair] for pair in state]
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
            tuple(_part(serializer[f'l{k}'](name, None), group) for name in 'ch')
            for k in range(1, model.n_layers + 1)])


def _whole(array, group):
    """A state (B, n) of all streams, on rank 0, from those of all ranks."""
    if group.size == 1:
        return array
    arrays = group.gather(chainer.cuda.to_cpu(array))
    return numpy.concatenate(arrays) if group.is_root else None


def _part(array, group):
    """The rows of a state (B, n) that are this rank's."""
    return array if array is None else array[group.rows(len(array))]


def _serialize_links(serializer, target, group):
    """c and h of the recurrent links of any other target."""
    for path, link in target.namedlinks():
        if not callable(getattr(link, 'reset_state', None)):
            continue
        for name in 'ch':
            if isinstance(getattr(link, name, 0), (chainer.Variable, type(None))):
                _serialize_variable(serializer[path.strip('/')], link, name, group)


def _serialize_variable(serializer, link, name, group):
    variable = getattr(link, name)
    if isinstance(serializer, chainer.Serializer):
        serializer(name, None if variable is None else _whole(variable.array, group))
        return
    try:
        array = _part(serializer(name, None), group)
    except MISSING:
        array = None
    setattr(link, name, None if array is None
            else chainer.Variable(link.device.send(array)))
