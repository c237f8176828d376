"""Small files that need much memory or time, read under limits of the system.

Run as a script, `bombs.py READER FILE`, it reads the file and prints what it cost.
"""
import io
import json
import os
import resource
import struct
import sys
import time
import zipfile
import zlib

import numpy

MIB = 2 ** 20

# What any file of ten megabytes may cost beyond the process itself.
MOST_SECONDS = 10  # of the processor
MOST_BYTES = 1024 * MIB


def npy(shape, descr='<f4', data=b''):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"
    return (b'\x93NUMPY\2\0' + struct.pack('<I', len(header)) + header.encode()
            + data)


def zipped(members, method=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', method) as z:
        for name, member in members:
            z.writestr(name, member)
    return data.getvalue()


def safetensors(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text


def entry(**changes):
    return {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0], **changes}


def overlapping():
    """An npz of 10 MB, each of whose 200 members is all of what follows."""
    data = bytearray(zipped([('a.npy', npy((2500000,), data=bytes(10 ** 7)))]))
    at = data.rindex(b'PK\1\2')
    one, end = bytes(data[at:-22]), bytearray(data[-22:])
    struct.pack_into('<HHI', end, 8, 200, 200, 200 * len(one))
    return bytes(data[:at]) + 200 * one + bytes(end)


def pickled(operations, n=1):
    return zipped([('a/data.pkl', b'\x80\x02' + operations * n + b'.'),
                   ('a/data/0', bytes(8))])


def npz_bombs():
    huge = bytes(400 * MIB)
    for name, method in (
            ('deflate', zipfile.ZIP_DEFLATED), ('bzip2', zipfile.ZIP_BZIP2),
            ('lzma', zipfile.ZIP_LZMA)):
        yield name, zipped([('predictor/embed/W.npy', npy(
            (104857600,), data=huge))], method)
    many = npy((0,))
    yield 'members', zipped((f'{k}.npy', many) for k in range(60000))
    yield 'deflated members', zipped(
        ((f'{k}.npy', npy((8000000,), '|u1', bytes(8000000))) for k in range(40)),
        zipfile.ZIP_DEFLATED)
    yield 'overlapping', overlapping()
    yield 'long names', zipped(
        (f'{k}' + 'x' * 60000 + '.npy', many) for k in range(75))
    yield 'headers', zipped((f'{k}.npy', npy('(' + '1,' * 4900 + ')'))
                            for k in range(900))
    yield 'objects', zipped([('a.npy', npy((10 ** 9,), '|O', b'\x80\x02]' * 10 ** 6))])


def safetensors_bombs():
    yield 'shape', safetensors({'a': entry(shape=[2] * 200000)})
    yield 'large shape', safetensors({'a': entry(shape=[10 ** 18] * 31)})
    yield 'deep', safetensors(b'[' * 10 ** 7)
    yield 'deep objects', safetensors(b'{"a":' * 2 * 10 ** 6)
    yield 'digits', safetensors(b'{"a": ' + b'9' * 9 * 10 ** 6 + b'}')
    yield 'exponent', safetensors(b'{"a": 1e' + b'9' * 9 * 10 ** 6 + b'}')
    yield 'same name', safetensors(b'{' + b'"a": 1,' * 10 ** 6 + b'"a": 1}')
    yield 'empty objects', safetensors(b'[' + b'{},' * 3 * 10 ** 6 + b'{}]')
    yield 'small objects', safetensors(b'[' + b'{},' * 10 ** 6 + b'{}]')
    yield 'offsets', safetensors({f'{k}': entry(data_offsets=[0] * 300)
                                  for k in range(3000)})
    yield 'tensors', safetensors({f'{k}': entry() for k in range(50000)})
    yield 'same bytes', safetensors({
        f'{k}': entry(shape=[2500], data_offsets=[0, 10000])
        for k in range(30000)}) + bytes(10000)
    yield 'strings', safetensors(b'{"a": "' + b'\\u0041' * 600000 + b'"}')


def pickle_bombs():
    yield 'tuples', pickled(b'2\x86', 10 ** 6)
    yield 'shared tuples', pickled(b'q\x00h\x00h\x00\x86', 300000)
    yield 'lists', pickled(b'](', 10 ** 6)
    yield 'lists in lists', pickled(b']' * 10 ** 6 + b'a' * 999999)
    yield 'dicts', pickled(b'}(X\x01\x00\x00\x00a', 200000)
    yield 'digits', pickled(b'L' + b'9' * 10 ** 6 + b'L\n')
    yield 'long', pickled(b'\x8b' + struct.pack('<i', 10 ** 6) + b'\x7f' * 10 ** 6)
    yield 'memo', pickled(b'Nr\xff\xff\xff\x7f0', 100000)
    yield 'long pickle', pickled(b'N0', 4 * 10 ** 6)
    yield 'large text', pickled(b'X' + struct.pack('<I', 2 * 10 ** 6 - 99)
                                + b'a' * (2 * 10 ** 6 - 99))


def torch7_bombs():
    table = struct.pack('<iii', 3, 1, 1)
    yield 'one table', struct.pack('<iii', 3, 1, 10 ** 6) + bytes(8 * 10 ** 6)
    yield 'tables', b''.join(
        struct.pack('<iiiii', 3, k, 1, 5, 0) for k in range(400000))
    yield 'deep tables', b''.join(
        struct.pack('<iiiid', 3, k, 1, 1, 1.0) for k in range(400000))
    yield 'the same table', table + struct.pack('<ii', 3, 1) * 10 ** 6
    yield 'a long string', struct.pack('<ii', 2, 2 ** 31 - 1) + bytes(10 ** 6)
    name = b'torch.FloatTensor'
    yield 'axes', struct.pack('<iii3si', 4, 1, 3, b'V 1', len(name)) + name + (
        struct.pack('<i', 2 ** 31 - 1) + bytes(10 ** 6))
    storage = b'4\n2\n3\nV 1\n18\ntorch.FloatStorage\n'
    head = b'4\n1\n3\nV 1\n17\ntorch.FloatTensor\n1\n4000000\n1\n1\n'
    yield 'text of numbers', head + storage + b'4000000\n' + b'1 ' * 4000000
    yield 'blanks', head + storage + b'4\n' + b' ' * 9 * 10 ** 6
    yield 'nothing', b'3\n1\n999\n' + b'0\n' * 3 * 10 ** 6


def json_bombs():
    good = b'{"format": "rnnlm vocabulary", "version": 1, "words": [%s]}'
    yield 'deep', b'[' * 10 ** 7
    yield 'digits', good % (b'9' * 9 * 10 ** 6)
    yield 'version', b'{"format": "rnnlm vocabulary", "version": ' + b'9' * 9 * 10 ** 6
    yield 'lists', good % (b'[],' * 3 * 10 ** 6 + b'[]')
    yield 'objects', good % (b'{},' * 3 * 10 ** 6 + b'{}')
    yield 'words', good % b','.join(b'"%x"' % k for k in range(10 ** 6))
    yield 'same words', good % (b'"a",' * 2 * 10 ** 6 + b'"a"')
    yield 'a long word', good % (b'"' + b'a' * 9 * 10 ** 6 + b'"')
    yield 'layers', json.dumps({
        'corpus': 'x', 'tokens': 'word', 'training words': 10 ** 9, 'vocabulary': '',
        'source': None, 'recipe': {'n_layers': 2 ** 31 - 1}}).encode()


def text_bombs():
    yield 'letters', b'a b ' * 2500000
    yield 'words', b' '.join(b'%x' % k for k in range(1400000))
    yield 'one word', b'a' * 10 ** 7
    yield 'lines', b'\n' * 10 ** 7
    yield 'returns', b'\r' * 10 ** 7
    yield 'planes', '\U0001f600 '.encode() * 2000000
    yield 'not text', b'\xff' * 10 ** 7


def hdf5_bombs():
    import h5py

    def made(write, **kwargs):
        data = io.BytesIO()
        with h5py.File(data, 'w', **kwargs) as f:
            write(f)
        return data.getvalue()

    def attributes(f):
        for name in 'layer_names', 'keras_version', 'model_config':
            f.attrs.create(name, [b'%d' % k for k in range(2000)])
        f['embed/W'] = numpy.ones((3, 2), 'f')

    def layers(f):
        f.attrs['layer_names'] = [b'%d' % k for k in range(3000)]
        for k in range(700):
            f[f'{k}/kernel'] = 1.0

    def deep(f):
        group = f
        for _ in range(400):
            group = group.create_group('a')
        group['embed/W'] = numpy.ones((3, 2), 'f')

    def zeros(f):
        packed = zlib.compress(bytes(4 * 10 ** 6))
        f.create_dataset('embed/W', (20000, 20000), 'f', compression='gzip',
                         chunks=(1000, 1000))
        for k in range(20):
            f['embed/W'].id.write_direct_chunk((0, 1000 * k), packed)

    def chunk(f):
        f.create_dataset('embed/W', (3, 2), 'f', maxshape=(None, None),
                         chunks=(20000, 20000), compression='gzip')
        f['embed/W'].id.write_direct_chunk((0, 0), zlib.compress(bytes(10 ** 7)))

    def cycles(f):
        groups = [f.create_group(f'{k}') for k in range(30)]
        for group in groups:
            for k, other in enumerate(groups):
                group[f'to {k}'] = other
        f['0/embed/W'] = numpy.ones((3, 2), 'f')

    def virtual(f):
        layout = h5py.VirtualLayout((10 ** 9, 10), 'f4')
        f.create_virtual_dataset('embed/W', layout)

    def links(f):
        for k in range(1000):
            f[f'{k}'] = h5py.SoftLink(f'/{k + 1}')
        f['embed/W'] = h5py.ExternalLink('/dev/zero', '/')

    def texts(f):
        f.create_dataset('embed/W', data=['x' * 100] * 20000,
                         dtype=h5py.string_dtype())

    for write in attributes, layers, deep, zeros, chunk, cycles, virtual, links, texts:
        yield write.__name__, made(write)


# What each is called, the ending of its files, and the bombs for it.
BOMBS = {'npz': ('.npz', npz_bombs), 'safetensors': ('.safetensors', safetensors_bombs),
         'pickle': ('.pt', pickle_bombs), 'torch7': ('.t7', torch7_bombs),
         'vocabulary': ('.json', json_bombs), 'run': ('.json', json_bombs),
         'text': ('.txt', text_bombs), 'hdf5': ('.h5', hdf5_bombs)}


def readers():
    import rnnlm
    from rnnlm.app.run_folder import RunDescription
    from rnnlm.interchange import convert, keras, pytorch, torch7
    from rnnlm.interchange import safetensors as tensors
    from rnnlm.serializers.archive import open_verified
    from rnnlm.serializers.model_files import describe

    def inspect(path):
        with open_verified(path) as archive:
            describe(archive)

    model = rnnlm.RNNForLM(3, 2, 1)
    load_model = [inspect, lambda path: rnnlm.load_model(path, model), rnnlm.load,
                  convert.load]
    return {
        'npz': load_model, 'hdf5': [*load_model, keras.read],
        'safetensors': [tensors.read], 'pickle': [pytorch.read],
        'torch7': [torch7.read], 'vocabulary': [rnnlm.Vocabulary.load],
        'run': [lambda path: RunDescription.load(os.path.dirname(path))],
        'text': [rnnlm.load_corpus, lambda path: rnnlm.load_corpus(path, 'char')]}


def used():
    """Seconds of the processor, of this process and its children, and most bytes."""
    with open('/proc/self/status') as f:  # ru_maxrss begins with that of the parent
        own, = (int(line.split()[1]) for line in f if line.startswith('VmHWM'))
    seconds = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    return seconds, 1024 * own


def main(kind, path):
    import rnnlm
    found = readers()[kind]
    _, before = used()
    with open('/proc/self/statm') as f:
        virtual = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MOST_BYTES,) * 2)
    for read in found:
        start, _ = used()
        begin = time.monotonic()
        try:
            read(path)
            outcome = 'read'
        except rnnlm.InputError as e:
            assert str(e).isprintable() and len(str(e)) < 5000
            outcome = f'refused: {e}'
        seconds, most = used()
        print(json.dumps({
            'seconds': seconds - start, 'bytes': max(0, most - before),
            'waited': time.monotonic() - begin, 'outcome': outcome}), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
