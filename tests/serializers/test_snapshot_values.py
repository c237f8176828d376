"""Any change of a value in a snapshot is refused without effect, or the run continues.
"""
import json
import math
import os
import warnings

import chainer
from chainer import links as L
from chainer.training import extensions, triggers
from helpers import classifier, extend, make_trainer, text
import numpy
import pytest

import rnnlm
from rnnlm.serializers import snapshot_files
from rnnlm.serializers.npz import Npz

# One of this many mutations is tried, unless all are requested.
EVERY = max(1, 10000 // int(os.environ.get('RNNLM_FUZZ_FILES', 10000)))


def plain(out):
    numpy.random.seed(0)
    trainer = extend(make_trainer(
        classifier(rnnlm.RNNForLM(20, 8)), text(), out, stop=(16, 'iteration')))
    trainer.extend(rnnlm.Snapshot(), trigger=(100, 'iteration'))
    return trainer


def everything(out):
    """Makes a trainer with as many stateful parts as can be combined."""
    numpy.random.seed(0)
    model = classifier(rnnlm.RNNForLM(20, 8))
    model.predictor.l2 = L.StatefulGRU(8, 8)
    optimizer = chainer.optimizers.Adam().setup(model)
    optimizer.loss_scaling()
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5, -1)
    trainer = extend(chainer.training.Trainer(
        updater, rnnlm.EarlyStoppingTrigger(
            check_trigger=(2, 'iteration'), monitor='main/loss',
            max_trigger=(16, 'iteration')), out=out))
    trainer.extend(extensions.ExponentialShift('alpha', 0.99), trigger=(
        3, 'iteration'))
    trainer.extend(lambda trainer: None, name='best', trigger=(
        triggers.MinValueTrigger('main/loss', (2, 'iteration'))))
    trainer.extend(lambda trainer: None, name='once', trigger=triggers.OnceTrigger())
    trainer.extend(lambda trainer: None, name='some', trigger=(
        triggers.ManualScheduleTrigger([2, 9], 'iteration')))
    trainer.extend(lambda trainer: None, name='time', trigger=(
        triggers.TimeTrigger(1e6)))
    return trainer


def arrays_of(trainer):
    trainer._start_at = trainer._start_at or 0.0
    saved = chainer.serializers.DictionarySerializer()
    saved.save(trainer)
    return {name: numpy.array(array) for name, array in saved.target.items()}


def same(name, a, b):
    if 'elapsed' in name or name.endswith(('_log', 'next_time')):
        return True  # depends on the clock
    return a.dtype == b.dtype and (
        numpy.array_equal(a, b) or a.dtype.kind == 'f' and numpy.array_equal(
            a, b, equal_nan=True))


def assert_same_trainer(trainer, before):
    after = arrays_of(trainer)
    assert after.keys() == before.keys()
    for name, array in before.items():
        assert same(name, array, after[name]), name


MISSING = object()


def mutations(array):
    """Yields replacements for a value: (description, array)."""
    yield 'missing', MISSING
    yield 'None', numpy.array(None)
    yield 'text', numpy.array('x\x1b[2J')
    yield 'text for each', numpy.full(array.shape, 'nan')
    yield 'bytes', numpy.array(b'[]')
    yield 'empty', numpy.empty(0)
    yield 'complex', numpy.full(array.shape, 1j)
    yield 'a bool', numpy.ones(array.shape, bool)
    yield 'structured', numpy.zeros(array.shape, [('a', 'f4')])
    yield 'a date', numpy.zeros(array.shape, 'M8[s]')
    for number in (0, -1, 625, 2 ** 31, 2 ** 63 - 1, -2 ** 63):
        yield f'{number}', numpy.full(array.shape, number, 'i8')
    yield 'unsigned', numpy.full(array.shape, 2 ** 64 - 1, 'u8')
    for number in (math.nan, math.inf, -math.inf, 1e300, 0.5, -3.0):
        yield f'{number}', numpy.full(array.shape, number)
    yield 'another shape', numpy.zeros(array.shape + (3,), array.dtype)
    yield 'one of it', numpy.zeros(1, array.dtype)
    if array.ndim:
        yield 'a scalar', numpy.zeros((), array.dtype)
        yield 'one less', array[:-1]
    if array.dtype.kind == 'U':
        for value in ('', '[', '{}', '[1]', '[{"epoch": null}]', '[[]]', 'NaN',
                      '[{"elapsed_time": NaN}]', '[{"iteration": "\x1b"}]',
                      '[{"iteration": 1e400}]', '[{"lr": "x"}]', '"ab"', '[' * 99999,
                      '[{"main/loss": 1%s}]' % ('0' * 5000), '[{"a": 1, "a": 2}]'):
            yield value[:20], numpy.array(value)


@pytest.mark.slow
@pytest.mark.parametrize('make', [plain, everything])
def test_any_value_of_a_snapshot(tmp_path, make):
    """Tries each replacement for each value."""
    trainer = make(str(tmp_path / 'out'))
    trainer.stop_trigger = lambda trainer: trainer.updater.iteration >= 7
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        trainer.run()
    trainer.stop_trigger = make(str(tmp_path / 'out')).stop_trigger
    arrays, path = arrays_of(trainer), str(tmp_path / 'snapshot')
    outcomes, failures, number = {'refused': 0, 'went on': 0}, [], 0
    for name in arrays:
        for what, value in mutations(arrays[name]):
            number += 1
            if number % EVERY:
                continue
            mutant = dict(arrays)
            del mutant[name]
            if value is not MISSING:
                mutant[name] = value
            rnnlm.save_npz(path, mutant)
            try:
                outcomes[try_one(make, path, str(tmp_path / 'out'))] += 1
            except Exception as e:
                failures.append(f'{name} as {what}: {type(e).__name__}: {e}')
    assert failures == []
    assert min(outcomes.values()) > number / EVERY / 50, outcomes


def try_one(make, path, out):
    trainer = make(out)
    before = arrays_of(trainer)
    trainer._start_at = None
    with warnings.catch_warnings(), numpy.errstate(all='ignore'):
        warnings.simplefilter('ignore')  # warnings about old snapshots
        try:
            rnnlm.resume(path, trainer)
        except rnnlm.InputError as e:
            assert str(e).isprintable() and len(str(e)) < 3000
            assert os.path.basename(path) in str(e) or 'state:' in str(e)
            assert_same_trainer(trainer, before)
            return 'refused'
        try:
            if trainer.updater.iteration < 16:
                trainer.run()
        except rnnlm.NotFinite:  # weights of 1e18 are valid, and lead to this
            return 'went on'
        saved = arrays_of(trainer)
    for name, array in saved.items():
        if array.dtype.kind == 'f' and 'model:' in name:
            assert numpy.isfinite(array).all(), name
    json.loads(str(saved['extensions/LogReport/_log']))
    return 'went on'


def test_values_that_crashed_python(tmp_path):
    """NumPy's set_state does not check the position."""
    trainer = plain(str(tmp_path))
    arrays, path = arrays_of(trainer), str(tmp_path / 'snapshot')
    before = numpy.random.get_state()[1].copy()
    for position in (10 ** 9, -1, 625, -2 ** 31):
        arrays['updater/random/position'] = numpy.array(position)
        rnnlm.save_npz(path, arrays)
        with pytest.raises(rnnlm.InputError, match='position.*from 0 to 624'):
            rnnlm.resume(path, trainer)
    arrays['updater/random/position'] = numpy.array(3)
    for keys in numpy.zeros(623, 'u4'), numpy.zeros((624, 1), 'u4'), numpy.zeros(624):
        arrays['updater/random/keys'] = keys
        rnnlm.save_npz(path, arrays)
        with pytest.raises(rnnlm.InputError, match='keys.*624 integers'):
            rnnlm.resume(path, trainer)
    numpy.testing.assert_array_equal(numpy.random.get_state()[1], before)


def test_an_extension_that_fails_leaves_the_trainer_as_it_was(tmp_path):
    class Picky(chainer.training.Extension):
        value = 1

        def serialize(self, serializer):
            self.value = serializer('value', self.value)
            if self.value > 5:
                raise LookupError('\x1b[2Jtoo large')

    def make():
        trainer = plain(str(tmp_path))
        trainer.extend(Picky(), name='Picky', priority=-1000)
        return trainer

    arrays, path = arrays_of(make()), str(tmp_path / 'snapshot')
    arrays['extensions/Picky/value'] = numpy.array(9)
    arrays['updater/iteration'] = numpy.array(5)
    rnnlm.save_npz(path, arrays)
    trainer = make()
    before = arrays_of(trainer)
    with pytest.raises(rnnlm.InputError, match=r'LookupError: .u001b\[2Jtoo large'):
        rnnlm.resume(path, trainer)
    assert_same_trainer(trainer, before)
    with Npz(path) as npz:
        npz.verify()


@pytest.mark.parametrize('window', [
    math.inf, -math.inf, math.nan, 1e300, 1.5, 1j, True, 'x', None, -1, 2 ** 62, [1]])
def test_an_invalid_window_number_is_ignored(tmp_path, window):
    """Such files are sorted by their number of windows before anything is checked."""
    numpy.savez(tmp_path / 'snapshot_epoch_9.npz',
                **{'updater/iteration': numpy.array(window)})
    assert snapshot_files.window_in(str(tmp_path / 'snapshot_epoch_9.npz')) is None
    assert snapshot_files.all_snapshots_in(str(tmp_path)) == []
