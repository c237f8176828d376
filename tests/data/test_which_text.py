"""Texts that another one could be taken for: by names, links, sizes, parts."""
import gzip
import os
import sys

import pytest
from test_cache import (  # noqa: F401
    OTHER, TEXT, every_text_is_long, is_found, is_right)

from rnnlm.data import cache
from rnnlm.data.corpus import load


def test_words_that_went_from_one_compressed_part_to_the_next(write):
    """The parts in a row are the same, and so is the size of each file."""
    def parts(*texts):
        for name, text in zip(('train', 'valid', 'test'), texts):
            data = bytearray(gzip.compress(text.encode(), mtime=0))
            filling = bytes(1000 - len(data) - 2)
            data[3] |= 4  # gzip's extra field
            data[10:10] = len(filling).to_bytes(2, 'little') + filling
            write(f'parts/{name}.txt.gz', bytes(data))
        return os.path.dirname(write('parts/ignored', ''))

    line = len(OTHER) // 80
    load(parts(TEXT, OTHER, TEXT))
    folder = parts(TEXT + OTHER[:line], OTHER[line:], TEXT)
    assert load(folder).digest() == load(folder, cache=False).digest()


@pytest.mark.skipif(os.name != 'posix', reason='needs symbolic links')
def test_a_path_up_from_a_link(write, tmp_path, monkeypatch):
    """Its folder is above the one that the link leads to."""
    monkeypatch.setattr(cache, '_GRAIN', -1)
    here, there = write('here/text', TEXT), write('there/text', OTHER)
    os.mkdir(tmp_path / 'there' / 'inner')
    os.symlink(tmp_path / 'there' / 'inner', tmp_path / 'here' / 'link')
    monkeypatch.chdir(tmp_path / 'here')
    for path in 'link/../text', os.path.join(os.path.dirname(here), 'link/../text'):
        found = load(path)
        assert is_right(found, OTHER)
        assert os.path.samefile(found.source['corpus'], there)
        assert is_right(load('text')) and is_right(load('../here/text'))
        assert is_found(path) and is_found(here)


@pytest.mark.skipif(sys.platform != 'linux', reason='needs names of any bytes')
def test_a_name_that_is_no_utf_8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b'/\xff.txt')
    with open(path, 'w') as f:
        f.write(TEXT)
    assert is_right(load(path)) and is_found(path)
