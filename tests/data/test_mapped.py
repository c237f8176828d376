"""Corpora that are mapped from the cache: as those in memory, and never copied."""
import copy
import dataclasses
import gzip
import os
import pickle

import numpy as np
import pytest

import rnnlm
from rnnlm.data import cache, flat
from rnnlm.data.corpus import load

TEXT = 'the cat sat on the mat .\nthe dog saw the cat .\n' * 40


@pytest.fixture(autouse=True)
def every_text_is_long(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, 'LEAST', 0)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def test_a_corpus_that_is_mapped(write):
    path = write('text', TEXT + 'x y z\n')
    mapped, plain = load(path), load(path, cache=False)
    assert isinstance(mapped.train, np.memmap) and not mapped.train.flags.writeable
    for part in 'train', 'valid', 'test':
        assert mapped.unknown_rate(part) == plain.unknown_rate(part)
    assert mapped.digest() == plain.digest()
    # A copy of it may be changed, and is another text then.
    for copied in pickle.loads(pickle.dumps(mapped)), copy.deepcopy(mapped):
        np.testing.assert_array_equal(copied.train, plain.train)
        copied.train[:] = copied.vocabulary.unknown
        assert copied.unknown_rate('train') == 1 and copied.digest() != plain.digest()
    other = dataclasses.replace(mapped, train=plain.train[5:])
    assert other.digest() != plain.digest()


def test_no_part_is_read_into_memory(write, monkeypatch):
    """Pages of the file that were read are let go, and nothing is copied."""
    path = write('text', TEXT * 30)
    text = load(path)
    monkeypatch.setattr(flat, 'MOST_PAGED', 1000)
    monkeypatch.setattr(flat, 'BLOCK', 500)
    release_pages, released = flat.release_pages, []

    def release(ids):
        released.append(len(ids))
        release_pages(ids)

    monkeypatch.setattr(flat, 'release_pages', release)
    iterator = rnnlm.ParallelSequentialIterator(text.train, 4, repeat=False)
    plain = rnnlm.ParallelSequentialIterator(text.train.tolist(), 4, repeat=False)
    assert np.shares_memory(iterator.dataset, text.train)
    while iterator.epoch < 1:
        np.testing.assert_array_equal(
            iterator.next_window(35), plain.next_window(35))
    assert len(released) >= 10
    flat.count_of(text.train, 3)
    assert len(released) >= 30


def test_the_progress_of_a_long_text(write, monkeypatch):
    path = write('text', TEXT)
    shown = []

    class Bar:
        def __init__(self, total):
            shown.append([total, 0])

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

        def update(self, n):
            shown[-1][1] += n

    packed = write('text.gz', gzip.compress(TEXT.encode()))
    for spec in path, packed, [path, packed]:
        load(spec, progress=Bar)
        load(spec, progress=Bar, cache=False)
        size = sum(map(os.path.getsize, spec if isinstance(spec, list) else [spec]))
        assert shown == [[size, size]] * 2
        shown.clear()
    monkeypatch.setattr(cache, 'LEAST', 2 ** 24)
    load(path, progress=Bar)
    assert not shown
