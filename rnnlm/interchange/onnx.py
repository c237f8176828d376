"""Export to ONNX: the model as one graph, for single steps and windows; write only.

The sizes T (steps) and B (streams) are dynamic:

    ids (T, B) int64, h and c (N, B, n) of the N layers
        -> logits (T, B, V), next_h and next_c (N, B, n)

If layers differ in size, each has its own state: h0 and c0 (1, B, n0), h1 and c1, ...
and next_h0, ...

ONNX's LSTM has its gates in blocks i, o, f, c (c is the cell input), and two
concatenated biases.  https://onnx.ai/onnx/operators/onnx__LSTM.html
"""
import numpy

from rnnlm._version import __version__
from rnnlm.errors import InputError
from rnnlm.interchange import _tokens
from rnnlm.interchange.interleaving import second_bias, to_blocks
from rnnlm.interchange.naming import require_full_softmax
from rnnlm.interchange.weights import check_model, layer_of
from rnnlm.serializers.atomic import writing

ORDER = ('i', 'o', 'f', 'a')

OPSET = 14

# Maximum size of a protocol buffer.
MOST_BYTES = 2 ** 31 - 2 ** 20


def write(path, weights, tokens=None):
    """Writes a model as ONNX; needs onnx.

    Args:
        path (str): The file.
        weights (dict): Weights as in `rnnlm.interchange.weights`.
        tokens (str): The tokens as text, for the metadata.

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model or are too
            large, or if onnx is missing.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise InputError(
            f'{path}: writing an ONNX file needs onnx, which is not installed; pip '
            'install onnx') from None
    structure = check_model(weights)
    require_full_softmax(structure)
    n_bytes = sum(array.nbytes for array in weights.values())
    if n_bytes > MOST_BYTES:
        raise InputError(
            f'{path}: expected weights of at most {MOST_BYTES:,} bytes, the limit of '
            f'an ONNX file, found {n_bytes:,}; write a .safetensors file')
    n_vocab, units = structure.n_vocab, [layer.n_units for layer in structure.layers]
    n_layers = len(units)
    # Layers of one size share the inputs h and c, stacked; others have one pair each.
    together = len(set(units)) == 1
    tensors, nodes = {}, []

    def node(kind, inputs, *outputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    tensors['embed'] = weights['embed/W']
    node('Gather', ['embed', 'ids'], 'x0')
    tensors['directions'] = numpy.array([1])  # LSTM's axis of directions
    for k, n in enumerate(units):
        if together:
            tensors[f'layer{k}'] = numpy.array([k])
            node('Gather', ['h', f'layer{k}'], f'h{k}', axis=0)
            node('Gather', ['c', f'layer{k}'], f'c{k}', axis=0)
        parameters = _layer(layer_of(weights, k + 1))
        tensors.update((f'{name}{k}', array) for name, array in parameters.items())
        node('LSTM', [f'x{k}', f'W{k}', f'R{k}', f'B{k}', '', f'h{k}', f'c{k}'],
             f'y{k}', f'next_h{k}', f'next_c{k}', hidden_size=n,
             **_gates(weights.get(f'l{k + 1}/slope')))
        node('Squeeze', [f'y{k}', 'directions'], f'x{k + 1}')
    tensors['W'] = weights[f'l{n_layers + 1}/W'].T.copy()
    tensors['b'] = weights[f'l{n_layers + 1}/b']
    node('MatMul', [f'x{n_layers}', 'W'], 'product')
    node('Add', ['product', 'b'], 'logits')
    kind = helper.np_dtype_to_tensor_dtype(weights['embed/W'].dtype)

    def value(name, shape, kind=kind):
        return helper.make_tensor_value_info(name, kind, shape)

    if together:
        for name in 'next_h', 'next_c':
            node('Concat', [f'{name}{k}' for k in range(n_layers)], name, axis=0)
        states = {'h': [n_layers, 'B', units[0]], 'c': [n_layers, 'B', units[0]]}
    else:
        states = {f'{name}{k}': [1, 'B', n] for k, n in enumerate(units)
                  for name in 'hc'}
    graph = helper.make_graph(
        nodes, 'RNNForLM',
        [value('ids', ['T', 'B'], TensorProto.INT64),
         *(value(name, shape) for name, shape in states.items())],
        [value('logits', ['T', 'B', n_vocab]),
         *(value(f'next_{name}', shape) for name, shape in states.items())],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()])
    model = helper.make_model(
        graph, producer_name='rnnlm', producer_version=__version__,
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=8)
    if tokens is not None:
        helper.set_model_props(model, {_tokens.METADATA: tokens})
    checker.check_model(model)
    with writing(path) as f:
        f.write(model.SerializeToString())


def _gates(slope):
    """Returns the attributes of an LSTM node with hard gates, or {} for sigmoids."""
    if slope is None:
        return {}
    return {'activations': ['HardSigmoid', 'Tanh', 'Tanh'],
            'activation_alpha': [float(slope)], 'activation_beta': [0.5]}


def _layer(layer):
    """Converts a layer to the inputs of LSTM, with a leading axis of one direction."""
    b = to_blocks(layer['upward/b'], ORDER)
    return {'W': to_blocks(layer['upward/W'], ORDER)[None],
            'R': to_blocks(layer['lateral/W'], ORDER)[None],
            'B': numpy.concatenate([b, second_bias(b)])[None]}
