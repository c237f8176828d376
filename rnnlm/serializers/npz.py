"""Npz files: written whole, and read without running anything in them."""
from __future__ import annotations

import contextlib
import hashlib
import io
import json
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

from rnnlm.chain import language_model
from rnnlm.errors import InputError, short_repr
from rnnlm.serializers import hdf5_worker, reading
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
    if isinstance(target, dict):
        write_npz(path, target, follow=follow)
        return
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(target)
    write_npz(path, serializer.target, about(target), follow)


def about(target: Any) -> dict:
    """What a file says of the object in it beside its arrays; {} if nothing.

    'tied', of an `RNNForLM`: whether its output layer has the embedding's matrix, which
    the names in a file do not tell from an output matrix that is missing.
    """
    model = language_model(target)
    return {} if model is None else {'tied': bool(model.tied)}


def write_npz(path: Union[str, os.PathLike], arrays: dict,
              facts: Optional[dict] = None, follow: bool = True) -> None:
    """Writes arrays and `about` them, with a digest of all that, atomically.

    The digest and the facts are the comment of the zip file, which no other reader of
    npz files looks at.
    """
    # Weights hardly get smaller, and compressing takes ten times as long.
    sums = {}
    with writing(path, follow) as f, zipfile.ZipFile(f, 'w') as archive:
        # Chainer's order is that of a set of names, another one in each process.
        for name, array in sorted(arrays.items()):
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                hashing = _Hashing(member)
                numpy.lib.format.write_array(hashing, numpy.asanyarray(array))
            sums[f'{name}.npy'] = hashing.sum.hexdigest()
        archive.comment = json.dumps(
            {**(facts or {}), 'sha256': _digest(sums, facts or {})}).encode('ascii')


class _Hashing:
    """A stream that is written to, and the SHA-256 of what was written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        return self._stream.write(data)


def _digest(sums: dict, facts: dict) -> str:
    """One SHA-256 of those of all members, by name, and of the facts."""
    text = json.dumps([sorted(sums.items()), sorted(facts.items())])
    return hashlib.sha256(text.encode('ascii')).hexdigest()


class Npz(Mapping):
    """The arrays of an npz file, read without unpickling anything but None.

    Chainer's own loader allows pickles, and a pickle from a stranger can run code.
    All that Chainer ever writes as a pickle is None.

    Args:
        path (str): An npz file: a model or a snapshot of a trainer.

    Attributes:
        facts (dict): What `about` said of the object in it; {} if another program
            wrote it, or an older version.

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
            self.facts, self._sha256 = self._comment()
        except InputError:
            self._file.close()
            raise
        except Exception as e:  # whatever zipfile makes of a broken file
            self._file.close()
            raise InputError(
                f'{path}: expected an npz file as Chainer writes them, found '
                f'something else or a part of one ({e})') from None

    def _open(self) -> IO[bytes]:
        return reading.open_regular(self.path, 'an npz file')

    def _check_claims(self) -> None:
        """Refuses members that say of themselves what cannot be."""
        members = self._zip.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f'{len(members):,} arrays')
        # Members that share their bytes would each be unpacked.
        size = os.fstat(self._file.fileno()).st_size
        if sum(m.compress_size for m in members) > size:
            raise ValueError('arrays of more bytes than the file has')
        if len(self._zip.NameToInfo) < len(members):
            raise ValueError('two arrays of the same name')
        unpacked = sum(m.file_size for m in members)
        if unpacked > hdf5_worker.most_unpacked(size):
            raise ValueError(
                f'{size:,} bytes that claim to unpack to {unpacked:,}, more than '
                f'{hdf5_worker.MOST_RATIO} times as much')
        reading.require_memory(self.path, unpacked)

    def _comment(self) -> tuple[dict, Optional[str]]:
        """What `write_npz` said beside the arrays: the facts, and their digest."""
        comment = self._zip.comment
        if not comment:
            return {}, None
        facts = reading.parse_json(comment)
        sha256 = facts.pop('sha256')
        if type(facts.get('tied', False)) is not bool or type(sha256) is not str:
            raise ValueError(f'the comment {short_repr(comment)}')
        return facts, sha256

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
        """Raises InputError unless every array is there, as it was written.

        A zip file has a CRC-32 of each member, and none of its list of members: one
        that is lost from the list leaves a gap.  A file that `write_npz` wrote has a
        digest of all.
        """
        end, sums = 0, {}
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset - end not in _GAPS:
                break
            with self._opened(info) as (f, size):
                if not info.filename.endswith('.npy'):
                    raise ValueError('which is no array')
                _read_header(f, size)
            sums[info.filename] = self._sum(info)
            end = self._end_of(info)
        if self._zip.start_dir - end not in _GAPS:
            raise self._damaged(
                'one array after the other', f'a gap after {end} bytes')
        self._check_end()
        if self._sha256 not in (None, _digest(sums, self.facts)):
            raise self._damaged(
                'the arrays that were written', 'others, by their digest')

    def _damaged(self, expected: str, found: str) -> InputError:
        return InputError(
            f'{self.path}: expected {expected}, found {found}: the file is damaged')

    def _sum(self, info: zipfile.ZipInfo) -> str:
        """SHA-256 of a member; its CRC-32 is compared on the way."""
        found = hashlib.sha256()
        with self._opened(info) as (f, _):
            while True:
                piece = f.read(2 ** 20)
                if not piece:
                    return found.hexdigest()
                found.update(piece)

    def _check_end(self) -> None:
        """The list of members is followed by its own end, the comment and no more."""
        comment = len(self._zip.comment)
        self._file.seek(-22 - comment, os.SEEK_END)
        tail = self._file.read()
        if tail[:4] != b'PK\5\6' or struct.unpack('<H', tail[20:22]) != (comment,):
            raise self._damaged('the end of a zip file', 'something else at its end')

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
