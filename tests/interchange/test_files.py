"""Files of other systems: written by those systems, and malicious ones."""
import io
import json
import os
import pickle
import struct
import zipfile

import numpy
import pytest

import rnnlm
from rnnlm.interchange import keras, pytorch, safetensors
from layouts import assert_same, draw, model_shapes

V, M, N = 7, 3, 4


@pytest.fixture
def weights():
    return draw(model_shapes(V, M, N, 2), 'f4', bound=1)


@pytest.fixture
def torch():
    return pytest.importorskip('torch', reason='torch is not in the test extra')


# safetensors

def test_safetensors_of_its_library(weights, tmp_path):
    library = pytest.importorskip(
        'safetensors.numpy', reason='safetensors is not in the test extra')
    tensors = {**pytorch.export_model(weights), 'scalar': numpy.array(2, 'i8'),
               'none': numpy.zeros((3, 0), 'f8'), 'half': numpy.ones(3, 'f2')}
    path = str(tmp_path / 'a.safetensors')
    library.save_file(tensors, path, metadata={'format': 'pt'})
    assert_same(safetensors.read(path), tensors)
    safetensors.write(path, tensors)
    assert_same(library.load_file(path), tensors)


def with_header(header, data=b''):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def entry(shape, begin, end, dtype='F32'):
    return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


def test_safetensors_of_bfloat16(write):
    path = write('a.safetensors', with_header(
        {'a': entry([2], 0, 4, 'BF16')}, b'\x80\x3f\x00\xc0'))
    found = safetensors.read(path)['a']
    assert found.dtype == numpy.float32 and found.tolist() == [1, -2]


@pytest.mark.parametrize('data', [
    b'', b'1234567', struct.pack('<Q', 2 ** 63) + b'{}', with_header(b'[]'),
    with_header(b'[' * 100000), with_header(b'{"a":' * 100000), with_header(b'\xff'),
    with_header({'a': entry([10 ** 12], 0, 4)}, b'1234'),
    with_header({'a': entry([10 ** 12, 0], 0, 0)}),
    with_header({'a': entry([1] * 99, 0, 4)}, b'1234'),
    with_header({'a': entry([-1, -1], 0, 4)}, b'1234'),
    with_header({'a': entry([True], 0, 4)}, b'1234'),
    with_header({'a': entry([1.0], 0, 4)}, b'1234'),
    with_header({'a': entry([1], 0, 4, 'F33')}, b'1234'),
    with_header({'a': entry([1], 0, 4)}, b'12345'),
    with_header({'a': entry([1], 1, 5)}, b'12345'),
    with_header({'a': entry([1], 0, 4), 'b': entry([1], 0, 4)}, b'1234'),
    with_header({'a': entry([1], 4, 0)}, b'1234'),
    with_header({'a': entry([1], 0, 4), 'b': entry([1], '4', 8)}, b'12341234'),
    with_header(b'{"a":{},"a":{}}'), with_header({'a': []}), with_header({'a': None}),
    with_header(b'{"a":{"shape":[' + b'9' * 10000 + b']}}'),
])
def test_broken_safetensors(data, write):
    with pytest.raises(rnnlm.InputError, match='expected a safetensors file'):
        safetensors.read(write('a.safetensors', data))


def test_safetensors_of_other_dtypes_are_not_written(tmp_path):
    with pytest.raises(rnnlm.InputError, match='^a: expected one of .* complex128'):
        safetensors.write(str(tmp_path / 'a'), {'a': numpy.ones(1, complex)})
    assert not os.listdir(tmp_path)


# PyTorch

def test_state_dicts_of_torch(weights, tmp_path, torch):
    path = str(tmp_path / 'a.pt')
    tensors = pytorch.export_model(weights)
    pytorch.write(path, tensors)
    assert_same(pytorch.read(path), tensors)
    loaded = torch.load(path, weights_only=True)
    assert_same({name: value.numpy() for name, value in loaded.items()}, tensors)

    module = torch.nn.LSTM(M, N, 2)
    expected = {name: value.numpy() for name, value in module.state_dict().items()}
    optimizer = torch.optim.Adam(module.parameters())
    for saved in (module.state_dict(), dict(module.named_parameters()),
                  {'epoch': 3, 'loss': 0.5, 'state_dict': module.state_dict(),
                   'optimizer': optimizer.state_dict(), 'args': ['--x', None, True]}):
        torch.save(saved, path)
        assert_same(pytorch.read(path), expected)


def test_tensors_of_torch(tmp_path, torch):
    path = str(tmp_path / 'a.pt')
    whole = torch.arange(24.).reshape(4, 6)
    tensors = {'part': whole[1:3, ::2], 'turned': whole.T, 'again': whole,
               'scalar': torch.tensor(5), 'none': torch.zeros(0, 3),
               'half': torch.ones(2).half(), 'flags': torch.tensor([True, False])}
    torch.save({**tensors, 'brain': torch.tensor([1.5, -2]).bfloat16()}, path)
    expected = {name: numpy.ascontiguousarray(value.numpy()).reshape(value.shape)
                for name, value in tensors.items()}
    assert_same(pytorch.read(path), {
        **expected, 'brain': numpy.array([1.5, -2], 'f4')})


def zipped(members, **options):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


class Call:
    """Object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


STORAGE = pickle.BINUNICODE + struct.pack('<i', 7) + b'storage'
ENDLESS = b''.join([
    b'\x80\x02}(', b')q\x00', b'h\x00h\x00\x86q\x00' * 100, b'K\x01u.'])
NESTED = b'\x80\x02})' + b'\x85' * 1000000 + b'K\x01s.'


@pytest.mark.parametrize('data, message', [
    (pickle.dumps(Call(os.system, 'echo no'), 2), 'found a (posix|nt) system'),
    (pickle.dumps(Call(os.system, 'echo no'), 4), 'found a (posix|nt) system'),
    (pickle.dumps({'a': Call(bytearray, 10 ** 12)}, 2), "no tensors under 'a'"),
    (pickle.dumps(Call(eval, '1'), 0), 'expected'),
    (ENDLESS, 'an empty dict'), (NESTED, 'an empty dict'),
    (b'\x80\x02' + b'(' * 1000, 'damaged'), (b'u.', 'damaged'), (b'', 'damaged'),
    (b'\x80\x02.', 'damaged'), (b'\x80\x02}', 'damaged'), (b'}0.', 'operation POP'),
    (b'\x80\x02}2u.', 'expected'), (b'\x80\x02](h\x00e.', 'damaged'),
    (b'\x80\x02]q\x00h\x00a.', 'found a list'), (b'N.', 'found a NoneType'),
    (b'}X\x01\x00\x00\x00aK\x01s.', "no tensors under 'a'"),
])
def test_pickles_that_are_no_state_dict(data, message, write):
    path = write('a.pt', zipped({'archive/data.pkl': data}))
    with pytest.raises(rnnlm.InputError, match=message):
        pytorch.read(path)


def state_pickle(shape, strides, first=0, count=4):
    """Pickles one float32 tensor by protocol 2, as torch.save does."""
    def number(x):
        return pickle.LONG1 + bytes([9]) + x.to_bytes(9, 'little', signed=True)

    def text(x):
        return pickle.BINUNICODE + struct.pack('<i', len(x)) + x

    return b''.join([
        b'\x80\x02}', text(b'a'), b'ctorch._utils\n_rebuild_tensor_v2\n((',
        text(b'storage'), b'ctorch\nFloatStorage\n', text(b'0'), text(b'cpu'),
        number(count), b'tQ', number(first), b'(', *map(number, shape), b't(',
        *map(number, strides), b't\x89Nts.'.replace(b'ts.', b'tRs.')])


@pytest.mark.parametrize('shape, strides, first', [
    ((2, 3), (3, 1), 0), ((10 ** 12,), (0,), 0), ((4, 4), (0, 1), 0), ((2,), (-1,), 1),
    ((4,), (1,), 1), ((1,), (1,), 10 ** 15), ((1,), (1,), -1), ((2,), (2 ** 62,), 0),
    ((-2,), (1,), 0), ((1,) * 99, (1,) * 99, 0), ((2,), (1, 1), 0),
    ((0, 10 ** 18), (1, 1), 0)])
def test_tensors_that_are_not_in_the_file(shape, strides, first, write):
    def save(*tensor):
        return write('a.pt', zipped({
            'a/data.pkl': state_pickle(*tensor), 'a/data/0': bytes(16)}))

    assert pytorch.read(save((2, 2), (2, 1)))['a'].shape == (2, 2)
    with pytest.raises(rnnlm.InputError, match='damaged'):
        pytorch.read(save(shape, strides, first))


def test_state_dict_with_the_same_data_very_often(tmp_path, torch):
    path = str(tmp_path / 'a.pt')
    same = torch.zeros(100000)
    torch.save({str(k): same for k in range(2)}, path)
    assert len(pytorch.read(path)) == 2  # tied weights
    torch.save({str(k): same for k in range(1000)}, path)
    with pytest.raises(rnnlm.InputError, match='tensors that fit into the file'):
        pytorch.read(path)


def test_zip_bombs(write):
    zeros = bytes(10 ** 7)
    path = write('a.pt', zipped(
        {'a/data.pkl': zeros}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(rnnlm.InputError, match='is compressed'):
        pytorch.read(path)
    path = write('a.keras', zipped(
        {name: zeros for name in keras.INSIDE}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(rnnlm.InputError, match='is compressed'):
        keras.read(path)
    data = bytearray(zipped({'a/data.pkl': b'}.', 'a/data/0': b'1234'}))
    at = data.rindex(b'PK\x01\x02')
    data[at + 20:at + 28] = struct.pack('<II', 2 ** 31, 2 ** 31)
    with pytest.raises(rnnlm.InputError, match='more data than there is'):
        pytorch.read(write('a.pt', bytes(data)))


def test_old_files_of_torch(write):
    path = write('a.pt', pickle.dumps({}))
    with pytest.raises(rnnlm.InputError, match='expected a file of torch.save'):
        pytorch.read(path)
    for data in b'sys_info' + bytes(600), bytes(257) + b'ustar' + bytes(300):
        with pytest.raises(rnnlm.InputError, match='0.1.10 or later, found the tar'):
            pytorch.read(write('b.pt', data))
    with pytest.raises(rnnlm.InputError, match='a file of weights, found nothing'):
        pytorch.read(path + 'x')
