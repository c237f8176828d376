"""Runs that are repeated, killed or stopped, by the commands printed: bit-identical."""
import itertools
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys

from helpers import ROOT, in_a_copy
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app.options import OPTIONS
from rnnlm.serializers.snapshot_files import newest_snapshot

pytestmark = pytest.mark.slow

STORY = 'the cat sat on the mat\nthe dog saw the red cat\n' * 10
SMALL = ['--corpus', 'story', '-u', '4', '-b', '4', '-l', '5', '-e', '4',
         '--save-every', '0']

# Values of each option of a training; a run is drawn from them.
VALUES = {
    'optimizer': ['adam'], 'lr': ['0.3'], 'decay': ['1.5'], 'decay_after': ['1'],
    'average': ['0.4', '2'], 'plateau_decay': ['2', '4'], 'patience': ['1', '2'],
    'log_interval': ['3', '7'],
    'dropout': ['0', '0.3'], 'gradclip': ['0.2'], 'n_embed': ['3'], 'tied': [None],
    'n_layers': ['1', '3'], 'init_scale': ['0.5'], 'precision': ['mixed16'],
    'seed': ['5'], 'init_from': ['first'], 'on_nan': ['rollback'],
    'min_count': ['1'], 'tokens': ['char'], 'vocab_limit': ['6'],
    'sentences': [None], 'softmax': ['adaptive'], 'cutoffs': ['3,5']}

# Options that do not affect the results, or that other tests here use.
NOT_DRAWN = {
    'cache', 'corpus', 'vocabulary', 'extend_vocab', 'preset', 'config', 'device',
    'out', 'resume', 'overwrite', 'save_every', 'communicator', 'timeout', 'n_units',
    'batch_size', 'bprop_len', 'epochs', 'no_sentences', 'no_tied'}

# Kills itself in the middle of a window, if it is told which.
KILLED = '''
import os, signal, sys
import rnnlm
from rnnlm.app import cli

window, argv = int(sys.argv[1]), sys.argv[2:]
update_core = rnnlm.BPTTUpdater.update_core

def update(self):
    if self.iteration == window:
        os.kill(os.getpid(), signal.SIGKILL)
    update_core(self)

rnnlm.BPTTUpdater.update_core = update
sys.exit(cli.main(argv))
'''


def test_every_option_is_drawn():
    assert set(VALUES) | NOT_DRAWN == set(OPTIONS) and not set(VALUES) & NOT_DRAWN


def draws(n=6):
    """Sets of options that go together; each option is in one at least."""
    draw = random.Random(3)
    names = sorted(VALUES)
    draw.shuffle(names)
    for k in range(n):
        some = set(names[k::n]) | set(draw.sample(names, 3))
        if 'cutoffs' in some:
            some.add('softmax')
        if 'softmax' in some:
            some -= {'init_from', 'tied', 'precision'}
        if 'init_from' in some:  # the sizes and the vocabulary are the model's
            some -= {'n_embed', 'tied', 'n_layers', 'min_count', 'tokens',
                     'vocab_limit'}
        if 'tied' in some:
            some.discard('n_embed')
        if 'precision' in some:
            some.discard('average')
        yield list(itertools.chain.from_iterable(
            flags(name, draw.choice(VALUES[name])) for name in sorted(some)))


def flags(name, value):
    return [OPTIONS[name].flags[0], *([] if value is None else [value])]


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp('begun')
    (folder / 'story').write_text(STORY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(['train', *SMALL, '-e', '1', '--out', 'first']) == 0
    return folder


@pytest.fixture
def here(begun, tmp_path, monkeypatch):
    return in_a_copy(begun, tmp_path, monkeypatch)


def assert_same_run(one, two):
    """Two folders have the same parameters, to the bit, and the same log."""
    snapshots = [newest_snapshot(folder) for folder in (one, two)]
    arrays = []
    for snapshot in snapshots:
        with numpy.load(snapshot, allow_pickle=True) as npz:
            arrays.append({name: npz[name] for name in npz
                           if name.startswith('updater/')})
    assert set(arrays[0]) == set(arrays[1])
    for name in arrays[0]:
        numpy.testing.assert_array_equal(arrays[0][name], arrays[1][name])
    logs = [json.loads(pathlib.Path(folder, 'log').read_text())
            for folder in (one, two)]
    for entry in logs[0] + logs[1]:
        del entry['elapsed_time'], entry[next(n for n in entry if n.endswith('s/s'))]
    assert logs[0] == logs[1]


@pytest.mark.filterwarnings('ignore:Non finite number')  # Chainer, of the scale
@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='needs SIGKILL')
@pytest.mark.parametrize('options', list(draws()), ids=' '.join)
def test_with_any_options_a_killed_run_is_the_run(here, options):
    """It is killed, goes on by --resume alone, and is repeated by its run.json."""
    command = ['train', *SMALL, *options]
    assert cli.main([*command, '--out', 'whole']) == 0
    with numpy.load(newest_snapshot('whole'), allow_pickle=True) as npz:
        windows = int(npz['updater/iteration'])
    window = random.Random(' '.join(options)).randrange(2, windows)
    killed = subprocess.run(
        [sys.executable, '-c', KILLED, str(window), *command, '--out', 'killed'],
        env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest_snapshot('killed').endswith(f'_{window}')
    assert cli.main(['train', '--resume', 'killed']) == 0
    assert_same_run('whole', 'killed')
    assert cli.main(['train', '--config', 'whole/run.json', '--out', 'again',
                     '--save-every', '0']) == 0
    assert_same_run('whole', 'again')


def test_a_repeated_run_takes_other_options_too(here, capsys):
    assert cli.main(['train', *SMALL, '--seed', '4', '--lr', '0.4']) == 0
    shutil.copy('result/run.json', 'mine.json')
    assert cli.main(['train', '--config', 'mine.json', '--out', 'new', '--seed', '5',
                     '-e', '2']) == 0
    described = json.loads((here / 'new' / 'run.json').read_text())
    assert described['seed'] == 5
    assert described['recipe']['lr'] == 0.4 and described['recipe']['epochs'] == 2
    capsys.readouterr()
    assert cli.main(['train', '--config', 'mine.json']) == 2  # where it lies
    assert '--out' in capsys.readouterr().err
    (here / 'story').write_text(STORY.replace('mat', 'rug', 1))
    assert cli.main(['train', '--config', 'mine.json', '--out', 'x']) == 2
    assert '--config: story: expected the text of the run' in capsys.readouterr().err
    (here / 'moved').write_text(STORY)
    assert cli.main(['train', '--config', 'mine.json', '--corpus', 'moved', '--out',
                     'again']) == 0
    assert ((here / 'again' / 'model.npz').read_bytes()
            == (here / 'result' / 'model.npz').read_bytes())


def test_a_run_that_was_changed_on_its_way_is_not_repeated(here, capsys):
    assert cli.main(['train', *SMALL]) == 0
    assert cli.main(['train', '--resume', 'result', '-e', '5', '--lr', '0.1']) == 0
    again = ['train', '--config', 'result', '--out', 'again']
    assert cli.main(again) == 2
    assert re.search(r'found --lr at window \d+;', capsys.readouterr().err)
    assert cli.main([*again, '--lr', '0.1']) == 0


@pytest.mark.parametrize('args, message', [
    (['--config', 'gone'], '--config: gone: '), (['--config', '.'], 'run.json: '),
    (['--config', 'story'], '--config: story: '),
    (['--config', 'first', '--preset', 'demo'], '--preset cannot be combined'),
    (['--config', 'first', '--resume', 'first'], '--config cannot be combined'),
    (['--config', 'old.json'], 'give --seed')])
def test_a_description_that_cannot_be_used(here, args, message, capsys):
    described = json.loads((here / 'first' / 'run.json').read_text())
    del described['seed']
    (here / 'old.json').write_text(json.dumps(described))
    assert cli.main(['train', *args, '--out', 'x']) == 2
    assert message in capsys.readouterr().err and not os.path.exists('x')


def hear_ctrl_c():
    """Restores Ctrl-C, which the background processes of a shell script ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stopped(argv, **kwargs):
    """What a command prints that is stopped by Ctrl-C when it has a snapshot."""
    with subprocess.Popen(
            [sys.executable, '-u', *argv], stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, PYTHONPATH=ROOT), preexec_fn=hear_ctrl_c,
            stderr=subprocess.STDOUT, **kwargs) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if len(lines) > 1 and re.match(r'\d+ ', line):  # an entry of the table
                process.send_signal(signal.SIGINT)
                break
        lines += process.stdout
    assert process.returncode == 130, lines
    return ''.join(lines)


@pytest.mark.skipif(os.name != 'posix', reason='sends a signal')
@pytest.mark.parametrize('options', [
    [], ['--out', 'a folder', '--on-nan', 'rollback', '--save-every', '3']])
def test_the_hint_after_ctrl_c_is_a_command(here, options):
    out = stopped(['-m', 'rnnlm', 'train', *SMALL, '-e', '100000', '-u', '5',
                   '--seed', '2', *options])
    hint, = re.findall(r'resume   with: (.*)', out)
    name, *argv = shlex.split(hint)
    assert name == 'rnnlm' and argv[-len(options[2:]):] == options[2:] or not options
    folder = 'a folder' if options else 'result'
    before = newest_snapshot(folder)
    # As it stands it goes on, for as long as the run was to last.
    out = stopped(['-m', 'rnnlm', *argv])
    assert f'resumed  {before} at window' in out and '5 LSTM units' in out
    done = int(newest_snapshot(folder).split('_')[-1]) // 6 + 2
    assert cli.main([*argv, '-e', str(done)]) == 0
    assert sorted(os.listdir('.')) == sorted(['first', 'story', folder])


@pytest.mark.skipif(os.name != 'posix', reason='sends a signal')
@pytest.mark.parametrize('script', ['train_ptb.py', 'train_ptb_custom_loop.py'])
def test_the_hint_of_a_script_is_a_command(here, script):
    path = os.path.join(ROOT, 'examples', 'ptb', script)
    with subprocess.Popen(
            [sys.executable, '-u', path, *SMALL[:-4], '-e', '100000'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=dict(os.environ, PYTHONPATH=ROOT), preexec_fn=hear_ctrl_c) as process:
        for line in process.stdout:
            if 'epoch: 2' in line or re.search(r'\d+ +\d+ +\d', line):
                process.send_signal(signal.SIGINT)
                break
        out = process.stdout.read()
    assert process.returncode == 130
    python, *argv = shlex.split(re.search('with: (.*)', out).group(1))
    done = subprocess.run(
        [sys.executable, *argv, '-e', '1'], env=dict(os.environ, PYTHONPATH=ROOT),
        capture_output=True, text=True)
    assert done.returncode == 0 and 'test perplexity' in done.stdout, done.stderr


def test_a_resumed_run_stays_in_its_folder(here):
    assert cli.main(['train', *SMALL, '-e', '1', '--out', 'deep/down']) == 0
    assert cli.main(['train', '--resume', 'deep/down', '-e', '2']) == 0
    assert cli.main(['train', '--resume', newest_snapshot('deep/down'), '-e', '3']) == 0
    assert os.listdir('deep') == ['down'] and not os.path.exists('result')
    assert len(json.loads((here / 'deep/down/log').read_text())) == 3
    assert cli.main(['train', '--resume', 'deep/down', '-e', '4', '--out', 'b']) == 0
    assert len(json.loads((here / 'deep/down/log').read_text())) == 3
    assert len(json.loads((here / 'b' / 'log').read_text())) == 4


def test_the_advice_about_a_folder_in_use_is_a_command(here, capsys):
    assert cli.main(['train', *SMALL, '--out', 'first']) == 2
    hint = re.search(r'resume that run with: (.*?);', capsys.readouterr().err).group(1)
    assert cli.main(shlex.split(hint)[1:]) == 0
    older, newer = rnnlm.serializers.snapshot_files.snapshots_in('first')[::-1][:2]
    capsys.readouterr()
    assert cli.main(['train', '--resume', older]) == 2
    hint = re.search(r'with: (.*?);', capsys.readouterr().err).group(1)
    assert cli.main(shlex.split(hint)[1:]) == 0


def test_hints_name_folders_with_blanks(here, capsys):
    assert cli.main(['train', *SMALL, '--out', 'my first']) == 0
    hint = re.search('generate text with: (.*)', capsys.readouterr().out).group(1)
    assert cli.main([*shlex.split(hint)[1:], '--length', '2']) == 0
    # Of a folder that is not described it is not known how it could go on.
    os.unlink('my first/run.json')
    assert cli.main(['train', *SMALL, '--out', 'my first']) == 2
    err = capsys.readouterr().err
    assert 'snapshot_iter_' in err or 'model.npz' in err
    assert 'resume that run' not in err and '--out' in err


def test_the_advice_after_nan_is_a_command(here, capsys):
    assert cli.main(['train', '--resume', 'first', '-e', '2', '--lr', '1e7']) == 1
    err = capsys.readouterr().err
    hint = re.search(r'half the learning rate: (.*)', err).group(1)
    assert cli.main([*shlex.split(hint)[1:], '--lr', '1']) == 0


def test_a_text_counts_by_its_content(here, capsys):
    shutil.move('story', 'renamed')
    assert cli.main(['train', '--resume', 'first', '-e', '2', '--corpus',
                     'renamed']) == 0
    assert cli.main(['train', '--resume', 'first', '-e', '3']) == 0  # it is known now
    words = STORY.split(' ')
    words[3], words[4] = words[4], words[3]
    (here / 'renamed').write_text(' '.join(words))
    capsys.readouterr()
    assert cli.main(['train', '--resume', 'first', '-e', '4']) == 2
    assert '--corpus: renamed: expected the text of the run' in capsys.readouterr().err


def test_scripts_leave_the_run_of_another_program_alone(here):
    before = (here / 'first' / 'log').read_bytes()
    (here / 'book').write_text(STORY)
    for script, *args in (
            ('ptb/train_ptb.py', '--corpus', 'story', '-u', '3', '-e', '1', '--test'),
            ('ptb/train_ptb_custom_loop.py', '--corpus', 'story', '-u', '3', '-e', '1',
             '--test'), ('tasks/time_machine.py', 'book', '--epochs', '1')):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, 'examples', script), *args, '--out',
             'first'], env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True,
            text=True)
        assert done.returncode == 2, done.stderr
        assert 'choose another one with --out' in done.stderr
    assert (here / 'first' / 'log').read_bytes() == before
    assert cli.main(['train', '--resume', 'first', '-e', '2']) == 0
