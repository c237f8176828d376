"""A deserializer for files of all Chainer versions, and checks of parameters."""
from __future__ import annotations

from typing import Any

import chainer
import numpy

from rnnlm.errors import InputError
from rnnlm.serializers.npz import Npz

# Errors of a deserializer for a missing value, for npz and for HDF5 files.
MISSING = KeyError, ValueError


class Deserializer(chainer.serializers.NpzDeserializer):
    """Chainer's npz deserializer, extended to files of all Chainer versions."""

    def __getitem__(self, key: str) -> Deserializer:
        return Deserializer(self.npz, self.path + key.strip('/') + '/', self.strict,
                            self.ignore_names)

    def __call__(self, key: str, value: Any) -> Any:
        # Chainer 1 counted updates only in the optimizer; later versions also count
        # them in each parameter's update rule.
        folder = self.path.rstrip('/')
        if key == 't' and self.path + key not in self.npz:
            while folder:
                folder = folder.rpartition('/')[0]
                above = f'{folder}/t' if folder else 't'
                if above in self.npz:
                    return int(self.npz[above])
        found = super().__call__(key, None if isinstance(value, str) else value)
        if isinstance(value, str) and found is not None:
            found = found[()]  # bytes, if read from HDF5
            return found.decode('utf-8') if isinstance(found, bytes) else str(found)
        return found


def checked_arrays(npz: Npz, prefix: str, link: chainer.Link
                   ) -> list[tuple[chainer.Parameter, numpy.ndarray]]:
    """Returns [(parameter, array from the file)], all read and of the right shape."""
    arrays = []
    for name, param in link.namedparams():
        key = prefix + name.lstrip('/')
        if key not in npz:
            raise InputError(
                f'{npz.path}: expected {key!r} of shape {param.shape}, found nothing '
                'of that name; was it written by a model with another number of '
                'layers?')
        shape, dtype = npz.describe(key)
        if shape != param.shape:
            raise InputError(
                f'{npz.path}: expected {key!r} of shape {param.shape}, found {shape}; '
                'use the numbers of units and layers, and the corpus, of the saved '
                'model')
        if dtype.kind != 'f':
            raise InputError(
                f'{npz.path}: expected {key!r} of {param.dtype}, found {dtype}')
        arrays.append((param, npz[key]))
    return arrays


def checked_values(npz: Npz, prefix: str, link: chainer.Link) -> list:
    """Returns [(link, name, value)] of the persistent values that a file has.

    Raises:
        rnnlm.InputError: If an array's shape differs from the link's.
    """
    values = []
    for path, owner in link.namedlinks():
        for name in sorted(owner._persistent):
            key = prefix + f'{path}/{name}'.lstrip('/')
            if key not in npz:
                continue
            now, found = getattr(owner, name), npz[key]
            if numpy.shape(now) != found.shape or found.dtype.kind not in 'biuf':
                raise InputError(
                    f'{npz.path}: expected {key!r} of shape {numpy.shape(now)}, found '
                    f'{found.dtype} of shape {found.shape}')
            values.append((owner, name, owner.device.send(found.astype(now.dtype))
                           if hasattr(now, 'dtype') else type(now)(found)))
    return values
