"""Configurations of Keras: supported sequences, and all others."""
import pytest

import rnnlm
from rnnlm.interchange import _keras_config
from rnnlm.interchange._keras_config import LAST_STEP, ONE_HOT, Layer


def layer(kind, name=None, **settings):
    return {'class_name': kind, 'config': {'name': name or kind.lower(), **settings}}


def lstm(name='lstm', **settings):
    return layer('LSTM', name, **{'return_sequences': True, **settings})


def sequential(*layers):
    return {'class_name': 'Sequential', 'config': {'layers': list(layers)}}


EMBEDDING = layer('Embedding', mask_zero=False)
DENSE = layer('Dense', activation='softmax')

# Functional models.  Tensors are [name, use, index of the output].


def functional(*layers, inputs=(('input', 0, 0),), outputs=(('dense', 0, 0),)):
    """Layers are (layer, *tensors)."""
    return {'class_name': 'Functional', 'config': {
        'layers': [{**inner, 'name': inner['config']['name'],
                    'inbound_nodes': [[[*tensor, {}] for tensor in tensors]]
                    if tensors else []}
                   for inner, *tensors in layers],
        'input_layers': [list(end) for end in inputs],
        'output_layers': [list(end) for end in outputs]}}


INPUT = layer('InputLayer', 'input')
LINE = [(INPUT,), (EMBEDDING, ('input', 0, 0)), (lstm(), ('embedding', 0, 0)),
        (DENSE, ('lstm', 0, 0))]


def kinds(config, version='2.3.1'):
    layers, notes = _keras_config.chain(config, version)
    return [layer.kind for layer in layers], notes


def test_supported_chains():
    idle = [layer(kind) for kind in _keras_config.IDLE]
    inner = {'name': 'time', 'layer': layer('Dense', activation='linear')}
    softmax = layer('Activation', activation='softmax')
    known = ['embedding', 'lstm', 'lstm', 'dense']
    for config in (
            sequential(EMBEDDING, lstm(), lstm('b'), DENSE),
            sequential(*idle, EMBEDDING, *idle, lstm(), *idle, lstm('b'), *idle,
                       layer('Dense'), *idle, softmax, *idle),
            sequential(EMBEDDING, lstm(), lstm('b'), layer(
                'Activation', 'x', activation='linear'), {
                    'class_name': 'TimeDistributed', 'config': inner}, softmax),
            sequential(EMBEDDING, layer('CuDNNLSTM', return_sequences=True),
                       layer('RNN', return_sequences=True, cell=layer('LSTMCell')),
                       layer('Dense'), layer('Softmax'))):
        assert kinds(config) == (known, [])
    assert kinds(sequential(lstm(), DENSE)) == (['lstm', 'dense'], [ONE_HOT])
    assert kinds(sequential(EMBEDDING, layer('LSTM'), DENSE))[1] == [LAST_STEP]
    assert kinds(functional(*LINE)) == (['embedding', 'lstm', 'dense'], [])
    # The order of layers follows their inputs, not their position in the list.
    assert kinds(functional(*LINE[::-1])) == (['embedding', 'lstm', 'dense'], [])


def test_functional_models_of_keras_3():
    config = functional(*LINE)
    for entry in config['config']['layers']:
        entry['inbound_nodes'] = [
            {'args': [{'class_name': '__keras_tensor__', 'config': {
                'keras_history': tensor[:3]}} for tensor in node], 'kwargs': {}}
            for node in entry['inbound_nodes']]
    config['config'].update(input_layers=['input', 0, 0], output_layers=['dense', 0, 0])
    assert kinds(config, '3.1.0') == (['embedding', 'lstm', 'dense'], [])
    nodes = config['config']['layers'][2]['inbound_nodes']
    nodes[0]['kwargs'] = {'training': True}
    with pytest.raises(rnnlm.InputError, match='^lstm: .* found training=True'):
        kinds(config, '3.1.0')
    nodes[0]['kwargs'] = {'initial_state': nodes[0]['args']}
    with pytest.raises(rnnlm.InputError, match='^lstm: .* or 2 inputs'):
        kinds(config, '3.1.0')


def test_gates():
    def slope(version, **settings):
        config = sequential(EMBEDDING, lstm(**settings), DENSE)
        return _keras_config.chain(config, version)[0][1].slope

    hard = {'recurrent_activation': 'hard_sigmoid'}
    assert slope('2.15.0', **hard) == slope(
        '1.2.2', inner_activation='hard_sigmoid') == .2
    assert slope('3.0.0', **hard) == slope('3', **hard) == 1 / 6
    for version in '1.0.6', '2.2.4-tf', '3.12.0', None:
        assert slope(version, recurrent_activation='sigmoid') is None
        assert slope(version, recurrent_activation={
            'class_name': 'function', 'config': 'sigmoid'}) is None
    with pytest.raises(rnnlm.InputError, match='^lstm: .* version of Keras that'):
        slope(None, **hard)
    assert slope('2.2.0') == .2 and slope('2.3.0') is None


def test_biases():
    found, _ = _keras_config.chain(sequential(
        EMBEDDING, lstm(use_bias=False), lstm('b'), layer('Dense', bias=False)), '3.0')
    assert found == [
        Layer('embedding', 'Embedding', 'embedding', False),
        Layer('lstm', 'LSTM', 'lstm', False), Layer('lstm', 'LSTM', 'b', True),
        Layer('dense', 'Dense', 'dense', False)]


def time_distributed(inner):
    return {'class_name': 'TimeDistributed', 'config': {'name': 'time', 'layer': inner}}


@pytest.mark.parametrize('layers, message', [
    ([EMBEDDING, layer('GRU'), DENSE], 'gru: .* found GRU, a recurrent layer other'),
    ([EMBEDDING, layer('CuDNNGRU'), DENSE], 'found CuDNNGRU, a recurrent layer'),
    ([EMBEDDING, layer('SimpleRNN'), DENSE], 'found SimpleRNN, a recurrent layer wit'),
    ([EMBEDDING, layer('Bidirectional', layer=lstm()), DENSE],
     'found Bidirectional, which also reads'),
    ([EMBEDDING, layer('Conv1D'), lstm(), DENSE], 'found Conv1D'),
    ([EMBEDDING, lstm(), layer('Attention'), DENSE], 'found Attention'),
    ([EMBEDDING, lstm(), layer('Lambda'), DENSE], 'found Lambda, custom code'),
    ([EMBEDDING, lstm(), layer('Flatten'), DENSE], 'found Flatten'),
    ([EMBEDDING, lstm(), layer('mine>Gate'), DENSE], 'found mine>Gate'),
    ([EMBEDDING, sequential(lstm()), DENSE], 'found Sequential, a model within'),
    ([{'class_name': 'Sequential', 'config': [lstm()]}, DENSE], 'a model within'),
    ([EMBEDDING, layer('RNN', cell=layer('GRUCell')), DENSE], r'found RNN\(GRUCell'),
    ([EMBEDDING, lstm(), time_distributed(lstm())], r'found TimeDistributed\(LSTM'),
    ([layer('Embedding', mask_zero=True), lstm(), DENSE], 'mask_zero=False, found Tr'),
    ([EMBEDDING, lstm(activation='relu'), DENSE], "activation='tanh', found 'relu'"),
    ([EMBEDDING, lstm(activation={'config': {'name': 'x'}}), DENSE], "found 'x'"),
    ([EMBEDDING, lstm(recurrent_activation='tanh'), DENSE], "'sigmoid', found 'tanh'"),
    ([EMBEDDING, lstm(go_backwards=True), DENSE], 'go_backwards=False, found True'),
    ([EMBEDDING, layer('RNN', cell=layer('LSTMCell'), go_backwards=True), DENSE],
     'go_backwards=False, found True'),
    ([EMBEDDING, lstm(time_major=True), DENSE], 'time_major=False, found True'),
    ([EMBEDDING, lstm(), layer('Dense'), layer('Softmax', axis=1)], 'another axis'),
    ([EMBEDDING, layer('LSTM', 'a'), lstm(), DENSE], '^a: .*return_sequences=True'),
    ([EMBEDDING, lstm(), layer('Activation', activation='relu'), DENSE],
     "one softmax at the end, found 'relu'"),
    ([EMBEDDING, lstm(), layer('Activation', activation='softmax'), DENSE],
     "one softmax at the end, found 'softmax'"),
    ([EMBEDDING, lstm(), DENSE, layer('Softmax')], "softmax at the end, found 'softm"),
    ([EMBEDDING, lstm(), DENSE, layer('Activation', activation='relu')], "'relu'"),
    ([EMBEDDING, lstm(), layer('Dense', activation='tanh')], "dense: .* found 'tanh'"),
    ([EMBEDDING, lstm(), time_distributed(layer('Dense', activation='relu')), DENSE],
     "time: .* found 'relu'"),
    ([EMBEDDING, lstm(), layer('Dense', 'a'), DENSE], '^dense: .* Dense once'),
    ([EMBEDDING, layer('Dense', 'a'), lstm(), DENSE], '^a: .* after the LSTMs'),
    ([EMBEDDING, lstm(), DENSE, lstm('b')], '^b: .* LSTM before the Dense'),
    ([lstm(), EMBEDDING, DENSE], '^embedding: .* as the first layer'),
    ([EMBEDDING, lstm()], 'last layer is a Dense .* found Embedding, LSTM'),
    ([EMBEDDING, DENSE], '^dense: .* after the LSTMs'), ([], 'found no layers'),
])
def test_other_chains_are_refused_by_name(layers, message):
    with pytest.raises(rnnlm.InputError, match=message):
        kinds(sequential(*layers))


EMBEDDED, LSTM_TO_DENSE = LINE[1], LINE[3]


@pytest.mark.parametrize('config, message', [
    (functional(*LINE[:3], (layer('Add'), ('embedding', 0, 0), ('lstm', 0, 0)),
                (DENSE, ('add', 0, 0))), 'found Add, with which the layers are not'),
    (functional(*LINE[:3], (DENSE, ('embedding', 0, 0), ('lstm', 0, 0))),
     '^dense: .* 2 inputs'),
    (functional(*LINE, (lstm('b'), ('embedding', 0, 0))), '^b: .* one outside it'),
    (functional(*LINE[:3], (DENSE, ('lstm', 0, 1))), '^dense: .* the first output'),
    (functional(*LINE[:3], (DENSE, ('lstm', 1, 0))), '^dense: .* the first output'),
    (functional(*LINE, outputs=[('dense', 0, 0), ('lstm', 0, 1)]), 'found 1 and 2'),
    (functional(*LINE, inputs=[('input', 0, 0), ('x', 0, 0)]), 'found 2 and 1'),
    (functional(*LINE[:2], (lstm(), ('dense', 0, 0)), LSTM_TO_DENSE), 'used once'),
    (functional(*LINE[:3], (DENSE, ('none', 0, 0))), '^none: expected a layer that'),
    ({'class_name': 'OneStep', 'config': {}}, 'found a OneStep, a class whose code'),
])
def test_other_functional_models_are_refused(config, message):
    with pytest.raises(rnnlm.InputError, match=message):
        kinds(config)


def test_a_layer_that_is_used_twice_is_refused():
    config = functional(*LINE)
    config['config']['layers'][2]['inbound_nodes'] *= 2
    with pytest.raises(rnnlm.InputError, match='^lstm: .* found 2 uses'):
        kinds(config)


def test_states_from_elsewhere_are_refused():
    """For example initial_state, which Keras 2 writes among the arguments."""
    config = functional(*LINE)
    node = config['config']['layers'][2]['inbound_nodes'][0][0]
    node[3]['training'] = None
    assert kinds(config)
    node[3]['training'] = True
    with pytest.raises(rnnlm.InputError, match='^lstm: .* found training=True'):
        kinds(config)
    node[3]['initial_state'] = [['h', 0, 0], ['c', 0, 0]]
    with pytest.raises(rnnlm.InputError, match='^lstm: .* or 2 inputs'):
        kinds(config)


def test_messages_stay_short():
    long = 'x' * 10 ** 6
    for layers in ([layer(long)], [layer('GRU', long)], [lstm(long, activation=long)],
                   [layer('Embedding', long)] * 1000, [lstm()] * 1000,
                   [layer('RNN', long, cell=layer(long))],
                   [EMBEDDING, lstm(), layer('Dense', long, activation=long)]):
        with pytest.raises(rnnlm.InputError) as e:
            kinds(sequential(*layers))
        assert len(str(e.value)) < 1000
