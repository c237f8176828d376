"""Opening of npz and HDF5 files."""
from __future__ import annotations

import os
from typing import Union

from rnnlm.errors import InputError
from rnnlm.serializers import reading
from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.serializers.npz import Npz

HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'


def open_archive(path: Union[str, os.PathLike]) -> Npz:
    """Opens a file of arrays: an `Hdf5` if it has HDF5's signature, else an `Npz`.

    Raises:
        rnnlm.errors.InputError: If the file is missing or is neither.
    """
    with reading.open_regular(path, 'an npz file') as f:
        start = f.read(len(HDF5_SIGNATURE))
    return Hdf5(path) if start == HDF5_SIGNATURE else Npz(path)


def open_verified(path: Union[str, os.PathLike]) -> Npz:
    """Opens a file like `open_archive`, and verifies every array in it.

    Raises:
        rnnlm.errors.InputError: If the file is missing or damaged.
    """
    archive = open_archive(path)
    try:
        archive.verify()
    except InputError:
        archive.close()
        raise
    return archive
