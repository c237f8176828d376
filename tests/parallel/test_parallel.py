"""Several processes train like one, and end together if one of them fails."""
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

from helpers import ROOT, TESTS
import numpy
import pytest

import rnnlm
from rnnlm import parallel
from rnnlm.app import cli
from rnnlm.serializers.npz import Npz
import ranks

HERE = os.path.dirname(os.path.abspath(__file__))
MPIEXEC = shutil.which(
    'mpiexec', path=os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH'])

needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec('mpi4py') is None,
    reason="needs mpi4py and mpiexec: pip install 'chainer-rnnlm[mpi]'")


def start(n, *args, **kwargs):
    """Starts n processes of Python."""
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join([ROOT, TESTS]), OMP_NUM_THREADS='1',
        # Options of Open MPI: more processes than cores, root in a container.
        PRTE_MCA_rmaps_default_mapping_policy=':oversubscribe',
        OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1')
    return subprocess.Popen(
        [MPIEXEC, '-n', str(n), sys.executable, *map(str, args)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)


def finish(process, timeout=100):
    """Waits for processes; returns their output, errors and exit status."""
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()
    return out, err, process.returncode


def run(n, name, *args, timeout=20, status=0):
    """Runs a program of ranks.py; returns its output and errors."""
    out, err, found = finish(start(
        n, '-W', 'error', os.path.join(HERE, 'ranks.py'), 'naive', timeout, name,
        *args))
    assert found == status, err
    return out, err


def load(path):
    with Npz(str(path)) as npz:
        return {name: npz[name] for name in npz}


def assert_same(found, expected, **tolerance):
    assert set(found) == set(expected)
    for name in found:
        if tolerance:
            numpy.testing.assert_allclose(found[name], expected[name], err_msg=name,
                                          **tolerance)
        else:
            numpy.testing.assert_array_equal(found[name], expected[name], name)


# One process ------------------------------------------------------------------

def test_alone():
    group = parallel.SINGLE_PROCESS
    assert group.rows(5) == slice(0, 5) and group.is_root
    assert group.on_root(lambda: 3) == group.on_all(lambda: 3) == 3
    assert group.gather(4) == [4] and group.exchange(None) is None
    with parallel.joined(None) as group:
        assert group is parallel.SINGLE_PROCESS


def test_ranks_share_the_streams():
    words = numpy.arange(100)
    whole = rnnlm.ParallelSequentialIterator(words, 7)
    parts = []
    for rank in range(3):
        group = parallel.SingleProcess()
        group.rank, group.size = rank, 3
        parts.append(rnnlm.ParallelSequentialIterator(words, 7, rows=group.rows(7)))
    for _ in range(9):
        window = whole.next_window(4)
        found = [part.next_window(4) for part in parts]
        numpy.testing.assert_array_equal(numpy.hstack(found), window)
        for part in parts:
            assert part.epoch_detail == whole.epoch_detail
            assert part.is_new_epoch == whole.is_new_epoch
            numpy.testing.assert_array_equal(part.whole, window)


def test_without_mpi4py(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'mpi4py', None)
    assert cli.main(['train', '--communicator', 'naive']) == 2
    error = capsys.readouterr().err
    assert '--communicator: expected mpi4py and an MPI' in error
    assert "install 'chainer-rnnlm[mpi]'" in error


@pytest.mark.parametrize('kwargs', [{'name': 'fast'}, {'name': 'naive', 'timeout': 0}])
def test_bad_options(kwargs):
    with pytest.raises(rnnlm.InputError):
        with parallel.joined(**kwargs):
            pass


@pytest.mark.parametrize('rank, status', [('0', 2), ('1', 0)])
def test_a_wrong_command_line_under_mpiexec(rank, status, monkeypatch, capsys):
    """A status other than 0 from another rank would end rank 0 before it prints."""
    monkeypatch.setenv('OMPI_COMM_WORLD_RANK', rank)
    with pytest.raises(SystemExit) as end:
        cli.main(['train', '--epoch', 'x'])
    assert end.value.code == status
    assert ('invalid int value' in capsys.readouterr().err) == (rank == '0')


@pytest.fixture(scope='module')
def story(tmp_path_factory):
    """Returns the options of a small run, whose windows take milliseconds."""
    path = tmp_path_factory.mktemp('text') / 'story'
    random = numpy.random.RandomState(1)
    words = random.choice('a dog cat sees chases sleeps the red old and'.split(), 4000)
    path.write_text('\n'.join(' '.join(line) for line in words.reshape(-1, 8)))
    return '-m', 'rnnlm', 'train', '--corpus', path, *'-u 8 -l 10 -b 20'.split()


@needs_mpi
def test_one_process_is_the_single_process(tmp_path, story):
    for more in (), ('--communicator', 'naive'):
        _, err, status = finish(start(
            1, *story, '-e', 1, '-o', tmp_path / str(len(more)), *more))
        assert status == 0, err
    assert_same(*(load(tmp_path / name / 'model.npz') for name in '02'))


# Together ---------------------------------------------------------------------

@pytest.fixture(scope='module')
def expected():
    return {name: ranks.train(parallel.SINGLE_PROCESS, **case)
            for name, case in ranks.CASES.items()}


@needs_mpi
@pytest.mark.parametrize('n', [2, 3])
def test_the_parameters_are_those_of_one_process(n, tmp_path, expected):
    run(n, 'equal', tmp_path)
    for name, parameters in expected.items():
        limit = 1e-5 if name == 'float32' else 1e-9
        assert_same(load(tmp_path / f'{name}.npz'), parameters, rtol=0, atol=limit)


@needs_mpi
def test_each_rank_has_its_own_random_state(tmp_path):
    run(3, 'masks', tmp_path)
    first = load(tmp_path / 'masks.npz')
    run(3, 'masks', tmp_path)
    assert_same(load(tmp_path / 'masks.npz'), first)
    numpy.testing.assert_array_equal(
        first['0'], numpy.random.RandomState(7).rand(1000))
    correlation = numpy.corrcoef([first[k] for k in '012'])
    assert abs(correlation - numpy.eye(3)).max() < 0.15


@needs_mpi
def test_evaluation_gives_the_number_of_one_process(tmp_path):
    ranks.evaluate(parallel.SINGLE_PROCESS, tmp_path)
    one = load(tmp_path / 'loss.npz')
    run(2, 'evaluate', tmp_path)
    assert_same(load(tmp_path / 'loss.npz'), one, rtol=1e-6)


@needs_mpi
def test_resuming_is_exact(tmp_path):
    run(2, 'resume', tmp_path / 'whole', 20)
    run(2, 'resume', tmp_path / 'part', 10)
    out, _ = run(2, 'resume', tmp_path / 'part', 20,
                 tmp_path / 'part' / 'snapshot_iter_10')
    assert out == 'from 2\n'
    whole, part = (load(tmp_path / name / 'snapshot_iter_20')
                   for name in ('whole', 'part'))
    for snapshot in whole, part:
        del snapshot['_snapshot_elapsed_time']
    assert_same(part, whole)
    assert part['updater/state/l1/h'].shape == (6, 8)
    # Resumed with one process, and with three: the state is kept.
    for n in 1, 3:
        snapshot = tmp_path / 'part' / 'snapshot_iter_10'
        out, _ = run(n, 'resume', tmp_path / str(n), 20, snapshot)
        assert out == 'from 2\n'
        other = load(tmp_path / str(n) / 'snapshot_iter_20')
        assert ('updater/processes' in other) == (n > 1)
        assert other['updater/iteration'] == 20
    # Three processes resume from a snapshot that one wrote.
    out, _ = run(3, 'resume', tmp_path / 'three', 25, tmp_path / '1/snapshot_iter_20')
    assert out == 'from 1\n'


@needs_mpi
def test_the_command(tmp_path, story):
    options = (*story, '-e', 2, '--dropout', 0, '--lr', 0.3)
    for n in 1, 2:
        out, err, status = finish(start(
            n, *options, '--communicator', 'naive', '-o', tmp_path / str(n)))
        assert status == 0 and err == '', err
        assert out.count('corpus ') == out.count('written ') == 1
    assert ', 2 processes' in out
    one, two = (load(tmp_path / name / 'model.npz') for name in '12')
    assert_same(two, one, rtol=0, atol=1e-3)
    assert sorted(os.listdir(tmp_path / '1')) == sorted(os.listdir(tmp_path / '2'))
    # Another run in the same folder is refused, once.
    out, err, status = finish(start(
        2, *options, '--communicator', 'naive', '-o', tmp_path / '2'))
    assert status == 2
    assert err.count('expected a folder without a run') == 1


@needs_mpi
@pytest.mark.slow
def test_with_dropout_a_run_comes_as_far(tmp_path):
    found = []
    for n in 1, 2:  # the whole recipe: after one epoch, seeds differ by 5 per cent
        out, err, status = finish(start(
            n, '-m', 'rnnlm', 'train', '-u', 64, '--communicator', 'naive',
            '-o', tmp_path / str(n)), timeout=600)
        assert status == 0, err
        found.append(float(re.search(r'valid +perplexity ([\d.]+)', out)[1]))
    assert abs(found[1] / found[0] - 1) < 0.01, found


@needs_mpi
@pytest.mark.parametrize('options, message', [
    (('-b', 1),
     '--batchsize: expected at least one stream for each of the 2 processes'),
    (('--epoch', 'x'), 'argument --epoch/-e: invalid int value'),
    (('--timeout', 'nan'), '--timeout: expected seconds, more than 0, found nan'),
    (('--corpus', 'nowhere'), "--corpus: 'nowhere': expected"),
    (('--resume',), 'result: expected the folder of a run'),
])
def test_bad_input_is_refused_once(options, message, tmp_path):
    out, err, status = finish(start(
        2, '-m', 'rnnlm', 'train', '--communicator', 'naive', *options, cwd=tmp_path))
    assert status == 2 and err.count(message) == 1, err
    assert out == '' and os.listdir(tmp_path) == []


@needs_mpi
def test_a_communicator_for_gpus_without_one(tmp_path):
    _, err, status = finish(start(
        2, '-m', 'rnnlm', 'train', '--communicator', 'pure_nccl', cwd=tmp_path))
    message = '--communicator: expected a communicator that works here'
    assert status == 2 and err.count(message) == 1


# Ends -------------------------------------------------------------------------

@needs_mpi
@pytest.mark.parametrize('rank', [0, 1])
def test_an_error_of_all_ranks_is_printed_once(rank):
    _, err = run(2, 'fail', rank, 'input', status=1)
    assert err.count('x: expected y') == 1 and 'MPI_ABORT' not in err


@needs_mpi
@pytest.mark.parametrize('kind, message', [
    ('bug', 'rank 1: ZeroDivisionError: z'),
    ('disk', "rank 1: OSError: [Errno 28] No space left on device: 'f'")])
def test_an_error_of_one_rank_ends_all(kind, message):
    begin = time.monotonic()
    _, err = run(2, 'fail', 1, kind, status=1)
    assert message in err and time.monotonic() - begin < 20


@needs_mpi
def test_nan_on_one_rank_ends_all_in_the_same_window():
    out, err = run(2, 'poison', '', status=1)
    assert out.startswith('(2, ') and 'MPI_ABORT' not in err
    assert err.count('window 3: expected a finite loss and gradient') == 1


@needs_mpi
def test_nan_on_one_rank_sends_all_back_to_the_same_snapshot(tmp_path):
    out, _ = run(2, 'roll_back', tmp_path / 'out', timeout=60)
    assert out.count('rollback to ') == 1
    assert 'snapshot_iter_19; learning rate multiplied by 0.5' in out


@needs_mpi
def test_a_rank_with_a_heartbeat_is_not_lost():
    out, _ = run(2, 'wait', 3, 'beat', timeout=2)
    assert out == 'done\n'
    _, err = run(2, 'wait', 10, 'silence', timeout=2, status=1)
    assert 'rank 1, window 0: expected an answer from all 2 processes within 2' in err


def processes_of(folder):
    """Returns the processes that train into a folder, by rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/environ') as f:
                rank = re.search(r'OMPI_COMM_WORLD_RANK=(\d+)', f.read())
            with open(f'/proc/{pid}/cmdline') as f:
                mine = str(folder) in f.read()
        except OSError:
            continue
        if mine and rank:
            found[int(rank[1])] = int(pid)
    return found


def training(story, folder, *options):
    """Starts a run of two processes; returns it when it has written a snapshot."""
    process = start(2, *story, '--communicator', 'naive', '-o', folder,
                    '--save-every', 0, *options)
    until = time.monotonic() + 60
    while not (folder.exists() and any(
            name.startswith('snapshot') for name in os.listdir(folder))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    return process, processes_of(folder)


def assert_over(process, pids):
    """Waits until all have ended; returns errors, exit status and seconds."""
    begin = time.monotonic()
    _, err, status = finish(process)
    while any(os.path.exists(f'/proc/{pid}') for pid in pids.values()):
        assert time.monotonic() - begin < 30
        time.sleep(0.1)
    return err, status


linux = pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs Linux')


@needs_mpi
@linux
@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_is_killed_ends_all_and_nothing_is_lost(
        rank, tmp_path, story):
    options = '-e', 10
    process, pids = training(story, tmp_path / 'out', *options)
    os.kill(pids[rank], signal.SIGKILL)
    err, status = assert_over(process, pids)
    assert status
    # On a busy machine mpiexec may report it first.
    assert (f'rank {1 - rank}, window ' in err
            and f'rank {rank} (process {pids[rank]}) ended' in err
            or 'SIGTERM' in err and 'signal 9' in err)
    for more in (('-o', tmp_path / 'out', '--resume'), ('-o', tmp_path / 'whole')):
        _, err, status = finish(start(
            2, *story, *options, '--communicator', 'naive', *more))
        assert status == 0, err
    assert_same(load(tmp_path / 'out' / 'model.npz'),
                load(tmp_path / 'whole' / 'model.npz'))


@needs_mpi
@linux
def test_a_rank_that_hangs_ends_all(tmp_path, story):
    process, pids = training(story, tmp_path / 'out', '-e', 500, '--timeout', 10)
    os.kill(pids[1], signal.SIGSTOP)
    err, status = assert_over(process, pids)
    assert status == 1
    assert 'within 10 seconds, found none after 10; found ' in err
    assert f'rank 1 (process {pids[1]}) stopped' in err
    command = shlex.join(['rnnlm', 'train', '--resume', str(tmp_path / 'out')])
    assert f'the last snapshot is intact: continue with: mpiexec -n 2 {command} ' in err
    assert ' --communicator naive --timeout 10\n' in err


@needs_mpi
@linux
def test_a_signal_to_one_rank_stops_all_after_the_same_window(tmp_path, story):
    process, pids = training(story, tmp_path / 'out', '-e', 500)
    os.kill(pids[1], signal.SIGTERM)
    out, err, status = finish(process)
    assert status == 128 + signal.SIGTERM, err
    stopped = re.search(
        r'stopped  after (\d+) windows; written: (\S+)', out)
    assert stopped[2].endswith(f'snapshot_iter_{stopped[1]}')
    assert load(stopped[2])['updater/processes'] == 2


# User code that exists --------------------------------------------------------

@needs_mpi
def test_a_script_for_chainermn(tmp_path):
    out, err, status = finish(start(
        2, '-W', 'error', os.path.join(HERE, 'chainermn_script.py'), cwd=tmp_path))
    assert status == 0, err
    assert out.splitlines()[-1] == 'all good', out
