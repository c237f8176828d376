"""Archives of files that other systems wrote, in interchange/recorded.

Each has an expected.json: {file: what its model computed, or why it is refused}.
"""
import functools
import glob
import json
import os
import tarfile

from helpers import TESTS
import pytest

HERE = os.path.join(TESTS, 'interchange', 'recorded')


def archives(system):
    """Names of the archives of a system, one for each of its versions."""
    return sorted(os.path.basename(path) for path in glob.glob(
        os.path.join(HERE, f'{system}-*.tar.xz')))


@functools.lru_cache(None)
def members(archive):
    """{file: its bytes}."""
    with tarfile.open(os.path.join(HERE, archive)) as f:
        return {info.name: f.extractfile(info).read() for info in f}


def cases(system):
    """Parameters (archive, name, entry) of a test of each file of a system."""
    for archive in archives(system):
        expected = json.loads(members(archive)['expected.json'])
        for name, entry in sorted(expected.items()):
            yield pytest.param(archive, name, entry,
                               id=f'{archive.removesuffix(".tar.xz")}-{name}')
