"""Import of Chainer models with names other than `RNNForLM`'s, by their shapes.

L.LSTM and L.StatelessLSTM have upward/W, upward/b and lateral/W.  L.NStepLSTM has w0 to
w7 and b0 to b7 for each layer.  Before Chainer 1.5 a layer was a pair of L.Linear, with
names like l1_x and l1_h, and the function lstm.  The embedding and the output layer are
the remaining links with a W.
"""
import re

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _by_shape, d2l, nstep, textbook
from rnnlm.interchange._by_shape import LEAVE, Matrix
from rnnlm.interchange.interleaving import added
from rnnlm.interchange.weights import check_dtypes, check_tensors, short_name
from rnnlm.structure import layer_shapes

LSTM = re.compile(r'(?:(.*)/)?(upward/W|upward/b|lateral/W|lateral/b)')
NSTEP = re.compile(r'(?:(.*)/)?([wb]\d)')
PAIR = re.compile(r'(.*?)_?([xh])/([Wb])')

# State that an optimizer keeps for a parameter: moments, and the time.
STATE = re.compile(r'/[Wb]\d?/(m|v|t|h|g|ms|vhat|sdx|msg|msdx|prev_grad)$')

# Names that identify other links; the first match counts.
OTHERS = (
    (r'(^|/)peep_[ifo]/', 'the peepholes of a StatefulPeepholeLSTM'),
    (r'(^|/)(W_r|W_z|U_r|U_z)/', 'a GRU of Chainer'),
    (r'(^|/)(gamma|beta|avg_mean|avg_var)$', 'a normalisation'),
    (r'(^|/)(upward|lateral)\d?/', 'another LSTM'))


def import_noted(tensors):
    """Imports a model by its shapes.

    Args:
        tensors (dict): Name -> array, of a single model.

    Returns:
        rnnlm.interchange._by_shape.Model.

    Raises:
        rnnlm.errors.InputError: If it is not a language model, or has other parts.
    """
    if any(STATE.search(name[-500:]) for name in tensors):
        raise InputError(
            'expected the parameters of a model, found the state of an optimizer '
            '(W/m, W/v, ...); convert the file of the model')
    check_dtypes(tensors)
    for name, array in tensors.items():
        if array.ndim not in (1, 2) or not array.size:
            raise InputError(
                f'{short_name(name)}: expected a matrix or a bias, found the shape '
                f'{array.shape}{_what([name])}; {LEAVE}')
    for module, key in ((textbook, 'wg'), (d2l, 'W_xi')):
        if any(name.rpartition('/')[2] == key for name in tensors):
            return _in_plain_numpy(tensors, module, key)
    used, layers = {}, {}
    for name in tensors:
        found = LSTM.fullmatch(name) or NSTEP.fullmatch(name)
        if found:
            used.setdefault(found.group(1) or '', {})[found.group(2)] = name
    pairs = {} if used else _pairs(tensors)
    if not used and not pairs:
        raise InputError(
            'lateral/W: expected the parameters of an LSTM, found none among '
            f'{", ".join(map(short_name, sorted(tensors)[:8]))}{_what(tensors)}; '
            f'{LEAVE}')
    taken = set()
    for link, parts in {**used, **pairs}.items():
        given = {part: tensors[name] for part, name in parts.items()}
        taken.update(parts.values())
        layers[link] = _layer(link, given)
    order = _by_shape.in_order(list(layers), 'lateral/W')
    rest = [name for name in tensors if name not in taken]
    return _by_shape.assemble(
        [(link, layers[link]) for link in order], _matrices(rest, tensors))


def _layer(link, given):
    """Converts a link to a layer, depending on its parameters' names."""
    if 'w0' in given:
        last = max(int(part[1:]) for part in given)
        if last != 7:
            kind = {5: 'an NStepGRU', 1: 'an NStepRNN'}.get(last, 'another layer')
            raise InputError(
                f'{short_name(link)}: expected w0 to w7, those of an NStepLSTM, found '
                f'{kind} of w0 to w{last}; only LSTMs can be converted')
        return nstep.import_layer(given)
    if given.get('lateral/W', numpy.empty(0)).ndim == 2 and 'upward/W' in given:
        rows, n = given['lateral/W'].shape
        if rows != 4 * n:
            raise InputError(
                f'{short_name(link)}/lateral/W: expected the shape {(4 * n, n)} of an '
                f'LSTM, found {(rows, n)}; only LSTMs can be converted')
    b = given.pop('lateral/b', None)
    n_in, n = (given[name].shape[-1] if name in given else 1
               for name in ('upward/W', 'lateral/W'))
    check_tensors(given, layer_shapes(n_in, n))
    if b is not None:
        check_tensors({'lateral/b': b}, {'lateral/b': (4 * n,)})
        given['upward/b'] = added(given['upward/b'], b)
    return given


def _pairs(tensors):
    """Returns {layer: names} for layers that are pairs of L.Linear, for x and for h."""
    parts = {'xW': 'upward/W', 'xb': 'upward/b', 'hW': 'lateral/W', 'hb': 'lateral/b'}
    pairs = {}
    for name, array in tensors.items():
        found = PAIR.fullmatch(name)
        if found and array.shape[0] % 4 == 0:
            link, side, part = found.groups()
            pairs.setdefault(link, {})[parts[side + part]] = name
    return {link: names for link, names in pairs.items()
            if {'upward/W', 'lateral/W'} <= set(names)
            and tensors[names['lateral/W']].ndim == 2
            and tensors[names['lateral/W']].shape[0]
            == 4 * tensors[names['lateral/W']].shape[1]}


def _matrices(names, tensors):
    links = {}
    for name in names:
        link, _, part = name.rpartition('/')
        ndim = {'W': 2, 'b': 1}.get(part)
        if tensors[name].ndim != ndim:
            raise InputError(
                f'{short_name(name)}: expected no parameter of that name and the shape '
                f'{tensors[name].shape}, found one{_what([name])}; {LEAVE}')
        links.setdefault(link, {})[part] = tensors[name]
    for link, parts in links.items():
        if 'W' not in parts:  # its size was not known yet when it was saved
            raise InputError(
                f'{short_name(link)}/W: expected a matrix for {short_name(link)}/b, '
                'found none; save the model after it has computed something')
    return [Matrix(link, parts.get('W'), parts.get('b'))
            for link, parts in links.items()]


def _what(names):
    for pattern, what in OTHERS:
        if any(re.search(pattern, name[:500]) for name in names):
            return f', that of {what}'
    return ''


def _in_plain_numpy(tensors, module, key):
    """Imports a one-layer model of a tutorial; the rest is its output layer."""
    name = next(name for name in tensors if name.rpartition('/')[2] == key)
    folder, names = name[:-len(key)], module.names()
    taken = {folder + part: part for part in names if folder + part in tensors}
    layer = module.import_layer({part: tensors[name] for name, part in taken.items()})
    rest = {name: array for name, array in tensors.items() if name not in taken}
    biases = [name for name, array in rest.items() if array.ndim == 1]
    if len(biases) != 1:
        raise InputError(
            f'{folder}{key}: expected one bias outside the layer, that of the output, '
            f'found {len(biases) or "none"} among '
            f'{", ".join(map(short_name, list(rest)[:8])) or "nothing else"}; {LEAVE}')
    b, n = rest.pop(biases[0]), layer['lateral/W'].shape[1]
    shapes = [(n, len(b)), (len(b), n)]
    if module is textbook:  # which multiplies from the left
        shapes.reverse()
    outputs = [name for shape in shapes for name in rest if rest[name].shape == shape]
    if not outputs:
        raise InputError(
            f'{short_name(biases[0])}: expected a matrix {shapes[0]} for it, that of '
            f'the output layer, found none; {LEAVE}')
    W = rest.pop(outputs[0])
    if W.shape == shapes[0] and module is d2l or W.shape != (len(b), n):
        W = W.T.copy()
    return _by_shape.assemble(
        [(folder.rstrip('/') or 'the only one', layer)],
        [Matrix(outputs[0], W, b), *_matrices_of(rest)])


def _matrices_of(rest):
    for name, array in rest.items():
        if array.ndim != 2:
            raise InputError(
                f'{short_name(name)}: expected no tensor of that name, found one of '
                f'the shape {array.shape}; {LEAVE}')
    return [Matrix(name, array, None) for name, array in rest.items()]
