"""PyTorch: nn.Embedding, nn.LSTM and nn.Linear, by the names of a state dict.

nn.LSTM has the gates in blocks i, f, g, o (g is the cell input).  Layer k has
weight_ih_l{k} (4n, in), weight_hh_l{k} (4n, n), and two biases that are added; see
https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html.  An nn.LSTMCell has the
same names without _l{k}.

Files can hold state dicts, checkpoints that contain one, or whole modules.  torch is
needed to write a file, but not to read one: `_torch_pickle` finds out what a pickle
contains without running it.
"""
import dataclasses
import re

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import (
    _by_shape, _tokens, _torch_adaptive, _torch_files, _torch_module)
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

# awd-lstm-lm stores the weights before weight dropout as ..._raw; these are used.
PARAMETER = re.compile(
    r'(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_l(\d{1,4}))?(_reverse)?(_raw)?')

# Buffers that do not matter in use: the initial state, if it is zero; masks of later
# words, which a recurrent model never sees; and weights of words in the loss.
STATES = re.compile(r'(.*\.)?_?(h|c|h0|c0|h_0|c_0|hx|cx|hidden|hidden_state|'
                    r'cell_state|state|init_hidden|zeros)\d?')
MASKS = re.compile(r'(.*\.)?_?(causal_mask|mask|attn_mask|position_ids|'
                   r'num_batches_tracked|n_averaged)')
LOSSES = re.compile(r'(.*\.)?(criterion|loss|loss_fn|crit)\.(weight|pos_weight)')


def export_layer(layer):
    """Converts a layer to the parameters of an nn.LSTM with one layer.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'weight_ih_l0' (4n, in), 'weight_hh_l0' (4n, n), 'bias_ih_l0' (4n,) and
        'bias_hh_l0' (4n,), which is zero.

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    return export_blocks(layer, ORDER, LAYER)


def import_layer(tensors):
    """Converts such tensors to a layer, adding the biases; inverts `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    return import_blocks(tensors, ORDER, LAYER)


def export_model(weights):
    """Converts a model to a state dict.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.

    Returns:
        dict: 'embed.weight' (V, m), 'lstm.weight_ih_l0', ..., 'output.weight' (V, n),
        'output.bias' (V,).  If layers differ in size, each is a separate LSTM:
        'lstm.0.weight_ih_l0', ..., 'lstm.1.weight_ih_l0', ...  An adaptive softmax is
        an nn.AdaptiveLogSoftmaxWithLoss, 'output.head.weight' and so on, of classes by
        rank; 'ranks' (V,) has the rank of each word.

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model, or its gates
            are not sigmoids.
    """
    structure = check_model(weights)
    names = NAMES if len(set(structure.layers)) == 1 else NAMES_OF_SIZES
    if not structure.adaptive:
        return export_stack(weights, names, export_layer)
    output = f'l{len(structure.layers) + 1}'
    plain = {name: array for name, array in weights.items()
             if not name.startswith(f'{output}/')}
    plain[f'{output}/W'], plain[f'{output}/b'] = _torch_adaptive.stand_in(
        {name[len(output) + 1:]: array for name, array in weights.items()})
    tensors = export_stack(plain, names, export_layer)
    del tensors['output.weight'], tensors['output.bias']
    return {**tensors, **_torch_adaptive.export(weights, output, 'output')}


def import_model(tensors):
    """Converts a state dict to weights, whatever the modules are called.

    The LSTM is the module with a weight_ih_l0, the output layer the one with a bias,
    the embedding the one without.  In PyTorch's example word_language_model these are
    rnn, decoder and encoder.  Several LSTMs are ordered by the numbers in their names.
    Without an embedding the input is one-hot.

    Args:
        tensors (dict): A state dict as NumPy arrays.

    Returns:
        dict: Weights as in `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: If this does not identify the modules, or a tensor is
            missing, unknown, or has a wrong shape or dtype.
    """
    return import_noted(tensors).weights


def import_noted(tensors, classes=None):
    """Converts like `import_model`, to a `rnnlm.interchange._by_shape.Model`.

    Args:
        tensors (dict): As in `import_model`.
        classes (dict): Prefix of parameters -> class, for modules whose class is known,
            such as 'torch.nn.modules.linear Linear'.
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
        # One nn.LSTM can have several layers, weight_ih_l0, weight_ih_l1, ...
        levels = sorted(level for one, level in recurrent if one == prefix)
        for expected, level in enumerate(levels):
            parts = recurrent[prefix, level]
            if level != expected:
                raise InputError(
                    f'{short_name(prefix)}.weight_ih_l{expected}: expected a tensor of '
                    f'that name, found none below layer {level}')
            name = f'{prefix} layer {level}' if len(levels) > 1 else prefix
            layers.append((name, import_layer(_completed(parts, tensors))))
    used = [name for parts in recurrent.values() for name in parts.values()]
    floats = [name for name in [*used, *others]
              if not _torch_adaptive.RANKS.fullmatch(name)]
    adaptive = _torch_adaptive.take(tensors, others)
    matrices = [matrix._replace(kind=_kind(classes, matrix.name))
                for matrix in _matrices(others, tensors)]
    if adaptive:
        prefix, arrays, more = adaptive
        matrices.append(Matrix(prefix, *_torch_adaptive.stand_in(arrays)))
        notes += more
    found = _by_shape.assemble(layers, matrices)
    if adaptive:
        output = f'l{len(layers) + 1}'
        del found.weights[f'{output}/W'], found.weights[f'{output}/b']
        found.weights.update(
            (f'{output}/{name}', array) for name, array in arrays.items())
        check_model(found.weights)
    check_dtypes({name: tensors[name] for name in floats})
    if [matrix.name for matrix in matrices] == ['embed', 'output'] and all(
            re.fullmatch(r'lstm(\.\d+)?', prefix) for prefix in prefixes):
        return found._replace(notes=notes)  # the names that `export_model` gives
    return found._replace(notes=found.notes + notes)


def _sorted(tensors):
    """Sorts tensors into recurrent layers, others, and ignored ones, with notes.

    Returns:
        tuple: {(prefix, level): {'weight_ih': name, ...}}; list of names; notes.
    """
    recurrent, others, notes, raw = {}, [], [], set()
    modules = {name.rpartition('.')[0] for name in tensors}
    for name in tensors:
        match = PARAMETER.fullmatch(name)
        if not match:
            if _is_idle(name, tensors[name]):
                notes.append(f'{short_name(name)} is ignored, it has no effect')
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
    """Returns 'Embedding' or 'Linear' for a torch.nn module whose class is known."""
    module, _, name = (classes or {}).get(f'{prefix}.', '').rpartition(' ')
    return name if module.startswith('torch.nn.') else None


def _is_idle(name, array):
    """Returns whether a buffer has no effect on a model with a reset state."""
    if LOSSES.fullmatch(name):
        return True
    if STATES.fullmatch(name):
        return not numpy.any(array)
    return MASKS.fullmatch(name) is not None and array.dtype.kind in 'biu'


def _completed(parts, tensors):
    """Returns a layer's tensors by the names in `LAYER`; missing biases are zero."""
    given = {part: tensors[name] for part, name in parts.items()}
    for part in 'weight_ih', 'weight_hh':
        name = next(iter(parts.values()))
        if part not in given:
            raise InputError(
                f'{part}: expected a tensor of that name with {short_name(name)}, '
                'found none')
        if getattr(given[part], 'ndim', 0) != 2:
            raise InputError(
                f'{short_name(parts[part])}: expected two dimensions, found the shape '
                f'{getattr(given[part], "shape", None)}')
    # A GRU has 3 gates, a plain RNN one: their matrices have fewer rows.
    rows, n = given['weight_hh'].shape
    kind = {3 * n: 'a GRU', n: 'an RNN of one matrix, nn.RNN'}.get(rows)
    if kind and given['weight_ih'].shape[0] == rows:
        raise InputError(
            f'{short_name(parts["weight_hh"])}: expected the shape {(4 * n, n)} of an '
            f'LSTM, found {(rows, n)}, that of {kind}; only LSTMs can be converted')
    if ('bias_ih' in given) != ('bias_hh' in given):
        part = 'bias_hh' if 'bias_ih' in given else 'bias_ih'
        raise InputError(
            f'{part}: expected a tensor of that name with '
            f'{short_name(parts["weight_ih"])}, like the other bias, found none')
    dtype = given['weight_ih'].dtype
    for part in 'bias_ih', 'bias_hh':
        # -0.0 changes no bit when it is added.
        given.setdefault(part, numpy.full(rows, -0.0, dtype))
    return {f'{part}_l0': array for part, array in given.items()}


def _matrices(names, tensors):
    """Returns a list of `Matrix`: modules with a 2D weight, with or without a bias."""
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
    """Describes what other kind of model the names suggest."""
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
    """Reads a state dict, a checkpoint that contains one, or a whole module.

    Args:
        path (str): A torch.save file, from PyTorch 0.1.10 on.

    Returns:
        dict: Name -> array; bfloat16 becomes float32, without loss.

    Raises:
        rnnlm.errors.InputError: If the file cannot be read or holds something else.
    """
    return _torch_files.read(path).tensors


def load(path):
    """Loads the model in a file, with its tokens if present.

    Args:
        path (str): As in `read`.

    Returns:
        tuple: `rnnlm.interchange._by_shape.Model`, and a list of tokens or None.

    Raises:
        rnnlm.errors.InputError: As in `read` and `import_model`, or if the file has a
            module that computes something else.
    """
    file = _torch_files.read(path)
    _torch_module.check_classes(file.classes)
    found = import_noted(as_float32(file.tensors), file.classes)
    return found, _tokens.find(file.root, len(found.weights['embed/W']))


def write(path, tensors):
    """Writes a state dict; needs torch.

    Args:
        path (str): The file.
        tensors (dict): Name -> array.

    Raises:
        rnnlm.errors.InputError: If torch is missing.
    """
    try:
        import torch
    except ImportError:
        raise InputError(
            f'{path}: writing a state dict of PyTorch needs torch, which is not '
            'installed; pip install torch, or write a .safetensors file') from None
    state = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with writing(path) as f:
        torch.save(state, f)
