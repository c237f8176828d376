"""Npz files: atomic writing, and reading that never runs code."""
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

# Allowed gaps between two members of a zip file: a data descriptor (sizes and CRC-32),
# if the first one was written to a pipe.
_GAPS = 0, 12, 16, 20, 24

# Limit of an array's size relative to its stored size: gzip's best, reached on zeros.
MOST_INFLATED = hdf5_worker.MOST_INFLATED

# Maximum number of arrays; a trainer's snapshot has less than a hundred.
MOST_MEMBERS = 10000

# Maximum bytes of an array's header; NumPy's own limit, since 1.24.
LONGEST_HEADER = 10000


def save_npz(path: Union[str, os.PathLike], target: Any, *,
             follow: bool = True) -> None:
    """Saves a link, an optimizer or a trainer to an npz file, atomically.

    If the process is interrupted, `path` holds the old file or the complete new one.
    :func:`chainer.serializers.load_npz` reads the file too.

    Args:
        path: File to write.
        target: Anything that Chainer serializes, or a dict of arrays.
        follow: If true, a symbolic link at `path` is followed; if false, replaced.

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
    """Returns facts about an object that its arrays do not tell, to store in the file.

    'tied', for an `RNNForLM`: whether the output layer shares the embedding's matrix.
    The names in a file cannot tell this from a lost output matrix.
    """
    model = language_model(target)
    return {} if model is None else {'tied': bool(model.tied)}


def write_npz(path: Union[str, os.PathLike], arrays: dict,
              facts: Optional[dict] = None, follow: bool = True) -> None:
    """Writes arrays, and the facts `about` them, with a digest of both, atomically.

    Digest and facts are the comment of the zip file, which other npz readers ignore.
    """
    # Not compressed: weights hardly shrink, and it takes ten times as long.
    sums = {}
    with writing(path, follow) as f, zipfile.ZipFile(f, 'w') as archive:
        # Sorted: Chainer's order comes from a set, and differs between processes.
        for name, array in sorted(arrays.items()):
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                hashing = _Hashing(member)
                numpy.lib.format.write_array(hashing, numpy.asanyarray(array))
            sums[f'{name}.npy'] = hashing.sum.hexdigest()
        archive.comment = json.dumps(
            {**(facts or {}), 'sha256': _digest(sums, facts or {})}).encode('ascii')


class _Hashing:
    """Output stream that computes the SHA-256 of what is written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sum.update(data)
        return self._stream.write(data)


def _digest(sums: dict, facts: dict) -> str:
    """Returns one SHA-256 of all members' SHA-256 sums and of the facts."""
    text = json.dumps([sorted(sums.items()), sorted(facts.items())])
    return hashlib.sha256(text.encode('ascii')).hexdigest()


class Npz(Mapping):
    """Mapping of names to arrays of an npz file, which never unpickles anything.

    Chainer's own loader allows pickles, which can run any code.  The only pickle that
    Chainer writes is None, which is recognised without unpickling.

    Args:
        path (str): An npz file: a model or a snapshot of a trainer.

    Attributes:
        facts (dict): Result of `about` for the saved object; {} if the file is from
            another program or an older version.

    Raises:
        rnnlm.errors.InputError: If the file is missing, or is not a complete npz file.
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
        except Exception as e:  # zipfile can raise anything for a broken file
            self._file.close()
            raise InputError(
                f'{path}: expected an npz file as Chainer writes it, found something '
                f'else or an incomplete file ({e})') from None

    def _open(self) -> IO[bytes]:
        return reading.open_regular(self.path, 'an npz file')

    def _check_claims(self) -> None:
        """Raises ValueError for member lists that are impossible or too large."""
        members = self._zip.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f'{len(members):,} arrays')
        # Overlapping members are a zip bomb: each would be unpacked.
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
        """Returns the facts and the digest that `write_npz` stored, or ({}, None)."""
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
        """Returns the (shape, dtype) of an array, from its header alone."""
        with self._reading(key) as (f, size):
            return _read_header(f, size)

    def verify(self) -> None:
        """Raises InputError unless every array is present and undamaged.

        A zip file has a CRC-32 of each member but none of its list of members; a
        member lost from the list leaves a gap.  Files from `write_npz` also have a
        digest of everything.
        """
        # Members in the order of the file: the first one must start at 0, and each must
        # start where the previous one ended.
        end, sums = 0, {}
        for info in sorted(self._zip.infolist(), key=lambda info: info.header_offset):
            if info.header_offset - end not in _GAPS:
                break
            with self._opened(info) as (f, size):
                if not info.filename.endswith('.npy'):
                    raise ValueError('which is not an array')
                _read_header(f, size)
            sums[info.filename] = self._sum(info)
            end = self._end_of(info)
        if self._zip.start_dir - end not in _GAPS:
            raise self._damaged(
                'arrays one after the other', f'a gap after {end} bytes')
        self._check_end()
        if self._sha256 not in (None, _digest(sums, self.facts)):
            raise self._damaged(
                'the arrays that were written', 'others, according to their digest')

    def _damaged(self, expected: str, found: str) -> InputError:
        return InputError(
            f'{self.path}: expected {expected}, found {found}: the file is damaged')

    def _sum(self, info: zipfile.ZipInfo) -> str:
        """Returns the SHA-256 of a member; zipfile checks its CRC-32 on the way."""
        found = hashlib.sha256()
        with self._opened(info) as (f, _):
            while True:
                piece = f.read(2 ** 20)
                if not piece:
                    return found.hexdigest()
                found.update(piece)

    def _check_end(self) -> None:
        """Raises InputError unless the file ends with the member list and comment."""
        comment = len(self._zip.comment)
        self._file.seek(-22 - comment, os.SEEK_END)
        tail = self._file.read()
        if tail[:4] != b'PK\5\6' or struct.unpack('<H', tail[20:22]) != (comment,):
            raise self._damaged('the end of a zip file', 'something else at its end')

    def _end_of(self, info: zipfile.ZipInfo) -> int:
        """Returns the offset in the file where a member's data ends."""
        self._file.seek(info.header_offset + 26)
        sizes = struct.unpack('<HH', self._file.read(4))  # of its name and extras
        return info.header_offset + 30 + sum(sizes) + info.compress_size

    def _reading(self, key: str) -> ContextManager[tuple[IO[bytes], int]]:
        return self._opened(self._zip.getinfo(self._names[key]))

    @contextlib.contextmanager
    def _opened(self, member: zipfile.ZipInfo) -> Iterator[tuple[IO[bytes], int]]:
        """Opens a member; yields its stream and its size in bytes."""
        try:
            # Other methods can unpack to a million times the compressed size.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f'unsupported compression {member.compress_type}')
            size = member.file_size
            if size > MOST_INFLATED * (member.compress_size + 1000):
                raise ValueError(f'{size} bytes in {member.compress_size}')
            with self._zip.open(member) as f:
                yield f, size
        except InputError:
            raise
        except Exception as e:  # zipfile, zlib and the parser can raise anything
            name = member.filename.removesuffix('.npy')
            raise InputError(
                f'{self.path}: cannot read {name!r}, the file is damaged '
                f'({type(e).__name__}: {e})') from None

    def _none(self, f: IO[bytes], key: str, shape: tuple) -> numpy.ndarray:
        if shape != () or _operations(f.read(1000)) not in _NONE:
            raise InputError(
                f'{self.path}: {key!r} is a pickle.  Pickles can run code, and Chainer '
                'pickles only None, so it is not read')
        return numpy.array(None)

    def close(self) -> None:
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _read_header(f: IO[bytes], size: int) -> tuple[tuple, numpy.dtype]:
    """Reads an array's header from a stream of `size` bytes; returns (shape, dtype)."""
    start = f.read(10)
    if start[:6] != b'\x93NUMPY':
        raise ValueError(f'expected an array, found {start + f.read(80)!r}')
    read = numpy.lib.format.read_array_header_1_0
    if start[6] > 1:
        read = numpy.lib.format.read_array_header_2_0
        start += f.read(2)
    # Parsing needs much more memory than the header has.
    length = int.from_bytes(start[8:], 'little')
    if length > LONGEST_HEADER:
        raise ValueError(f'a header of {length} bytes')
    shape, _, dtype = read(io.BytesIO(start[8:] + f.read(length)))
    size -= len(start) + length
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f'the shape {shape}')
    # Reading allocates what the header claims.
    if not dtype.hasobject and math.prod(shape) * max(dtype.itemsize, 1) > size:
        raise ValueError(f'{shape} of {dtype} in {size} bytes')
    return shape, dtype


def _operations(data: bytes) -> Optional[list]:
    """Lists the operations of a pickle without running them; None if it is not one."""
    try:
        return [
            (code.name, arg.replace('numpy._core', 'numpy.core')
             if isinstance(arg, str) else arg)
            for code, arg, _ in pickletools.genops(data)
            if code.name not in ('PROTO', 'FRAME', 'MEMOIZE', 'PUT', 'BINPUT')]
    except Exception:  # not a pickle
        return None


# None as pickled by Python 2.
_OLD_NONE = (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01'
    b'cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01)cnumpy\ndt'
    b'ype\nq\x04U\x02O8K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK?tb\x89]q\x06Natb.')

_NONE = [_operations(_OLD_NONE)] + [
    _operations(pickle.dumps(numpy.array(None), protocol)) for protocol in range(6)]
