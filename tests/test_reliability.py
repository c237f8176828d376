"""Interrupted runs resume with the same results."""
import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading

import chainer
from helpers import make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment, run_folder
from rnnlm.app.recipes import Recipe
from rnnlm.data import corpus
from rnnlm.serializers import atomic
from rnnlm.serializers.npz import Npz


def run_script(script, *args, path=None, prefix=(), **kwargs):
    return subprocess.run(
        [*prefix, sys.executable, '-W', 'ignore', '-c', textwrap.dedent(script),
         *map(str, args)],
        env=dict(os.environ, PYTHONPATH=path), capture_output=True, text=True, **kwargs)


# Trains in child processes, which it kills with SIGKILL after random times; each goes
# on from the newest whole snapshot, until one comes to the end.
KILLED = '''
    import os, random, signal, sys, time
    import rnnlm
    from helpers import make_trainer, small, text

    def train(out):
        trainer = make_trainer(small(), text(), out, stop=(600, 'iteration'))
        trainer.extend(rnnlm.Snapshot(), trigger=(1, 'iteration'))
        trainer.extend(rnnlm.LearningRateDecay(1.1, 1))
        trainer.extend(rnnlm.Log((7, 'iteration'), rnnlm.add_perplexity))
        assert rnnlm.run(trainer, autoload=True) == (0, None)
        rnnlm.save_npz(out + '/final.npz', trainer.updater.get_optimizer('main').target)

    train(sys.argv[1] + '/whole')
    random.seed(1)
    out, kills = sys.argv[1] + '/killed', 0

    def windows():
        names = os.listdir(out) if os.path.isdir(out) else []
        return max([int(n[14:]) for n in names if n.startswith('snapshot_iter_')],
                   default=0)

    while True:
        before = windows()
        child = os.fork()
        if child == 0:
            train(out)
            os._exit(0)
        if kills < 50:
            # However slow the machine is, some windows further, at any moment.
            enough = before + random.randrange(6)
            while windows() < enough:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
        kills += 1
        print(windows())
    print('kills', kills)
'''


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
def test_killed_fifty_times_and_nothing_lost(tmp_path, path_of):
    done = run_script(KILLED, tmp_path, path=path_of(), timeout=300)
    assert done.returncode == 0, done.stderr
    *progress, last = done.stdout.splitlines()
    assert last == 'kills 50'
    progress = list(map(int, progress))
    assert progress == sorted(progress) and len(set(progress)) > 10
    with Npz(str(tmp_path / 'whole' / 'final.npz')) as whole, \
            Npz(str(tmp_path / 'killed' / 'final.npz')) as killed:
        assert set(whole) == set(killed)
        for name in whole:
            numpy.testing.assert_array_equal(whole[name], killed[name])
    logs = [json.loads((tmp_path / name / 'log').read_text())
            for name in ('whole', 'killed')]
    for entry in logs[0] + logs[1]:
        del entry['elapsed_time']
    assert logs[0] == logs[1]


# Fills the file system at the 4th window and makes room at the 8th.
FULL = '''
    import os, sys
    import rnnlm
    from rnnlm.serializers.snapshot_files import newest_snapshot
    from helpers import make_trainer, small, text

    out = sys.argv[1]

    def fill(trainer):
        if trainer.updater.iteration == 4:
            with open(out + '/ballast', 'wb', buffering=0) as f:
                try:
                    while f.write(bytes(1000)):
                        pass
                except OSError:
                    pass
        if trainer.updater.iteration == 8:
            os.unlink(out + '/ballast')
        if trainer.updater.iteration == 7:
            print('while full', os.path.basename(newest_snapshot(out)))

    trainer = make_trainer(small(), text(), out, stop=(10, 'iteration'))
    trainer.extend(fill, name='fill', priority=1000)
    trainer.extend(rnnlm.Snapshot(), trigger=(1, 'iteration'))
    trainer.extend(rnnlm.Log((1, 'iteration'), rnnlm.add_perplexity))
    assert rnnlm.run(trainer) == (0, None)
    print('at the end', os.path.basename(newest_snapshot(out)))
'''


def test_a_full_disk_costs_no_snapshot(tmp_path, path_of):
    out = tmp_path / 'out'
    out.mkdir()
    mount = f'mount -t tmpfs -o size=128k tmpfs {out} && exec "$@"'
    prefix = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, '-']
    try:
        can = subprocess.run([*prefix, 'true'], capture_output=True, text=True)
    except OSError as e:
        pytest.skip(f'cannot make a small file system: {e}')
    if can.returncode:
        pytest.skip(f'cannot make a small file system: {can.stderr.strip()}')
    done = run_script(FULL, out, path=path_of(), prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert 'a snapshot could not be written (No space left on device)' in done.stderr
    assert 'the log could not be written' in done.stderr
    assert done.stdout.splitlines() == [
        'while full snapshot_iter_3', 'at the end snapshot_iter_10']


def test_a_folder_that_goes_away_stops_nothing(tmp_path, caplog):
    out = tmp_path / 'out'
    trainer = make_trainer(small(), text(), out, stop=(8, 'iteration'))
    trainer.extend(rnnlm.Snapshot(), trigger=(1, 'iteration'))
    trainer.extend(
        lambda t: t.updater.iteration == 3 and shutil.rmtree(out), name='remove')
    trainer.extend(
        lambda t: t.updater.iteration == 6 and out.mkdir(), name='bring back')
    assert rnnlm.run(trainer) == (0, None)
    assert sorted(os.listdir(out)) == ['snapshot_iter_7', 'snapshot_iter_8']
    assert 'snapshot could not be written (No such file' in caplog.text


def test_files_larger_than_allowed(tmp_path, caplog):
    resource = pytest.importorskip('resource')
    path = tmp_path / 'model.npz'
    rnnlm.save_npz(str(path), small())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError) as e:
            rnnlm.save_npz(str(path), small(n_vocab=21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert e.value.filename == str(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['model.npz']


def test_the_best_model_is_kept_in_memory_while_it_cannot_be_written(tmp_path):
    model = small()
    folder = tmp_path / 'folder'
    best = rnnlm.BestModel(model, str(folder / 'model.npz'))

    class Trainer:
        observation = {'validation/main/loss': 2.0}

    best(Trainer)
    kept = model.predictor.embed.W.array.copy()
    model.predictor.embed.W.array[...] = 0
    Trainer.observation = {'validation/main/loss': 3.0}
    best(Trainer)
    best.load()
    numpy.testing.assert_array_equal(model.predictor.embed.W.array, kept)
    with pytest.raises(FileNotFoundError):
        best.write()
    folder.mkdir()
    best(Trainer)
    with Npz(str(folder / 'model.npz')) as npz:
        numpy.testing.assert_array_equal(npz['predictor/embed/W'], kept)


def test_leftovers_of_a_killed_run_are_deleted(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), \
            atomic.writing(tmp_path / 'snapshot_iter_3'):
        left, = os.listdir(tmp_path)
        (tmp_path / 'copy').write_bytes(b'')
        os.rename(tmp_path / 'copy', tmp_path / left.replace('iter_3', 'iter_2'))
        raise KeyboardInterrupt
    (tmp_path / '.hidden').touch()
    (tmp_path / 'a.part').touch()
    assert len(os.listdir(tmp_path)) == 3
    with run_folder.locked(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == ['.hidden', '.lock', 'a.part']


def test_two_runs_in_one_folder(tmp_path, capsys):
    out = str(tmp_path / 'out')
    with run_folder.locked(out):
        (tmp_path / 'out' / 'model.npz').touch()
        for more in (), ('--overwrite',):
            assert cli.main(['train', '--out', out, *more]) == 2
            assert 'another run is writing to' in capsys.readouterr().err
        assert cli.main(['train', '--out', out, '--resume']) == 2
        assert sorted(os.listdir(out)) == ['.lock', 'model.npz']
    with run_folder.locked(out):
        pass


def test_a_refused_run_leaves_no_folder(tmp_path):
    out = tmp_path / 'out'
    with pytest.raises(rnnlm.InputError):
        experiment.train(corpus.load('demo'), Recipe(), out=str(out), resume='nowhere')
    assert not out.exists()


def trained(seed, windows=6):
    model = small(seed=seed, dropout=0.0)
    optimizer = chainer.optimizers.SGD(1).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(1))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5)
    return model, lambda: [updater.update() for _ in range(windows)]


def test_two_models_in_two_threads():
    expected = []
    for seed in 1, 2:
        model, train = trained(seed, 60)
        train()
        expected.append(model)
    together = [trained(seed, 60) for seed in (1, 2)]
    threads = [threading.Thread(target=train) for _, train in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model, (other, _) in zip(expected, together):
        for p, q in zip(model.params(), other.params()):
            numpy.testing.assert_array_equal(p.array, q.array)


FORK = '''
    import os, sys
    import rnnlm
    from test_reliability import trained

    model, train = trained(3)
    train()
    child = os.fork()
    train()
    rnnlm.save_npz(f'{sys.argv[1]}/{"child" if child == 0 else "parent"}.npz', model)
    if child:
        assert os.waitpid(child, 0)[1] == 0
'''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
def test_a_process_may_fork_while_it_trains(tmp_path, path_of):
    done = run_script(FORK, tmp_path, path=path_of(), timeout=60)
    assert done.returncode == 0, done.stderr
    with Npz(str(tmp_path / 'parent.npz')) as parent, \
            Npz(str(tmp_path / 'child.npz')) as child:
        for name in parent:
            numpy.testing.assert_array_equal(parent[name], child[name])


@pytest.mark.parametrize('make', [
    lambda: rnnlm.RNNForLM(20, 6), lambda: rnnlm.RNNForLM(20, 6, tied=True),
    lambda: rnnlm.v1.RNNForLM(20, 6, train=False),
    lambda: chainer.links.Classifier(rnnlm.RNNForLM(20, 6))])
def test_a_model_is_picklable(make):
    model = make()
    predictor = getattr(model, 'predictor', model)
    with chainer.using_config('train', False):
        predictor(text(4))
        other = pickle.loads(pickle.dumps(model))
        assert type(other) is type(model)
        other = getattr(other, 'predictor', other)
        numpy.testing.assert_array_equal(
            other(text(4)).array, predictor(text(4)).array)


def test_a_vocabulary_is_picklable():
    vocabulary = corpus.Vocabulary('abc')
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
