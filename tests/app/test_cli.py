"""The commands and the example scripts, as their user runs them."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import filelock
from helpers import ROOT
import pytest

import rnnlm

pytestmark = pytest.mark.slow

PTB = os.path.join(ROOT, 'examples', 'ptb')
SMALL = '--unit 12 --batchsize 10 --bproplen 10 --epoch 2'.split()


@pytest.fixture(scope='module')
def fonts(tmp_path_factory):
    """Matplotlib's font cache, made once: it takes seconds, and a message says so."""
    folder = str(tmp_path_factory.mktemp('fonts'))
    subprocess.run([sys.executable, '-c', 'import matplotlib.font_manager'],
                   env=dict(os.environ, MPLCONFIGDIR=folder), capture_output=True)
    return folder


@pytest.fixture
def call(tmp_path, fonts):
    """Runs a command in an empty folder with an empty HOME; warnings are errors."""
    def call(*args, status=0, **kwargs):
        env = dict(os.environ, HOME=str(tmp_path / 'home'), PYTHONPATH=ROOT,
                   MPLCONFIGDIR=fonts)
        result = subprocess.run(
            [sys.executable, '-W', 'error', *args], cwd=tmp_path, env=env,
            capture_output=True, text=True, timeout=300, **kwargs)
        assert result.returncode == status, result.stdout + result.stderr
        if status == 0:
            assert result.stderr == ''
        return result.stdout + result.stderr
    return call


@pytest.fixture
def command(call):
    return lambda *args, **kwargs: call('-m', 'rnnlm', *args, **kwargs)


@pytest.fixture
def script(call):
    return lambda name, *args, **kwargs: call(
        os.path.join(PTB, name), *args, **kwargs)


@pytest.fixture
def story(tmp_path):
    """A small text file."""
    path = tmp_path / 'story.txt'
    path.write_text('the cat sat on the mat .\nthe dog saw the cat .\n' * 40)
    return str(path)


def test_train_generate_evaluate(command, tmp_path, story):
    out = command('train', '--corpus', story, *SMALL, '--decay', '1.5')
    assert re.search(r'corpus +story.txt: 540 / 30 / 30 words, vocabulary 9', out)
    assert re.search(r'valid +perplexity \d+\.\d+\n', out)
    files = set(os.listdir(tmp_path / 'result'))
    assert {'model.npz', 'vocabulary.json', 'log'} <= files
    log = json.loads((tmp_path / 'result' / 'log').read_text())
    assert len(log) == 2
    assert log[1]['perplexity'] < log[0]['perplexity'] < 9
    assert 'val_perplexity' in log[1] and log[1]['words/s'] > 0
    # The model in the file is the one whose perplexity was printed.
    test = re.search(r'test +perplexity ([\d.]+)', out).group(1)
    assert f'perplexity {test}\n' in command(
        'evaluate', 'result/model.npz', '--corpus', story)
    text = command('generate', '--length', '15', '--seed', '1')
    assert set(text.split()) <= set('the cat sat on mat . dog saw'.split())
    assert text == command('generate', '--length', '15', '--seed', '1')
    assert command('generate', '-p', 'the cat', '--greedy').startswith('the cat ')


def test_same_seed_same_run(command, story):
    args = ['train', '--corpus', story, *SMALL]
    outs = [command(*args, '--seed', seed, '-o', out)
            for seed, out in (('3', 'a'), ('3', 'b'), ('4', 'c'))]
    a, b, c = (re.findall(r'perplexity ([\d.]+)', out) for out in outs)
    assert a == b != c


def test_resume_of_the_newest_snapshot(command, tmp_path, story):
    args = ['train', '--corpus', story, *SMALL[:-1]]
    whole = command(*args, '3', '-o', 'whole')
    command(*args, '1')
    resumed = command(*args, '3', '--resume')
    assert 'resumed  result/snapshot_iter_' in resumed
    numbers = [re.findall(r'perplexity ([\d.]+)', out) for out in (whole, resumed)]
    assert numbers[0] == numbers[1]


def test_a_run_knows_its_corpus(command, tmp_path, story):
    args = ['train', '--corpus', story, '--tokens', 'char', *SMALL[:-1]]
    whole = command(*args, '2', '-o', 'whole')
    command(*args, '1')
    resumed = command('train', '--resume', '-e', '2')
    assert whole.splitlines()[-2] == resumed.splitlines()[-2]
    assert whole.splitlines()[-2] in command('evaluate')
    assert 'mixture' not in command('evaluate', 'result/model.npz', '--part', 'valid')
    assert f'{"test":9}perplexity' in command('interpolate', 'result', 'whole')
    (tmp_path / story).rename(tmp_path / 'elsewhere.txt')
    out = command('evaluate', status=2)
    assert 'story.txt does not exist' in out
    command('evaluate', '--corpus', 'elsewhere.txt', '--tokens', 'char')


def test_a_run_is_not_overwritten_unless_told(command, tmp_path, story):
    args = ['train', '--corpus', story, *SMALL]
    command(*args)
    before = (tmp_path / 'result' / 'model.npz').read_bytes()
    out = command(*args, '--seed', '5', status=2)
    assert 'result: expected a folder without a run' in out and '--overwrite' in out
    assert (tmp_path / 'result' / 'model.npz').read_bytes() == before
    command(*args, '--seed', '5', '-e', '1', '--overwrite')
    assert (tmp_path / 'result' / 'model.npz').read_bytes() != before
    snapshots = [n for n in os.listdir(tmp_path / 'result') if 'snapshot' in n]
    assert len(snapshots) == 1  # the old ones are gone, and cannot be resumed


def test_a_run_goes_on_only_as_it_began(command, tmp_path, story):
    command('train', '--corpus', story, *SMALL)
    other = tmp_path / 'other.txt'
    other.write_text('the cat saw the dog .\nthe mat sat on the cat .\n' * 40)
    for args, message in (
            (['-u', '5'], '--unit: expected 12'),
            (['--corpus', str(other)],
             '--corpus: other.txt: expected the text of the run'),
            (['--tokens', 'char'], "--tokens: expected 'word'"),
            (['--overwrite'], '--overwrite cannot be combined with --resume'),
            (['--seed', '1'], '--seed cannot be combined with --resume: ')):
        if '--corpus' not in args:
            args = ['--corpus', story, *args]
        assert message in command('train', '--resume', *args, status=2)
    # Without flags, by the recipe it began with; with more epochs, further.
    out = command('train', '--corpus', story, '--resume')
    assert 'training 2 epochs' in out and '12 LSTM units' in out
    out = command('train', '--corpus', story, '--resume', '-e', '4')
    log = json.loads((tmp_path / 'result' / 'log').read_text())
    assert [entry['epoch'] for entry in log] == [1, 2, 3, 4]


def test_generate_from_a_snapshot(command, tmp_path, story):
    command('train', '--corpus', story, *SMALL)
    text = command('generate', '-s', '1')
    for name in 'model.npz', 'result.json':  # as of a run that was killed
        os.unlink(tmp_path / 'result' / name)
    assert command('generate', '-s', '1') == text
    snapshot, = (n for n in os.listdir(tmp_path / 'result') if n.endswith('_11'))
    assert command('generate', f'result/{snapshot}', '-s', '1').strip()


def test_words_and_weights_belong_together(command, tmp_path, story):
    command('train', '--corpus', story, *SMALL)
    other = tmp_path / 'other.txt'
    other.write_text('dog the cat saw . on\nmat the sat the cat .\n' * 40)
    # By the model's own vocabulary, whose words this text has in another order.
    assert 'unknown' not in command('evaluate', '--corpus', str(other))
    vocabulary = tmp_path / 'result' / 'vocabulary.json'
    vocabulary.write_text(vocabulary.read_text().replace('"dog",\n', ''))
    assert 'expected the vocabulary of the run' in command('generate', status=2)
    (tmp_path / 'result' / 'run.json').unlink()
    assert 'expected a model of 8 words' in command('generate', status=2)
    vocabulary.unlink()
    assert 'a model with a vocabulary.json' in command('generate', status=2)


def test_output_that_nobody_reads_does_not_stop_the_training(tmp_path, story):
    env = dict(os.environ, PYTHONPATH=ROOT)
    command = ' '.join([sys.executable, '-m rnnlm train --corpus', story, *SMALL])
    subprocess.run(f'{command} -e 20 | head -1', shell=True, cwd=tmp_path, env=env,
                   check=True, capture_output=True)
    assert len(json.loads((tmp_path / 'result' / 'log').read_text())) == 20
    if os.path.exists('/dev/full'):
        subprocess.run(f'{command} -o full > /dev/full', shell=True, cwd=tmp_path,
                       env=env, capture_output=True)
        assert (tmp_path / 'full' / 'snapshot_iter_11').exists()


def test_characters(command, story):
    out = command('train', '--corpus', story, '--tokens', 'char', *SMALL)
    assert 'characters, vocabulary 15' in out
    assert set(command('generate', '--length', '30')) <= set('thecasonm.dgw \n')
    assert command('generate', '-p', 'the c', '--length', '30').startswith('the c')
    assert "'T'" in command('generate', '-p', 'The c', status=2)


@pytest.mark.parametrize('args, message', [
    (['--corpus', 'nowhere'], "--corpus: 'nowhere'"),
    (['--corpus', 'empty.txt'], 'empty'),
    (['--corpus', 'latin.txt'], 'UTF-8'),
    (['--corpus', 'short.txt'], 'at least 20 tokens'),
    (['--batchsize', '-5'], '--batchsize'),
    (['--batchsize', '1000000'], 'streams'),
    (['--bproplen', '0'], '--bproplen'),
    (['--epoch', '0'], '--epoch'),
    (['--dropout', '1'], 'dropout'),
    (['--lr', 'nan'], '--lr'),
    (['--unit', '0'], '--unit'),
    (['--device', '0'], "--device: expected -1 or cpu"),
    (['--device', 'abacus'], "found 'abacus'"),
    (['--resume', 'nothing'], 'nothing'),
    (['--resume', 'latin.txt'], 'latin.txt'),
    (['--resume'], 'folder of a run'),
    (['--out', 'latin.txt'], 'latin.txt'),
    (['--vocab-limit', '1'], '--vocab-limit: '),
])
def test_bad_input_is_refused_before_work(command, tmp_path, args, message):
    (tmp_path / 'empty.txt').write_text('')
    (tmp_path / 'latin.txt').write_bytes('voilà '.encode('latin-1') * 50)
    (tmp_path / 'short.txt').write_text('a few words')
    if args == ['--device', '0']:
        import chainer
        if chainer.backends.cuda.available:
            pytest.skip('there is a device 0')
    out = command('train', *args, status=2)
    assert out.startswith('rnnlm train: error: ') and out.count('\n') == 1
    assert message in out and 'expected' in out


def test_other_bad_input(command, story, tmp_path):
    command('train', '--corpus', story, *SMALL)
    assert "'elephant'" in command('generate', '-p', 'the elephant', status=2)
    assert 'at least one word' in command('generate', '-p', '', status=2)
    assert 'error: --length: expected' in command(
        'generate', '--length', '-1', status=2)
    assert 'error: --beam: expected' in command('generate', '--beam', '0', status=2)
    assert 'error: --dynamic-lr: expected a finite number' in command(
        'evaluate', '--dynamic', 'sgd', '--dynamic-lr', '-1', status=2)
    assert 'nothing there' in command('evaluate', 'nothing.npz', status=2)
    out = command('evaluate', 'result/model.npz', '--corpus', 'demo')
    assert '74.6% unknown words skipped' in out and 'lowest possible' not in out
    os.unlink(tmp_path / 'result' / 'vocabulary.json')
    out = command('evaluate', 'result/model.npz', '--corpus', 'demo', status=2)
    assert 'expected the vocabulary of result/model.npz, 9 tokens' in out
    out = command('train', '--corpus', story, *SMALL, '--unit', '13', '--resume',
                  status=2)
    assert '--unit: expected 12' in out and 'found 13' in out


def test_version_and_help(command):
    assert command('--version').strip() == rnnlm.__version__
    assert 'train' in command('--help')
    assert '--bproplen' in command('train', '--help')


# Each flag of Chainer's 7.8.1 examples.
OFFICIAL = {
    'train_ptb.py': '--batchsize -b --bproplen -l --epoch -e --device -d --gradclip '
                    '-c --out -o --resume -r --test --unit -u --model -m --gpu -g',
    'train_ptb_custom_loop.py': '--batchsize -b --bproplen -l --epoch -e --device -d '
                                '--gradclip -c --out -o --resume -r --test --unit -u '
                                '--gpu -g',
    'gentxt.py': '--model -m --primetext -p --seed -s --unit -u --sample --length '
                 '--device -d --gpu -g',
}


@pytest.mark.parametrize('name', OFFICIAL)
def test_official_flags(script, name):
    text = script(name, '--help')
    for flag in OFFICIAL[name].split():
        assert re.search(r'(?<![\w-]){}(?![\w-])'.format(flag), text), flag


def test_train_ptb_and_gentxt(script, tmp_path, story):
    args = ['--corpus', story, '--unit', '12', '--seed', '1', '-b', '10', '-l', '10']
    out = script('train_ptb.py', *args, '-e', '3', '--test', '-m', 'm.npz')
    assert '#vocab = 9' in out
    assert 'iter' in out  # the progress bar
    assert re.search(r'test perplexity: \d+\.\d+\n', out)
    files = set(os.listdir(tmp_path / 'result_ptb'))
    assert {'snapshot_iter_3', 'model_iter_3', 'log'} <= files

    out = script('train_ptb.py', *args, '-e', '12', '--test', '-r',
                 'result_ptb/snapshot_iter_3')
    assert 'val_perplexity' in out
    log = json.loads((tmp_path / 'result_ptb' / 'log').read_text())
    assert log[-1]['iteration'] == 12 and 'val_perplexity' in log[-1]
    assert (tmp_path / 'model.npz').exists()

    prime = ['-p', 'the cat', '-u', '12', '--corpus', story, '--length', '9']
    text = script('gentxt.py', '-m', 'm.npz', *prime)
    assert text.startswith('#vocab = 9\nthe cat ')
    greedy = [script('gentxt.py', '-m', 'm.npz', *prime, '--sample', '-1', '-s', s)
              for s in '12']
    assert greedy[0] == greedy[1]
    assert 'elephant' in script(
        'gentxt.py', '-m', 'm.npz', *prime, '-p', 'elephant', status=2)
    assert '(9, 650)' in script(
        'gentxt.py', '-m', 'm.npz', '-p', 'the', '--corpus', story, status=2)


@pytest.mark.parametrize('name', ['train_ptb.py', 'train_ptb_custom_loop.py'])
@pytest.mark.parametrize('args, message', [
    (['-c', '-5'], '--gradclip'), (['-e', '0'], '--epoch'), (['-l', '0'], '--bproplen'),
    (['-b', '0'], '--batchsize'), (['-m', 'nowhere/m.npz'], 'nowhere/m.npz'),
    (['-m', '.'], 'a folder'), (['-o', 'story.txt'], 'story.txt'),
    (['--corpus', 'gone'], "corpus: 'gone'"), (['--seed', '-1'], '--seed'),
    (['--preset', 'laptop'], 'which also sets --tied, --average')])
def test_bad_input_of_the_scripts(script, story, name, args, message):
    out = script(name, '--corpus', story, '-u', '5', *args, status=2)
    assert 'error: ' in out and message in out and 'Traceback' not in out


def test_train_ptb_keeps_its_folder(script, story, tmp_path):
    args = ['--corpus', story, '-u', '5', '-e', '1', '--test']
    (tmp_path / 'result_ptb').mkdir()
    with filelock.FileLock(str(tmp_path / 'result_ptb' / '.lock')):
        out = script('train_ptb.py', *args, status=2)
        assert 'another run is writing' in out and 'Traceback' not in out
    script('train_ptb.py', *args)


def test_custom_loop(script, tmp_path, story):
    args = ['--corpus', story, '--unit', '12', '-b', '10', '-l', '10', '--seed', '1']
    out = script('train_ptb_custom_loop.py', *args, '-e', '4')
    losses = re.findall(r'perplexity: ([\d.]+)', out)
    assert float(losses[-1]) < 9
    assert {'rnnlm.model', 'rnnlm.state'} <= set(os.listdir(tmp_path))
    script('train_ptb_custom_loop.py', *args, '-e', '1', '-r', 'rnnlm.model')
    assert 'error: ' in script('train_ptb_custom_loop.py', '-r', 'no', *args, status=2)


def hear_ctrl_c():
    """Restores Ctrl-C, which the background processes of a shell script ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_in_the_custom_loop_saves_the_model(tmp_path, story):
    process = subprocess.Popen(
        [sys.executable, '-u', os.path.join(PTB, 'train_ptb_custom_loop.py'),
         '--corpus', story, '-u', '12', '-b', '10', '-l', '10', '-e', '1000000'],
        cwd=tmp_path, env=dict(os.environ, PYTHONPATH=ROOT), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
    while 'epoch: 2' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and 'Traceback' not in err
    assert 'stopped; ' in out
    assert (tmp_path / 'rnnlm.model').exists()


def test_ctrl_c(tmp_path, story):
    """Ctrl-C at a terminal: a snapshot, the way to go on, and status 130."""
    env = dict(os.environ, PYTHONPATH=ROOT, PYTHONUNBUFFERED='1')
    args = [sys.executable, '-m', 'rnnlm', 'train', '--corpus', story, *SMALL[:-1]]
    process = subprocess.Popen(
        [*args, '100000'], cwd=tmp_path, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
    deadline = time.time() + 60
    while not (tmp_path / 'result' / 'log').exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'SIGINT: finishing the window' in err and 'Traceback' not in err
    snapshot = re.search(r'written: (\S+)', out).group(1)
    assert (tmp_path / snapshot).exists()
    assert 'resume   with: rnnlm train --resume result\n' in out
    done = int(snapshot.split('_')[-1]) // 11 + 2
    again = subprocess.run(
        [*args, str(done), '--resume'], cwd=tmp_path, env=env, capture_output=True,
        text=True)
    assert again.returncode == 0, again.stderr
    assert 'resumed' in again.stdout
