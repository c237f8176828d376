"""Search for the model in a torch.save file: a state dict or an nn.Module.

A pickled nn.Module is a `Thing` with attributes such as `_parameters`, `_buffers` and
`_modules`.  Only the name of a module's class is known.
"""
import re
from typing import NamedTuple

from rnnlm.errors import InputError
from rnnlm.interchange._torch_pickle import Tensor, Thing
from rnnlm.interchange.weights import short_name

# Keys under which checkpoints of runs store the model, most usual first.
INNER = ('state_dict', 'model_state_dict', 'model', 'net', 'network', 'model_state',
         'lm', 'module', 'rnn', 'net_state_dict', 'weights', 'params', 'generator')

# Limits of the search: depth, and number of tensors.
MOST_DEPTH = 4
MOST_TENSORS = 10000

# Modules without parameters that a language model may have.  In inference they do
# nothing, or do not change the order of the probabilities.
HARMLESS = ('Dropout', 'LockedDropout', 'Loss', 'LogSoftmax', 'Softmax', 'Identity',
            'AlphaDropout', 'Dropout1d', 'Dropout2d', 'Dropout3d')
CONTAINERS = ('Sequential', 'ModuleList', 'ModuleDict', 'DataParallel',
              'DistributedDataParallel')


# Objects found in place of a tensor: tensors of a kind that is not supported.
TENSOR_LIKE = re.compile(
    r'torch\._utils _rebuild_|torch\._tensor _rebuild_|torch tensor with |'
    r'torch\.nn\.parameter |numpy\S* _reconstruct')
# Names of parameters.
PARAMETER_LIKE = re.compile(r'(.*\.)?(weight|bias)(_[ih]h_l\d+)?')


class Found(NamedTuple):
    """Model in a file.

    Attributes:
        tensors (dict): Name -> `Tensor`.
        classes (dict): Prefix of a module's parameters -> class.
        place (str): Where in the file it is.
        others (dict): Name -> object found in place of a tensor or a module.
    """
    tensors: dict
    classes: dict
    place: str
    others: dict = {}


def find(path, root):
    """Finds the tensors of the only model in a file.

    Args:
        path (str): The file, for messages.
        root: Content of the file, from `rnnlm.interchange._torch_pickle.parse`.

    Returns:
        Found: Descriptions of the tensors, whose data has not been read yet.

    Raises:
        rnnlm.errors.InputError: If there is none, or more than one.
    """
    found = list(_candidates(root, '', 0, set()))
    recurrent = [model for model in found if any(
        'weight_hh' in name for name in (*model.tensors, *model.others))]
    found = recurrent or found
    # A model that is part of another one does not count separately.
    for place in ['', *INNER]:
        chosen = [model for model in found if model.place == place]
        if chosen:
            return chosen[0]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f'{path}: expected a state dict or a model, found '
            f'{_kind(root)}; save the model\'s state_dict() with torch.save')
    places = ', '.join(repr(short_name(model.place)) for model in found[:8])
    raise InputError(
        f'{path}: expected one model, found {len(found)}, under {places}; save the '
        'state_dict() of one')


def _candidates(value, place, depth, seen):
    """Yields possible models in a value, except those inside another one."""
    if depth > MOST_DEPTH or id(value) in seen:
        return
    seen.add(id(value))
    if _is_module(value):
        yield _flat(value, place)
        return
    if type(value) is dict:
        tensors = {str(name): tensor for name, tensor in value.items()
                   if type(tensor) is Tensor}
        others = {str(name): inner for name, inner in value.items()
                  if _stands_for_tensor(name, inner)}
        if tensors or others:
            yield Found(tensors, {}, place, others)
        inside = value.items()
    elif type(value) in (list, tuple):
        inside = enumerate(value)
    elif type(value) is Thing:
        inside = value.attributes.items()
    else:
        return
    for name, inner in inside:
        if type(inner) in (dict, list, tuple, Thing):
            yield from _candidates(
                inner, f'{place}/{name}'.lstrip('/'), depth + 1, seen)


def _stands_for_tensor(name, value):
    """Returns whether an object that is not a tensor has the name or kind of one."""
    if type(value) is Thing and TENSOR_LIKE.match(value.kind[:200]):
        return True
    return (type(value) not in (Tensor, type(None), dict)
            and PARAMETER_LIKE.fullmatch(str(name)[:500]) is not None
            and '.' in str(name))


def require_tensors(path, model):
    """Raises InputError if a parameter of a model cannot be read.

    Args:
        path (str): The file, for messages.
        model (Found): The model.

    Raises:
        rnnlm.errors.InputError: If so; the message names the first one.
    """
    for name, value in model.others.items():
        raise InputError(
            f'{path}: {short_name(name)}: expected a dense tensor of floats, found '
            f'{_kind(value)}; save the state_dict() of the model with dense tensors '
            'of floats, on the CPU')


def _is_module(value):
    return type(value) is Thing and type(value.attributes.get('_modules')) is dict


def _flat(module, place):
    """Returns the parameters, buffers and classes of a module and its children."""
    tensors, classes, others = {}, {}, {}
    waiting = [('', module, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        attributes = module.attributes
        kind = module.kind.rpartition(' ')[2]
        classes[prefix] = module.kind if module.kind.startswith('torch.') else kind
        if attributes.get('max_norm') is not None:
            classes[prefix] += '(max_norm)'  # lookups change the vectors
        for part in '_parameters', '_buffers':
            entries = attributes.get(part)
            for name, tensor in (entries if type(entries) is dict else {}).items():
                if type(tensor) is Tensor:
                    tensors[f'{prefix}{name}'] = tensor
                elif tensor is not None:
                    others[f'{prefix}{name}'] = tensor
        others.update((f'{prefix}{name}', child)
                      for name, child in attributes['_modules'].items()
                      if child is not None and not _is_module(child))
        inner = [(f'{prefix}{name}.', child, depth + 1)
                 for name, child in attributes['_modules'].items()
                 if _is_module(child)]
        waiting += reversed(inner)
        if len(tensors) + len(waiting) + len(classes) > MOST_TENSORS or depth > 50:
            raise ValueError(f'a model of more than {MOST_TENSORS:,} tensors')
    return Found(tensors, classes, place, others)


def check_classes(classes):
    """Raises InputError for modules that compute something else with the same tensors.

    Args:
        classes (dict): As in `Found`.

    Raises:
        rnnlm.errors.InputError: If there is one; the message names it.
    """
    for prefix, kind in classes.items():
        module, _, name = kind.rpartition(' ')
        if not module.startswith('torch.') or name in CONTAINERS:
            continue  # a user's class, whose modules and tensors are checked
        if name not in ('Embedding', 'LSTM', 'LSTMCell', 'Linear') and not (
                name.endswith(HARMLESS)):
            place = short_name(prefix.rstrip('.')) or 'the model'
            raise InputError(
                f'{place}: expected Embedding, LSTM, Linear and Dropout, found '
                f'{short_name(name)}, which computes something else; the model cannot '
                'be converted')


def _kind(root):
    if type(root) is Thing:
        return f'a {short_name(root.kind)}'
    if type(root) is dict:
        names = ', '.join(repr(short_name(name)) for name in list(root)[:8])
        return f'no tensors under {names}' if names else 'an empty dict'
    return f'a {type(root).__name__}'
