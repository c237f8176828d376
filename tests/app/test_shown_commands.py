"""The commands that train, and those on the Penn Treebank, of README and of the help.

Texts that are not here get one of the same form, and trainings are short.  The other
commands run in test_documented_commands.py.
"""
import os
import re
import shlex

from helpers import ROOT
import pytest

from rnnlm.app import cli

# Of other files' tests: several processes, a GPU, scripts and files of others.
ELSEWHERE = re.compile(
    r'mpiexec|--device|rnnlm (run|convert|inspect)\b|python |info')

SHORT = ['--unit', '8', '--epoch', '1']

NOVEL = 'It was the best of times ,\nit was the worst of times .\n' * 60


def of_help():
    """The examples below the help of each command."""
    parser = cli.make_parser()
    commands, = (action.choices for action in parser._actions if action.choices)
    for command in commands.values():
        yield from command.epilog.split('\n  ')[1:]


def of_readme():
    """The commands of its table: those that are whole."""
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        rows = re.findall(r'^\| [^|]* \| (.*) \|$', f.read(), re.M)
    for row in rows:
        for command in re.findall(r'`([^`]+)`', row):
            if 'rnnlm ' in command:
                yield command.replace('\\|', '|')


def shown():
    found = dict.fromkeys(command for command in [*of_help(), *of_readme()]
                          if not ELSEWHERE.search(command)
                          and re.search('rnnlm train|--corpus ptb', command))
    assert len(found) > 10
    return list(found)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with what the commands name."""
    folder = tmp_path_factory.mktemp('shown')
    for name in 'novel.txt', 'FILE.txt':
        (folder / name).write_text(NOVEL)
    for place in 'FOLDER', 'ptb':
        (folder / place).mkdir()
        for part in 'train', 'valid', 'test':
            (folder / place / f'ptb.{part}.txt').write_text(
                'the company said <unk> N\n' * 40)
    made = [['train', '--corpus', './ptb', *SHORT, '--out', out]
            for out in ('small', 'medium')] + [['train', *SHORT]]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for args in made:
            assert cli.main(args) == 0
    return folder


@pytest.mark.parametrize('command', shown())
def test_it_runs(folder, command, monkeypatch, capsys):
    command = command.replace('--corpus ptb', '--corpus ./ptb')
    name, *args = shlex.split(command)
    assert name == 'rnnlm'
    if args[0] == 'train':
        args += SHORT if '--resume' not in args else ['--epoch', '2']
        if '--resume' not in args:
            args += ['--overwrite'] + ([] if '--out' in args else ['--out', 'again'])
    monkeypatch.chdir(folder)
    capsys.readouterr()
    status = cli.main(args)
    out, err = capsys.readouterr()
    assert status == 0, err
    assert out.strip()
