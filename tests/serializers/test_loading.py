"""Resuming is exact; untrusted files are read without running code."""
import io
import os
import pickle
import zipfile

import chainer
from chainer.training import extensions
from helpers import Record, classifier, extend, make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.parallel import SingleProcess
from rnnlm.serializers.model_files import read_structure
from rnnlm.serializers.npz import Npz, _NONE, _operations


@pytest.mark.parametrize('stop', [1, 7, 16])
def test_resume_equals_uninterrupted_to_the_bit(tmp_path, stop):
    def run(out, iterations, snapshot=None, seed=0):
        model = small(seed=seed)
        trainer = extend(make_trainer(
            model, text(), tmp_path / out, stop=(iterations, 'iteration')))
        if snapshot:
            rnnlm.resume(snapshot, trainer)
        record = Record()
        trainer.extend(record)
        trainer.run()
        return model, trainer, record.seen

    model, trainer, seen = run('whole', 20)
    _, first, seen_first = run('first', stop)
    rnnlm.save_npz(str(tmp_path / 'snapshot'), first)
    numpy.random.rand(17)
    resumed, second, seen_second = run(
        'second', 20, str(tmp_path / 'snapshot'), seed=123)
    assert seen_first + seen_second == seen
    for p, q in zip(model.params(), resumed.params()):
        numpy.testing.assert_array_equal(p.array, q.array)
    log, log_resumed = (t.get_extension('LogReport').log for t in (trainer, second))
    for entry in log + log_resumed:
        del entry['elapsed_time']
    assert log == log_resumed


def test_chainer_itself_reads_our_snapshots(tmp_path):
    model = small()
    trainer = extend(make_trainer(model, text(), tmp_path, stop=(4, 'iteration')))
    trainer.run()
    rnnlm.save_npz(str(tmp_path / 'snapshot'), trainer)
    other = extend(make_trainer(small(seed=1), text(), tmp_path))
    chainer.serializers.load_npz(str(tmp_path / 'snapshot'), other)
    assert other.updater.iteration == 4
    target = other.updater.get_optimizer('main').target
    for p, q in zip(model.params(), target.params()):
        numpy.testing.assert_array_equal(p.array, q.array)


@pytest.mark.parametrize('version', ['1.24.0', '7.8.1'])
def test_resume_from_chainers_own_snapshots(tmp_path, path_of, version):
    model = classifier(rnnlm.RNNForLM(97, 16))
    words = numpy.arange(1000, dtype='i') % 97
    trainer = make_trainer(model, words, tmp_path, B=4, T=5, stop=(65, 'iteration'))
    trainer.extend(extensions.LogReport(trigger=(20, 'iteration')))
    rnnlm.resume(
        path_of('snapshots', 'chainer-' + version, 'snapshot_iter_60'), trainer)
    assert trainer.updater.iteration == 60 and trainer.updater.resumed_from == 1
    assert trainer.updater.get_iterator('main').iteration == 300
    assert len(trainer.get_extension('LogReport').log) == 3
    assert trainer.updater.get_optimizer('main').t == 60
    assert model.predictor.l1.upward.W.update_rule.t == 60
    trainer.run()
    assert trainer.updater.iteration == 65


@pytest.mark.parametrize('make, prefix', [
    (lambda model: model, 'predictor/'), (lambda model: model.predictor, '')])
@pytest.mark.parametrize('into_classifier', [False, True])
def test_model_files_load_into_either(tmp_path, make, prefix, into_classifier):
    model = small()
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, make(model))
    with Npz(path) as npz:
        assert prefix + 'embed/W' in npz
        assert read_structure(npz).arguments() == dict(
            n_vocab=20, n_units=8, n_layers=2)
    other = small(seed=1)
    rnnlm.load_model(path, other if into_classifier else other.predictor)
    for p, q in zip(model.params(), other.params()):
        numpy.testing.assert_array_equal(p.array, q.array)


@pytest.mark.parametrize('sizes', [
    dict(n_layers=3), dict(n_embed=5), dict(tied=True), dict(n_layers=1, tied=True)])
def test_sizes_are_read_from_a_file(tmp_path, sizes):
    path = str(tmp_path / 'model.npz')
    sizes = {**dict(n_vocab=20, n_units=8, n_layers=2), **sizes}
    rnnlm.save_npz(path, rnnlm.RNNForLM(**sizes))
    with Npz(path) as npz:
        assert read_structure(npz).arguments() == sizes


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('exploded',)


def npz_with(path, **members):
    """Writes an npz file whose members are given as bytes."""
    with zipfile.ZipFile(path, 'w') as z:
        for name, data in members.items():
            z.writestr(name + '.npy', data)
    return str(path)


def npy(array):
    f = io.BytesIO()
    numpy.lib.format.write_array(f, array, allow_pickle=True)
    return f.getvalue()


def test_none_is_the_only_pickle_that_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = npy(numpy.array(None))[:128]
    bomb = npy(numpy.array(Bomb(), dtype=object))
    path = npz_with(
        tmp_path / 'x.npz', none=npy(numpy.array(None)), bomb=bomb,
        raw=header + pickle.dumps(Bomb()), text=npy(numpy.array('s', dtype=object)),
        several=npy(numpy.array([None, None])))
    # numpy.save of NumPy before 2 wrote another module name.
    assert _operations(npy(numpy.array(None))[128:].replace(
        b'\x16numpy._core', b'\x15numpy.core')) in _NONE
    with Npz(path) as archive:
        assert archive['none'][()] is None
        for name in 'bomb', 'raw', 'text', 'several':
            with pytest.raises(rnnlm.InputError, match='is a pickle'):
                archive[name]
    assert not os.path.exists('exploded')
    with numpy.load(path, allow_pickle=True) as npz:
        npz['bomb']  # the pickle really is dangerous
    assert os.path.exists('exploded')


def test_a_pickle_of_pointers_is_not_followed(tmp_path):
    # A pickle of numpy.dtype('O') with flags that claim it holds no objects: unpickling
    # with NumPy would take the bytes for addresses.
    bomb = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01bt"
            b"R(I1\n(tcnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\n"
            b"I0\ntbI00\nC\x08AAAAAAAAtb.")
    path = npz_with(tmp_path / 'p.npz', x=npy(numpy.array(None))[:128] + bomb)
    with Npz(path) as npz, pytest.raises(rnnlm.InputError, match='pickle'):
        npz['x']


def test_bad_files_are_refused(tmp_path):
    model = small()
    good = str(tmp_path / 'good.npz')
    rnnlm.save_npz(good, model)
    with open(good, 'rb') as f:
        data = f.read()
    before = [p.array.copy() for p in model.params()]

    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    for path in (
            write('empty', b''), write('text', b'hello'),
            write('cut', data[:len(data) // 2]), write('pickle', pickle.dumps(Bomb())),
            write('npy', npy(numpy.zeros(3))), str(tmp_path),
            str(tmp_path / 'nothing'),
            npz_with(tmp_path / 'other.npz', a=npy(before[0])),
            npz_with(tmp_path / 'junk.npz', **{'predictor/embed/W': b'junk'})):
        with pytest.raises(rnnlm.InputError, match='expected|cannot read'):
            rnnlm.load_model(path, model)
    for p, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(p.array, array)


@pytest.mark.parametrize('sizes, found', [
    ((21, 8), r'embed/W.*\(21, 8\), found \(20, 8\)'),
    ((20, 9), r'embed/W.*\(20, 9\), found \(20, 8\)'),
    ((20, 8, 3), r'l4/W.*found nothing|l3/')])
def test_other_sizes_are_refused_before_anything_changes(tmp_path, sizes, found):
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    trainer.run()
    path = str(tmp_path / 'snapshot')
    rnnlm.save_npz(path, trainer)
    other = classifier(rnnlm.RNNForLM(*sizes))
    before = [p.array.copy() for p in other.params()]
    with pytest.raises(rnnlm.InputError, match=found):
        rnnlm.load_model(path, other)
    with pytest.raises(rnnlm.InputError, match=found):
        rnnlm.resume(path, make_trainer(other, text(), tmp_path))
    for p, array in zip(other.params(), before):
        numpy.testing.assert_array_equal(p.array, array)


def test_a_damaged_member_changes_nothing(tmp_path):
    model = small()
    good = str(tmp_path / 'good.npz')
    rnnlm.save_npz(good, model)
    with Npz(good) as npz:
        members = {name: npy(npz[name]) for name in npz}
    before = [p.array.copy() for p in model.params()]
    key = 'predictor/l3/W'
    huge = npy(numpy.zeros((20, 8), 'f')).replace(
        b"'shape': (20, 8), }          ", b"'shape': (10000000, 1000000), }")
    for name, data in (
            ('cut', members[key][:-9]), ('text', npy(numpy.full((20, 8), 'x'))),
            ('complex', npy(numpy.zeros((20, 8), 'F'))), ('huge', huge),
            ('none', npy(numpy.array(None)))):
        path = npz_with(tmp_path / f'{name}.npz', **dict(members, **{key: data}))
        other = small(seed=9)
        kept = [p.array.copy() for p in other.params()]
        with pytest.raises(rnnlm.InputError, match='l3/W'):
            rnnlm.load_model(path, other)
        for p, array in zip(other.params(), kept):
            numpy.testing.assert_array_equal(p.array, array)
    path = npz_with(tmp_path / 'huge_w.npz', **{'predictor/embed/W': huge})
    with Npz(path) as npz, pytest.raises(rnnlm.InputError, match='damaged'):
        npz['predictor/embed/W']
    for p, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(p.array, array)


@pytest.mark.parametrize('name', ['updater/random/keys', 'updater/state/l2/h', 'more'])
def test_a_damaged_snapshot_changes_nothing(tmp_path, name):
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    trainer.run()
    path = str(tmp_path / 'snapshot')
    arrays = chainer.serializers.DictionarySerializer()
    arrays.save(trainer)
    arrays.target['more'] = numpy.arange(99)  # which is never loaded
    rnnlm.save_npz(path, arrays.target)
    with open(path, 'rb') as f:
        data = bytearray(f.read())
    # A bit of an array that is loaded after the parameters, not part of a header.
    data[data.index(numpy.ascontiguousarray(arrays.target[name]).tobytes()) + 9] ^= 4
    with open(path, 'wb') as f:
        f.write(data)
    model = small(seed=1)
    other = make_trainer(model, text(), tmp_path)
    before = [p.array.copy() for p in model.params()]
    with pytest.raises(rnnlm.InputError, match='damaged'):
        rnnlm.resume(path, other)
    assert other.updater.iteration == 0
    for p, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(p.array, array)


@pytest.mark.parametrize('name, value', [
    ('updater/iteration', 'x'), ('updater/state/l1/c', numpy.zeros((4, 9), 'f'))])
def test_a_snapshot_that_does_not_fit_is_refused(tmp_path, name, value):
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    trainer.run()
    arrays = chainer.serializers.DictionarySerializer()
    arrays.save(trainer)
    arrays.target[name] = numpy.asarray(value)
    rnnlm.save_npz(str(tmp_path / 'snapshot'), arrays.target)
    with pytest.raises(rnnlm.InputError, match=f'expected .{name}'):
        rnnlm.resume(str(tmp_path / 'snapshot'), trainer)


def test_all_of_the_random_stream_comes_back(tmp_path):
    path = str(tmp_path / 'snapshot')
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    trainer.run()
    numpy.random.normal()  # NumPy draws two at once, and caches the other
    rnnlm.save_npz(path, trainer)
    expected = numpy.random.normal(size=3)
    numpy.random.seed(3)
    rnnlm.resume(path, trainer)
    numpy.testing.assert_array_equal(numpy.random.normal(size=3), expected)
    # The other way round: here nothing is cached.
    numpy.random.seed(4)
    rnnlm.save_npz(path, trainer)
    expected = numpy.random.normal(size=3)
    numpy.random.normal(size=2)
    rnnlm.resume(path, trainer)
    numpy.testing.assert_array_equal(numpy.random.normal(size=3), expected)


def test_a_snapshot_of_another_number_of_processes(tmp_path):
    """Its random states are those of other ranks: each rank gets a new one."""
    class Counted(SingleProcess):
        separated = 0

        def separate_random_streams(self):
            self.separated += 1

    path, group = str(tmp_path / 'snapshot'), Counted()
    trainer = make_trainer(
        small(), text(), tmp_path, stop=(2, 'iteration'), group=group)
    trainer.run()
    arrays = chainer.serializers.DictionarySerializer()
    arrays.save(trainer)
    for processes, separated in (1, 0), (2, 1):
        arrays.target['updater/processes'] = processes
        rnnlm.save_npz(path, arrays.target)
        rnnlm.resume(path, trainer)
        assert (trainer.updater.resumed_from, group.separated) == (processes, separated)


@pytest.mark.parametrize('of_chainer', [False, True])
def test_a_snapshot_without_a_state_leaves_none(tmp_path, path_of, of_chainer):
    def trainer_of(model):
        words = numpy.arange(1000, dtype='i') % 97
        trainer = make_trainer(model, words, tmp_path, stop=(2, 'iteration'))
        trainer.extend(extensions.LogReport(trigger=(20, 'iteration')))
        return trainer

    model = classifier(rnnlm.RNNForLM(97, 16))
    trainer = trainer_of(model)
    trainer.run()
    path = path_of('snapshots', 'chainer-7.8.1', 'snapshot_iter_60')
    if not of_chainer:
        path = str(tmp_path / 'snapshot')
        state = model.predictor.get_state()
        model.predictor.reset_state()
        rnnlm.save_npz(path, trainer)
        model.predictor.set_state(state)
    assert model.predictor.get_state() is not None
    rnnlm.resume(path, trainer)
    assert model.predictor.get_state() is None


@pytest.mark.parametrize('first', ['updater/model:a/', 'a/', ''])
def test_the_main_model_of_several_is_loaded(tmp_path, first):
    path = str(tmp_path / 'snapshot')
    arrays = {}
    for prefix, model in ((first, rnnlm.RNNForLM(30, 5)),
                          ('updater/model:main/predictor/', small().predictor),
                          ('updater/model:z/', rnnlm.RNNForLM(40, 6))):
        arrays.update((prefix + name.lstrip('/'), param.array)
                      for name, param in model.namedparams())
    rnnlm.save_npz(path, arrays)
    with Npz(path) as npz:
        assert read_structure(npz).arguments() == dict(
            n_vocab=20, n_units=8, n_layers=2)
    loaded = small(seed=1)
    rnnlm.load_model(path, loaded)
    for p, q in zip(small().params(), loaded.params()):
        numpy.testing.assert_array_equal(p.array, q.array)


def test_another_optimizer_is_refused(tmp_path):
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    trainer.run()
    rnnlm.save_npz(str(tmp_path / 'snapshot'), trainer)
    other = make_trainer(small(), text(), tmp_path)
    other.updater._optimizers['main'] = chainer.optimizers.Adam().setup(small())
    with pytest.raises(rnnlm.InputError, match='same optimizer'):
        rnnlm.resume(str(tmp_path / 'snapshot'), other)


def test_learning_rate_after_a_resume_goes_on_from_the_first_one(tmp_path):
    def run(stop, snapshot=None, lr=1.0):
        trainer = make_trainer(
            small(), text(200), tmp_path, stop=(stop, 'epoch'), lr=lr)
        trainer.extend(rnnlm.LearningRateDecay(2, 1))
        if snapshot:
            rnnlm.resume(snapshot, trainer)
        trainer.run()
        return trainer

    rnnlm.save_npz(str(tmp_path / 'snapshot'), run(2))
    trainer = run(4, str(tmp_path / 'snapshot'), lr=0.7)
    assert trainer.updater.get_optimizer('main').lr == 2 ** -4


def test_a_model_is_no_snapshot(tmp_path):
    path = str(tmp_path / 'model.npz')
    model = small()
    rnnlm.save_npz(path, model)
    with pytest.raises(rnnlm.InputError, match='expected a snapshot of a trainer'):
        rnnlm.resume(path, make_trainer(model, text(), tmp_path))


def test_persistent_values_are_loaded(tmp_path):
    class Normalized(rnnlm.RNNForLM):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.norm = chainer.links.BatchNormalization(8)

    model, other = Normalized(5, 8), Normalized(5, 8)
    model.norm.avg_mean[...] = 3
    model.norm.N = 7
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, model)
    rnnlm.load_model(path, other)
    assert (other.norm.avg_mean == 3).all() and other.norm.N == 7
    arrays = dict(numpy.load(path))
    arrays['norm/avg_mean'] = numpy.zeros(3, 'f')
    numpy.savez(path, **arrays)
    with pytest.raises(rnnlm.InputError, match='norm/avg_mean'):
        rnnlm.load_model(path, other)
