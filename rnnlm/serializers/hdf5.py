"""Reading of untrusted HDF5 files, in a separate process."""
from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from typing import IO, Optional, Union

from rnnlm.errors import InputError
from rnnlm.serializers import hdf5_worker
from rnnlm.serializers.npz import Npz


class Hdf5(Npz):
    """Arrays of an HDF5 file written by Chainer's `save_hdf5`; needs h5py.

    The HDF5 library hangs on some damaged files and crashes on others.  It therefore
    runs in a separate process, `hdf5_worker`, which returns the arrays as npz.  Links
    are not followed, because they could lead into other files.

    Args:
        path (str): An HDF5 file.
        data (bytes): The content of the file, if it should not be opened by name.

    Raises:
        rnnlm.errors.InputError: If h5py is missing, or the file cannot be read.
    """

    def __init__(self, path: Union[str, os.PathLike],
                 data: Optional[bytes] = None) -> None:
        self._data = data
        super().__init__(path)

    def _open(self) -> IO[bytes]:
        if importlib.util.find_spec('h5py') is None:
            raise InputError(
                f'{self.path}: reading an HDF5 file needs h5py, which is not '
                'installed; pip install h5py')
        file = tempfile.TemporaryFile()
        reason: object
        try:
            reason = self._convert(file)
        except OSError as e:
            reason = e
        if reason:
            file.close()
            raise InputError(
                f'{self.path}: cannot read it, the file is damaged ({reason})')
        return file

    def _convert(self, file: IO[bytes]) -> Optional[str]:
        if self._data is None:
            return hdf5_worker.convert_apart(self.path, file)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'data.h5')
            with open(path, 'wb') as f:
                f.write(self._data)
            return hdf5_worker.convert_apart(path, file)

    def texts(self, name: str) -> Optional[list]:
        """Returns the texts of one of `hdf5_worker.ATTRIBUTES` or of `EMPTY_GROUPS`.

        Returns:
            list of str: One text for a scalar; None if the file lacks the attribute.

        Raises:
            ValueError: If it cannot be read.
        """
        found = json.loads(self._zip.read(hdf5_worker.ATTRIBUTES_MEMBER)).get(name)
        if isinstance(found, str):
            raise ValueError(f'the attribute {name} cannot be read ({found})')
        return found

    def verify(self) -> None:
        """Raises InputError unless every array can be read; HDF5 has no checksum."""
        for key in self:
            self[key]
