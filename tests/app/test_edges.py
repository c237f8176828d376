"""Unusual surroundings of the commands, and what they say there."""
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

from helpers import ROOT
import matplotlib.axes
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.training import plotting

pytestmark = pytest.mark.slow

SMALL = '-u 4 -b 4 -l 5 -e 1'.split()


def command(folder, *args, **environment):
    return subprocess.run(
        [sys.executable, '-W', 'error', '-m', 'rnnlm', *args], cwd=folder,
        env=dict(os.environ, PYTHONPATH=ROOT, **environment), capture_output=True,
        text=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'text').write_text('the cat sat on the mat\n' * 60)
    done = command(folder, 'train', '--corpus', 'text', *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_backend_of_a_notebook(folder):
    done = command(folder, 'train', '--corpus', 'text', *SMALL, '--out', 'notebook',
                   MPLBACKEND='module://matplotlib_inline.of_no_such_package')
    assert (done.returncode, done.stderr) == (0, '')
    assert (folder / 'notebook' / 'perplexity.png').stat().st_size > 1000


def test_the_same_run_writes_the_same_bytes(folder):
    for seed in '1', '2':  # of the order of sets
        done = command(folder, 'train', '--corpus', 'text', *SMALL, '--out',
                       f'hash{seed}', PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
    one, two = ((folder / f'hash{seed}' / 'model.npz').read_bytes() for seed in '12')
    assert one == two


@pytest.mark.skipif(os.name != 'posix', reason='needs symbolic links')
def test_a_link_to_a_model(folder, tmp_path):
    os.symlink(folder / 'result' / 'model.npz', tmp_path / 'model.npz')
    expected = rnnlm.load(folder / 'result').vocabulary
    for path in tmp_path, tmp_path / 'model.npz':
        assert rnnlm.load(path).vocabulary == expected
    found = [command(tmp_path, 'evaluate', path, '--json') for path in (
        'model.npz', folder / 'result')]
    assert found[0].stdout == found[1].stdout != ''  # on the text of the run
    # A vocabulary beside the link comes first.
    words = [word.upper() for word in expected.words]
    rnnlm.Vocabulary(words).save(tmp_path / 'vocabulary.json')
    assert rnnlm.load(tmp_path).vocabulary.words == tuple(words)


def test_a_run_that_diverges(folder):
    done = command(folder, 'train', '--corpus', 'text', *SMALL, '--lr', '1e7',
                   '--out', 'diverged')
    assert done.returncode == 1
    assert 'expected a finite perplexity in validation' in done.stderr
    assert 'Lower the learning rate (or use --on-nan rollback)' in done.stderr
    assert not (folder / 'diverged' / 'model.npz').exists()
    done = command(folder, 'train', '--corpus', 'text', *SMALL, '--lr', '500',
                   '--init-scale', '1000', '--on-nan', 'rollback', '--out', 'back')
    assert done.returncode in (0, 1) and 'rollback to ' in done.stdout


def test_perplexities_that_no_float_holds(folder):
    model = rnnlm.load(folder / 'result').model
    model.output.b.array[:] = 0
    model.output.b.array[0] = 1e6
    (folder / 'wild').mkdir()
    for name in 'vocabulary.json', 'run.json':
        (folder / 'wild' / name).write_bytes((folder / 'result' / name).read_bytes())
    rnnlm.save_npz(folder / 'wild' / 'model.npz', model)
    (folder / 'line').write_text('the cat\n')
    for args in (['evaluate', 'wild'], ['interpolate', 'wild', 'wild'],
                 ['score', '--total', 'wild', 'line'], ['score', 'wild', 'line', '-q']):
        done = command(folder, *args, '--json')
        assert (done.returncode, done.stderr) == (0, ''), args
        json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize('args', [
    ['generate'], ['score'], ['evaluate'], ['interpolate', 'result', 'other'],
    ['inspect', 'result']])
def test_before_there_is_a_model(tmp_path, args):
    done = command(tmp_path, *args)
    assert done.returncode == 2
    assert ('expected' in done.stderr and 'found nothing there' in done.stderr
            and done.stderr.count('\n') == 1)
    if args[0] != 'inspect':
        assert "result: expected the folder of a run or a model file" in done.stderr
        assert "train a model with 'rnnlm train'" in done.stderr


def test_inspect_of_a_folder(folder, capsys):
    outs = []
    for path in folder / 'result', folder / 'result' / 'model.npz':
        assert cli.main(['inspect', str(path)]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] and 'model.npz: npz, model' in outs[0]


def test_the_device_called_cpu(folder):
    done = command(folder, 'evaluate', '--device', 'cpu')
    assert done.returncode == 0 and done.stdout == command(folder, 'evaluate').stdout


def test_wrong_arguments_take_two_lines(capsys):
    for args in ['train', '--lr'], ['train', '--bogus', '1'], ['score', 'a', 'b', 'c']:
        with pytest.raises(SystemExit):
            cli.main(args)
        err = capsys.readouterr().err
        assert err.startswith(f'rnnlm {args[0]}: error: ') and err.count('\n') == 2
        assert f"'rnnlm {args[0]} --help'" in err


@pytest.mark.parametrize('name', ['OMPI_COMM_WORLD_', 'PMI_'])
def test_processes_that_train_apart_are_told_so(folder, name):
    environment = {f'{name}RANK': '1', f'{name}SIZE': '2'}
    args = 'train', '--corpus', 'text', *SMALL  # in the folder of a run
    done = command(folder, *args, **environment)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'mpiexec started 2 processes' in done.stderr
    assert '--communicator naive' in done.stderr
    assert 'mpiexec' not in command(folder, *args).stderr


def test_one_point_is_seen(tmp_path, monkeypatch):
    seen, plot = [], matplotlib.axes.Axes.plot

    def look(self, x, y, *style, **kwargs):
        seen.append((len(x), kwargs['marker'] is not None))
        return plot(self, x, y, *style, **kwargs)

    monkeypatch.setattr(matplotlib.axes.Axes, 'plot', look)
    log = [{'iteration': k, 'perplexity': 9., 'val_perplexity': 8.} for k in (5, 10)]
    plotting.draw(log[:1], 5, str(tmp_path / 'one.png'))
    plotting.draw(log, 5, str(tmp_path / 'two.png'))
    assert len(seen) == 4
    assert all(has_marker for points, has_marker in seen if points == 1)
    assert [points for points, _ in seen] == [1, 1, 2, 2]


@pytest.mark.skipif(os.name != 'posix', reason='sends a signal')
def test_ctrl_c_in_the_first_second(folder):
    for moment in 0.1, 0.3, 0.6, 1.0:
        with subprocess.Popen(
                [sys.executable, '-X', 'importtime', '-m', 'rnnlm', 'train', '--corpus',
                 'text', '-e', '9999', '--out', f'early{moment}'], cwd=folder,
                env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c) as process:
            while 'rnnlm._starting' not in process.stderr.readline():
                pass
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            errors = ''.join(line for line in process.stderr
                             if not line.startswith('import time:'))
        assert 'Traceback' not in errors, errors
        assert process.returncode in (130, -signal.SIGINT), errors


def hear_ctrl_c():
    """Restores Ctrl-C, which the background processes of a shell script ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('args', [
    ['evaluate'], ['evaluate', '--dynamic', 'sgd'], ['interpolate', 'result'],
    ['score', 'text']])
def test_progress_at_a_terminal(folder, args, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    args = [args[0], 'result', *args[1:]]
    shown = []
    for options, terminal in (([], True), (['--quiet'], True), ([], False)):
        error = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr('sys.stderr', error)
        assert cli.main([*args, *options]) == 0
        shown.append(re.sub('total: .*\n|.*run.json names\n', '', error.getvalue()))
    assert '\r' in shown[0] and '%' in shown[0]
    assert shown[1:] == ['', '']
    monkeypatch.undo()
    out = capsys.readouterr().out
    assert out and '\r' not in out
