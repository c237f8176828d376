"""result.json: what a citation of a completed run needs, as it was printed."""
import hashlib
import json
import os
import re
import signal
import subprocess
import sys

from helpers import ROOT, TINY, tiny_corpus
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment, info, results

SMALL = '--unit 8 --layer 1 --batchsize 4 --bproplen 10'.split()
LINES = 'the cat sat on the mat .\nthe dog saw the cat .\n'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in the test's folder as if it were typed; what it printed."""
    monkeypatch.chdir(tmp_path)
    rare = ''.join(f'the word{k} sat on the mat .\n' for k in range(12))
    (tmp_path / 'story.txt').write_text(
        LINES * 20 + rare + LINES * 20 + rare.replace('d', 'k'))

    def run(*args, status=0):
        monkeypatch.setattr(sys, 'argv', ['/somewhere/bin/rnnlm', *args])
        capsys.readouterr()
        found = cli.main()
        out, err = capsys.readouterr()
        assert found == status, out + err
        return out
    return run


def read(folder='result'):
    with open(os.path.join(folder, 'result.json')) as f:
        return json.load(f, parse_constant=pytest.fail)


@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_it_says_what_was_printed(run, tokens):
    out = run('train', '--corpus', 'story.txt', '--tokens', tokens, *SMALL,
              '--epoch', '2', '--seed', '7')
    found = read()
    for part in 'valid', 'test':
        line = next(line for line in out.split('\n') if line.startswith(f'{part} '))
        printed = [float(number) for number in re.findall(r'\d+\.\d+', line)]
        one = found[part]
        expected = [one['perplexity']]
        if tokens == 'char':
            expected.append(one['bits per character'])
        if one['unknown']:
            expected += [100 * one['unknown'], one['perplexity without unknown']]
        assert len(printed) == len(expected)
        for a, b in zip(printed, expected):
            assert a == pytest.approx(b, rel=5e-3, abs=5e-4)
        again = json.loads(run('evaluate', '--part', part, '--json'))
        assert again.keys() == one.keys()
        for name, value in one.items():
            assert again[name] == (pytest.approx(value, rel=1e-5) if isinstance(
                value, float) else value)
    assert found['test']['unknown'] > 0


def test_it_says_how_it_came_about(run):
    run('train', '--corpus', 'story.txt', *SMALL, '--epoch', '2', '--seed', '7')
    found = read()
    assert found['seed'] == 7 and found['limit'] is None
    with open('result/run.json') as f:
        assert found['run'] == json.load(f)
    with open('result/model.npz', 'rb') as f:
        assert found['model']['sha256'] == hashlib.sha256(f.read()).hexdigest()
    part, = found['parts']
    assert part['command'] == (
        'rnnlm train --corpus story.txt --unit 8 --layer 1 --batchsize 4 --bproplen 10 '
        '--epoch 2 --seed 7')
    with open('result/log') as f:
        last = json.load(f)[-1]
    assert part['windows'] == [0, last['iteration']] == [0, found['windows']]
    assert found['epochs'] == 2 and part['processes'] == 1
    assert found['seconds'] >= last['elapsed_time']
    read_words = found['windows'] * 4 * 10
    assert found['words/s'] == pytest.approx(read_words / found['seconds'], rel=0.05)
    system = info.describe()
    assert found['system']['versions'] == system['versions']
    assert found['system']['blas'] == system['blas']
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00', found['finished'])


def test_a_run_in_parts_has_the_commands_of_all(run, monkeypatch):
    args = ['train', '--corpus', 'story.txt', *SMALL]
    run(*args, '--epoch', '1', '--seed', '3')
    first = read()['parts'][0]
    os.rename('result', 'earlier one')
    run('train', '--resume', 'earlier one', '--out', 'later', '--epoch', '3')
    assert os.path.exists('earlier one/result.json')
    found = read('later')
    assert found['parts'][0] == first and found['seed'] == 3
    assert found['parts'][1]['command'] == (
        "rnnlm train --resume 'earlier one' --out later --epoch 3")
    assert found['parts'][1]['windows'] == [first['windows'][1], found['windows']]
    assert found['epochs'] == 3
    # Nothing is left to do: it is written anew, with no part of its own.
    os.unlink('later/result.json')
    run('train', '--resume', '--out', 'later', '--epoch', '3')
    again = read('later')
    assert again['parts'] == found['parts']
    assert again['test'] == found['test'] and again['model'] == found['model']


def test_it_is_gone_while_the_run_is_not_complete(run, monkeypatch):
    args = ['train', '--corpus', 'story.txt', *SMALL]
    run(*args, '--epoch', '1')
    before = read()

    class Stop:
        trigger, priority, name = (1, 'iteration'), 0, None

        def __call__(self, trainer):
            assert not os.path.exists('result/result.json')
            os.kill(os.getpid(), signal.SIGTERM)

    make = experiment.make_training_run

    def stopping(*args, **more):
        made = make(*args, **more)
        made.trainer.extend(Stop(), name='stop', trigger=(1, 'iteration'), priority=0)
        return made

    with monkeypatch.context() as m:
        m.setattr(experiment, 'make_training_run', stopping)
        run('train', '--resume', '--epoch', '2', status=128 + signal.SIGTERM)
    assert not os.path.exists('result/result.json')
    run('train', '--resume', '--epoch', '2')
    windows = [part['windows'] for part in read()['parts']]
    begin = before['windows']
    assert windows == [[0, begin], [begin, begin + 1], [begin + 1, read()['windows']]]


def test_another_run_in_the_folder(run):
    args = ['train', '--corpus', 'story.txt', *SMALL, '--epoch', '1']
    run(*args)
    for name in os.listdir('result'):
        if name != 'result.json':
            os.unlink(f'result/{name}')
    run(*args, status=2)
    run(*args, '--overwrite')
    assert read()['parts'][0]['command'].endswith('--overwrite')


def test_a_result_that_cannot_be_written(run, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, 'No space left on device', 'result/result.json')

    with monkeypatch.context() as m:
        m.setattr(results, 'write', full)
        run('train', '--corpus', 'story.txt', *SMALL, '--epoch', '1', status=1)
    assert not os.path.exists('result/result.json')
    run('train', '--resume')
    assert read()['valid']['perplexity'] > 1


def test_what_is_not_finite_is_null(tmp_path):
    text = tiny_corpus()
    result = experiment.train(text, TINY, out=str(tmp_path), seed=0)
    result['test'] = float('inf')
    result['valid_known'] = float('nan')

    class Trainer:
        out, elapsed_time, updater = str(tmp_path), 0.0, type('', (), {
            'epoch_detail': 0.0, 'epoch': 0, 'iteration': 0})

        def get_extension(self, name):
            raise ValueError

    results.write(Trainer(), text, result)
    found = read(str(tmp_path))
    assert found['test']['perplexity'] is None
    assert found['valid']['perplexity without unknown'] is None
    assert found['parts'] == [] and found['seed'] is None


@pytest.mark.parametrize('parts', [
    '', '{}', '[1]', '[{"windows": [0]}]', '[{"windows": [-1, 3]}]',
    '[{"windows": [0, true]}]', '[{}]', '[' * 100000])
def test_parts_of_a_damaged_snapshot_are_refused(tmp_path, parts):
    out = str(tmp_path / 'out')
    experiment.train(tiny_corpus(), TINY, out=out, seed=0)
    newest = rnnlm.serializers.snapshot_files.newest_snapshot(out)
    with numpy.load(newest, allow_pickle=True) as npz:
        found = dict(npz)
    assert 'extensions/History/parts' in found
    found['extensions/History/parts'] = numpy.array(parts)
    with open(newest, 'wb') as f:
        numpy.savez(f, **found)
    with pytest.raises(rnnlm.InputError, match='History/parts'):
        experiment.train(tiny_corpus(), TINY, out=str(tmp_path / 'other'),
                         resume=newest)


@pytest.mark.parametrize('argv, expected', [
    (['/usr/bin/rnnlm', 'train', '--out', 'a b'], "rnnlm train --out 'a b'"),
    (['/x/rnnlm/__main__.py', 'train'], 'rnnlm train'),
    (['train.py', '-x'], 'python train.py -x'), ([''], "python ''")])
def test_the_command_as_it_would_be_typed(monkeypatch, argv, expected):
    monkeypatch.setattr(sys, 'argv', argv)
    assert results.command_line() == expected


def test_of_a_process_of_its_own(tmp_path):
    subprocess.run(
        [sys.executable, '-W', 'error', '-m', 'rnnlm', 'train', '-u', '3', '--epoch',
         '1', '--corpus', 'demo', '-b', '500', '-l', '50'],
        check=True, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=ROOT),
        capture_output=True)
    found = read(str(tmp_path / 'result'))
    assert found['parts'][0]['command'] == (
        'rnnlm train -u 3 --epoch 1 --corpus demo -b 500 -l 50')
    assert found['limit'] > 1 and found['test']['unknown'] == 0
