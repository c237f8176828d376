"""Damaged configurations and files of Keras: each is refused or read, quickly."""
import io
import json
import os
import random
import tarfile
import time
import zipfile

import pytest

import rnnlm
from rnnlm.interchange import keras
from rnnlm.serializers import hdf5_worker

pytest.importorskip('h5py')

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'recorded')
N_FILES = int(os.environ.get('RNNLM_FUZZ_FILES', 10000)) // 20
MOST_SECONDS = 120  # of processor time; it takes a few

JUNK = [None, True, 0, -1, 1e30, '', 'x', 'LSTM', 'Bidirectional', 'hard_sigmoid', [],
        [[]], [['x', 0, 0]], {}, {'class_name': 'Dense'}, {'config': {}}, 'x' * 10000]


def archives():
    """Returns the .keras files of Keras 3: Sequential and functional."""
    name, = (name for name in os.listdir(HERE) if name.startswith('keras-3'))
    with tarfile.open(os.path.join(HERE, name)) as f:
        for member in 'two_layers.keras', 'straight.keras':
            with zipfile.ZipFile(f.extractfile(member)) as z:
                yield {inner: z.read(inner) for inner in z.namelist()}


def places(value):
    """Yields (container, key) of everything in a configuration."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        items = (container.items() if isinstance(container, dict) else
                 enumerate(container) if isinstance(container, list) else ())
        for key, inner in list(items):
            yield container, key
            waiting.append(inner)


def changed(config, r):
    """Returns a configuration with a few parts replaced, removed or duplicated."""
    config = json.loads(config)
    for _ in range(r.choice([1, 1, 2, 5])):
        container, key = r.choice(list(places(config)))
        way = r.randrange(3)
        if way == 0:
            del container[key]
        elif way == 1 and isinstance(container, list):
            container.insert(key, container[r.randrange(len(container))])
        else:
            container[key] = r.choice(JUNK)
        if not config:
            break
    return json.dumps(config).encode()


@pytest.fixture
def here(monkeypatch):
    def convert(path, out):
        hdf5_worker.convert(path, out)
        return ''
    monkeypatch.setattr(hdf5_worker, 'convert_apart', convert)


def test_damaged_configurations(write, here):
    good, begin = list(archives()), time.process_time()
    counts = {'read': 0, 'refused': 0}
    for seed in range(N_FILES):
        r = random.Random(seed)
        members = dict(good[seed % 2])
        name = r.choice(['config.json'] * 9 + ['metadata.json'])
        members[name] = changed(members[name], r)
        data = io.BytesIO()
        with zipfile.ZipFile(data, 'w') as z:
            for inner, content in members.items():
                z.writestr(inner, content)
        path = write('a.keras', data.getvalue())
        try:
            keras.load(path)
        except rnnlm.InputError as e:
            assert 'a.keras' in str(e) and len(str(e)) < 2000
            counts['refused'] += 1
        else:
            counts['read'] += 1
        found = keras.describe(path)
        assert json.dumps(found)
    assert time.process_time() - begin < MOST_SECONDS
    assert min(counts.values()) > N_FILES / 20
