"""Damaged files, and what a reader may do with them: work, or raise InputError.

Run as a script, `damage.py FOLDER KIND FIRST LAST`, it reads damaged HDF5 files of a
kind in one process, which the library may hang.
"""
import io
import json
import os
import random
import signal
import sys
import zipfile

import h5py
from layouts import model_shapes
import numpy

import rnnlm
from rnnlm.interchange import keras
from rnnlm.serializers import hdf5_worker
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.model_files import describe

# Damaged files for each reader.
TRIALS = int(os.environ.get('RNNLM_FUZZ_FILES', 10000))

NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 2 ** 31 - 1, 2 ** 31,
           2 ** 32 - 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1]


def damaged(data, others, seed):
    """`data` after what happens to files; the same for the same seed."""
    r = random.Random(seed)
    data = bytearray(data)
    kind = r.randrange(12)
    if kind == 0:
        return bytes(data[:r.randrange(len(data))])
    if kind == 1:
        return bytes(data) + r.choice(others)
    if kind == 2:
        a, b, c = sorted(r.randrange(len(data)) for _ in range(3))
        return bytes(data[:a] + data[b:c] + data[a:b] + data[c:])
    for _ in range(r.choice([1, 1, 2, 5, 20])):
        at = r.randrange(len(data))
        if kind < 5:
            data[at] ^= 1 << r.randrange(8)
        elif kind < 7:
            # Most of a file of few numbers is zeros; what says something is not.
            while not data[at] and at:
                at -= 1
            data[at] = r.randrange(256)
        elif kind == 7:
            data[at:at] = r.randbytes(r.randrange(1, 9))
        elif kind == 8:
            del data[at:at + r.randrange(1, 9)]
            data = data or bytearray(1)
        else:
            width = r.choice([1, 2, 4, 8])
            number = r.choice(NUMBERS) % 256 ** width
            data[at:at + width] = number.to_bytes(width, 'little')
    return bytes(data)


def damaged_members(data, others, seed):
    """An npz file whose members are damaged, within a good zip file."""
    r = random.Random(seed)
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, 'w') as new:
        hit = r.choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            if name == hit:
                member = damaged(member[:100] if r.random() < .5 else member,
                                 others, r.random())
            new.writestr(name, member)
    return result.getvalue()


def model():
    numpy.random.seed(0)
    return rnnlm.RNNForLM(3, 2, 1)


def read_all(path):
    """Reads an archive in every way; whether all of it could be read."""
    whole = True
    try:
        with open_archive(path) as archive:
            for name in archive:
                try:
                    archive[name]
                except rnnlm.InputError as e:
                    check_names(path, e)
                    whole = False
            describe(archive)
    except rnnlm.InputError as e:
        check_names(path, e)
        whole = False
    return whole


def check_names(path, error):
    assert os.path.basename(path) in str(error), error


def small_hdf5(path):
    with h5py.File(path, 'w') as f:
        f.create_dataset('a/W', data=numpy.ones((3, 2), 'f'), compression='gzip')
        f['t'] = 3
        f['none'] = h5py.Empty('f')


def convert_here(path, out):
    try:
        hdf5_worker.convert(path, out)
    except Exception as e:  # as the script does
        return str(e)
    return ''


CONFIG = json.dumps({'class_name': 'Sequential', 'config': {'layers': [
    {'class_name': kind, 'config': {'name': name, 'return_sequences': True}}
    for kind, name in [('Embedding', 'a'), ('LSTM', 'b'), ('Dense', 'c')]]}}).encode()


def keras_weights(path):
    shapes = model_shapes(4, 2, 2, 1)
    keras.write(path, keras.export_model(
        {name: numpy.ones(shape, 'f') for name, shape in shapes.items()}))


def keras_archive(path):
    keras_weights(path)
    with open(path, 'rb') as f:
        inner = f.read()
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('config.json', CONFIG)
        archive.writestr('metadata.json', b'{"keras_version": "3.0.0"}')
        archive.writestr('model.weights.h5', inner)


def keras_2(path):
    with h5py.File(path, 'w') as f:
        f.attrs['model_config'] = CONFIG
        root = f.create_group('model_weights')
        root.attrs['layer_names'] = [b'a', b'b', b'c']
        root.attrs['keras_version'] = b'2.3.1'
        root['a/a/embeddings:0'] = numpy.ones((4, 2), 'f')
        root['b/b/kernel:0'] = root['b/b/recurrent_kernel:0'] = numpy.ones((2, 8), 'f')
        root['b/b/bias:0'] = numpy.ones(8, 'f')
        root['c/c/kernel:0'] = numpy.ones((2, 4), 'f')
        root['c/c/bias:0'] = numpy.ones(4, 'f')


def read_keras(path):
    try:
        return keras.read(path)
    except rnnlm.InputError as e:
        check_names(path, e)


# Who writes a good file, and who reads it.
KINDS = {'chainer': (small_hdf5, read_all), 'keras': (keras_weights, read_keras),
         'keras archive': (keras_archive, read_keras), 'keras 2': (keras_2, read_keras)}


def main(folder, kind, first, last):
    hdf5_worker.convert_apart = convert_here
    write_good, read = KINDS[kind]
    path = os.path.join(folder, 'good.h5')
    write_good(path)
    assert read(path)
    with open(path, 'rb') as f:
        good = f.read()
    path = os.path.join(folder, 'bad.h5')
    for seed in range(int(first), int(last)):
        with open(path, 'wb') as f:
            f.write(damaged(good, [good], seed))
        print(seed, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 2)
        read(path)
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == '__main__':
    main(*sys.argv[1:])
