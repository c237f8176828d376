"""Recognition of layers in a Keras file without a configuration, by their names.

Keras names a layer after its class, such as lstm_1, unless it is given a name.  Such a
file does not contain settings, so Keras's defaults are assumed.
"""
import re

from rnnlm.errors import InputError
from rnnlm.interchange import _keras_config as config
from rnnlm.interchange.weights import short_name

WEIGHTS_ALONE = (
    'the file has no settings of its layers, only names: they are assumed to have '
    'Keras\'s defaults, with gates of {} and mask_zero=False')

# Classes recognised by a layer's variables, if its name does not tell.
EMBEDDING, LSTM, DENSE = 'Embedding', 'LSTM', 'Dense'
BY_VARIABLES = {
    ('embeddings',): EMBEDDING,
    ('bias', 'kernel', 'recurrent_kernel'): LSTM, ('kernel', 'recurrent_kernel'): LSTM,
    ('U', 'W', 'b'): LSTM, ('cell/vars/0', 'cell/vars/1', 'cell/vars/2'): LSTM,
    tuple(sorted(f'{part}_{gate}' for part in 'WUb' for gate in 'ifco')): LSTM,
    ('cell/vars/0', 'cell/vars/1'): LSTM,
    ('bias', 'kernel'): DENSE, ('W', 'b'): DENSE, ('vars/0', 'vars/1'): DENSE,
    ('layer/vars/0', 'layer/vars/1'): DENSE, ('layer/vars/0',): DENSE,
    ('kernel',): DENSE}
# An Embedding if it comes first, otherwise a Dense without a bias.
ONE_MATRIX = ('W',), ('vars/0',)


def layers_by_names(file, gates=None):
    """Recognises the layers of a model without a configuration.

    Args:
        file (rnnlm.interchange._keras_files.File): The file.
        gates (str): The recurrent_activation of its LSTMs; None for the default.

    Returns:
        The same as `rnnlm.interchange._keras_config.chain`.

    Raises:
        rnnlm.errors.InputError: If the names do not tell what it is.
    """
    line = []
    for name, inside in file.layers.items():
        kind = _class_of(file, name, inside, not line or not file.ordered)
        config.check_class(kind, short_name(name))
        line.append((kind, {'name': name}))
    if not file.ordered:
        line = _in_order(line)
    if any(kind == LSTM for kind, _ in line):
        gates = gates or _default_gates(file)
    elif gates is None:
        gates = 'sigmoid'
    for kind, settings in line:
        settings.update(_settings(kind, gates))
    layers, notes = config.follow(line, file.version)
    return ([layer._replace(bias=None) for layer in layers],
            [WEIGHTS_ALONE.format(gates), *notes])


def _settings(kind, gates):
    """Returns the settings that are assumed for a layer."""
    if kind in config.LSTMS:
        return {'return_sequences': True, 'recurrent_activation': gates}
    if kind == 'TimeDistributed':
        return {'layer': {'class_name': DENSE, 'config': {}}}
    return {'activation': 'softmax'} if kind == 'Activation' else {}


def _default_gates(file):
    if file.format == '.weights.h5':
        return 'sigmoid'  # this format is newer than 2.3
    gates = config.default_gates(file.version)
    if gates is None:
        raise InputError(
            'expected a file with the settings of its LSTMs, or of a version of Keras '
            'whose default gates are known, found '
            f'{short_name(file.version or "neither")}, so they may be sigmoid or '
            'hard_sigmoid; save the result of model.to_json() in the same folder, '
            'under the same name with the ending .json')
    return gates


def _class_of(file, name, inside, first):
    """Returns the class of a layer, judging by its name and variables."""
    found = config.BY_NAME.get(re.sub(r'_\d+$', '', name).replace('_', '').lower())
    variables = tuple(sorted(inside))
    if found is None:
        found = BY_VARIABLES.get(variables)
    if found is None and variables in ONE_MATRIX:
        found = EMBEDDING if first else DENSE
    if found is None and not inside:
        # A custom name, which does not tell what the layer does.
        idle = re.search(r'drop|(^|_)input(_|$)', name.lower())
        found = ('Dropout' if idle else
                 f'a layer {short_name(name)} without weights')
    if found is None:
        found = f'a layer of {", ".join(map(short_name, variables[:5]))}'
    return _by_shape(file, inside) if found in (LSTM, 'RNN') else found


def _by_shape(file, inside):
    """Returns 'LSTM', or the class with matrices of the same names but other shapes."""
    names = 'kernel', 'recurrent_kernel', 'bias', *(f'cell/vars/{k}' for k in range(3))
    keys = [inside[name] for name in names if name in inside]
    shapes = [file.arrays.describe(key)[0] for key in keys]
    if len(shapes) < 2 or any(len(shape) != 2 for shape in shapes[:2]):
        return LSTM
    n, columns = shapes[1]
    if columns in (n, 3 * n):
        return 'SimpleRNN' if columns == n else 'GRU'
    return 'CuDNNLSTM' if shapes[2:] == [(8 * n,)] else LSTM


def _in_order(line):
    """Orders layers if the file only gives the order within each class."""
    places = {'': [], EMBEDDING: [], LSTM: [], DENSE: []}
    for kind, settings in line:
        if kind in ('Activation', 'Softmax'):
            raise InputError(
                f'{short_name(settings["name"])}: expected a file with the settings '
                'and the position of this layer, found only weights; save the result '
                'of model.to_json() in the same folder, under the same name with the '
                'ending .json')
        place = LSTM if kind in config.LSTMS else (
            DENSE if kind in (*config.DENSE, 'TimeDistributed') else kind)
        places[place if place in places else ''].append((kind, settings))
    bases = {re.sub(r'_?\d+$', '', settings['name']) for _, settings in places[LSTM]}
    if len(bases) > 1:
        raise InputError(
            f'expected LSTMs that are numbered, found {short_name(sorted(bases))}, '
            'whose order is unknown; save the whole model')
    return [line for place in places.values() for line in place]
