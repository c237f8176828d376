"""PyTorch: nn.Embedding, nn.LSTM and nn.Linear, by the names of a state dict.

nn.LSTM keeps the gates in blocks i, f, g, o (g is the cell input), layer k in
weight_ih_l{k} (4n, in) and weight_hh_l{k} (4n, n), and adds up two biases; see
https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html.  An nn.LSTMCell has the
same without _l{k}.

Its files hold state dicts, checkpoints of them, or whole modules.  torch is needed to
write one, not to read it: `_torch_pickle` finds out what a pickle describes without
running it.
"""
import dataclasses
import re

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _by_shape, _tokens, _torch_files, _torch_module
from rnnlm.interchange._by_shape import LEAVE, Matrix
from rnnlm.interchange.naming import (
    Names, export_blocks, export_stack, import_blocks)
from rnnlm.interchange.weights import (
    as_float32, check_arrays, check_dtypes, check_model, short_name)
from rnnlm.serializers.atomic import writing

ORDER = ('i', 'f', 'a', 'o')

LAYER = {'W': 'weight_ih_l0', 'U': 'weight_hh_l0', 'b': 'bias_ih_l0',
         'second b': 'bias_hh_l0'}

NAMES = Names('embed.weight', 'output.weight', 'output.bias',
              lambda k, name: f'lstm.{name[:-1]}{k}')
NAMES_OF_SIZES = dataclasses.replace(
    NAMES, layer=lambda k, name: f'lstm.{k}.{name}')

# awd-lstm-lm keeps the weights without their dropout in ..._raw, which count.
PARAMETER = re.compile(
    r'(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_l(\d{1,4}))?(_reverse)?(_raw)?')

# Buffers that a model does not need in use: the state, from which no text begins, if it
# is zeros; what hides later words, which a recurrent model never sees; and weights of
# words in the loss.
STATES = re.compile(r'(.*\.)?_?(h|c|h0|c0|h_0|c_0|hx|cx|hidden|hidden_state|'
                    r'cell_state|state|init_hidden|zeros)\d?')
MASKS = re.compile(r'(.*\.)?_?(causal_mask|mask|attn_mask|position_ids|'
                   r'num_batches_tracked|n_averaged)')
LOSSES = re.compile(r'(.*\.)?(criterion|loss|loss_fn|crit)\.(weight|pos_weight)')


def export_layer(layer):
    """A layer as the parameters of an nn.LSTM of one layer.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'weight_ih_l0' (4n, in), 'weight_hh_l0' (4n, n), 'bias_ih_l0' (4n,) and
        'bias_hh_l0' (4n,), which is zeros.

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    return export_blocks(layer, ORDER, LAYER)


def import_layer(tensors):
    """The inverse of `export_layer`; the biases are added up.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    return import_blocks(tensors, ORDER, LAYER)


def export_model(weights):
    """A model as a state dict.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        dict: 'embed.weight' (V, m), 'lstm.weight_ih_l0', ..., 'output.weight' (V, n),
        'output.bias' (V,).  Where layers differ in size each is an LSTM of its own,
        'lstm.0.weight_ih_l0', ..., 'lstm.1.weight_ih_l0', ...

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model, or its gates are
            not sigmoids.
    """
    layers = check_model(weights).layers
    if len(set(layers)) == 1:
        return export_stack(weights, NAMES, export_layer)
    return export_stack(weights, NAMES_OF_SIZES, export_layer)


def import_model(tensors):
    """The inverse of `export_model`, whatever the modules are called.

    The LSTM is the module with a weight_ih_l0, the output layer the one with a bias,
    the embedding the one without; in PyTorch's example word_language_model they are
    rnn, decoder and encoder.  Several LSTMs follow each other by the numbers in their
    names.  Without an embedding the input is one-hot.

    Args:
        tensors (dict): a state dict as NumPy arrays.

    Returns:
        dict: weights as of `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: if the modules are not told apart by that, or a
            tensor is missing, one too many, or of another shape or dtype.
    """
    return import_noted(tensors).weights


def import_noted(tensors, classes=None):
    """As `import_model`, a `rnnlm.interchange._by_shape.Model`.

    Args:
        tensors (dict): as for `import_model`.
        classes (dict): prefix of parameters -> class, 'torch.nn.modules.linear Linear'
            say, of modules where that is known.
    """
    check_arrays(tensors)
    if len(tensors) > _by_shape.MOST_TENSORS:
        raise InputError(f'expected a model, found {len(tensors):,} tensors; {LEAVE}')
    recurrent, others, notes = _sorted(tensors)
    if not recurrent:
        raise InputError(
            'weight_ih_l0: expected one tensor with that ending, for the LSTM, found '
            f'none among {_listed(tensors)}{_what(tensors)}; {LEAVE}')
    prefixes = _by_shape.in_order(
        list(dict.fromkeys(prefix for prefix, _ in recurrent)), 'weight_ih_l0')
    layers = []
    for prefix in prefixes:
        levels = sorted(level for one, level in recurrent if one == prefix)
        for expected, level in enumerate(levels):
            parts = recurrent[prefix, level]
            if level != expected:
                raise InputError(
                    f'{short_name(prefix)}.weight_ih_l{expected}: expected a tensor of '
                    f'that name, found none below layer {level}')
            name = f'{prefix} layer {level}' if len(levels) > 1 else prefix
            layers.append((name, import_layer(_completed(parts, tensors))))
    matrices = [matrix._replace(kind=_kind(classes, matrix.name))
                for matrix in _matrices(others, tensors)]
    found = _by_shape.assemble(layers, matrices)
    used = [name for parts in recurrent.values() for name in parts.values()]
    check_dtypes({name: tensors[name] for name in [*used, *others]})
    if [matrix.name for matrix in matrices] == ['embed', 'output'] and all(
            re.fullmatch(r'lstm(\.\d+)?', prefix) for prefix in prefixes):
        return found._replace(notes=notes)  # as `export_model` calls them
    return found._replace(notes=found.notes + notes)


def _sorted(tensors):
    """Names of recurrent layers, of others, and what is said of those left out.

    Returns:
        tuple: {(prefix, level): {'weight_ih': name, ...}}; list of names; notes.
    """
    recurrent, others, notes, raw = {}, [], [], set()
    modules = {name.rpartition('.')[0] for name in tensors}
    for name in tensors:
        match = PARAMETER.fullmatch(name)
        if not match:
            if _is_idle(name, tensors[name]):
                notes.append(f'{short_name(name)} is left out, it changes nothing')
            else:
                others.append(name)
            continue
        prefix, part, level, reverse, is_raw = match.groups()
        if reverse or part == 'weight_hr':
            what = ('a bidirectional LSTM' if reverse else 'an LSTM with projections, '
                    'proj_size')
            raise InputError(
                f'{short_name(name)}: expected no tensor of that name, found one, that '
                f'of {what}; the model cannot be converted')
        if is_raw and f'{prefix}.module' in modules:
            prefix = f'{prefix}.module'
        parts = recurrent.setdefault((prefix or '', int(level or 0)), {})
        place = prefix, level, part
        if is_raw or place not in raw:
            parts[part] = name
        if is_raw:
            raw.add(place)
    return recurrent, others, notes


def _kind(classes, prefix):
    """'Embedding' or 'Linear' of a module of torch.nn whose class is known."""
    module, _, name = (classes or {}).get(f'{prefix}.', '').rpartition(' ')
    return name if module.startswith('torch.nn.') else None


def _is_idle(name, array):
    """Whether a buffer cannot change what a model computes from its beginning on."""
    if LOSSES.fullmatch(name):
        return True
    if STATES.fullmatch(name):
        return not numpy.any(array)
    return MASKS.fullmatch(name) is not None and array.dtype.kind in 'biu'


def _completed(parts, tensors):
    """The tensors of a layer by `LAYER`'s names; biases that are missing are zeros."""
    given = {part: tensors[name] for part, name in parts.items()}
    for part in 'weight_ih', 'weight_hh':
        name = next(iter(parts.values()))
        if part not in given:
            raise InputError(
                f'{part}: expected a tensor of that name beside {short_name(name)}, '
                'found none')
        if getattr(given[part], 'ndim', 0) != 2:
            raise InputError(
                f'{short_name(parts[part])}: expected two dimensions, found the shape '
                f'{getattr(given[part], "shape", None)}')
    rows, n = given['weight_hh'].shape
    kind = {3 * n: 'a GRU', n: 'an RNN of one matrix, nn.RNN'}.get(rows)
    if kind and given['weight_ih'].shape[0] == rows:
        raise InputError(
            f'{short_name(parts["weight_hh"])}: expected the shape {(4 * n, n)} of an '
            f'LSTM, found {(rows, n)}, that of {kind}; only LSTMs can be converted')
    if ('bias_ih' in given) != ('bias_hh' in given):
        part = 'bias_hh' if 'bias_ih' in given else 'bias_ih'
        raise InputError(
            f'{part}: expected a tensor of that name beside '
            f'{short_name(parts["weight_ih"])}, as the other bias is there, found none')
    dtype = given['weight_ih'].dtype
    for part in 'bias_ih', 'bias_hh':
        given.setdefault(part, numpy.full(rows, -0.0, dtype))
    return {f'{part}_l0': array for part, array in given.items()}


def _matrices(names, tensors):
    """list of `Matrix`: modules of a weight of two dimensions, with a bias or not."""
    modules = {}
    for name in names:
        prefix, _, part = name.rpartition('.')
        array = tensors[name]
        expected = {'weight': 2, 'bias': 1}.get(part)
        if expected is None:
            raise InputError(
                f'{short_name(name)}: expected no tensor of that name, found one'
                f'{_what([name])}; {LEAVE}')
        if array.ndim != expected or not array.size:
            what = {1: ', that of a normalisation', 3: ', that of a convolution',
                    4: ', that of a convolution'}.get(array.ndim, '')
            raise InputError(
                f'{short_name(name)}: expected {expected} dimensions, found the shape '
                f'{array.shape}{what if part == "weight" else ""}; {LEAVE}')
        modules.setdefault(prefix, {})[part] = array
    for prefix, module in modules.items():
        W, b = module.get('weight'), module.get('bias')
        if W is not None and b is not None and len(W) != len(b):
            raise InputError(
                f'{short_name(prefix)}.bias: expected the shape {(len(W),)}, found '
                f'{b.shape}')
    return [Matrix(prefix, module.get('weight'), module.get('bias'))
            for prefix, module in modules.items()]


def _what(names):
    """What else the names say that a model is."""
    for pattern, what in (
            (r'(?i)attn|attention|in_proj|transformer|\.wpe\.', 'a Transformer'),
            (r'(?i)conv', 'a convolution'), (r'(?i)norm|\.bn\d|running_mean',
                                             'a normalisation'),
            (r'weight_([gv]|orig)$|original\d', 'weights in a parametrisation'),
            (r'packed_params|zero_point$', 'a quantized model'),
            (r'(?i)tail|cluster', 'an adaptive softmax'), (r'(?i)gru', 'a GRU')):
        if any(re.search(pattern, str(name)[:500]) for name in list(names)[:1000]):
            return f', those of {what}'
    return ''


def _listed(names):
    return ', '.join(map(short_name, sorted(names)[:8])) or 'no tensors at all'


def read(path):
    """Reads a state dict, a checkpoint that holds one, or a whole module.

    Args:
        path (str): a file of torch.save, from PyTorch 0.1.10 on.

    Returns:
        dict: name -> array; bfloat16 becomes float32, which has all its numbers.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read or holds something else.
    """
    return _torch_files.read(path).tensors


def load(path):
    """The model in a file, with its tokens if they are there.

    Args:
        path (str): as for `read`.

    Returns:
        tuple: `rnnlm.interchange._by_shape.Model`, and a list of tokens or None.

    Raises:
        rnnlm.errors.InputError: as `read` and `import_model`, or if the file has a
            module that computes something else.
    """
    file = _torch_files.read(path)
    _torch_module.check_classes(file.classes)
    found = import_noted(as_float32(file.tensors), file.classes)
    return found, _tokens.find(file.root, len(found.weights['embed/W']))


def write(path, tensors):
    """Writes a state dict; needs torch.

    Args:
        path (str): the file.
        tensors (dict): name -> array.

    Raises:
        rnnlm.errors.InputError: if torch is missing.
    """
    try:
        import torch
    except ImportError:
        raise InputError(
            f'{path}: expected torch to write a state dict of PyTorch, found it '
            'missing; pip install torch, or write a .safetensors file') from None
    state = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with writing(path) as f:
        torch.save(state, f)
