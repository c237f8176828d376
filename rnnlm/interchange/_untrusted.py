"""Checks of untrusted files that all readers share."""
import contextlib
import math
import zipfile

import numpy

from rnnlm.errors import InputError
from rnnlm.serializers import reading

parse_json = reading.parse_json

# How many times the bytes of a file may be used, for example by tied weights.
MOST_SHARED = 4
MOST_AXES = 32
MOST_ROWS = 2 ** 31


def read_bytes(path):
    """Returns the content of a file as a bytearray.

    Raises:
        rnnlm.errors.InputError: If it cannot be read.
    """
    return reading.read_regular(path, 'a file of weights', memory=3)


@contextlib.contextmanager
def damaged(path, what):
    """Turns any error raised while reading a file into an InputError.

    Args:
        path (str): The file.
        what (str): What it should be, such as 'a safetensors file'.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as e:
        reason = str(e).strip().split('\n')[0][:200]
        raise InputError(
            f'{path}: expected {what}, found something else, an incomplete file or a '
            f'damaged one ({type(e).__name__}: {reason}); get the file again') from None


def require_room(path, tensors, n_bytes):
    """Raises InputError for tensors that share so many bytes that copies fill memory.

    Args:
        path (str): The file.
        tensors (dict): Name -> array, views of the file's content.
        n_bytes (int): Size of the file.
    """
    claimed = sum(array.nbytes for array in tensors.values())
    if claimed > MOST_SHARED * n_bytes:
        raise InputError(
            f'{path}: expected tensors that fit into the file, found {claimed:,} bytes '
            f'of tensors in {n_bytes:,}; save copies of them, not views')


def view(storage, first, shape, strides):
    """Returns a tensor as a view of an array, without a copy.

    Args:
        storage: (N,), the data.
        first (int): Offset of the first element.
        shape, strides: Sequences of int, in elements.

    Returns:
        Array of that shape.

    Raises:
        ValueError: If it is out of bounds, or has more elements than the storage.
    """
    if len(shape) != len(strides) or len(shape) > MOST_AXES or (
            min((first, *shape, *strides)) < 0 or max(shape, default=0) > MOST_ROWS):
        raise ValueError(f'a tensor {tuple(shape[:9])} from {first}')
    if 0 in shape:
        return numpy.empty(shape, storage.dtype)
    # Offset of the last element; as_strided itself checks no bounds.
    last = first + sum((size - 1) * step for size, step in zip(shape, strides))
    if last >= len(storage) or math.prod(shape) > len(storage):
        raise ValueError(f'a tensor {tuple(shape)} with the strides {tuple(strides)} '
                         f'from {first} in {len(storage):,} elements')
    steps = [step * storage.itemsize for step in strides]
    return numpy.lib.stride_tricks.as_strided(storage[first:], shape, steps)


def float32(bfloat16):
    """Converts bfloat16, stored as uint16, to float32, whose upper half it is."""
    return (bfloat16.astype('u4') << 16).view('f4')


def member_names(path):
    """Returns the names of a zip file's members.

    Raises:
        rnnlm.errors.InputError: If it cannot be read.
    """
    with damaged(path, 'a zip file'), reading.open_regular(path) as f, (
            zipfile.ZipFile(f)) as archive:
        return archive.namelist()


def read_members(data, wanted):
    """Reads members of a zip file that is in memory.

    Args:
        data: File object.
        wanted: Function of a member's name that returns whether to read it.

    Returns:
        dict: Name -> bytes, in total no more than the file has.

    Raises:
        ValueError, zipfile.BadZipFile, ...: If it is not such a file.
    """
    data.seek(0, 2)
    room = data.tell()
    members = {}
    with zipfile.ZipFile(data) as archive:
        for info in archive.infolist():
            if not wanted(info.filename):
                continue
            if info.filename in members:
                raise ValueError(f'{info.filename!r} twice')
            # Compressed data could unpack to a thousand times its size.
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ValueError(f'{info.filename!r} is compressed')
            room -= info.file_size
            if room < 0:
                raise ValueError('more data than there is')
            members[info.filename] = archive.read(info)
    return members
