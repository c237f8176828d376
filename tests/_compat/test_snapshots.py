"""Snapshots that Chainer 7.8.1 cannot write or resume from."""
import json

from chainer import serializers
from chainer.training import extensions
from helpers import assert_same_parameters, make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.serializers.archive import open_archive

h5py = pytest.importorskip('h5py')


def trainer_with(out, *added, windows=9):
    trainer = make_trainer(small(), text(), out, stop=(windows, 'iteration'))
    for extension in added:
        trainer.extend(extension, trigger=(1, 'iteration'))
    return trainer


def log_report(**kwargs):
    return extensions.LogReport(trigger=(2, 'iteration'), **kwargs)


@pytest.mark.parametrize('written', ['by save_hdf5', 'by a snapshot'])
def test_hdf5_of_a_trainer_with_a_log(tmp_path, written):
    """LogReport saves text and None, which HDF5 stores in other forms."""
    whole = trainer_with(tmp_path, log_report())
    whole.run()
    first = trainer_with(tmp_path / 'first', log_report(), windows=5)
    path = tmp_path / 'first' / 'snapshot.h5'
    if written == 'by a snapshot':
        first.extend(extensions.snapshot(serializers.save_hdf5, path.name),
                     trigger=(5, 'iteration'))
    first.run()
    if written == 'by save_hdf5':
        serializers.save_hdf5(str(path), first)
    for load in serializers.load_hdf5, rnnlm.resume:
        resumed = trainer_with(tmp_path / 'resumed', log_report())
        numpy.random.rand(3)
        load(str(path), resumed)
        resumed.run()
        assert_same_parameters(resumed, whole)
        logs = [[{k: v for k, v in entry.items() if k != 'elapsed_time'}
                 for entry in trainer.get_extension('LogReport').log]
                for trainer in (resumed, whole)]
        assert logs[0] == logs[1] and len(logs[0]) == 4


def test_hdf5_holds_any_text(tmp_path):
    class Words:
        words = 'a', '', 'åß∂', '"\\'

        def serialize(self, serializer):
            self.words = tuple(
                serializer(str(k), word) for k, word in enumerate(self.words))

    path = str(tmp_path / 'words.h5')
    serializers.save_hdf5(path, Words())
    loaded = Words()
    loaded.words = ('x',) * 4
    serializers.load_hdf5(path, loaded)
    assert loaded.words == Words.words


@pytest.mark.filterwarnings('ignore:matplotlib is not installed')
@pytest.mark.parametrize('make', [
    log_report, lambda: extensions.PlotReport(['main/loss'])])
def test_what_is_new_begins_anew_if_not_strict(tmp_path, make):
    first = trainer_with(tmp_path, windows=3)
    first.run()
    serializers.save_npz(str(tmp_path / 'snapshot'), first)
    serializers.save_hdf5(str(tmp_path / 'snapshot.h5'), first)

    def load_hdf5(path, trainer):
        with h5py.File(path + '.h5', 'r') as file:
            serializers.HDF5Deserializer(file, strict=False).load(trainer)

    def load_npz(path, trainer):
        serializers.load_npz(path, trainer, strict=False)

    for load in load_npz, load_hdf5:
        second = trainer_with(tmp_path, make(), windows=6)
        load(str(tmp_path / 'snapshot'), second)
        second.run()
        assert second.updater.iteration == 6


def test_what_is_missing_in_hdf5_is_a_key_error(tmp_path):
    """As in npz: Chainer's extensions catch KeyError, to guess missing values."""
    first = trainer_with(tmp_path, windows=2)
    first.run()
    serializers.save_hdf5(str(tmp_path / 'snapshot.h5'), first)
    second = trainer_with(tmp_path, log_report())
    with pytest.warns(UserWarning, match='not saved'):
        with pytest.raises(KeyError):
            serializers.load_hdf5(str(tmp_path / 'snapshot.h5'), second)


@pytest.mark.parametrize('shift, first, rates', [
    (lambda: extensions.MultistepShift('lr', .5, [2, 3], 1.), .7, [1, 1, .5, .25]),
    (lambda: extensions.WarmupShift('lr', .1, 2, .3), .7, [.1, .2, .3, .3]),
    (lambda: extensions.WarmupShift('lr', .1, 0, .3), .7, [.1] * 4)])
def test_rates_of_chainers_own_snapshots(tmp_path, shift, first, rates):
    """They lack the value of these two, but have the values to compute it from."""
    for windows in 1, 2, 3:
        trainer = trainer_with(tmp_path, shift(), windows=windows)
        trainer.run()
        path = str(tmp_path / f'snapshot_iter_{windows}')
        serializers.save_npz(path, trainer)
        with open_archive(path) as archive:
            arrays = {name: archive[name] for name in archive
                      if not name.endswith('_last_value')}
        serializers.save_npz(path, arrays)
        again = shift()
        resumed = trainer_with(tmp_path, again)
        resumed.updater.get_optimizer('main').lr = first
        rnnlm.resume(path, resumed)
        again.initialize(resumed)
        assert resumed.updater.get_optimizer('main').lr == pytest.approx(rates[windows])


def test_a_log_is_json_as_ever(tmp_path):
    trainer = trainer_with(tmp_path, log_report(), windows=4)
    trainer.run()
    serializers.save_npz(str(tmp_path / 'snapshot'), trainer)
    with open_archive(str(tmp_path / 'snapshot')) as archive:
        log = json.loads(str(archive['extensions/LogReport/_log']))
    assert [entry['iteration'] for entry in log] == [2, 4]
