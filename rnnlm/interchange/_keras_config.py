"""Interpretation of a Keras model's configuration.

A configuration is the result of Keras's `to_json`, which files contain too.  The layers
of a language model in sequence are supported: an embedding or one-hot input, LSTMs, one
Dense.  Everything else would be computed wrongly, and is refused by name.
"""
import re
from typing import NamedTuple, Optional

from rnnlm.errors import InputError
from rnnlm.functions.gates import SLOPES
from rnnlm.interchange.weights import short_name

# Layers that only act during training.
IDLE = ('InputLayer', 'Dropout', 'SpatialDropout1D', 'GaussianDropout', 'AlphaDropout',
        'GaussianNoise', 'ActivityRegularization')

LSTMS = ('LSTM', 'CuDNNLSTM', 'RNN')
DENSE = ('Dense', 'TimeDistributedDense')
MODELS = ('Sequential', 'Model', 'Functional')
KNOWN = (*IDLE, *LSTMS, *DENSE, 'Embedding', 'TimeDistributed', 'Activation', 'Softmax')

# Explanations for some layers that are refused.
REFUSED = {
    'GRU': 'a recurrent layer other than LSTM',
    'CuDNNGRU': 'a recurrent layer other than LSTM',
    'SimpleRNN': 'a recurrent layer without gates',
    'Bidirectional': 'which also reads the text backwards',
    'Masking': 'which skips steps',
    'Sequential': 'a model within the model', 'Model': 'a model within the model',
    'Functional': 'a model within the model',
    'Add': 'with which the layers are not a sequence',
    'Merge': 'with which the layers are not a sequence',
    'Concatenate': 'with which the layers are not a sequence',
    'Lambda': 'custom code',
}
# Other layers, recognised by name in files without a configuration.
OTHERS = (
    'Average', 'Multiply', 'Dot', 'Flatten', 'Reshape', 'Permute', 'RepeatVector',
    'Conv1D', 'Convolution1D', 'MaxPooling1D', 'GlobalAveragePooling1D',
    'GlobalMaxPooling1D', 'BatchNormalization', 'LayerNormalization', 'Attention',
    'MultiHeadAttention', 'ConvLSTM2D', 'ReLU', 'LeakyReLU', 'PReLU', 'ELU')
BY_NAME = {kind.lower(): kind for kind in (*KNOWN, *REFUSED, *OTHERS)}

SOFTMAX = ('softmax', 'softmax_v2', 'log_softmax', 'log_softmax_v2')
IDENTITY = ('linear', None)

# Settings that an LSTM must have, if they are given.
SETTINGS = {'activation': 'tanh', 'go_backwards': False, 'time_major': False}

ONE_HOT = 'its input is one-hot: the embedding is the identity'
LAST_STEP = (
    'it was trained to predict one step after a window that starts from a zero state; '
    'this model predicts the same at the end of such a window')


class Layer(NamedTuple):
    """Layer with weights.

    Attributes:
        kind (str): 'embedding', 'lstm' or 'dense'.
        class_name (str): Keras's class, such as 'TimeDistributed'.
        name (str): Its name.
        bias (bool): Whether it has a bias; None if unknown.
        slope (float): Slope of hard gates of an LSTM, otherwise None.
    """
    kind: str
    class_name: str
    name: str
    bias: Optional[bool] = None
    slope: Optional[float] = None


def chain(config, version=None):
    """Returns the layers that have weights, in the order of computation.

    Args:
        config: A parsed JSON configuration.
        version (str): Version of Keras that wrote it, such as '2.3.1'; None if unknown.

    Returns:
        tuple: list of `Layer`; list of str, notes about the model.

    Raises:
        rnnlm.errors.InputError: If the model has unknown parts; the message names one.
    """
    return follow(straight(config), version)


def follow(line, version):
    """Like `chain`, for (class name, settings) of all layers in order."""
    found = _Chain(version)
    for kind, settings in line:
        found.add(kind, settings)
    return found.finish()


def straight(config):
    """Returns a list of (class name, settings) of a model's layers, in order.

    Raises:
        rnnlm.errors.InputError: If they are not a sequence.
    """
    kind, inner = config['class_name'], config['config']
    if kind not in MODELS:
        raise InputError(
            f'expected a Sequential or a functional model, found a '
            f'{short_name(kind)}, a class whose code is not in the file')
    layers = inner if isinstance(inner, list) else inner['layers']
    for layer in layers:
        check_class(layer['class_name'], _name(layer['config']))
    if kind != 'Sequential':
        layers = _in_line(inner, layers)
    return [(layer['class_name'], layer['config']) for layer in layers]


def check_class(kind, name):
    """Raises InputError for an unknown layer, with its class and name."""
    if kind not in KNOWN:
        reason = REFUSED.get(kind)
        raise InputError(
            f'{name}: expected the layers of a language model, which are an Embedding '
            'or one-hot input, LSTMs, a Dense and Dropouts, found '
            f'{short_name(kind)}{f", {reason}" if reason else ""}; it cannot be '
            'converted')


def _name(settings):
    """Returns a layer's name; the settings of a Keras 1 Sequential are a list."""
    return short_name(settings['name'] if 'name' in settings else 'a layer')


def _in_line(inner, layers):
    """Returns the layers of a functional model from its input to its output."""
    ends = [_ends(inner[key]) for key in ('input_layers', 'output_layers')]
    if any(len(names) != 1 for names in ends):
        raise InputError(
            f'expected a model of one input and one output, found {len(ends[0])} and '
            f'{len(ends[1])}; it cannot be converted')
    # Followed backwards from the output, because each layer names its inputs.
    left = {layer['name']: layer for layer in layers}
    (first,), (name,) = ends
    line = []
    while True:
        if name not in left:
            raise InputError(f'{short_name(name)}: expected a layer that is used once, '
                             'found one that is missing or used several times; the '
                             'model cannot be converted')
        line.append(left.pop(name))
        above = _inputs(line[-1])
        if not above:
            break
        name = above
    if line[-1]['name'] != first or left:
        other = next(iter(left), first)
        raise InputError(
            f'{short_name(other)}: expected a single sequence of layers from the input '
            'to the output, found one outside it; it cannot be converted')
    return line[::-1]


def _ends(found):
    """Returns the names in [['a', 0, 0], ...], or in Keras 3's ['a', 0, 0]."""
    if found and isinstance(found[0], str):
        found = [found]
    return [entry[0] for entry in found]


def _inputs(layer):
    """Returns the name of the only layer that a layer takes input from, or ''."""
    nodes = layer['inbound_nodes']
    if not nodes:
        return ''
    found = _histories(nodes[0]) if len(nodes) == 1 else []
    if len(found) != 1 or found[0][1:3] != [0, 0]:
        raise InputError(
            f'{short_name(layer["name"])}: expected one input, the first output of a '
            f'layer that is used once, found {len(nodes)} uses or {len(found)} inputs; '
            'it cannot be converted')
    if _trains(nodes[0]):
        raise InputError(
            f'{short_name(layer["name"])}: expected a layer that is called without '
            'training=True, found training=True; it cannot be converted')
    return found[0][0]


def _trains(node):
    """Returns whether a layer is always called with training=True."""
    if isinstance(node, dict):
        return node.get('kwargs', {}).get('training') is True
    entry = node if isinstance(node[0], str) else node[0]
    return len(entry) > 3 and entry[3].get('training') is True


def _histories(node):
    """Returns [[name, 0, 0], ...] of the tensors in a node, in either format.

    Keras 1 and 2 write [[name, 0, 0, {arguments}], ...].  Keras 3 writes a dict of
    arguments, with a keras_history in each tensor.
    """
    if isinstance(node, list):
        if node and isinstance(node[0], str):
            node = [node]
        found = [entry[:3] for entry in node]
        waiting = [entry[3] for entry in node if len(entry) > 3]
        # Tensors in the arguments, such as initial_state, have the form [name, 0, 0].
        for value in (value for extra in waiting for value in extra.values()):
            if isinstance(value, list) and value:
                found.append(value)
        return found
    found, waiting = [], [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if 'keras_history' in value:
                found.append(value['keras_history'])
            waiting += value.values()
    return found


class _Chain:
    """State of reading a language model layer by layer."""

    def __init__(self, version):
        self._version = version
        self._layers = []
        self._softmax = False
        self._last_step = None  # the LSTM that outputs only its last step

    def add(self, kind, settings):
        name, outer = _name(settings), kind
        if kind == 'TimeDistributed':
            kind, settings = _inside(settings['layer'], name)
        if kind == 'Embedding':
            self._expect(name, kind, '', 'as the first layer')
            _check_embedding(name, settings)
            self._layers.append(Layer('embedding', outer, name, False))
        elif kind in LSTMS:
            self._add_lstm(name, kind, settings)
        elif kind in DENSE:
            self._expect(name, kind, 'lstm', 'once, after the LSTMs')
            activation = function_name(settings.get('activation'))
            bias = settings.get('use_bias', settings.get('bias', True))
            self._layers.append(Layer('dense', outer, name, bool(bias)))
            self._activate(name, activation)
        elif kind == 'Activation':
            self._activate(name, function_name(settings.get('activation')))
        elif kind == 'Softmax':
            last = settings.get('axis', -1) in (-1, [-1])
            self._activate(name, 'softmax' if last else 'a softmax of another axis')

    def _expect(self, name, kind, before, where):
        if self._above() not in (before if isinstance(before, tuple) else (before,)):
            raise InputError(
                f'{name}: expected a layer {kind} {where}, found it elsewhere; the '
                'model cannot be converted')

    def _above(self):
        return self._layers[-1].kind if self._layers else ''

    def _add_lstm(self, name, kind, settings):
        self._expect(name, kind, ('', 'embedding', 'lstm'), 'before the Dense')
        if self._last_step:
            raise InputError(
                f'{self._last_step}: expected return_sequences=True before another '
                'LSTM, found False; the model cannot be converted')
        if not settings.get('return_sequences'):
            self._last_step = name
        cell = _cell(name, settings) if kind == 'RNN' else settings
        slope = lstm_slope(kind, {**cell, 'name': name}, self._version)
        bias = kind == 'CuDNNLSTM' or bool(cell.get('use_bias', True))
        self._layers.append(Layer('lstm', kind, name, bias, slope))

    def _activate(self, name, activation):
        if activation in IDENTITY:
            return
        if self._above() != 'dense' or self._softmax or activation not in SOFTMAX:
            raise InputError(
                f'{name}: expected no activation but one softmax at the end, found '
                f'{short_name(repr(activation))}; the model cannot be converted')
        self._softmax = True

    def finish(self):
        if self._above() != 'dense':
            kinds = [layer.class_name for layer in self._layers]
            raise InputError(
                'expected a language model, whose last layer is a Dense after LSTMs, '
                f'found {short_name(", ".join(kinds) or "no layers with weights")}; it '
                'cannot be converted')
        notes = []
        if self._layers[0].kind == 'lstm':
            notes.append(ONE_HOT)
        if self._last_step:
            notes.append(LAST_STEP)
        return self._layers, notes


def _inside(layer, name):
    """Returns (class name, settings) of the layer in a TimeDistributed."""
    kind = layer['class_name']
    if kind not in (*IDLE, *DENSE, 'Activation', 'Softmax'):
        check_class(f'TimeDistributed({short_name(kind)})', name)
    return kind, layer['config']


def _cell(name, settings):
    """Returns the settings of an RNN's cell, which must be an LSTMCell."""
    kind = settings['cell']['class_name']
    if kind != 'LSTMCell':
        check_class(f'RNN({short_name(kind)})', name)
    found = dict(settings['cell']['config'])
    found.update((key, settings[key]) for key in ('go_backwards', 'time_major')
                 if key in settings)
    return found


def _check_embedding(name, settings):
    if settings.get('mask_zero'):
        raise InputError(
            f'{name}: expected an Embedding with mask_zero=False, found True: the '
            'model keeps its state where the id is 0, which is not supported; if no '
            'text has the id 0, save it with mask_zero=False')


def lstm_slope(kind, settings, version):
    """Returns the slope of an LSTM's hard gates, or None if the gates are sigmoids.

    Args:
        kind (str): Class of the layer, one of `LSTMS`.
        settings (dict): Settings in the form of Keras's get_config.
        version (str): Version of Keras.

    Raises:
        rnnlm.errors.InputError: If a setting is not supported; the message names it.
    """
    name = _name(settings)
    for key, expected in SETTINGS.items():
        _check_setting(name, key, function_name(settings.get(key, expected)), expected)
    default = 'sigmoid' if kind == 'CuDNNLSTM' else default_gates(version)
    gates = function_name(settings.get(
        'recurrent_activation', settings.get('inner_activation', default)))
    if gates == 'hard_sigmoid':
        return _hard_slope(name, version)
    _check_setting(name, 'recurrent_activation', gates, 'sigmoid')
    return None


def _check_setting(name, key, found, expected):
    if found != expected:
        raise InputError(
            f'{name}: expected an LSTM with {key}={expected!r}, found '
            f'{short_name(repr(found))}, which computes something else; train a model '
            'with the expected value')


def function_name(value):
    """Returns the name of an activation (str), which may be written as an object."""
    if isinstance(value, dict):
        value = value.get('config', value)
        if isinstance(value, dict):  # for example, a layer used as an activation
            value = value.get('name', 'an object')
    return value


def _hard_slope(name, version):
    numbers = version_numbers(version)
    if not numbers:
        raise InputError(
            f'{name}: expected a file with the version of Keras that wrote it, because '
            "recurrent_activation='hard_sigmoid' is another function since version 3, "
            'found none; save the whole model')
    return SLOPES['hard_sigmoid' if numbers[0] < 3 else 'hard_sigmoid_6']


def version_numbers(version):
    """Returns (2, 3) for '2.3.1', (3, 0) for '3'; None if it is not a version."""
    found = re.match(r'(\d{1,5})(?:\.(\d{1,5}))?', version or '')
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None


def default_gates(version):
    """Returns the default recurrent_activation of an LSTM (str); None if unknown.

    Before 2.3, Keras had 'hard_sigmoid'.  TensorFlow's Keras gave its version as
    2.2.4-tf in TensorFlow 1.13 to 2.1, and changed the default among them.
    """
    numbers = version_numbers(version)
    if not numbers or version.startswith('2.2.4-tf'):
        return None
    return 'hard_sigmoid' if numbers < (2, 3) else 'sigmoid'
