"""Npz files: written whole, and read without running anything in them."""
from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any, ContextManager, Iterator, Optional, Union

import chainer
import numpy

from rnnlm.errors import InputError
from rnnlm.serializers import hdf5_worker
from rnnlm.serializers.atomic import writing

# What may stand between two members of a zip file: sizes and CRC-32 of the first,
# if it was written to a pipe.
_GAPS = 0, 12, 16, 20, 24

# How much larger than in the file an array may claim to be: what gzip does to zeros.
MOST_INFLATED = hdf5_worker.MOST_INFLATED

# A snapshot of a trainer has less than a hundred.
MOST_MEMBERS = 10000

# NumPy's own limit, since 1.24.
LONGEST_HEADER = 10000


def save_npz(path: Union[str, os.PathLike], target: Any, *,
             follow: bool = True) -> None:
    """Saves a link, an optimizer or a trainer to an npz file, atomically.

    If the process is interrupted, `path` holds the old file or the complete new one.
    :func:`chainer.serializers.load_npz` reads the file too.

    Args:
        path: File to write.
        target: Anything that Chainer serializes, or a dict of arrays.
        follow: Whether a link at `path` is followed; if not, it is replaced.

    Raises:
        OSError: If it cannot be written; the old file is then unchanged.

    Example:
        >>> rnnlm.save_npz('model.npz', rnnlm.RNNForLM(n_vocab=10, n_units=8))
        >>> len(numpy.load('model.npz').files)  # embedding, two layers, output
        9
    """
    if not isinstance(target, dict):
        serializer = chainer.serializers.DictionarySerializer()
        serializer.save(target)
        target = serializer.target
    # Weights hardly get smaller, and compressing takes ten times as long.
    with writing(path, follow) as f, zipfile.ZipFile(f, 'w') as archive:
        # Chainer's order is that of a set of names, another one in each process.
        for name, array in sorted(target.items()):
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                numpy.lib.format.write_array(member, numpy.asanyarray(array))


class Npz(Mapping):
    """The arrays of an npz file, read without unpickling anything but None.

    Chainer's own loader allows pickles, and a pickle from a stranger can run code.
    All that Chainer ever writes as a pickle is None.

    Args:
        path (str): An npz file: a model or a snapshot of a trainer.

    Raises:
        rnnlm.errors.InputError: if the file is missing, or not a whole npz file.
    """

    def __init__(self, path: Union[str, os.PathLike]) -> None:
        self.path = path
        self._file = self._open()
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._names = {name[:-len('.npy')]: name for name in self._zip.namelist()
                           if name.endswith('.npy')}
            self._check_claims()
        except Exception as e:  # whatever zipfile makes of a broken file
            self._file.close()
            raise InputError(
                f'{path}: expected an npz file as Chainer writes them, found '
                f'something else or a part of one ({e})') from None

    def _open(self) -> IO[bytes]:
        try:
            return open(self.path, 'rb')
        except FileNotFoundError:
            raise InputError(
                f'{self.path}: expected an npz file, found nothing there') from None
        except (OSError, ValueError) as e:
            raise InputError(
                f'{self.path}: expected an npz file, found none that can be read '
                f'({e})') from None

    def _check_claims(self) -> None:
        """Refuses members that say of themselves what cannot be."""
        members = self._zip.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f'{len(members):,} arrays')
        # Members that share their bytes would each be unpacked.
        if sum(m.compress_size for m in members) > os.fstat(
                self._file.fileno()).st_size:
            raise ValueError('arrays of more bytes than the file has')

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: object) -> bool:
        return key in self._names

    def __getitem__(self, key: str) -> numpy.ndarray:
        shape, dtype = self.describe(key)
        with self._reading(key) as (f, size):
            if dtype.hasobject:
                _read_header(f, size)
                return self._none(f, key, shape)
            return numpy.lib.format.read_array(f, allow_pickle=False)

    def describe(self, key: str) -> tuple[tuple, numpy.dtype]:
        """(shape, dtype) of an array, from its header alone."""
        with self._reading(key) as (f, size):
            return _read_header(f, size)

    def verify(self) -> None:
        """Raises InputError unless every member is there, as its checksum says.

        A zip file has a CRC-32 of each member, and none of its list of members: one
        that is lost from the list leaves a gap.
        """
        end = 0
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset - end not in _GAPS:
                break
            with self._opened(info) as (f, _):
                while f.read(2 ** 20):
                    pass
            end = self._end_of(info)
        if self._zip.start_dir - end not in _GAPS:
            raise InputError(
                f'{self.path}: expected one array after the other, found a gap after '
                f'{end} bytes: the file is damaged')

    def _end_of(self, info: zipfile.ZipInfo) -> int:
        """Where a member's data ends in the file."""
        self._file.seek(info.header_offset + 26)
        sizes = struct.unpack('<HH', self._file.read(4))  # of its name and extras
        return info.header_offset + 30 + sum(sizes) + info.compress_size

    def _reading(self, key: str) -> ContextManager[tuple[IO[bytes], int]]:
        return self._opened(self._zip.getinfo(self._names[key]))

    @contextlib.contextmanager
    def _opened(self, member: zipfile.ZipInfo) -> Iterator[tuple[IO[bytes], int]]:
        """A member's stream of bytes, and how many it has."""
        try:
            # Others unpack to a million times their size.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f'compression of the kind {member.compress_type}')
            size = member.file_size
            if size > MOST_INFLATED * (member.compress_size + 1000):
                raise ValueError(f'{size} bytes in {member.compress_size}')
            with self._zip.open(member) as f:
                yield f, size
        except InputError:
            raise
        except Exception as e:  # whatever zipfile, zlib and the header parser do
            name = member.filename.removesuffix('.npy')
            raise InputError(
                f'{self.path}: cannot read {name!r}, the file is damaged '
                f'({type(e).__name__}: {e})') from None

    def _none(self, f: IO[bytes], key: str, shape: tuple) -> numpy.ndarray:
        if shape != () or _operations(f.read(1000)) not in _NONE:
            raise InputError(
                f'{self.path}: {key!r} is a pickle.  Pickles can run code, Chainer '
                'writes none but None, and so it is not read')
        return numpy.array(None)

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _read_header(f: IO[bytes], size: int) -> tuple[tuple, numpy.dtype]:
    """(shape, dtype) of an array in a stream of `size` bytes."""
    start = f.read(10)
    if start[:6] != b'\x93NUMPY':
        raise ValueError(f'expected an array, found {start + f.read(80)!r}')
    read = numpy.lib.format.read_array_header_1_0
    if start[6] > 1:
        read = numpy.lib.format.read_array_header_2_0
        start += f.read(2)
    # The parser needs many times what it reads.
    length = int.from_bytes(start[8:], 'little')
    if length > LONGEST_HEADER:
        raise ValueError(f'a header of {length} bytes')
    shape, _, dtype = read(io.BytesIO(start[8:] + f.read(length)))
    size -= len(start) + length
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f'the shape {shape}')
    # The reader takes the memory that the header claims.
    if not dtype.hasobject and math.prod(shape) * max(dtype.itemsize, 1) > size:
        raise ValueError(f'{shape} of {dtype} in {size} bytes')
    return shape, dtype


def _operations(data: bytes) -> Optional[list]:
    """What a pickle would do, without doing it, whoever wrote it."""
    try:
        return [
            (code.name, arg.replace('numpy._core', 'numpy.core')
             if isinstance(arg, str) else arg)
            for code, arg, _ in pickletools.genops(data)
            if code.name not in ('PROTO', 'FRAME', 'MEMOIZE', 'PUT', 'BINPUT')]
    except Exception:  # no pickle
        return None


# As Python 2 wrote it.
_OLD_NONE = (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01'
    b'cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01)cnumpy\ndt'
    b'ype\nq\x04U\x02O8K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK?tb\x89]q\x06Natb.')

_NONE = [_operations(_OLD_NONE)] + [
    _operations(pickle.dumps(numpy.array(None), protocol)) for protocol in range(6)]
