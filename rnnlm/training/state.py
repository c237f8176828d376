"""What a snapshot holds beside what Chainer saves, so that resuming is exact.

Snapshots that lack any of it, as Chainer's do, are accepted.  What the processes of a
group hold comes together in one snapshot, as a single process would write it, with the
random streams of the others beside.
"""
import logging

import chainer
from chainer import links as L
import numpy

from rnnlm import parts, states
from rnnlm.chain import language_model
from rnnlm.errors import InputError
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.loading import MISSING

logger = logging.getLogger(__name__)


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
    _serialize_states(serializer['state'], updater, group)


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


def _serialize_states(serializer, updater, group):
    """The recurrent states of all links; without them a run would begin at zeros.

    Those of an `RNNForLM` stand by the names in it, l1/c, others by their whole path.
    """
    target = updater.get_optimizer('main').target
    model = language_model(target)
    prefix = next((path for path, link in target.namedlinks() if link is model), '/')
    found = []
    for path, link in states.recurrent_links(target):
        inner = path[len(prefix):] if path.startswith(prefix) else path
        found += [(serializer[inner.strip('/')], link, name)
                  for name in states.names(link)]
    if isinstance(serializer, chainer.Serializer):
        serializer('batch_size', getattr(
            updater.get_iterator('main'), 'batch_size', None))
        if model is not None:
            serializer('is_set', any(
                getattr(link, name) is not None for _, link, name in found))
        for inner, link, name in found:
            _save_variable(inner, link, name, group)
        return
    loaded = [(link, name, _read(inner, name), _read(inner, f'{name}_rank'))
              for inner, link, name in found]
    if _has_another_batch_size(
            _read(serializer, 'batch_size'), loaded, updater, group):
        return
    if model is not None and not _read(serializer, 'is_set'):
        states.reset(target)
        return
    # All are looked at before anything changes.
    variables = [_variable(link, name, _part(array, group), rank)
                 for link, name, array, rank in loaded]
    for (link, name, *_), variable in zip(loaded, variables):
        setattr(link, name, variable)


def _has_another_batch_size(saved, loaded, updater, group):
    """Whether a run goes on with another number of streams, and so without states.

    The iterator then goes on where as much of the text has been read.
    """
    if saved is None or saved[()] is None:  # a snapshot that does not say it
        sizes = [len(array) for link, _, array, _ in loaded
                 if type(link) in parts.TABLE and array is not None and array.ndim]
        saved = sizes[0] if sizes else None
    iterator = updater.get_iterator('main')
    now = getattr(iterator, 'batch_size', None)
    if saved is None or now is None or int(saved) == now:
        return False
    saved = int(saved)
    if saved < 1:
        raise InputError(f'state: expected a batch size of at least 1, found {saved}')
    states.reset(updater.get_optimizer('main').target)
    if hasattr(iterator, 'offsets'):  # its steps are words of each stream
        iterator.iteration = -(-iterator.iteration * saved // now)
    if group.is_root:
        logger.warning(
            'the snapshot is of a run with the batch size %d, and this one has %d: the '
            'recurrent states begin at zeros, and the text goes on at epoch %.2f',
            saved, now, updater.epoch_detail)
    return True


def _whole(array, group):
    """A state (B, n) of all streams, on rank 0, from those of all ranks."""
    if group.size == 1:
        return array
    arrays = group.gather(chainer.cuda.to_cpu(array))
    return numpy.concatenate(arrays) if group.is_root else None


def _part(array, group):
    """The rows of a state (B, n) that are this rank's."""
    return array if array is None else array[group.rows(len(array))]


def _save_variable(serializer, link, name, group):
    variable = vars(link).get(name)
    if variable is not None:  # or an array, which Chainer's functions take too
        variable = chainer.as_variable(variable)
    serializer(name, None if variable is None else _whole(variable.array, group))
    serializer(f'{name}_rank', 0 if variable is None else variable.rank)


def _read(serializer, name):
    """An array of a snapshot, None if it has none."""
    try:
        return serializer(name, None)
    except MISSING:
        return None


def _variable(link, name, array, rank):
    """The state of a link, as it was: Variable or None."""
    if array is None:
        return None
    variable = chainer.Variable(link.device.send(_fitting(link, name, array)))
    # Backward adds gradients up in the order of the ranks.
    variable.node._rank = 0 if rank is None else int(rank)
    return variable


def _fitting(link, name, array):
    """The state of a layer from a file, of the layer's units and dtype."""
    if not isinstance(link, L.LSTM):
        return array
    if array.ndim != 2 or array.shape[1] != link.state_size or array.dtype.kind != 'f':
        raise InputError(
            f'state: expected {name} of shape (B, {link.state_size}), found '
            f'{array.dtype} of shape {array.shape}')
    W = getattr(link.lateral, 'W', None)  # others may have taken it away
    return array if W is None else array.astype(W.dtype, copy=False)
