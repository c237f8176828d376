"""A resumed run is bit-identical to an uninterrupted one, for everything with state.

Tested are all optimizers of Chainer, all its hooks, and all its extensions that shift a
hyperparameter, alone and in pairs, with several triggers.
"""
import itertools

import chainer
from chainer import optimizer_hooks, optimizers, serializers, training
from chainer.training import extensions, triggers
from helpers import assert_same_parameters, classifier, text
import numpy
import pytest

import rnnlm

WINDOWS = 4  # before and after the snapshot

OPTIMIZERS = sorted(
    name for name, cls in vars(optimizers).items()
    if isinstance(cls, type) and issubclass(cls, chainer.Optimizer))

HOOKS = {
    'GradientClipping': (1,), 'GradientHardClipping': (-.1, .1), 'GradientLARS': (),
    'GradientNoise': (.1,), 'Lasso': (1e-3,), 'WeightDecay': (1e-3,)}

# How to make each extension that shifts an attribute, here starting from 0.1.
SHIFTS = {
    'ExponentialShift': lambda attr: dict(attr=attr, rate=.7, init=.1),
    'InverseShift': lambda attr: dict(attr=attr, gamma=.3, power=.5, init=.1),
    'LinearShift': lambda attr: dict(
        attr=attr, value_range=(.1, .01), time_range=(1, 7)),
    'MultistepShift': lambda attr: dict(
        attr=attr, gamma=.5, step_value=[2, 3, 6], init=.1),
    'PolynomialShift': lambda attr: dict(attr=attr, rate=.5, max_count=9, init=.1),
    'StepShift': lambda attr: dict(attr=attr, gamma=.5, step=2, init=.1),
    'WarmupShift': lambda attr: dict(
        attr=attr, warmup_start=.01, warmup_iter=3, init=.1)}

TRIGGERS = [
    lambda: (1, 'iteration'), lambda: (3, 'iteration'), lambda: (1, 'epoch'),
    lambda: triggers.ManualScheduleTrigger([1, 2], 'iteration'),
    lambda: triggers.ManualScheduleTrigger([2, 3, 6], 'iteration')]


def rate_of(optimizer):
    return next(name for name in ('lr', 'alpha', 'rho')
                if name in optimizer.hyperparam.get_dict())


def make(out, optimizer='SGD', shifts=(), hook=None):
    """Makes a trainer; `shifts` are pairs of a name and a trigger."""
    numpy.random.seed(0)
    model = classifier(rnnlm.RNNForLM(20, 8))
    optimizer = getattr(optimizers, optimizer)().setup(model)
    if hook:
        optimizer.add_hook(getattr(optimizer_hooks, hook)(*HOOKS[hook]))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(103), 4), optimizer, 5)
    trainer = training.Trainer(updater, (2 * WINDOWS, 'iteration'), out=str(out))
    for name, trigger in shifts:
        trainer.extend(getattr(extensions, name)(**SHIFTS[name](rate_of(optimizer))),
                       trigger=trigger())
    trainer.extend(extensions.snapshot(), trigger=(WINDOWS, 'iteration'))
    return trainer


def check(tmp_path, load=rnnlm.resume, **kwargs):
    """Compares an uninterrupted run with one that is resumed from its middle."""
    whole = make(tmp_path, **kwargs)
    rates = [record_rates(whole)]
    whole.run()
    resumed = make(tmp_path / 'resumed', **kwargs)
    numpy.random.rand(7)
    load(str(tmp_path / f'snapshot_iter_{WINDOWS}'), resumed)
    rates.append(record_rates(resumed))
    resumed.run()
    assert rates[1] == rates[0][WINDOWS:], kwargs
    assert_same_parameters(resumed, whole)


def record_rates(trainer):
    """Records the rate of each window's update."""
    rates, optimizer = [], trainer.updater.get_optimizer('main')
    optimizer.add_hook(lambda o: rates.append(getattr(o, rate_of(o))), 'record')
    return rates


def test_all_kernels_are_made_wrong():
    assert len(OPTIMIZERS) >= 15
    assert set(HOOKS) == {name for name, value in vars(optimizer_hooks).items()
                          if isinstance(value, type)}
    assert set(SHIFTS) == {name for name in vars(extensions) if name.endswith('Shift')}


@pytest.mark.filterwarnings('ignore:invalid value encountered in')  # by MSVAG: 0 / 0
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_optimizers_and_shifts(tmp_path, optimizer):
    ways = itertools.cycle(itertools.product(
        TRIGGERS, [rnnlm.resume, serializers.load_npz]))
    for shift in SHIFTS:
        trigger, load = next(ways)
        check(tmp_path, load, optimizer=optimizer, shifts=[(shift, trigger)])


@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize('trigger', range(len(TRIGGERS)))
def test_shifts_at_all_triggers(tmp_path, shift, trigger):
    check(tmp_path, shifts=[(shift, TRIGGERS[trigger])])


@pytest.mark.parametrize('first', SHIFTS)
def test_two_shifts_of_one_rate(tmp_path, first):
    """The last shift to be initialised is not the one that has set the rate."""
    for second in SHIFTS:
        check(tmp_path, shifts=[(first, TRIGGERS[0]), (second, TRIGGERS[3])])


@pytest.mark.parametrize('hook', HOOKS)
def test_hooks(tmp_path, hook):
    check(tmp_path, hook=hook)


@pytest.mark.skipif(not hasattr(numpy.random, 'set_bit_generator'), reason=(
    'NumPy 1.23 has one generator behind numpy.random'))
def test_another_generator_of_random_numbers_is_not_saved(tmp_path, caplog):
    """Such a snapshot can still be loaded, as by Chainer."""
    before = numpy.random.get_bit_generator()
    try:
        numpy.random.set_bit_generator(numpy.random.PCG64(3))
        trainer = make(tmp_path)
        trainer.run()
        serializers.save_npz(str(tmp_path / 'snapshot'), trainer)
        assert 'expected its default, MT19937, found PCG64' in caplog.text
        for generator in numpy.random.PCG64(3), before:
            numpy.random.set_bit_generator(generator)
            serializers.load_npz(str(tmp_path / 'snapshot'), make(tmp_path))
    finally:
        numpy.random.set_bit_generator(before)
