"""Loading weights and snapshots, writing them whole, stopping on a signal."""
import contextlib
import math
import os
import re
import signal
import sys
import threading
import warnings

import chainer
from chainer import training

from rnnlm.archives import open_archive
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


class Deserializer(chainer.serializers.NpzDeserializer):
    """Chainer's, for the files of all its versions."""

    def __getitem__(self, key):
        return Deserializer(self.npz, self.path + key.strip('/') + '/', self.strict,
                            self.ignore_names)

    def __call__(self, key, value):
        # Chainer 1 counted updates in the optimizer alone, later versions also
        # in each parameter's rule.
        folder = self.path.rstrip('/')
        if key == 't' and self.path + key not in self.npz:
            while folder:
                folder = folder.rpartition('/')[0]
                above = f'{folder}/t' if folder else 't'
                if above in self.npz:
                    return int(self.npz[above])
        return super().__call__(key, value)


def load_model(path, target):
    """Loads parameters from a model file or from a snapshot of a trainer.

    Args:
        path (str): npz or HDF5 file that Chainer, any version, or this package
            wrote.
        target: An `RNNForLM`, or a Classifier around one.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read, or holds a model of
            other sizes; `target` is then unchanged.
    """
    link = getattr(target, 'predictor', target)
    with open_archive(path) as npz:
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
    """The sizes of the model in a file, as `RNNForLM` takes them.

    Returns:
        dict: 'n_vocab', 'n_units', 'n_layers', and where they are not as always
        'n_embed' and 'tied'.
    """
    prefix = model_prefix(npz)

    def shape(name):
        found, _ = npz.describe(prefix + name)
        if len(found) != 2:
            raise InputError(
                f'{npz.path}: expected {name} of two dimensions, found {found}')
        return found

    n_vocab, n_embed = shape('embed/W')
    n_layers = sum(
        re.fullmatch(re.escape(prefix) + r'l\d+/lateral/W', name) is not None
        for name in npz)
    sizes = {'n_vocab': n_vocab, 'n_units': n_embed, 'n_layers': n_layers}
    if prefix + 'l1/lateral/W' in npz:
        sizes['n_units'] = shape('l1/lateral/W')[1]
    if n_embed != sizes['n_units']:
        sizes['n_embed'] = n_embed
    output = f'{prefix}l{n_layers + 1}/'
    if output + 'b' in npz and output + 'W' not in npz:
        sizes['tied'] = True
    return sizes


def describe(archive):
    """What a file holds and what wrote it, by its names and headers alone.

    Args:
        archive: As of `rnnlm.archives.open_archive`.

    Returns:
        dict: 'format', 'kind', 'written by', 'model' (its sizes or None) and 'arrays'
        (name -> 'shape' and 'dtype').
    """
    arrays = {}
    for name in sorted(archive):
        shape, dtype = archive.describe(name)
        arrays[name] = {'shape': list(shape),
                        'dtype': 'None' if dtype.hasobject else str(dtype)}
    try:
        sizes = model_sizes(archive)
    except InputError:
        sizes = None
    if 'updater/iteration' in archive:
        kind, writer = 'snapshot of a trainer', _writer(archive)
    else:
        kind = 'model' if sizes else 'optimizer' if 't' in archive else 'arrays'
        writer = 'Chainer 1.5 or later, or rnnlm: all name a model alike'
    return {'format': type(archive).__name__.lower(), 'kind': kind,
            'written by': writer, 'model': sizes, 'arrays': arrays}


def _writer(archive):
    """What wrote a trainer's snapshot: each release added names of its own."""
    if 'updater/random/keys' in archive:
        return 'rnnlm'
    if any(name.startswith('stop_trigger/') for name in archive):
        return 'Chainer 3 to 7'
    if any(name.startswith('updater/optimizer:') and name.count('/') > 2
           and name.endswith('/t') for name in archive):
        return 'Chainer 2'
    return 'Chainer 1.11 to 1.24'


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
    with open_archive(path) as npz:
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
                Deserializer(npz).load(trainer)
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


class BestModel(training.Extension):
    """Keeps the model of the lowest validation loss in a file.

    Args:
        target: The link to save, a Classifier say.
        path (str): File to write.
        key (str): What is reported of the validation.
    """
    trigger = 1, 'epoch'

    def __init__(self, target, path, key='validation/main/loss'):
        self.target = target
        self.path = path
        self.key = key
        self.loss = math.inf

    def __call__(self, trainer):
        loss = float(trainer.observation.get(self.key, math.inf))
        if loss < self.loss:
            self.loss = loss
            save_npz(self.path, self.target)

    def load(self):
        """Gives the target the parameters that were best, if any were."""
        if self.loss < math.inf:
            load_model(self.path, self.target)

    def serialize(self, serializer):
        try:
            self.loss = float(serializer('loss', self.loss))
        except KeyError:  # a snapshot of a run without it
            pass


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
