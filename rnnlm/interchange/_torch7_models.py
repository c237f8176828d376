"""Language models in Torch7 files: checkpoints of char-rnn and of torch-rnn.

char-rnn's graph has two nn.Linear for each layer and one for the output.  Since 20
September 2015 they are annotated with names: i2h_1, h2h_1, ..., decoder.  Before, they
are in that order among the nodes of the graph, forwardnodes.

torch-rnn's nn.LanguageModel is a chain, net: a LookupTable, LSTM layers and a Linear.
An LSTM's weight is (in + n, 4n), with the rows for the input first.  Its columns are in
blocks i, f, o, g, like char-rnn's rows.
"""
import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _torch7_reader as lua
from rnnlm.interchange.interleaving import second_bias
from rnnlm.interchange.weights import short_name

# Modules without parameters in torch-rnn's chain.
IDLE = ('nn.Dropout', 'nn.View', 'nn.Identity', 'nn.Reshape', 'nn.Contiguous',
        'nn.LogSoftMax', 'nn.SoftMax', 'nn.Copy')
MOST_MODULES = 1000


def tensors_of(path, root):
    """Returns the tensors of the model, by char-rnn's names.

    Args:
        path (str): The file, for messages.
        root: Content of the file, from `rnnlm.interchange._torch7_reader.load`.

    Returns:
        dict: 'i2h_1.weight', 'i2h_1.bias', 'h2h_1.weight', ..., 'decoder.bias'; and
        'embed' if the model has an embedding.

    Raises:
        rnnlm.errors.InputError: If it is another model, or there is none.
    """
    if isinstance(root, dict):
        kind = _fields(root.get('opt')).get('model')
        if kind in ('gru', 'rnn'):
            name = {'gru': 'a GRU', 'rnn': 'an RNN'}[kind]
            raise InputError(
                f'{path}: expected a char-rnn of LSTM layers, found {name}, as its '
                'opt.model says; only LSTMs can be converted')
        model = root.get('model')
        if isinstance(model, lua.Object) and 'net' in _fields(model):
            return _of_chain(path, model)
    # From the most explicit form to the least: names, order, a plain table of tensors.
    tensors = _annotated(path, root)
    if not tensors and isinstance(root, dict):
        tensors = _in_order(path, root) or {
            name: value for name, value in root.items()
            if isinstance(name, str) and isinstance(value, numpy.ndarray)}
    if not tensors:
        raise InputError(
            f'{path}: expected a checkpoint of char-rnn or torch-rnn, or a table of '
            'tensors, found neither')
    return tensors


def tokens_in(root):
    """Returns the object that may hold the tokens: a char-rnn table or a model."""
    model = root.get('model') if isinstance(root, dict) else None
    if isinstance(model, lua.Object):
        fields = _fields(model)
        return {'idx_to_token': _bytes_of_torch_rnn(fields.get('idx_to_token'))}
    return {'vocab': root.get('vocab')} if isinstance(root, dict) else {}


def _bytes_of_torch_rnn(table):
    """Returns tokens as they are, or as bytes: --encoding bytes writes '[195]'."""
    if type(table) is not dict:
        return None
    found = {}
    for i, token in table.items():
        if type(token) is not str:
            return None
        if token.startswith('[') and token.endswith(']') and token[1:-1].isdigit() and (
                len(token) < 6 and int(token[1:-1]) < 256):
            token = bytes([int(token[1:-1])])
        found[i] = token
    return found


def _fields(value):
    fields = value.fields if isinstance(value, lua.Object) else value
    return fields if isinstance(fields, dict) else {}


def _annotated(path, root):
    """Returns the parameters of modules that a graph annotates with names."""
    # A graph refers to itself, so visited tables are remembered.
    tensors, seen, waiting = {}, set(), [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, lua.Object):
            value = value.fields
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        waiting += value.values()
        name, module = value.get('annotations'), value.get('module')
        name = name.get('name') if isinstance(name, dict) else None
        fields = module.fields if isinstance(module, lua.Object) else None
        if not isinstance(name, str) or not isinstance(fields, dict):
            continue
        for key in 'weight', 'bias':
            array = fields.get(key)
            if not isinstance(array, numpy.ndarray):
                continue
            if tensors.setdefault(f'{name}.{key}', array) is not array:
                raise InputError(
                    f'{path}: expected one {short_name(name)}.{key}, found two that '
                    'differ; save one model')
    return tensors


def _in_order(path, root):
    """Returns the parameters of the nn.Linear of a graph without names, or {}."""
    nodes = _fields(_fields(root.get('protos')).get('rnn')).get('forwardnodes')
    linears = []
    for _, node in sorted((item for item in _fields(nodes).items()
                           if type(item[0]) is int), key=lambda item: item[0]):
        module = _fields(_fields(node).get('data')).get('module')
        if isinstance(module, lua.Object) and module.kind == 'nn.Linear':
            linears.append(_fields(module))
    if not linears:
        return {}
    if len(linears) % 2 == 0 or len(linears) < 3:
        raise InputError(
            f'{path}: expected two nn.Linear for each LSTM layer and one for the '
            f'output, found {len(linears)} in all; it is another model than an LSTM of '
            'char-rnn')
    tensors = {}
    for k, fields in enumerate(linears):
        name = f'{"ih"[k % 2]}2h_{k // 2 + 1}' if k + 1 < len(linears) else 'decoder'
        for key in 'weight', 'bias':
            if isinstance(fields.get(key), numpy.ndarray):
                tensors[f'{name}.{key}'] = fields[key]
    return tensors


def _of_chain(path, model):
    """Returns the tensors of torch-rnn's nn.LanguageModel."""
    tensors, n_layers = {}, 0
    for kind, fields in _modules(path, _fields(model).get('net')):
        parts = [fields.get(key) for key in ('weight', 'bias')]
        weight, bias = (part if isinstance(part, numpy.ndarray) else numpy.empty(0)
                        for part in parts)
        if kind == 'nn.LookupTable' and 'embed' not in tensors:
            tensors['embed'] = weight
        elif kind == 'nn.LSTM':
            n_layers += 1
            tensors.update(_layer(path, n_layers, weight, bias))
        elif kind == 'nn.Linear' and 'decoder.weight' not in tensors:
            tensors.update({'decoder.weight': weight, 'decoder.bias': bias})
        elif kind not in IDLE:
            raise InputError(
                f'{path}: expected a LookupTable, LSTM layers and a Linear, found '
                f'{"another " if "decoder.weight" in tensors else ""}'
                f'{short_name(kind)}; only such models can be converted')
    return tensors


def _modules(path, net):
    """Returns (class, fields) of the modules of a chain, in order."""
    found, waiting, n_modules = [], [net], 0
    while waiting:
        module, n_modules = waiting.pop(), n_modules + 1
        if not isinstance(module, lua.Object) or n_modules > MOST_MODULES:
            raise InputError(
                f'{path}: expected a chain of modules, found something else')
        fields = _fields(module)
        if module.kind == 'nn.Sequential':
            inside = fields.get('modules')
            numbers = sorted(k for k in _fields(inside) if type(k) is int)
            waiting += [inside[k] for k in reversed(numbers)]
        elif module.kind == 'nn.TemporalAdapter':
            waiting.append(fields.get('net'))
        else:
            found.append((module.kind, fields))
    return found


def _layer(path, k, weight, bias):
    n = bias.shape[0] // 4 if bias.ndim == 1 else 0
    if not n or weight.ndim != 2 or weight.shape[1] != 4 * n or len(weight) <= n:
        raise InputError(
            f'{path}: expected an LSTM {k} of a weight (in + n, 4n) and a bias (4n,), '
            f'found {weight.shape} and {bias.shape}')
    n_in = len(weight) - n
    return {f'i2h_{k}.weight': weight[:n_in].T, f'i2h_{k}.bias': bias,
            f'h2h_{k}.weight': weight[n_in:].T, f'h2h_{k}.bias': second_bias(bias)}
