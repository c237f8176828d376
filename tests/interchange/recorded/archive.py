"""Writes an archive of recorded files; on any Python from 2.7 on."""
from __future__ import print_function

import io
import json
import os
import sys
import tarfile


def write(folder, expected, name):
    """Puts files into an archive beside this file.

    Args:
        folder: The folder with the files.
        expected: {file: what was computed or why it is refused}.
        name: Name of the archive, without .tar.xz.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + '.tar.xz')
    with tarfile.open(path, 'w:xz') as f:
        for file in sorted(expected):
            f.add(os.path.join(folder, file), file)
        text = json.dumps(expected).encode('ascii')
        info = tarfile.TarInfo('expected.json')
        info.size = len(text)
        f.addfile(info, io.BytesIO(text))
    print(path, os.path.getsize(path), 'bytes, Python', sys.version.split()[0])
