"""The arrays in a file of either format, npz or HDF5."""
from __future__ import annotations

import os
from typing import Union

from rnnlm.errors import InputError
from rnnlm.serializers import reading
from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.serializers.npz import Npz

HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'


def open_archive(path: Union[str, os.PathLike]) -> Npz:
    """The file's arrays by name: an `Npz`, or an `Hdf5` if it begins as one.

    Raises:
        rnnlm.errors.InputError: if the file is missing or neither.
    """
    with reading.open_regular(path, 'an npz file') as f:
        start = f.read(len(HDF5_SIGNATURE))
    return Hdf5(path) if start == HDF5_SIGNATURE else Npz(path)


def open_verified(path: Union[str, os.PathLike]) -> Npz:
    """As `open_archive`, of a file that is whole: every array in it was looked at.

    Raises:
        rnnlm.errors.InputError: if it is missing or damaged.
    """
    archive = open_archive(path)
    try:
        archive.verify()
    except InputError:
        archive.close()
        raise
    return archive
