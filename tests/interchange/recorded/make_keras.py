"""Records small files of one version of Keras, and what its models compute.

    python make_keras.py keras              Keras itself, 1.2 to 3
    python make_keras.py tensorflow.keras   TensorFlow's Keras

writes keras-VERSION-BACKEND.tar.xz beside this script.  It contains expected.json:
{file: {'ids', 'output'}} for files that can be read, {file: {'refused': words of the
message}} for others.  Needs that Keras, but not rnnlm; keras.sh installs them all.
"""
import importlib
import json
import os
import sys
import tarfile
import tempfile

import numpy

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
keras = importlib.import_module(sys.argv[1])
L = importlib.import_module(sys.argv[1] + '.layers')
Sequential, Model = keras.models.Sequential, keras.models.Model
VERSION = importlib.import_module('keras').__version__
MAJOR = int(VERSION.split('.')[0])
BACKEND = getattr(keras.backend, 'backend', lambda: os.environ['KERAS_BACKEND'])()
TENSORFLOWS = sys.argv[1] != 'keras'
if BACKEND == 'theano':
    importlib.import_module('theano.ifelse')  # which Keras does not import

V, M, T = 6, 3, 5
IDS = numpy.array([[3, 1, 5, 0, 3]])
RANDOM = numpy.random.RandomState(0)


def lstm(n, **options):
    options.setdefault('return_sequences', True)
    return L.LSTM(n, **options)


def one_hot(layers, length=T, width=V):
    """Returns a Sequential whose first layer takes one-hot vectors."""
    if MAJOR >= 3:
        return Sequential([keras.Input((length, width))] + layers)
    first = type(layers[0]).from_config(dict(
        layers[0].get_config(), batch_input_shape=(None, length, width)))
    return Sequential([first] + layers[1:])


def words(layers, **options):
    """Returns a Sequential of an Embedding and other layers."""
    first = L.Embedding(V, M, **options)
    if MAJOR >= 3:
        return Sequential([keras.Input((None,)), first] + layers)
    return Sequential([type(first).from_config(dict(
        first.get_config(), batch_input_shape=(None, None)))] + layers)


def functional(outputs_of, embedding=True):
    x = L.Input(shape=(T,), dtype='int32') if embedding else L.Input(shape=(T, V))
    h = L.Embedding(V, M)(x) if embedding else x
    y = outputs_of(h)
    return Model(input=x, output=y) if MAJOR < 2 else Model(x, y)


def dense(activation='softmax', n=V, **options):
    return L.TimeDistributed(L.Dense(n, activation=activation, **options))


def softmax():
    return L.Activation('softmax')


def two_layers():
    return words([L.Dropout(.2), lstm(4), L.Dropout(.2), lstm(3), dense('linear'),
                  softmax()])


def textbook():
    """Returns a model as in examples that generate text by character."""
    return one_hot([lstm(4), L.Dropout(.2), lstm(4, return_sequences=False),
                    L.Dropout(.2), L.Dense(V), softmax()])


def many_to_one():
    return words([lstm(4, return_sequences=False), L.Dense(V, activation='softmax')])


def stateful():
    model = [L.Embedding(V, M), lstm(4, stateful=True), dense()]
    if MAJOR >= 3:
        return Sequential([keras.Input(batch_shape=(1, T))] + model)
    first = type(model[0]).from_config(dict(
        model[0].get_config(), batch_input_shape=(1, T)))
    return Sequential([first] + model[1:])


def branching():
    def output(h):
        a = lstm(M)(h)
        if MAJOR < 2:
            return dense()(L.merge([h, a], mode='sum'))
        return dense()(L.Add()([h, a]))
    return functional(output)


def straight():
    return functional(lambda h: dense()(L.Dropout(.5)(lstm(3)(lstm(4)(h)))))


def bidirectional(mode):
    return lambda: words([L.Bidirectional(lstm(4), merge_mode=mode), dense()])


def nested():
    inner = Sequential([keras.Input((None, M)), lstm(M), lstm(M)]) if MAJOR >= 3 else (
        Sequential([lstm(M, input_shape=(T, M)), lstm(M)]))
    return functional(lambda h: dense()(inner(h)))


GATES = 'inner_activation' if MAJOR < 2 else 'recurrent_activation'

# Name -> function that makes a model.
GOOD = {
    'two_layers': two_layers, 'textbook': textbook, 'many_to_one': many_to_one,
    'stateful': stateful, 'straight': straight,
    'sigmoid': lambda: words([lstm(4, **{GATES: 'sigmoid'}), dense()]),
    'hard_sigmoid': lambda: words([lstm(4, **{GATES: 'hard_sigmoid'}), dense()]),
    'logits': lambda: words([lstm(4), dense('linear')]),
    'one_hot_sequences': lambda: one_hot([lstm(4), dense()], length=None),
    'other_names': lambda: words([lstm(4, name='main'), dense(name='inside')],
                                 name='my_words'),
}

# Name -> function that makes a model, and words of the message that refuses it.
BAD = {
    'bidirectional_sum': (bidirectional('sum'), 'Bidirectional'),
    'bidirectional_ave': (bidirectional('ave'), 'Bidirectional'),
    'bidirectional_concat': (bidirectional('concat'), 'Bidirectional'),
    'residual': (branching, 'Merge' if MAJOR < 2 else 'Add'),
    'relu_between': (lambda: words([lstm(4), L.Activation('relu'), lstm(4), dense()]),
                     "'relu'"),
    'tanh_output': (lambda: words([lstm(4), dense('tanh')]), "'tanh'"),
    'relu_lstm': (lambda: words([lstm(4, activation='relu'), dense()]), "'relu'"),
    'pooling': (lambda: words([lstm(4), L.GlobalAveragePooling1D(), L.Dense(
        V, activation='softmax')]), 'GlobalAveragePooling1D'),
    'masked': (lambda: words([lstm(4), dense()], mask_zero=True), 'mask_zero'),
    'nested': (nested, 'within the model'),
    'gru': (lambda: words([L.GRU(4, return_sequences=True), dense()]), 'GRU'),
    'simple_rnn': (lambda: words([L.SimpleRNN(4, return_sequences=True), dense()]),
                   'SimpleRNN'),
    'backwards': (lambda: words([lstm(4, go_backwards=True), dense()]),
                  'go_backwards'),
    'hidden_dense': (lambda: words([lstm(4), dense('relu', 5), dense()]), "'relu'"),
    'two_dense': (lambda: words([lstm(4), dense('linear', 5), dense()]), 'once'),
    'classifier': (lambda: words([lstm(4, return_sequences=False), L.Dense(
        1, activation='sigmoid')]), "'sigmoid'"),
    'classes': (lambda: words([lstm(4, return_sequences=False), L.Dense(
        3, activation='softmax')]), 'classifier'),
    'numbers': (lambda: one_hot([lstm(4, return_sequences=False), L.Dense(
        V, activation='softmax')], width=1), 'one-hot'),
    'masking': (lambda: one_hot([L.Masking(), lstm(4), dense()]), 'Masking'),
}

if MAJOR < 2:
    GOOD['one_matrix'] = lambda: words([lstm(4, consume_less='gpu'), dense()])
else:
    GOOD['no_bias'] = lambda: words([
        lstm(4, use_bias=False), lstm(4), dense(use_bias=False)])
    GOOD['cell'] = lambda: words([
        L.RNN(L.LSTMCell(4), return_sequences=True), dense()])
    GOOD['spatial'] = lambda: words([
        L.SpatialDropout1D(.2), lstm(4, recurrent_dropout=.1), dense()])
    BAD['cells'] = (lambda: words([L.RNN(
        [L.LSTMCell(4), L.LSTMCell(3)], return_sequences=True), dense()]),
        'RNN.StackedRNNCells')
    BAD['batch_normalized'] = (lambda: words([
        lstm(4), L.BatchNormalization(), dense()]), 'BatchNormalization')


def half(policy, folder, kinds, expected):
    """Saves models with float16 weights or computation; records the float32 output."""
    def make():
        return words([lstm(4), dense()])

    use = keras.mixed_precision.set_global_policy
    use(policy)
    model = make()
    fill(model)
    names = save(model, policy, folder, kinds)
    use('float32')
    same = make()
    same.set_weights([numpy.asarray(w, 'f') for w in model.get_weights()])
    for name in names:
        expected[name] = {'ids': IDS.tolist(), 'output': same.predict(IDS).tolist()}


def fill(model):
    """Sets weights that are large enough to tell models apart."""
    model.set_weights([RANDOM.uniform(-1.5, 1.5, w.shape).astype(w.dtype)
                       for w in model.get_weights()])


def inputs(model):
    shape = model.input_shape
    if len(shape) < 3:
        return IDS
    return numpy.eye(V, dtype='f')[IDS] if shape[2] == V else IDS[..., None] / 6.


def train(model):
    """Trains one step, so that the optimizer and metrics are saved."""
    model.compile('adam', 'categorical_crossentropy', metrics=['accuracy'])
    x = inputs(model)
    target = numpy.zeros_like(numpy.asarray(model.predict(x)))
    target[..., 0] = 1
    model.train_on_batch(x, target)


def save(model, name, folder, kinds):
    """Saves a model in several formats; returns the file names."""
    written = []
    for kind in kinds:
        path = os.path.join(folder, name + kind)
        if kind.endswith('weights.h5'):
            model.save_weights(path)
        elif not hasattr(model, 'save'):  # before 1.1
            model.save_weights(path)
            with open(os.path.join(folder, name + '.json'), 'w') as f:
                f.write(model.to_json())
        elif kind == '.keras' and VERSION.startswith('2.12.'):
            model.save(path, save_format='keras_v3')  # otherwise it would be HDF5
        else:
            model.save(path)
        written.append(name + kind)
    return written


def cudnn(folder, expected):
    """Makes CuDNNLSTMs, which need a GPU to run: Keras converts LSTM weights.

    Only the sum of their two biases matters.
    """
    saving = importlib.import_module('keras.engine.saving')
    h5py = importlib.import_module('h5py')
    model = words([lstm(4, recurrent_activation='sigmoid'),
                   lstm(3, recurrent_activation='sigmoid', return_sequences=False),
                   L.Dense(V, activation='softmax')])
    fill(model)
    output, weights = model.predict(IDS).tolist(), [
        layer.get_weights() for layer in model.layers]
    other = words([L.CuDNNLSTM(4, return_sequences=True), L.CuDNNLSTM(3),
                   L.Dense(V, activation='softmax')])
    config = {'class_name': 'Sequential', 'config': other.get_config()}
    for name, whole in ('cudnn.h5', True), ('cudnn_weights.h5', False):
        with h5py.File(os.path.join(folder, name), 'w') as f:
            root = f
            if whole:
                f.attrs['model_config'] = json.dumps(config).encode()
                root = f.create_group('model_weights')
            root.attrs['layer_names'] = [
                layer.name.encode() for layer in other.layers]
            root.attrs['keras_version'] = VERSION.encode()
            root.attrs['backend'] = BACKEND.encode()
            for layer, arrays in zip(other.layers, weights):
                arrays = saving.preprocess_weights_for_loading(layer, arrays, VERSION)
                if len(arrays) == 3:
                    half = len(arrays[2]) // 2
                    arrays[2] = arrays[2] + numpy.repeat([.3, -.3], half)
                for variable, array in zip(layer.weights, arrays):
                    root[layer.name + '/' + variable.name] = array.astype('f')
        expected[name] = {'ids': IDS.tolist(), 'output': output}


def main():
    folder, expected = tempfile.mkdtemp(), {}
    kinds = ['.h5']
    if (MAJOR, int(VERSION.split('.')[1])) >= (2, 12):
        kinds.append('.keras')
    for name, make in GOOD.items():
        model = make()
        fill(model)
        if name in ('two_layers', 'textbook', 'straight'):
            train(model)
        here = list(kinds)
        if name in ('two_layers', 'many_to_one', 'other_names', 'straight'):
            here.append('.weights.h5' if len(kinds) > 1 else '_weights.h5')
        written = save(model, name, folder, here)
        output = numpy.asarray(model.predict(inputs(model))).tolist()
        for path in written:
            expected[path] = {'ids': IDS.tolist(), 'output': output}
        if name == 'two_layers' and len(kinds) > 1:  # it has an Activation somewhere
            expected[written[-1]] = {'refused': 'to_json'}
        if name == 'hard_sigmoid':
            with open(os.path.join(folder, 'beside.json'), 'w') as f:
                f.write(model.to_json())
            model.save_weights(os.path.join(folder, 'beside.weights.h5'))
            expected['beside.weights.h5'] = expected[written[0]]
    for name, (make, word) in BAD.items():
        try:
            model = make()
        except AttributeError as e:
            print(f'{name} is skipped: {e}')  # this Keras lacks a layer
            continue
        fill(model)
        for path in save(model, name, folder, kinds[-1:]):
            expected[path] = {'refused': word}
    if MAJOR == 2 and not TENSORFLOWS:
        cudnn(folder, expected)
    if MAJOR < 3 and len(kinds) > 1:
        half('mixed_float16', folder, kinds, expected)
        half('float16', folder, kinds, expected)
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.path.join(here, f'keras-{VERSION}-{BACKEND}.tar.xz')
    with open(os.path.join(folder, 'expected.json'), 'w') as f:
        json.dump(expected, f)
    with tarfile.open(target, 'w:xz', preset=9) as f:
        for name in sorted(os.listdir(folder)):
            f.add(os.path.join(folder, name), name)
    print(target, os.path.getsize(target), len(expected))


if __name__ == '__main__':
    main()
