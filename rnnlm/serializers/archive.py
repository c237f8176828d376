"""The arrays in a file of either format, npz or HDF5."""
from __future__ import annotations

import contextlib
import os
from typing import Union

from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.serializers.npz import Npz

HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'


def open_archive(path: Union[str, os.PathLike]) -> Npz:
    """The file's arrays by name: an `Npz`, or an `Hdf5` if it begins as one.

    Raises:
        rnnlm.errors.InputError: if the file is missing or neither.
    """
    start = b''
    with contextlib.suppress(OSError, ValueError):  # Npz says what is wrong
        with open(path, 'rb') as f:
            start = f.read(len(HDF5_SIGNATURE))
    return Hdf5(path) if start == HDF5_SIGNATURE else Npz(path)
