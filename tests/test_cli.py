"""The commands and the example scripts, as their user runs them."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import rnnlm

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PTB = os.path.join(ROOT, 'examples', 'ptb')
SMALL = '--unit 12 --batchsize 10 --bproplen 10 --epoch 2'.split()


@pytest.fixture
def call(tmp_path):
    """Runs a command in an empty folder with an empty HOME; warnings are errors."""
    def call(*args, status=0, **kwargs):
        env = dict(os.environ, HOME=str(tmp_path / 'home'), PYTHONPATH=ROOT)
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


def test_characters(command, story):
    out = command('train', '--corpus', story, '--tokens', 'char', *SMALL)
    assert 'characters, vocabulary 15' in out
    assert set(command('generate', '--length', '30')) <= set('thecasonm.dgw \n')
    assert command('generate', '-p', 'the c', '--length', '30').startswith('the c')
    assert "'T'" in command('generate', '-p', 'The c', status=2)


@pytest.mark.parametrize('args, message', [
    (['--corpus', 'nowhere'], "corpus 'nowhere'"),
    (['--corpus', 'empty.txt'], 'empty'),
    (['--corpus', 'latin.txt'], 'UTF-8'),
    (['--corpus', 'short.txt'], 'at least 20 tokens'),
    (['--batchsize', '-5'], 'batch_size'),
    (['--batchsize', '1000000'], 'streams'),
    (['--bproplen', '0'], 'bprop_len'),
    (['--epoch', '0'], 'epochs'),
    (['--dropout', '1'], 'dropout'),
    (['--lr', 'nan'], 'lr'),
    (['--unit', '0'], 'n_units'),
    (['--device', '0'], "device '0'"),
    (['--device', 'abacus'], "device 'abacus'"),
    (['--resume', 'nothing'], 'nothing'),
    (['--resume', 'latin.txt'], 'latin.txt'),
    (['--resume'], 'snapshot_iter_N'),
    (['--out', 'latin.txt'], 'latin.txt'),
    (['--vocab-limit', '1'], 'vocabulary limit'),
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
    assert 'length' in command('generate', '--length', '-1', status=2)
    assert 'nothing there' in command('evaluate', 'nothing.npz', status=2)
    out = command('evaluate', 'result/model.npz', status=2)
    assert 'expected a vocabulary of 9' in out
    out = command('train', '--corpus', story, *SMALL, '--unit', '13', '--resume',
                  status=2)
    assert '(9, 13)' in out and '(9, 12)' in out


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
    files = set(os.listdir(tmp_path / 'result'))
    assert {'snapshot_iter_3', 'model_iter_3', 'vocabulary.json'} <= files

    out = script('train_ptb.py', *args, '-e', '12', '--test', '-r',
                 'result/snapshot_iter_3')
    assert 'val_perplexity' in out
    log = json.loads((tmp_path / 'result' / 'log').read_text())
    assert log[0]['iteration'] == 10
    assert (tmp_path / 'model.npz').exists()

    prime = ['-p', 'the cat', '-u', '12', '--corpus', story, '--length', '9']
    text = script('gentxt.py', '-m', 'm.npz', *prime)
    assert text.startswith('#vocab = 9\nthe cat ')
    greedy = [script('gentxt.py', '-m', 'm.npz', *prime, '--sample', '-1', '-s', s)
              for s in '12']
    assert greedy[0] == greedy[1]
    assert 'elephant' in script(
        'gentxt.py', '-m', 'm.npz', *prime, '-p', 'elephant', status=1)
    assert '(9, 650)' in script(
        'gentxt.py', '-m', 'm.npz', '-p', 'the', '--corpus', story, status=1)


def test_custom_loop(script, tmp_path, story):
    args = ['--corpus', story, '--unit', '12', '-b', '10', '-l', '10', '--seed', '1']
    out = script('train_ptb_custom_loop.py', *args, '-e', '4')
    losses = re.findall(r'perplexity: ([\d.]+)', out)
    assert float(losses[-1]) < 9
    assert {'rnnlm.model', 'rnnlm.state'} <= set(os.listdir(tmp_path))
    script('train_ptb_custom_loop.py', *args, '-e', '1', '-r', 'rnnlm.model')
    assert 'error: ' in script('train_ptb_custom_loop.py', '-r', 'no', *args, status=1)


def test_ctrl_c(tmp_path, story):
    """Ctrl-C at a terminal: a snapshot, the way to go on, and status 130."""
    env = dict(os.environ, PYTHONPATH=ROOT, PYTHONUNBUFFERED='1')
    args = [sys.executable, '-m', 'rnnlm', 'train', '--corpus', story, *SMALL[:-1]]
    process = subprocess.Popen(
        [*args, '100000'], cwd=tmp_path, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not (tmp_path / 'result' / 'log').exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'SIGINT: finishing the window' in err and 'Traceback' not in err
    snapshot = re.search(r'--resume (\S+)', out).group(1)
    assert (tmp_path / snapshot).exists()
    done = int(snapshot.split('_')[-1]) // 11 + 2
    again = subprocess.run(
        [*args, str(done), '--resume'], cwd=tmp_path, env=env, capture_output=True,
        text=True)
    assert again.returncode == 0, again.stderr
    assert 'resumed' in again.stdout
