"""What every reader asks of a file before it believes it."""
import contextlib
import math
import zipfile

import numpy

from rnnlm.errors import InputError
from rnnlm.serializers import reading

parse_json = reading.parse_json

# How often the same bytes of a file may be used, by tied weights say.
MOST_SHARED = 4
MOST_AXES = 32
MOST_ROWS = 2 ** 31


def read_bytes(path):
    """bytearray: all of a file.

    Raises:
        rnnlm.errors.InputError: if it cannot be read.
    """
    return reading.read_regular(path, 'a file of weights', memory=3)


@contextlib.contextmanager
def damaged(path, what):
    """Makes an InputError of whatever a reader trips over in a file.

    Args:
        path (str): the file.
        what (str): what it should be, 'a safetensors file' say.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as e:
        reason = str(e).strip().split('\n')[0][:200]
        raise InputError(
            f'{path}: expected {what}, found something else, a part of one or a '
            f'damaged one ({type(e).__name__}: {reason}); get the file again') from None


def require_room(path, tensors, n_bytes):
    """Refuses tensors that share their bytes so often that copies would fill memory.

    Args:
        path (str): the file.
        tensors (dict): name -> array, views of what the file holds.
        n_bytes (int): size of the file.
    """
    claimed = sum(array.nbytes for array in tensors.values())
    if claimed > MOST_SHARED * n_bytes:
        raise InputError(
            f'{path}: expected tensors that are in the file, found ones of '
            f'{claimed:,} bytes in {n_bytes:,}; save them one by one, not as views')


def view(storage, first, shape, strides):
    """A tensor that is part of an array of numbers, without a copy.

    Args:
        storage: (N,), the numbers.
        first (int): where in it the first element is.
        shape, strides: sequences of int, in elements.

    Returns:
        array of that shape.

    Raises:
        ValueError: if it is not inside, or has more elements than there are.
    """
    if len(shape) != len(strides) or len(shape) > MOST_AXES or (
            min((first, *shape, *strides)) < 0 or max(shape, default=0) > MOST_ROWS):
        raise ValueError(f'a tensor {tuple(shape[:9])} from {first}')
    if 0 in shape:
        return numpy.empty(shape, storage.dtype)
    last = first + sum((size - 1) * step for size, step in zip(shape, strides))
    if last >= len(storage) or math.prod(shape) > len(storage):
        raise ValueError(f'a tensor {tuple(shape)} with the strides {tuple(strides)} '
                         f'from {first} in {len(storage):,} elements')
    steps = [step * storage.itemsize for step in strides]
    return numpy.lib.stride_tricks.as_strided(storage[first:], shape, steps)


def float32(bfloat16):
    """The same numbers as float32: a bfloat16, here as uint16, is its upper half."""
    return (bfloat16.astype('u4') << 16).view('f4')


def member_names(path):
    """list of str: what is in a zip file.

    Raises:
        rnnlm.errors.InputError: if it cannot be read.
    """
    with damaged(path, 'a zip file'), reading.open_regular(path) as f, (
            zipfile.ZipFile(f)) as archive:
        return archive.namelist()


def read_members(data, wanted):
    """The members of a zip file that is in memory.

    Args:
        data: file object.
        wanted: function of a member's name, whether it is read.

    Returns:
        dict: name -> bytes, not longer all together than the file.

    Raises:
        ValueError, zipfile.BadZipFile, ...: if it is no such file.
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
            # What is packed could become a thousand times as much.
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ValueError(f'{info.filename!r} is packed')
            room -= info.file_size
            if room < 0:
                raise ValueError('more data than there is')
            members[info.filename] = archive.read(info)
    return members
