"""Trainer of Chainer 1.11 to 1.24: passes Variables, takes triggers as arguments."""
import copy
import functools

import chainer
from chainer import reporter
from chainer.iterators import OrderSampler
from chainer.iterators._statemachine import IteratorState
import numpy

from rnnlm.legacy import release


def _with_variables(function, **flags):
    """Wraps a function to be called with Variables instead of arrays."""
    def call(*args, **kwargs):
        return function(
            *(chainer.Variable(x, **flags) for x in args),
            **{name: chainer.Variable(x, **flags) for name, x in kwargs.items()})
    return call


def serial_init(original):
    """``SerialIterator`` before 5.0: gives the same order for the same seed."""
    def __init__(self, dataset, batch_size, repeat=True, shuffle=None, *args, **later):
        if release.before(5) and shuffle in (None, True) and not args and not later:
            later['order_sampler'], shuffle = Reshuffled(batch_size), None
        original(self, dataset, batch_size, repeat, shuffle, *args, **later)
    return __init__


class Reshuffled(OrderSampler):
    """Order sampler that permutes at first, then shuffles the previous order.

    Args:
        batch_size (int): Number of examples in a batch.
    """

    def __init__(self, batch_size):
        self._batch_size = batch_size

    def __call__(self, order, position):
        if position == 0 and (order == numpy.arange(len(order))).all():
            return numpy.random.permutation(len(order))
        if release.before(1, 15) and position + self._batch_size == len(order):
            return order  # a bug: not shuffled if batches divide an epoch evenly
        order = order.copy()
        numpy.random.shuffle(order)
        return order


def state_machine(original):
    """Until 5.4 no order was drawn at the end of an iterator that does not repeat."""
    def iterator_statemachine(state, batch_size, repeat, order_sampler, dataset_len):
        def sampler(order, position):
            return order_sampler(order, position) if repeat else order
        return original(state, batch_size, repeat, sampler, dataset_len)
    return iterator_statemachine


def iterator_state(name):
    """``iterator.epoch = 0``: until 5.4 a subclass could set what is a property now."""
    def attribute(original):
        def get(self):
            return getattr(self._state, name)

        def set_(self, value):
            state = vars(self).get('_state', IteratorState(0, 0, False, None))
            self._state = state._replace(**{name: value})
        return property(get, set_)
    return attribute


def updater_init(original):
    @functools.wraps(original)
    def __init__(self, iterator, optimizer, *args, **kwargs):
        if release.before(5) and len(args) < 5:
            # Until then an extension of the script called `optimizer.new_epoch`.
            kwargs.setdefault('auto_new_epoch', False)
        original(self, iterator, optimizer, *args, **kwargs)
        # The fourth argument; a number, which scripts compare with 0.
        self._device_as_given = kwargs.get('device', args[1] if args[1:] else None)
    return __init__


def updater_device(original):
    """``updater.device`` as it was given, usually a number.

    An updater that replaces ``__init__`` sets it.
    """
    def set_(self, device):
        self._device_as_given = device
        self._input_device = None if device is None else chainer.get_device(device)
    return property(lambda self: self._device_as_given, set_)


def epoch_detail(original):
    """``updater.epoch_detail``; until 1.17 an iterator could lack one."""
    def get(self):
        iterator = self.get_iterator('main')
        return getattr(iterator, 'epoch_detail', iterator.epoch)
    return property(get)


def update_core(original):
    """Passes Variables to the model; since 2.0 it gets arrays."""
    def update_core(self):
        given = self.loss_func
        # Chainer 7 calls loss_func with arrays; v1 called the target with Variables.
        self.loss_func = _with_variables(given or self.get_optimizer('main').target)
        try:
            original(self)
        finally:
            self.loss_func = given
    return update_core


def evaluator_init(original):
    """``evaluator.device`` as it was given."""
    @functools.wraps(original)
    def __init__(self, iterator, target, *args, **kwargs):
        original(self, iterator, target, *args, **kwargs)
        if (release.script or (1,)) < (2,):  # only `evaluate` below takes a number
            self.device = kwargs.get('device', args[1] if args[1:] else None)
    return __init__


def evaluate(original):
    """Passes volatile Variables to the model."""
    def evaluate(self):
        function = _with_variables(
            self.eval_func or self.get_target('main'), volatile='on')
        if self.eval_hook:
            self.eval_hook(self)
        iterator = self.get_iterator('main')
        if hasattr(iterator, 'reset') and not release.before(1, 23):
            iterator.reset()
        else:
            # As in v1: an iterator without reset is copied to leave it at its start.
            iterator = copy.copy(iterator)
        summary = reporter.DictSummary()
        for batch in iterator:
            observation = {}
            with reporter.report_scope(observation):
                arrays = self.converter(batch, self.device)
                if isinstance(arrays, dict):
                    function(**arrays)
                else:
                    function(*(arrays if isinstance(arrays, tuple) else (arrays,)))
            summary.add(observation)
        return summary.compute_mean()
    return evaluate


def snapshot(original):
    def snapshot(savefun=chainer.serializers.save_npz,
                 filename='snapshot_iter_{.updater.iteration}',
                 trigger=(1, 'epoch'), **later):
        extension = original(savefun=savefun, filename=filename, **later)
        extension.trigger = trigger
        return extension
    return snapshot


def snapshot_object(original):
    def snapshot_object(target, filename, savefun=chainer.serializers.save_npz,
                        trigger=(1, 'epoch'), **later):
        extension = original(target, filename, savefun=savefun, **later)
        extension.trigger = trigger
        return extension
    return snapshot_object


def snapshot_name(name):
    """Names a snapshot extension as until 5.4, for `get_extension` and in files."""
    def named(original):
        @functools.wraps(original)
        def make(*args, **kwargs):
            extension = original(*args, **kwargs)
            extension.name = name
            return extension
        return make
    return named


def extend(original):
    def extend(self, extension, name=None, trigger=None, priority=None,
               invoke_before_training=None, **later):
        if invoke_before_training is None:
            invoke_before_training = getattr(
                extension, 'invoke_before_training', False)
        later.setdefault('call_before_training', bool(invoke_before_training))
        original(self, extension, name, trigger, priority, **later)
    return extend


def make_extension(original):
    def make_extension(trigger=None, default_name=None, priority=None,
                       invoke_before_training=False, finalizer=None, **later):
        decorate = original(trigger, default_name, priority, finalizer, **later)

        def decorator(extension):
            extension = decorate(extension)
            extension.invoke_before_training = invoke_before_training
            return extension
        return decorator
    return make_extension


# Rows as in `table`: (name, since, instead, serve).
_UPDATER = 'chainer.training.updaters.StandardUpdater'
ROWS = (
    ('chainer.iterators._statemachine.iterator_statemachine', '6.0',
     'an order for each reset', state_machine),
    *((f'chainer.iterators.SerialIterator.{name}', '6.0', 'an order_sampler',
       iterator_state(name.lstrip('_')))
      for name in ('current_position', 'epoch', 'is_new_epoch', '_order')),
    (f'{_UPDATER}.__init__', '6.0', 'chainer.get_device', updater_init),
    (f'{_UPDATER}.device', '6.0', 'chainer.get_device', updater_device),
    # For an updater that replaces __init__.
    (f'{_UPDATER}.auto_new_epoch', '5.0', 'super().__init__', lambda original: False),
    (f'{_UPDATER}.epoch_detail', '1.18', 'iterator.epoch_detail', epoch_detail),
    (f'{_UPDATER}.update_core', '2.0', 'arrays', update_core),
    ('chainer.training.extensions.Evaluator.__init__', '6.0', 'chainer.get_device',
     evaluator_init),
    ('chainer.training.extensions.Evaluator.evaluate', '2.0', 'arrays', evaluate),
    *((f'chainer.training.extensions.{serve.__name__}', '2.0',
       'trainer.extend(..., trigger=)', serve)
      for serve in (snapshot, snapshot_object)),
    *((f'chainer.training.extensions.{name}', '6.0', 'its name, _Snapshot',
       snapshot_name(name)) for name in ('snapshot', 'snapshot_object')),
    ('chainer.training.Trainer.extend', '2.0', 'Extension.initialize', extend),
    ('chainer.training.make_extension', '2.0', 'initializer=', make_extension),
)
