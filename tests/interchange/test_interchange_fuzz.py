"""Thousands of broken files for every reader: each is refused or read, quickly."""
import io
import os
import time
import zipfile

from layouts import model_shapes
import numpy
import pytest

import rnnlm
from rnnlm.interchange import pytorch, safetensors, torch7

N_FILES = int(os.environ.get('RNNLM_FUZZ_FILES', 10000)) // 2
MOST_SECONDS = 60  # of processor time; it takes a few


def broken(whole, random):
    """Returns a copy of bytes, broken in one of many ways."""
    data = bytearray(whole)
    way, at = random.randint(5), random.randint(len(data))
    if way == 0:
        del data[at:]
    elif way == 1:
        for _ in range(random.randint(1, 6)):
            data[random.randint(len(data))] ^= 1 << random.randint(8)
    elif way == 2:  # large and negative numbers
        data[at:at + 8] = bytes(random.choice([0, 1, 127, 128, 255], 8).tolist())
    elif way == 3:  # something twice
        end = at + random.randint(200)
        data[at:at] = data[at:end]
    else:  # something missing
        del data[at:at + random.randint(1, 50)]
    return bytes(data)


def fuzz(write, read, make, n_files=N_FILES):
    """Returns how many files were read and how many refused; fails otherwise.

    Args:
        write: The fixture.
        read: A reader.
        make: Function of a random state that returns the bytes of a file.
        n_files (int): Number of files.
    """
    random, begin = numpy.random.RandomState(0), time.process_time()
    counts = {'read': 0, 'refused': 0}
    for _ in range(n_files):
        path = write('broken', make(random))
        try:
            tensors = read(path)
        except rnnlm.InputError:
            counts['refused'] += 1
        else:
            counts['read'] += 1
            assert sum(array.nbytes for array in tensors.values()) < 10 ** 6
    assert time.process_time() - begin < MOST_SECONDS
    assert counts['refused'] > n_files / 10
    return counts


@pytest.fixture
def weights():
    random = numpy.random.RandomState(0)
    return {name: random.uniform(-1, 1, shape).astype('f4')
            for name, shape in model_shapes(4, 2, 2, 1).items()}


@pytest.fixture
def whole(tmp_path):
    """Returns the bytes that a writer writes."""
    def whole(module, tensors):
        path = tmp_path / 'whole'
        module.write(str(path), tensors)
        return path.read_bytes()
    return whole


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_safetensors(write, whole, weights):
    data = whole(safetensors, pytorch.export_model(weights))
    fuzz(write, safetensors.read, lambda random: broken(data, random),
         2 * N_FILES)


def test_torch7_binary(write, whole, weights):
    data = whole(torch7, torch7.export_model(weights))
    fuzz(write, torch7.read, lambda random: broken(data, random))


def test_torch7_ascii(write):
    data = (b'3\n1\n2\n2\n1\na\n4\n2\n3\nV 1\n17\ntorch.FloatTensor\n'
            b'2\n2 2\n2 1\n1\n4\n3\n3\nV 1\n18\ntorch.FloatStorage\n4\n1 2.5 -3 4e-3\n'
            b'2\n1\nb\n3\n4\n1\n1\n1\n4\n5\n3\nV 1\n9\nnn.Linear\n3\n1\n')
    assert torch7.read(write('a.t7', data))['a'].shape == (2, 2)
    fuzz(write, torch7.read, lambda random: broken(data, random))


def test_pytorch(write, whole, weights):
    pytest.importorskip('torch', reason='torch is not in the test extra')
    data = whole(pytorch, pytorch.export_model(weights))
    fuzz(write, pytorch.read, lambda random: broken(data, random))
    members = members_of(data)
    pickle, = (name for name in members if name.endswith('/data.pkl'))
    # In a valid zip file, because otherwise only checksums would be tested.
    counts = fuzz(write, pytorch.read, lambda random: zipped(
        {**members, pickle: broken(members[pickle], random)}))
    assert counts['read']
