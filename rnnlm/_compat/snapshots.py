"""Patches for values that Chainer 7.8.1 leaves out of a snapshot, or cannot read back.

`ROWS` are rows of the table in `patches` that are always needed: (what, module, edits).
With them a resumed run equals an uninterrupted one.  Snapshots stay readable by Chainer
and the other way round, because added values have new names.
"""
import numpy

_OPTIMIZER = ("        return self._optimizer or trainer.updater.get_optimizer('main')",
              '        return _patches.snapshots.optimizer_of(self, trainer)')
_LAST_VALUE = ("self._last_value = serializer('_last_value', self._last_value)",
               'self._last_value = _patches.snapshots.serialize_rate(self, serializer)')
_T = ("        self._t = serializer('_t', self._t)\n",
      "        self._t = serializer('_t', self._t); "
      'self._last_value = _patches.snapshots.serialize_new_rate(self, serializer)\n')


def _begin(first):
    """Returns the edit of `initialize` that sets the first value, unless resumed."""
    return (f'            {first} = getattr(optimizer, self._attr)\n'
            '        else:\n'
            f'            setattr(optimizer, self._attr, {first})\n',
            f'            {first} = getattr(optimizer, self._attr)\n'
            '        _patches.snapshots.begin(\n'
            f'            self, trainer, {first})\n')


ROWS = (
    ('a resumed MultistepShift starts again from its first value',
     'chainer.training.extensions.multistep_shift', (_T, _begin('self._init'))),

    ('a resumed WarmupShift starts again from its first value',
     'chainer.training.extensions.warmup_shift', (_T, _begin('self._warmup_start'))),

    *((f'a resumed {name} discards a value that another extension has set',
       f'chainer.training.extensions.{module}', (_OPTIMIZER, _LAST_VALUE))
      for name, module in (
          ('ExponentialShift', 'exponential_shift'), ('InverseShift', 'inverse_shift'),
          ('LinearShift', 'linear_shift'), ('PolynomialShift', 'polynomial_shift'),
          ('StepShift', 'step_shift'))),

    ('the value that a shift has set is lost if its trigger will not fire again, or if '
     'snapshot(autoload=True) loads it after the shift has read the initial one',
     'chainer.training.trainer',
     (('        for _, entry in extensions:\n            initializer',
       '        for _, entry in _patches.snapshots.loading_first(extensions):\n'
       '            initializer'),
      ('            if initializer and not finished:',
       '            if initializer and (not finished or '
       '_patches.snapshots.is_shift(entry.extension)):'))),

    ('MSVAG resumes without the power of its decay rate',
     'chainer.optimizer',
     (("        self.t = serializer('t', self.t)\n        if self.state is None:",
       "        self.t = serializer('t', self.t); "
       '_patches.snapshots.serialize_power(self, serializer)\n'
       '        if self.state is None:'),)),

    # With strict=False, a value missing from the file is given its default.

    ('a LogReport that is not in the file cannot be loaded with strict=False',
     'chainer.training.extensions.log_report',
     (('self._log = json.loads(log)', 'self._log = json.loads(log) if log else []'),)),

    ('a PlotReport that is not in the file cannot be loaded with strict=False',
     'chainer.training.extensions.plot_report',
     (("            self._data = json.loads(\n"
       "                serializer('_plot_{}'.format(self._file_name), ''))",
       '            self._data = json.loads(serializer(\n'
       "                '_plot_{}'.format(self._file_name), json.dumps(self._data)))"),
      )),

    ('a summary that is not in the file cannot be loaded with strict=False',
     'chainer.reporter',
     (("json.loads(serializer('_names', ''))",
       "json.loads(serializer('_names', '') or '[]')"),)),

    # HDF5 lacks NumPy's unicode strings, and can store None only as an empty dataset.

    ('trainers with a LogReport cannot be saved, or read where a group is missing',
     'chainer.serializers.hdf5',
     (('            arr = _cpu._to_cpu(value)\n',
       '            arr = _patches.snapshots.hdf5_array(_cpu._to_cpu(value))\n'),
      ('                arr = numpy.asarray(value)\n'
       '                compression = None if arr.size <= 1 else compression\n',
       '                arr = _patches.snapshots.hdf5_array(numpy.asarray(value))\n'
       '                compression = None if (arr.size or 0) <= 1 else compression\n'),
      ("        name = self.group.name + '/' + key\n        try:",
       "        name = getattr(self.group, 'name', '') + '/' + key\n        try:"),
      ('        except ValueError:', '        except (AttributeError, ValueError):'),
      ("raise ValueError('Inexistent group is specified')",
       "raise _patches.snapshots.Missing('Inexistent group is specified')"))),
)


# Extensions that shift a hyperparameter --------------------------------------

def is_shift(extension):
    """Returns whether an extension is one of Chainer's hyperparameter shifts."""
    return hasattr(extension, '_attr') and hasattr(extension, '_last_value')


def loading_first(extensions):
    """Returns (name, entry) of extensions, those first that load a snapshot."""
    return sorted(extensions, key=lambda item: not getattr(
        item[1].extension, 'autoload', False))


def optimizer_of(shift, trainer):
    """Returns the optimizer that a shift changes, and stores it in the shift."""
    shift._seen = shift._optimizer or trainer.updater.get_optimizer('main')
    return shift._seen


def serialize_rate(shift, serializer):
    """Saves or loads the optimizer's current value, no matter who set it."""
    from chainer import Serializer
    value = None
    if isinstance(serializer, Serializer):
        value = getattr(shift, '_last_value', None)
        if hasattr(shift, '_seen'):
            value = getattr(shift._seen, shift._attr)
    value = serializer('_last_value', value)
    return value.item() if isinstance(value, numpy.ndarray) else value


def serialize_new_rate(shift, serializer):
    """Like `serialize_rate`, for a value that Chainer's own snapshots lack."""
    try:
        return serialize_rate(shift, serializer)
    except (KeyError, ValueError):
        return None  # see `begin`


def begin(shift, trainer, first):
    """Sets the first value of a shift, or the one that it resumes with."""
    value = getattr(shift, '_last_value', None)
    if value is None:
        value = _value_by_count(shift) if shift._t else first
    setattr(optimizer_of(shift, trainer), shift._attr, value)


def _value_by_count(shift):
    """Computes the value of MultistepShift or WarmupShift from its count of calls."""
    if hasattr(shift, '_gamma'):
        return shift._init * pow(shift._gamma, shift._current_step)
    end = shift._warmup_iter
    t = min(shift._t, end)
    return (t * shift._init + (end - t) * shift._warmup_start) / end if end else (
        shift._warmup_start)


# Update rules ----------------------------------------------------------------

def serialize_power(rule, serializer):
    """Saves or loads the `beta_power` of an `MSVAGRule`."""
    if not hasattr(rule, 'beta_power'):
        return
    try:
        power = serializer('beta_power', rule.beta_power)
    except (KeyError, ValueError):  # snapshot of plain Chainer: recompute it
        power = rule.hyperparam.beta
        for _ in range(rule.t):
            power *= rule.hyperparam.beta
    rule.beta_power = float(power)


# HDF5 ------------------------------------------------------------------------

class Missing(KeyError, ValueError):
    """Error for a value that is not in the file: KeyError as for npz, and ValueError.
    """


def hdf5_array(array):
    """Converts an array to what HDF5 can store: str to UTF-8 bytes, None to empty."""
    if array.dtype.kind == 'U':
        return numpy.char.encode(array, 'utf-8')
    if array.dtype == object and array.ndim == 0 and array[()] is None:
        import h5py
        return h5py.Empty('f')
    return array
