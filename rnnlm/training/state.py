"""State that snapshots hold in addition to Chainer's, so that resuming is exact.

Snapshots without it, such as Chainer's own, are accepted.  The processes of a group
write one snapshot together.  It equals that of a single process, plus the random states
of the other ranks.
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

# In place of the rank of a Variable.
OF_AN_ARRAY = -1


def serialize(serializer, updater):
    """Saves or loads the random states, the recurrent states, the loss scales, and the
    float32 copies of mixed precision.

    All ranks of the updater's group must call it together; rank 0 saves the result.
    """
    group = getattr(updater, 'group', SINGLE_PROCESS)
    updater.resumed_from = _serialize_randoms(serializer, group)
    for name, optimizer in updater.get_all_optimizers().items():
        _serialize_loss_scale(serializer[f'loss_scale:{name}'], optimizer)
        _serialize_float32(serializer[f'float32:{name}'], optimizer)
    _serialize_states(serializer['state'], updater, group)


def _serialize_randoms(serializer, group):
    """Saves or loads the random states of all ranks; returns how many were saved.

    If the number of ranks has changed, rank 0 continues its state, others get new ones.
    """
    if isinstance(serializer, chainer.Serializer):
        streams = group.gather(_random_state())
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
    """Saves or loads NumPy's random state, used by dropout; or saves the one given."""
    names = ('keys', 'position', 'has_gauss', 'gauss')
    kind, *values = _random_state() if stream is None else stream
    if not values:
        return
    try:
        values = [serializer(name, value) for name, value in zip(names, values)]
    except MISSING:
        return
    if not isinstance(serializer, chainer.Serializer):
        numpy.random.set_state((kind, *values))


def _random_state():
    """Returns NumPy's random state, or (name,) if its generator is not MT19937."""
    name = numpy.random.get_state(legacy=False)['bit_generator']
    if name == 'MT19937':
        return numpy.random.get_state()
    logger.warning('the random state of numpy.random is not saved or loaded: expected '
                   'its default, MT19937, found %s', name)
    return (name,)


def _serialize_float32(serializer, optimizer):
    """Saves or loads the float32 copies of float16 parameters, which are updated."""
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
    """Saves or loads the current scale of Chainer's dynamic loss scaling."""
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
    """Saves or loads the recurrent states of all links, which would start at zero.

    Links of an `RNNForLM` are named relative to it (l1/c), others by their full path.
    """
    target = updater.get_optimizer('main').target
    model = language_model(target)
    prefix = next((path for path, link in target.namedlinks() if link is model), '/')
    found, loads = [], not isinstance(serializer, chainer.Serializer)
    for path, link in states.recurrent_links(target):
        inner = path[len(prefix):] if path.startswith(prefix) else path
        found += [(serializer[inner.strip('/')], link, name)
                  for name in states.names(link, unset=loads)]
    if not loads:
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
    # All are checked before anything changes.
    variables = [_variable(link, name, _part(array, group), rank)
                 for link, name, array, rank in loaded]
    for (link, name, *_), variable in zip(loaded, variables):
        setattr(link, name, variable)


def _has_another_batch_size(saved, loaded, updater, group):
    """Handles a change of the batch size: resets the states, moves the iterator.

    Returns whether the batch size has changed.  The iterator continues at the same
    position of the epoch.
    """
    if saved is None or saved[()] is None:  # a snapshot without the batch size
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
    if hasattr(iterator, 'offsets'):  # it counts words of each stream
        iterator.iteration = -(-iterator.iteration * saved // now)
    if group.is_root:
        logger.warning(
            'the snapshot has batch size %d and this run has %d: the recurrent states '
            'start at zero, and the text continues at epoch %.2f',
            saved, now, updater.epoch_detail)
    return True


def _gathered(array, group):
    """Gathers the states (B, n) of all ranks' streams on rank 0."""
    if group.size == 1:
        return array
    arrays = group.gather(chainer.cuda.to_cpu(array))
    return numpy.concatenate(arrays) if group.is_root else None


def _part(array, group):
    """Returns this rank's rows of a state (B, n)."""
    return array if array is None else array[group.rows(len(array))]


def _save_variable(serializer, link, name, group):
    state = vars(link).get(name)
    if state is None:
        array, rank = None, 0
    elif states.is_array(state):
        array, rank = _gathered(state, group), OF_AN_ARRAY
    else:
        array, rank = _gathered(state.array, group), state.rank
    serializer(name, array)
    serializer(f'{name}_rank', rank)


def _read(serializer, name):
    """Returns an array of a snapshot, or None if it is missing."""
    try:
        return serializer(name, None)
    except MISSING:
        return None


def _variable(link, name, array, rank):
    """Restores the state of a link: a Variable, an array or None."""
    if array is None:
        return None
    array = link.device.send(_fitting(link, name, array))
    if rank == OF_AN_ARRAY:
        return array
    variable = chainer.Variable(array)
    # Backward sums gradients in the order of these ranks (of graph nodes).
    variable.node._rank = 0 if rank is None else int(rank)
    return variable


def _fitting(link, name, array):
    """Returns a layer's state from a file, after checking its units and dtype."""
    if not isinstance(link, L.LSTM):
        dtypes = {param.dtype for param in link.params()}
        if array.dtype.kind == 'f' and len(dtypes) == 1:
            return array.astype(dtypes.pop(), copy=False)
        return array
    if array.ndim != 2 or array.shape[1] != link.state_size or array.dtype.kind != 'f':
        raise InputError(
            f'state: expected {name} of shape (B, {link.state_size}), found '
            f'{array.dtype} of shape {array.shape}')
    W = getattr(link.lateral, 'W', None)  # user code may have removed it
    return array if W is None else array.astype(W.dtype, copy=False)
