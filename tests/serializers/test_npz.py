"""Npz members with false claims."""
import os
import struct
import warnings
import zipfile

from hypothesis import given, settings, strategies as st
import numpy
import pytest

import rnnlm
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.npz import MOST_MEMBERS, Npz
import damage


def npy(descr="'<f4'", shape='(2, 2)', order='False', data=bytes(16), header=None):
    if header is None:
        header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"
    header = header.encode('latin-1')
    return b'\x93NUMPY\2\0' + struct.pack('<I', len(header)) + header + data


def npz(path, data, method=zipfile.ZIP_DEFLATED, name='x.npy'):
    with zipfile.ZipFile(path, 'w', method) as z:
        z.writestr(name, data)
    return str(path)


def refuses(path, match, key='x'):
    with pytest.raises(rnnlm.InputError, match=match) as caught:
        with open_archive(path) as archive:
            archive[key]
    damage.check_names(path, caught.value)
    with pytest.raises(rnnlm.InputError, match=match):
        with open_archive(path) as archive:
            archive.describe(key)


def test_a_good_member_is_read(tmp_path):
    for order, expected in (('False', [[0, 1], [2, 3]]), ('True', [[0, 2], [1, 3]])):
        path = npz(tmp_path / 'x.npz', npy(
            order=order, data=numpy.arange(4, dtype='f').tobytes()))
        with open_archive(path) as archive:
            numpy.testing.assert_array_equal(archive['x'], expected)


@pytest.mark.parametrize('shape', [
    '(-1,)', '(-2, -2)', '(True, 4)', '(2.0, 2)', '(4611686018427387904,)',
    '(4294967296, 4294967296)', '[2, 2]', '4', 'None', '((2, 2),)', '(2, 3)'])
def test_shapes_that_cannot_be(tmp_path, shape):
    refuses(npz(tmp_path / 'x.npz', npy(shape=shape)), 'cannot read')


@pytest.mark.parametrize('descr', [
    "'V2147483647'", "'U500000000'", "('<f4', (1000000000,))", "'<f3'", 'None',
    "[('a', ('<f4', (1000000000,)))]", '[' * 90 + ']' * 90])
def test_types_that_cannot_be(tmp_path, descr):
    refuses(npz(tmp_path / 'x.npz', npy(descr)), 'cannot read')


@pytest.mark.parametrize('shape', ['(0, 4611686018427387904)', '(9,)'])
def test_types_without_bytes(tmp_path, shape):
    path = npz(tmp_path / 'x.npz', npy("'V0'", shape, data=b''))
    assert damage.read_all(path) in (True, False)


def test_a_long_header_is_not_parsed(tmp_path):
    for header in ' ' * 10 ** 7, '(' * 10 ** 6, '[' + '1,' * 10 ** 6 + ']':
        refuses(npz(tmp_path / 'x.npz', npy(header=header)), 'a header of')


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_strong_compression_is_refused(tmp_path, method):
    refuses(npz(tmp_path / 'x.npz', npy(), method), 'compression')


def changed_directory(path, **fields):
    """Changes numbers in the last entry of a zip file's member list."""
    offsets = {'method': (10, '<H'), 'compress_size': (20, '<I'), 'size': (24, '<I')}
    with open(path, 'rb') as f:
        data = bytearray(f.read())
    at = data.rindex(b'PK\1\2')
    for name, value in fields.items():
        offset, code = offsets[name]
        struct.pack_into(code, data, at + offset, value)
    with open(path, 'wb') as f:
        f.write(data)
    return path


def test_sizes_that_the_directory_claims(tmp_path):
    data = npy(shape='(500000000,)')
    for method in zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED:
        path = npz(tmp_path / 'x.npz', data, method)
        refuses(changed_directory(path, size=2 ** 31), 'claim to unpack to')
        path = npz(tmp_path / 'x.npz', data, method)
        refuses(changed_directory(path, size=2 ** 31, compress_size=2 ** 31),
                'more bytes than the file')


def test_members_that_share_their_bytes(tmp_path):
    path = str(tmp_path / 'x.npz')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('x.npy', npy(shape='(100000,)', data=bytes(400000)))
        z.filelist *= 50
    refuses(path, 'more bytes than the file')


def test_very_many_members(tmp_path):
    path = str(tmp_path / 'x.npz')
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(MOST_MEMBERS + 1):
            z.writestr(f'{i}.npy', b'')
    refuses(path, '10,001 arrays')


@pytest.mark.parametrize('name', ['../x.npy', '/x.npy', 'a\\..\\x.npy', '.npy'])
def test_names_are_only_names(tmp_path, name):
    folder = tmp_path / 'folder'
    folder.mkdir()
    assert damage.read_all(npz(folder / 'x.npz', npy(), name=name))
    assert os.listdir(tmp_path) == ['folder'] and os.listdir(folder) == ['x.npz']


pieces = st.sampled_from([
    '(', ')', '[', ']', '{', '}', ',', ':', '-', '1', '2', '99999999999', '1e9', 'L',
    "'<f4'", "'|O'", "'descr'", "'shape'", "'fortran_order'", 'True', 'None', ' ',
    '\n', '#', '"', "'", '\\', '\0', 'é', '...', 'lambda'])


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(st.one_of(
    st.lists(pieces, max_size=40).map(''.join).map(lambda text: npy(header=text)),
    st.lists(pieces, max_size=12).map(''.join).map(lambda text: npy(shape=text)),
    st.lists(pieces, max_size=12).map(''.join).map(npy)))
def test_any_header(tmp_path_factory, data):
    path = npz(tmp_path_factory.getbasetemp() / 'header.npz', data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        damage.read_all(path)


def test_empty_arrays_are_read(tmp_path):
    path = str(tmp_path / 'x.npz')
    arrays = {'a': numpy.zeros((0, 3), 'f'), 'b': numpy.zeros((2, 0)),
              'c': numpy.ones(())}
    rnnlm.save_npz(path, arrays)
    with Npz(path) as npz:
        npz.verify()
        for name, array in arrays.items():
            assert npz.describe(name) == (array.shape, array.dtype)
            numpy.testing.assert_array_equal(npz[name], array)
