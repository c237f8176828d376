"""Reading weights and snapshots that may come from anywhere; writing them whole."""
import contextlib
import os
import pickle
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
        except (OSError, ValueError, zipfile.BadZipFile) as e:
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
                return self._read_none(f, key, shape)
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

    def _read_none(self, f, key, shape):
        _read_header(f)
        try:
            value = _NoneUnpickler(f).load()
        except Exception:
            value = ()
        if shape != () or getattr(value, 'shape', None) != () or (
                value[()] is not None):
            raise InputError(
                f'{self.path}: {key!r} is a pickle.  Pickles can run code, Chainer '
                'writes none but None, and so it is not read')
        return value

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


class _NoneUnpickler(pickle.Unpickler):
    """Knows the three names that a pickled array of None consists of."""

    def find_class(self, module, name):
        if (module, name) in (('numpy', 'ndarray'), ('numpy', 'dtype')):
            return getattr(numpy, name)
        if name == '_reconstruct' and module in (
                'numpy.core.multiarray', 'numpy._core.multiarray'):
            return lambda *args: numpy.empty((), dtype=object)
        raise pickle.UnpicklingError('{}.{}'.format(module, name))


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
        prefix = model_prefix(npz)
        _check_shapes(npz, prefix, link)
        _Deserializer(npz, prefix).load(link)


def model_prefix(npz):
    """Where the model stands in a file: '', 'predictor/', 'updater/model:main/'..."""
    for name in npz:
        if ('/' + name).endswith('/embed/W'):
            return name[:-len('embed/W')]
    raise InputError(
        '{}: expected the parameters of an RNNForLM, found no embed/W'.format(
            npz.path))


def model_sizes(npz):
    """(n_vocab, n_units, n_layers) of the model in a file."""
    prefix = model_prefix(npz)
    n_vocab, n_units = npz.describe(prefix + 'embed/W')[0]
    n_layers = sum(
        re.fullmatch(re.escape(prefix) + r'l\d+/lateral/W', name) is not None
        for name in npz)
    return n_vocab, n_units, n_layers


def _check_shapes(npz, prefix, link):
    for name, param in link.namedparams():
        key = prefix + name.lstrip('/')
        if key not in npz:
            raise InputError(
                '{}: expected {!r} of shape {}, found nothing of that name; was it '
                'written by a model with another number of layers?'.format(
                    npz.path, key, param.shape))
        shape, _ = npz.describe(key)
        if shape != param.shape:
            raise InputError(
                '{}: expected {!r} of shape {}, found {}; give the numbers of units '
                'and layers, and the corpus, that it was trained with'.format(
                    npz.path, key, param.shape, shape))


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
                '{}: expected a snapshot of a trainer (snapshot_iter_N), found a '
                'file without updater/iteration; is it a model?'.format(path))
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            _check_shapes(npz, 'updater/model:{}/'.format(name), optimizer.target)
        try:
            with warnings.catch_warnings():
                # Old snapshots lack the triggers' memory; Chainer guesses it.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                _Deserializer(npz).load(trainer)
        except KeyError as e:
            raise InputError(
                '{}: expected a snapshot of a run with the same extensions, found '
                'no {}'.format(path, e)) from None


def run(trainer):
    """Runs a trainer; a signal to stop lets it finish its window and be saved.

    The first SIGINT or SIGTERM ends the run after the current window and writes
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
    stop = trainer.stop_trigger = _StopTrigger(trainer.stop_trigger)
    before = {number: signal.signal(number, stop.receive)
              for number in (signal.SIGINT, signal.SIGTERM)}
    stop.before = before
    try:
        trainer.run()
        if not stop.signal:
            return 0, None
        path = os.path.join(
            trainer.out, 'snapshot_iter_{}'.format(trainer.updater.iteration))
        save_npz(path, trainer)
        return stop.signal, path
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _StopTrigger:
    """A trainer's stop trigger that also fires after a signal."""

    def __init__(self, trigger):
        self._trigger = trigger
        self.signal = 0

    def receive(self, number, frame):
        self.signal = number
        for other, handler in self.before.items():
            signal.signal(other, handler)
        sys.stderr.write(
            '\n{}: finishing the window, then a snapshot; once more to stop at '
            'once\n'.format(signal.Signals(number).name))

    def __call__(self, trainer):
        return self._trigger(trainer) or bool(self.signal)

    def __getattr__(self, name):
        return getattr(self._trigger, name)
