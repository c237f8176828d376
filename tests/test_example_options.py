"""Every option of every example with values that it cannot have."""
import argparse
import glob
import os
import runpy
import sys

from helpers import ROOT
import pytest

import rnnlm
from rnnlm import parts

EXAMPLES = os.path.join(ROOT, 'examples')
BIG = '99999999999999999999'
VALUES = ['', 'x', '-1', '0', '1e999', 'nan', '1.5', BIG, 'no/where/x', 'folder']


def is_script(path):
    with open(path, encoding='utf-8') as f:
        return "if __name__ == '__main__':" in f.read()


SCRIPTS = [os.path.relpath(path, EXAMPLES)
           for path in sorted(glob.glob(os.path.join(EXAMPLES, '*', '*.py')))
           if is_script(path)]

# Arguments with which the option could be used.
WITH = {'tasks/shakespeare.py': ['text'], 'tasks/time_machine.py': ['text'],
        'ptb/gentxt.py': ['--model', 'm', '--primetext', 'the', '--corpus', 'demo'],
        'awd/main.py': ['--demo'], 'awd/finetune.py': ['--demo'],
        'awd/cache.py': ['--demo'], 'ptb/train_ptb.py': ['--corpus', 'demo'],
        'ptb/train_ptb_custom_loop.py': ['--corpus', 'demo']}

# Values that are good, or names of files that are looked for later.
ANY_NUMBER = ['0', '1.5', BIG]
GOOD = {
    '--seed': ['0'], '--device': ['-1'], '--sample': ['-1', '0', BIG],
    '--length': ['0', BIG], '--dropout': ['0'], '--lr': ANY_NUMBER,
    '--decay': ANY_NUMBER[1:], '--decay-after': ['0', BIG],
    '--gradclip': ANY_NUMBER[1:], '--init-scale': ANY_NUMBER[1:],
    '--out': VALUES, '--model': VALUES, '--save': VALUES, '--resume': VALUES,
    '--primetext': VALUES, '--imdb': VALUES, '--unit': [BIG], '--n-embed': [BIG],
    '--epoch': [BIG], '--epochs': [BIG], '--texts': [BIG], '--units': [BIG],
    '--iterations': [BIG], '--batchsize': [BIG], '--bproplen': [BIG],
    '--clip': ANY_NUMBER, '--alpha': ANY_NUMBER, '--beta': ANY_NUMBER,
    '--wdecay': ANY_NUMBER, '--nonmono': ['0', BIG], '--dropouth': ['0'],
    '--dropouti': ['0'], '--dropoute': ['0'], '--wdrop': ['0'],
    '--theta': ['-1', *ANY_NUMBER], '--lambdasm': ['0'], '--window': [BIG],
    '--bptt': [BIG], '--timeout': ['1.5', '1e999', BIG]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which no corpus may be read and no model made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'text').write_text('the cat sat\n' * 20)

    def begun(*args, **kwargs):
        raise AssertionError('the work began before the options were checked')

    for name in 'RNNForLM', 'LanguageModel', 'ParallelSequentialIterator', 'load':
        monkeypatch.setattr(rnnlm, name, begun)
    before, table = set(sys.modules), dict(parts.TABLE)
    yield
    parts.TABLE.clear()  # examples/awd adds links to it
    parts.TABLE.update(table)
    for name in set(sys.modules) - before:  # each folder has its own `options`
        if (getattr(sys.modules[name], '__file__', None) or '').startswith(EXAMPLES):
            del sys.modules[name]


def run(script, argv, monkeypatch):
    """Runs an example as a user does, and returns its exit status."""
    path = os.path.join(EXAMPLES, script)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as e:
        patch.setattr(sys, 'argv', [path, *argv])
        patch.setattr(sys, 'path', [os.path.dirname(path), *sys.path])
        runpy.run_path(path, run_name='__main__')
    return e.value.code


def flags_of(script, monkeypatch):
    """The options of an example that have a value, none of which is a choice."""
    found = []

    def parse_args(parser, *args):
        found.extend(max(action.option_strings, key=len) for action in parser._actions
                     if action.option_strings and action.nargs != 0)
        sys.exit()

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
        run(script, [], monkeypatch)
    return found


@pytest.mark.parametrize('script', [
    script for script in SCRIPTS
    if script not in ('ptb/reference.py', 'subwords/pieces.py')])  # without options
def test_an_option_is_refused_by_its_flag(script, here, monkeypatch, capsys):
    flags = flags_of(script, monkeypatch)
    assert '--seed' in flags
    before = sorted(os.listdir('.'))
    for flag in flags:
        for value in VALUES:
            if value in GOOD.get(flag, []):
                continue
            argv = [argument for argument in WITH.get(script, [])
                    if (flag, argument) != ('--data', '--demo')]
            try:
                status = run(script, [*argv, f'{flag}={value}'], monkeypatch)
            except AssertionError as e:
                status = str(e)
            out, err = capsys.readouterr()
            assert (status, out) == (2, ''), (script, flag, value, err)
            names = flag, f'{flag.strip("-")}: ', f"'{value}'", f'error: {value}: '
            assert any(name in err for name in names), (script, flag, value, err)
    left = set(os.listdir('.')) - set(before)
    assert left <= {'result_ptb'} and all(
        os.listdir(folder) in ([], ['.lock']) for folder in left), left


@pytest.mark.parametrize('script, argv', [
    ('ptb/train_ptb.py', ['--corpus', 'text', '--model', 'text']),
    ('ptb/train_ptb.py', ['--corpus', 'data', '--model', 'data/train.txt']),
    ('ptb/train_ptb_custom_loop.py', ['--corpus', 'text', '--model', 'text']),
    ('awd/main.py', ['--data', 'data', '--save', 'data/train.txt']),
    ('awd/finetune.py', ['--data', 'data', '--save', 'data/valid.txt'])])
def test_a_text_is_not_overwritten(script, argv, here, tmp_path, monkeypatch, capsys):
    (tmp_path / 'data').mkdir()
    for part in 'train', 'valid', 'test':
        (tmp_path / 'data' / f'{part}.txt').write_text('the cat\n' * 20)
    assert run(script, argv, monkeypatch) == 2
    assert argv[2] in capsys.readouterr().err
    assert (tmp_path / argv[3]).read_text().startswith('the ')
