"""The arrays in files that may come from anywhere, read without running anything."""
import contextlib
import math
import pickle
import pickletools
import zipfile
from collections.abc import Mapping

import numpy

from rnnlm.errors import InputError

HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'

# How much larger than in the file an HDF5 dataset may claim to be: what gzip does
# to zeros.
MOST_INFLATED = 1100


def open_archive(path):
    """The file's arrays by name: an `Npz`, or an `Hdf5` if it begins as one.

    Raises:
        rnnlm.errors.InputError: if the file is missing or neither.
    """
    with contextlib.suppress(OSError):  # Npz says what is wrong
        with open(path, 'rb') as f:
            if f.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                return Hdf5(path)
    return Npz(path)


class Npz(Mapping):
    """The arrays of an npz file, read without unpickling anything but None.

    Chainer's own loader allows pickles, and a pickle from a stranger can run code.
    All that Chainer ever writes as a pickle is None.

    Args:
        path (str): An npz file: a model or a snapshot of a trainer.

    Raises:
        rnnlm.errors.InputError: if the file is missing, or not a whole npz file.
    """

    def __init__(self, path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise InputError(
                f'{path}: expected an npz file, found nothing there') from None
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as e:
            raise InputError(
                f'{path}: expected an npz file as Chainer writes them, found '
                f'something else or a part of one ({e})') from None
        self._names = {name[:-len('.npy')]: name for name in self._zip.namelist()
                       if name.endswith('.npy')}

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)

    def __contains__(self, key):
        return key in self._names

    def __getitem__(self, key):
        shape, dtype = self.describe(key)
        with self._reading(key) as f:
            if dtype.hasobject:
                return self._none(f, key, shape)
            # The reader takes the memory that the header claims.
            size = self._zip.getinfo(self._names[key]).file_size
            if math.prod(shape) * dtype.itemsize > size:
                raise ValueError(f'{shape} of {dtype} in {size} bytes')
            return numpy.lib.format.read_array(f, allow_pickle=False)

    def describe(self, key):
        """(shape, dtype) of an array, from its header alone."""
        with self._reading(key) as f:
            return _read_header(f)

    @contextlib.contextmanager
    def _reading(self, key):
        name = self._names[key]
        try:
            with self._zip.open(name) as f:
                yield f
        except InputError:
            raise
        except Exception as e:  # whatever zipfile, zlib and the header parser do
            raise InputError(
                f'{self.path}: cannot read {key!r}, the file is damaged '
                f'({type(e).__name__}: {e})') from None

    def _none(self, f, key, shape):
        _read_header(f)
        if shape != () or _operations(f.read(1000)) not in _NONE:
            raise InputError(
                f'{self.path}: {key!r} is a pickle.  Pickles can run code, Chainer '
                'writes none but None, and so it is not read')
        return numpy.array(None)

    def close(self):
        self._zip.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def _read_header(f):
    version = numpy.lib.format.read_magic(f)
    read = (numpy.lib.format.read_array_header_1_0 if version == (1, 0)
            else numpy.lib.format.read_array_header_2_0)
    shape, _, dtype = read(f)
    return shape, dtype


def _operations(data):
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


class Hdf5(Mapping):
    """The arrays of an HDF5 file that Chainer's `save_hdf5` wrote; needs h5py.

    Links, which could lead into other files, are not followed; a group that has
    several names, one inside itself say, is read by the first.

    Args:
        path (str): An HDF5 file.
        file: Its content as a file object, if it is not to be opened by its name.

    Raises:
        rnnlm.errors.InputError: if h5py is missing, or the file cannot be read.
    """

    def __init__(self, path, file=None):
        self.path = path
        try:
            import h5py
        except ImportError:
            raise InputError(
                f'{path}: expected h5py to read an HDF5 file, found it missing; '
                'pip install h5py') from None
        self._h5py = h5py
        try:
            self._file = h5py.File(path if file is None else file, 'r')
            self._groups = set()
            self._names = list(self._datasets(self._file, ''))
        except Exception as e:  # whatever the HDF5 library makes of a broken file
            raise InputError(
                f'{path}: cannot read it, the file is damaged '
                f'({type(e).__name__}: {e})') from None

    def _datasets(self, group, prefix):
        place = self._h5py.h5o.get_info(group.id).addr
        if place in self._groups:
            return
        self._groups.add(place)
        for name in group:
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                continue
            item = group[name]
            if isinstance(item, self._h5py.Dataset):
                yield prefix + name
            elif prefix.count('/') < 50:
                yield from self._datasets(item, f'{prefix}{name}/')

    def __iter__(self):
        return iter(self._names)

    def __len__(self):
        return len(self._names)

    def __contains__(self, key):
        return key in self._names

    def __getitem__(self, key):
        with self._dataset(key) as dataset:
            if dataset.shape is None:  # how Chainer writes None
                return numpy.array(None)
            # The reader takes the memory that the header claims.
            room = MOST_INFLATED * (dataset.id.get_storage_size() + 1000)
            if dataset.external or dataset.is_virtual or dataset.nbytes > room:
                raise ValueError(
                    f'{dataset.shape} of {dataset.dtype} that are not there')
            return dataset[()]

    def describe(self, key):
        """(shape, dtype) of an array, from its header alone."""
        with self._dataset(key) as dataset:
            return dataset.shape or (), dataset.dtype

    @contextlib.contextmanager
    def _dataset(self, key):
        if key not in self._names:
            raise KeyError(key)
        try:
            yield self._file[key]
        except Exception as e:  # whatever the HDF5 library makes of a broken file
            raise InputError(
                f'{self.path}: cannot read {key!r}, the file is damaged '
                f'({type(e).__name__}: {e})') from None

    def close(self):
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
