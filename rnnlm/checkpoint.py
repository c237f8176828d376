"""Reading weights and snapshots that may come from anywhere; writing them whole."""
import contextlib
import math
import os
import pickle
import pickletools
import re
import signal
import sys
import threading
import warnings
import zipfile
from collections.abc import Mapping

import chainer
import numpy

from rnnlm.errors import InputError
from rnnlm.files import writing


def save_npz(path, target):
    """Writes `target` so that `path` holds the old file or the new one, whole.

    Args:
        path (str): File to write.
        target: A link, an optimizer, a trainer, ...: anything that Chainer
            serializes.
    """
    with writing(path) as f:
        chainer.serializers.save_npz(f, target)


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


class _Deserializer(chainer.serializers.NpzDeserializer):

    def __getitem__(self, key):
        return _Deserializer(self.npz, self.path + key.strip('/') + '/')

    def __call__(self, key, value):
        # Chainer 1 counted updates in the optimizer alone, later versions also
        # in each parameter's rule.
        whole = re.match(r'updater/optimizer:[^/]+/', self.path)
        if key == 't' and whole and self.path + key not in self.npz:
            return super().__call__('/' + key, value) if (
                self.path == whole.group()) else int(self.npz[whole.group() + key])
        return super().__call__(key, value)


def load_model(path, target):
    """Loads parameters from a model file or from a snapshot of a trainer.

    Args:
        path (str): npz file that Chainer, any version, or this package wrote.
        target: An `RNNForLM`, or a Classifier around one.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read, or holds a model of
            other sizes; `target` is then unchanged.
    """
    link = getattr(target, 'predictor', target)
    with Npz(path) as npz:
        arrays = _arrays(npz, model_prefix(npz), link)
    for param, array in arrays:
        param.array[...] = param.device.send(array)


def model_prefix(npz):
    """Where the model stands in a file: '', 'predictor/', 'updater/model:main/'..."""
    found = [name[:-len('embed/W')] for name in npz
             if ('/' + name).endswith('/embed/W')]
    if found:
        main = [prefix for prefix in found if prefix.startswith('updater/model:main/')]
        return (main + found)[0]
    raise InputError(
        f'{npz.path}: expected the parameters of an RNNForLM, found no embed/W')


def model_sizes(npz):
    """(n_vocab, n_units, n_layers) of the model in a file."""
    prefix = model_prefix(npz)
    shape, _ = npz.describe(prefix + 'embed/W')
    if len(shape) != 2:
        raise InputError(
            f'{npz.path}: expected embed/W of shape (n_vocab, n_units), found {shape}')
    n_vocab, n_units = shape
    n_layers = sum(
        re.fullmatch(re.escape(prefix) + r'l\d+/lateral/W', name) is not None
        for name in npz)
    return n_vocab, n_units, n_layers


def _arrays(npz, prefix, link):
    """[(parameter, its array in the file)], all read and of the right shapes."""
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
                'give the numbers of units and layers, and the corpus, that it was '
                'trained with')
        if dtype.kind != 'f':
            raise InputError(
                f'{npz.path}: expected {key!r} of {param.dtype}, found {dtype}')
        arrays.append((param, npz[key]))
    return arrays


def resume(path, trainer):
    """Loads a snapshot of a trainer, of this package or of Chainer 1.11 to 7.8.

    Args:
        path (str): Snapshot file.
        trainer: :class:`chainer.training.Trainer`, extended as the one that was
            saved.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read, is not a snapshot, or
            does not fit the trainer.
    """
    with Npz(path) as npz:
        if 'updater/iteration' not in npz:
            raise InputError(
                f'{path}: expected a snapshot of a trainer (snapshot_iter_N), found a '
                'file without updater/iteration; is it a model?')
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            _arrays(npz, f'updater/model:{name}/', optimizer.target)
        _check_batch(npz, trainer.updater.get_iterator('main'))
        try:
            with warnings.catch_warnings():
                # Old snapshots lack the triggers' memory; Chainer guesses it.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                _Deserializer(npz).load(trainer)
        except KeyError as e:
            raise InputError(
                f'{path}: expected a snapshot of a run with the same optimizer and '
                f'extensions, found no {e}') from e
        except (TypeError, ValueError, OverflowError, AttributeError) as e:
            raise InputError(
                f'{path}: expected a snapshot that fits this trainer, found one that '
                f'does not ({type(e).__name__}: {e})') from e


def _check_batch(npz, iterator):
    batch = getattr(iterator, 'batch_size', None)
    if 'updater/state/l1/h' in npz:
        shape, _ = npz.describe('updater/state/l1/h')
        if batch is not None and shape[:1] != (batch,):
            raise InputError(
                f'{npz.path}: expected a run with the batch size {batch}, found one '
                f'with {shape[0] if shape else None}; a run goes on with its own')


def run(trainer):
    """Runs a trainer; a signal to stop lets it finish its window and be saved.

    The first SIGINT, SIGTERM or SIGHUP ends the run after the current window and writes
    ``snapshot_iter_N`` into ``trainer.out``; the second one stops at once.

    Args:
        trainer: :class:`chainer.training.Trainer`.

    Returns:
        tuple: number of the signal, 0 if the training went to its end, and the
        path of the snapshot or None.
    """
    if threading.current_thread() is not threading.main_thread():
        trainer.run()
        return 0, None
    given = trainer.stop_trigger
    stop = trainer.stop_trigger = _StopTrigger(given)
    # What is ignored, in a script's background say, stays ignored.
    stop.before = {number: signal.getsignal(number) for number in _STOP_SIGNALS
                   if signal.getsignal(number) is not signal.SIG_IGN}
    for number in stop.before:
        signal.signal(number, stop.receive)
    try:
        trainer.run()
        if not stop.signal:
            return 0, None
        path = os.path.join(
            trainer.out, f'snapshot_iter_{trainer.updater.iteration}')
        save_npz(path, trainer)
        return stop.signal, path
    finally:
        trainer.stop_trigger = given
        for number, handler in stop.before.items():
            signal.signal(number, handler)


_STOP_SIGNALS = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP')
                 if hasattr(signal, name)]


class _StopTrigger:
    """A trainer's stop trigger that also fires after a signal."""

    def __init__(self, trigger):
        self._trigger = trigger
        self.signal = 0

    def receive(self, number, frame):
        self.signal = number
        for other, handler in self.before.items():
            signal.signal(other, handler)
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write(
                f'\n{signal.Signals(number).name}: finishing the window, then a '
                'snapshot; once more to stop at once\n')

    def __call__(self, trainer):
        return self._trigger(trainer) or bool(self.signal)

    def serialize(self, serializer):
        if hasattr(self._trigger, 'serialize'):
            self._trigger.serialize(serializer)

    def get_training_length(self):
        return self._trigger.get_training_length()
