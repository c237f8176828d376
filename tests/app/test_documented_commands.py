"""The commands of the README and of the help run, on the README's first model."""
import argparse
import os
import re
import shutil
import subprocess
import sys

from helpers import ROOT
import pytest

import rnnlm
from rnnlm.app import cli

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='needs a POSIX shell')

# Of those that are run here.
COMMANDS = 'score', 'generate', 'evaluate', 'interpolate', 'inspect', 'info'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where ``rnnlm train`` has run, if for one epoch and with fewer units."""
    folder = tmp_path_factory.mktemp('documented')
    recipe = rnnlm.Recipe(n_units=32, n_layers=1, dropout=0, bprop_len=20, epochs=1)
    rnnlm.train(rnnlm.load_corpus('demo'), recipe, out=str(folder / 'result'), seed=0)
    for name in 'small', 'other', 'one', 'two':
        shutil.copytree(folder / 'result', folder / name)
    (folder / 'novel.txt').write_text('It was the best of times.\n' * 40)
    (folder / 'other.txt').write_text('It was the worst of times.\n' * 4)
    rnnlm.train(rnnlm.load_corpus(str(folder / 'novel.txt'), 'char'),
                rnnlm.Recipe(n_units=4, batch_size=4, bprop_len=5, epochs=1),
                out=str(folder / 'novel'), seed=0)
    (folder / 'sentences.txt').write_text('the sleepy king sings\nthe king hopes\n')
    (folder / 'nbest.txt').write_text('1 ||| the king sings ||| -3\n'
                                      '1 ||| the sings king ||| -2\n')
    (folder / 'rnnlm').write_text(
        f'#!/bin/sh\nexec {sys.executable} -W error -m rnnlm "$@"\n')
    (folder / 'rnnlm').chmod(0o755)
    return folder


def shell(folder, command):
    return subprocess.run(
        ['/bin/sh', '-c', command], cwd=folder, capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=ROOT,
                 PATH=f'{folder}{os.pathsep}{os.environ["PATH"]}'))


def of_readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        rows = re.findall(r'^\| .*? \| (.*) \|$', f.read(), re.M)
    for row in rows:
        for command in re.findall(r'`([^`]*rnnlm [^`]*)`', row):
            command = command.replace(r'\|', '|')
            if re.search(r'rnnlm ({})\b'.format('|'.join(COMMANDS)), command):
                yield command.replace('DIR', 'result').replace(
                    'OTHER', 'other').replace('FILE.txt', 'other.txt').replace(
                        'FILE', 'result/model.npz')


def of_help():
    subcommands, = (action for action in cli.make_parser()._actions
                    if isinstance(action, argparse._SubParsersAction))
    for name in COMMANDS:
        examples = subcommands.choices[name].epilog.split('\n')
        assert examples[0] == 'examples:'
        yield from map(str.strip, examples[1:])


@pytest.mark.parametrize('command', sorted({
    command for command in [*of_readme(), *of_help()]
    if '--corpus ptb' not in command}))  # which nobody may have here
def test_it_runs(folder, command):
    done = shell(folder, command)
    assert done.returncode == 0, done.stderr
    assert 'error' not in done.stderr
    if 'echo' in command:  # of words that the model knows
        assert ', 0 of them unknown' in done.stderr
    if ' > ' not in command:
        assert done.stdout


def test_all_are_found():
    assert len(list(of_readme())) >= 5 and len(list(of_help())) >= 12
