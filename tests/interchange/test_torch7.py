"""Torch7 files, written here in the format of its File.lua, binary and ASCII."""
from layouts import model_shapes
import numpy
from oracle_torch7 import Binary
import pytest

import rnnlm
from rnnlm.interchange import torch7
from rnnlm.interchange import _torch7_reader as lua

V, N = 5, 3
NAN = float('nan')


class Ascii:
    """Writer of Torch7's ASCII format."""
    mode = 'ascii'

    def int(self, *values):
        return b''.join(b'%d\n' % value for value in values)

    def longs(self, *values):
        return b' '.join(b'%d' % value for value in values) + b'\n' * bool(values)

    def double(self, value):
        return b'%.17g\n' % value

    def text(self, text):
        return self.int(len(text)) + text + b'\n' * bool(text)

    def floats(self, values):
        line = b' '.join(b'%.9g' % value for value in values)
        return line + b'\n' * bool(line)


@pytest.fixture(params=[Ascii(), Binary()], ids=lambda form: form.mode)
def form(request):
    return request.param


def string(form, text):
    return form.int(2) + form.text(text)


def table(form, index, *parts):
    return form.int(3, index, len(parts) // 2) + b''.join(parts)


def instance(form, index, name, fields):
    return form.int(4, index) + form.text(b'V 1') + form.text(name) + fields


def tensor(form, index, shape, strides, first, storage):
    return instance(form, index, b'torch.FloatTensor', form.int(len(shape)) + b''.join(
        [form.longs(*shape), form.longs(*strides), form.longs(first), storage]))


def storage(form, index, values):
    return instance(form, index, b'torch.FloatStorage', form.longs(len(values))
                    + form.floats(values))


def test_every_kind_of_object(form, write):
    key = iter(range(1, 99))
    parts = [form.int(1) + form.double(-0.5), form.int(0),
             form.int(5, 1), form.int(5, 0),
             string(form, b'a\nb'), string(form, b''), string(form, b'\xff\n'),
             form.int(3, 1),  # refers to this table
             instance(form, 2, b'nn.Tanh', table(form, 3)), form.int(4, 2),
             form.int(8, 4) + form.text(b'\x1bLua') + table(form, 5),
             form.int(6) + form.text(b'\x1bLua') + form.int(0),
             tensor(form, 6, (2, 2), (1, 2), 2, storage(form, 7, [9, 1, 2, 3, 4])),
             tensor(form, 8, (), (), 1, form.int(0)),
             tensor(form, 9, (3,), (1,), 1, form.int(4, 7))]
    entries = [b for part in parts for b in (
        form.int(1) + form.double(next(key)), part)]
    entries += [form.int(4, 2), form.int(5, 1)]  # an object as the key
    entries += [form.int(3, 1), form.int(5, 1)]  # a table as the key
    found = lua.load(write('a.t7', table(form, 1, *entries)))
    assert len(found) == 16
    assert found[1] == -0.5 and found[2] is None and found[3] is True
    assert found[4] is False and found[5] == 'a\nb' and found[6] == ''
    assert found[7].encode('utf-8', 'surrogateescape') == b'\xff\n'
    assert found[8] is found
    assert found[9].kind == 'nn.Tanh' and found[9].fields == {}
    assert found[10] is found[9] and found[found[9]] is True
    assert found[11].kind == found[12].kind == 'function'
    assert found[13].tolist() == [[1, 3], [2, 4]] and found[14].shape == (0,)
    assert found[15].tolist() == [9, 1, 2]


def linear(form, index, flat, first, n_out, n_in):
    """Writes an nn.Linear whose parameters are views of a storage; returns the end."""
    end = first + n_out * n_in
    return instance(form, index, b'nn.Linear', table(
        form, index + 1,
        string(form, b'weight'),
        tensor(form, index + 2, (n_out, n_in), (n_in, 1), first, flat),
        string(form, b'bias'),
        tensor(form, index + 3, (n_out,), (1,), end, form.int(4, 1)))), end + n_out


def checkpoint(form, tensors):
    """Writes a char-rnn checkpoint, whose nodes are linked in both directions."""
    flat = numpy.concatenate([array.ravel() for array in tensors.values()])
    data, nodes, first = storage(form, 1, flat), [], 1
    modules = [name[:-len('.weight')] for name in tensors if name.endswith('.weight')]
    for k, name in enumerate(modules):
        index, shape = 100 * (k + 1), tensors[f'{name}.weight'].shape
        module, first = linear(form, index, data, first, *shape)
        data = form.int(4, 1)
        described = table(form, index + 10, string(form, b'name'),
                          string(form, name.encode()))
        node = table(
            form, index + 11, string(form, b'annotations'), described,
            string(form, b'module'), module,
            string(form, b'mapindex'), table(
                form, index + 12, form.int(3, index + 11), form.int(5, 1)))
        nodes += [form.int(1) + form.double(k + 1), instance(
            form, index + 13, b'nngraph.Node', table(
                form, index + 14, string(form, b'data'), node,
                string(form, b'id'), form.int(1) + form.double(k)))]
    graph = instance(form, 2, b'nn.gModule', table(
        form, 3, string(form, b'forwardnodes'), table(form, 4, *nodes),
        string(form, b'backwardnodes'), form.int(3, 4)))
    return table(form, 5, string(form, b'protos'), table(
        form, 6, string(form, b'rnn'), graph), string(form, b'epoch'),
        form.int(1) + form.double(2))


@pytest.fixture
def tensors():
    random = numpy.random.RandomState(0)
    weights = {name: random.uniform(-1, 1, shape).astype('f4')
               for name, shape in model_shapes(V, V, N, 2).items()}
    weights['embed/W'] = numpy.eye(V, dtype='f4')
    return torch7.export_model(weights)


def test_char_rnn_checkpoint(form, tensors, write):
    path = write('a.t7', checkpoint(form, tensors))
    found = torch7.read(path)
    assert sorted(found) == sorted(tensors)
    for name, array in tensors.items():
        numpy.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == numpy.float32
    torch7.import_model(found)


def test_written_files_are_read(tensors, tmp_path):
    path = str(tmp_path / 'a.t7')
    torch7.write(path, tensors)
    found = torch7.read(path)
    assert sorted(found) == sorted(tensors)
    for name, array in tensors.items():
        assert found[name].tobytes() == array.tobytes()
    value = {'a': None, 'b': True, 'c': 1.5, 'd': {1: 'ä', 'e': {}}, 'f': ''}
    torch7.write(path, value)
    assert lua.load(path) == value
    with pytest.raises(rnnlm.InputError, match='found set'):
        torch7.write(path, {'a': set()})
    with pytest.raises(rnnlm.InputError, match='found complex128'):
        torch7.write(path, {'a': numpy.ones(1, complex)})
    assert lua.load(path) == value


def test_torchfile_reads_ours(tensors, tmp_path):
    torchfile = pytest.importorskip(
        'torchfile', reason='torchfile is not in the test extra')
    path = str(tmp_path / 'a.t7')
    torch7.write(path, {'tensors': tensors, 'n': 2, 'name': 'x', 'yes': True})
    found = torchfile.load(path, use_list_heuristic=False)
    assert (found[b'n'], found[b'name'], found[b'yes']) == (2, b'x', True)
    for name, array in tensors.items():
        numpy.testing.assert_array_equal(found[b'tensors'][name.encode()], array)


@pytest.mark.parametrize('broken', [
    lambda form: b'', lambda form: form.int(9), lambda form: form.int(-1),
    lambda form: form.int(3, 1, 2 ** 31 - 1), lambda form: form.int(3, 1, -1),
    lambda form: form.int(2, 2 ** 31 - 1), lambda form: form.int(2, -1),
    lambda form: table(form, 1, form.int(0), form.int(0)),
    lambda form: table(form, 1, form.int(1) + form.double(NAN), form.int(0)),
    lambda form: instance(form, 1, b'torch.FloatStorage', form.longs(10 ** 15)),
    lambda form: instance(form, 1, b'torch.FloatStorage', form.longs(-1)),
    lambda form: instance(form, 1, b'torch.StrangeTensor', form.int(0)),
    lambda form: instance(form, 1, b'nn.Linear', b''),
    lambda form: form.int(4, 1) + form.int(2 ** 30),
] + [lambda form, outside=outside: tensor(
    form, 1, *outside, storage(form, 2, [1, 2, 3, 4])) for outside in (
    ((2, 3), (3, 1), 1), ((4,), (1,), 2), ((4,), (1,), 0), ((2,), (-1,), 2),
    ((10 ** 12,), (0,), 1), ((4, 4), (0, 1), 1), ((-1, -1), (1, 1), 1),
    ((1,) * 40, (1,) * 40, 1), ((2,), (2 ** 62,), 1), ((2 ** 62,) * 9, (1,) * 9, 1))])
def test_broken_files(form, broken, write):
    with pytest.raises(rnnlm.InputError, match='expected a file of Torch7'):
        lua.load(write('a.t7', broken(form)))


def test_storage_of_another_type(form, write):
    other = instance(form, 2, b'torch.LongStorage', form.longs(1) + form.longs(5))
    with pytest.raises(rnnlm.InputError, match='without a storage of its type'):
        lua.load(write('a.t7', tensor(form, 1, (1,), (1,), 1, other)))
    with pytest.raises(rnnlm.InputError, match='without a storage of its type'):
        lua.load(write('a.t7', tensor(form, 1, (1,), (1,), 1, table(form, 2))))


def test_deep_and_circular_files(form, write):
    depth = 100_000
    deep = b''.join(form.int(3, k, 1) + form.int(5, 1) for k in range(depth))
    path = write('a.t7', deep + form.int(3, 0))
    with pytest.raises(rnnlm.InputError, match='found neither'):
        torch7.read(path)
    deep = b''.join(form.int(4, k) + form.text(b'V 1') + form.text(b'nn.X')
                    for k in range(depth))
    with pytest.raises(rnnlm.InputError, match='found neither'):
        torch7.read(write('a.t7', deep + form.int(0)))


def test_the_same_data_very_often(form, write):
    data = storage(form, 1, [0.5] * 1000)
    parts = []
    for k in range(100):
        parts += [string(form, b'%d' % k), tensor(
            form, 3 + k, (1000,), (1,), 1, form.int(4, 1) if k else data)]
    with pytest.raises(rnnlm.InputError, match='tensors that fit into the file'):
        torch7.read(write('a.t7', table(form, 2, *parts)))


def named_module(form, index, value):
    """Writes a node 'decoder' whose module has a weight of one element."""
    weight = tensor(form, index, (1,), (1,), 1, storage(form, index + 1, [value]))
    return table(
        form, index + 2, string(form, b'annotations'), table(
            form, index + 3, string(form, b'name'), string(form, b'decoder')),
        string(form, b'module'), instance(form, index + 4, b'nn.Linear', table(
            form, index + 5, string(form, b'weight'), weight)))


def test_two_modules_of_one_name(form, write):
    one, other, again = string(form, b'a'), string(form, b'b'), string(form, b'c')
    path = write('a.t7', table(form, 1, one, named_module(form, 10, 1), again,
                               form.int(3, 12)))
    assert torch7.read(path)['decoder.weight'].tolist() == [1]
    path = write('a.t7', table(form, 1, one, named_module(form, 10, 1), other,
                               named_module(form, 20, 2)))
    with pytest.raises(rnnlm.InputError, match='one decoder.weight, found two'):
        torch7.read(path)


def test_no_tensors(form, write):
    with pytest.raises(rnnlm.InputError, match='found neither'):
        torch7.read(write('a.t7', string(form, b'hello')))
