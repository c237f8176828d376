"""Loading of files of every Chainer release in scripts, without running a pickle.

A release reads the files that it wrote.  For values that later releases added, this
module supplies what the old release would have used.
"""
import contextlib
import shutil
import tempfile
import warnings

from chainer import serializer as serializers
from chainer.iterators import ShuffleOrderSampler
from chainer.serializers import NpzDeserializer, hdf5

from rnnlm.legacy.training import Reshuffled, serial_init
from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.serializers.npz import Npz

# Keys that a class has written only since a later release -> (release, default for
# older files; None for the value that the object has).
# Keys whose absence Chainer's own classes handle are not listed.
LATER = {
    '_snapshot_elapsed_time': ('1.18', None),  # of Trainer
    '_last_value': ('2.0', None),              # of ExponentialShift, LinearShift
    't': ('3.4', None),                        # of a rule: 2.0 to 3.3 restarted at 0
    '_original_flag': ('5.3', None),           # of dump_graph
    '_flag_called': ('5.3', True),             # it was called in the first iteration
    'best_value': ('6.0', None),               # of MaxValueTrigger, MinValueTrigger
}


class Lenient(serializers.Deserializer):
    """Deserializer for which the keys of `LATER` are optional.

    Args:
        deserializer (chainer.Deserializer): Chainer's for npz or HDF5, or ours.
    """

    def __init__(self, deserializer, above=None):
        self._inner = deserializer
        self._above = above

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __getitem__(self, key):
        return Lenient(self._inner[key], self)

    def __call__(self, key, value):
        found, got = self._look_up(key, value)
        if found:
            return got
        if key in LATER and (key != 't' or self._counted_above()):
            default = LATER[key][1]
            return value if default is None else default
        return self._inner(key, value)  # raises an error with the missing key

    def _counted_above(self):
        """Returns whether this is an update rule of an optimizer that has a ``t``."""
        at = self._above
        while at is not None and not at._look_up('t', 0)[0]:
            at = at._above
        return at is not None

    def has(self, key):
        """Returns whether the file has a value of this name at the top level."""
        top = self
        while top._above is not None:
            top = top._above
        return top._look_up(key, None)[0]

    def _look_up(self, key, value):
        """Returns (whether the file has the key, the loaded value)."""
        try:
            return True, self._inner(key, value)
        except KeyError:
            return False, None
        except ValueError as e:
            if 'Inexistent group' in str(e):  # Chainer's error for HDF5
                return False, None
            raise


def load(original):
    """``deserializer.load(obj)``, through which every file is loaded."""
    def load(self, obj):
        obj.serialize(Lenient(self))
    return load


def interval_serialize(original):
    """`IntervalTrigger`, whose state was not saved before 3.0.

    Until 1.17 it fired at the end of an epoch.  From 1.18 to 2.1 it counted periods,
    starting from 0 after resuming, so that it fires in the first iteration.
    """
    def serialize(self, serializer):
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'The previous value of')
            original(self, serializer)
        if isinstance(serializer, Lenient) and self._previous_epoch_detail < 0:
            if serializer.has('_snapshot_elapsed_time'):
                self._previous_epoch_detail = 0.
            if serializer.has('stop_trigger/previous_iteration'):
                self._previous_iteration = 0  # LogReport before 4.0
    return serialize


def quiet_serialize(original):
    """Silences `LogReport` and others, which warn that old files lack statistics."""
    def serialize(self, serializer):
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', '.*(is|are) not saved')
            original(self, serializer)
    return serialize


def iterator_serialize(original):
    """`SerialIterator`, which until 5.0 shuffled the order of the last epoch."""
    def serialize(self, serializer):
        original(self, serializer)
        if (isinstance(serializer, Lenient) and _is_before_4(serializer)
                and type(self.order_sampler) is ShuffleOrderSampler):
            self.order_sampler = Reshuffled(self.batch_size)
    return serialize


def _is_before_4(serializer):
    """Returns whether a trainer's file shows that it is older than 4.0."""
    if not serializer.has('updater/iteration'):
        return False
    return not serializer.has('stop_trigger/previous_iteration') or (
        serializer.has('extensions/LogReport/_log')
        and not serializer.has('extensions/LogReport/_trigger/previous_iteration'))


def previous_epoch_detail(original):
    """``updater.previous_epoch_detail``, also for iterators from before 1.23."""
    def get(self):
        try:
            return original.fget(self)
        except AttributeError:
            # In the previous epoch if the current one has just started.
            return self.epoch - 0.5 if self.is_new_epoch else self.epoch_detail
    return property(get)


def shift_serialize(original):
    """`ExponentialShift` and `LinearShift`, whose value has been saved since 2.0.

    Until 1.24 the saved ``_t`` was one ahead.  1.24 corrected this when resuming;
    earlier releases continued with the next value.
    """
    def serialize(self, serializer):
        original(self, serializer)
        if isinstance(serializer, Lenient) and self._last_value is None:
            if _from_1_24(serializer):
                self._t -= 1
            self._t_is_loaded = True
    return serialize


def _from_1_24(serializer):
    """Returns whether a file of 1.11 to 1.24 was probably written by 1.24."""
    return serializer.has('_snapshot_elapsed_time') and not serializer.has(
        'updater/iterator:main/_order')


def shift_initialize(original):
    """Recomputes the value that files before 2.0 do not store."""
    def initialize(self, trainer):
        original(self, trainer)
        if vars(self).pop('_t_is_loaded', False):
            self._t -= 1
            self(trainer)
    return initialize


def load_npz(original):
    """``load_npz``, which runs no code from the file; ``filename=`` until 3.0."""
    def load_npz(file=None, obj=None, path='', strict=True, ignore_names=None, *,
                 filename=None):
        with _opened(Npz, file, filename) as npz:
            NpzDeserializer(npz, path, strict, ignore_names).load(obj)
    return load_npz


def load_hdf5(original):
    """``load_hdf5``, which cannot crash this process."""
    def load_hdf5(filename, obj):
        hdf5._check_available()
        with _opened(Hdf5, filename) as archive:
            NpzDeserializer(archive).load(obj)
    return load_hdf5


def save_npz(original):
    """``save_npz``, whose first argument was ``filename`` until 3.0."""
    def save_npz(file=None, obj=None, compression=True, *, filename=None):
        original(filename if file is None else file, obj, compression)
    return save_npz


class _Copy(Npz):
    """Npz file that is already open."""

    def _open(self):
        file = tempfile.TemporaryFile()
        shutil.copyfileobj(self.path, file)
        file.seek(0)
        return file


@contextlib.contextmanager
def _opened(kind, file, filename=None):
    """Opens an archive; errors of the system are OSErrors, as scripts expect."""
    file = filename if file is None else file
    if file is None:
        raise TypeError('expected a file to load, found none')
    if hasattr(file, 'read'):
        archive = _Copy(file)
    else:
        try:
            open(file, 'rb').close()
        except FileNotFoundError as e:
            raise FileNotFoundError(
                e.errno, 'expected a file that Chainer saved, found nothing there',
                e.filename) from None
        archive = kind(file)
    with archive:
        yield archive


# Rows as in `table`: (name, since, instead, serve).
ROWS = (
    ('chainer.serializer.Deserializer.load', '3.0',
     'nothing: a file lacks what its release did not write', load),
    *((f'chainer.serializers.{module}{serve.__name__}', '3.0', 'file=', serve)
      for serve in (load_npz, save_npz) for module in ('', 'npz.')),
    *((f'chainer.serializers.{module}load_hdf5', '3.4',
       'nothing: t was not in each rule', load_hdf5) for module in ('', 'hdf5.')),
    ('chainer.training.triggers.IntervalTrigger.serialize', '3.0',
     'a state in the file', interval_serialize),
    ('chainer.iterators.SerialIterator.__init__', '5.0', 'order_sampler=', serial_init),
    ('chainer.iterators.SerialIterator.serialize', '5.0', 'order_sampler=',
     iterator_serialize),
    *((f'chainer.training.{owner}.serialize', since, 'a state in the file',
       quiet_serialize)
      for owner, since in (('extensions.LogReport', '3.3'),
                           ('triggers.ManualScheduleTrigger', '3.0'),
                           ('triggers.BestValueTrigger', '6.0'),
                           ('triggers.OnceTrigger', '6.0'))),
    ('chainer.training.updaters.StandardUpdater.previous_epoch_detail', '1.23',
     'iterator.previous_epoch_detail', previous_epoch_detail),
    *((f'chainer.training.extensions.{owner}.{name}', '2.0', '_last_value', serve)
      for owner in ('ExponentialShift', 'LinearShift')
      for name, serve in (('serialize', shift_serialize),
                          ('initialize', shift_initialize))),
)
