"""The commands that README and the help texts show, on the model they begin with.

The model is that of `rnnlm train`, on the demo corpus, of one epoch; trainings of texts
that are not here get one of the same form, and are short.
"""
import io
import os
import re
import shlex
import sys

from helpers import ROOT
import pytest

from rnnlm.app import cli

pytestmark = pytest.mark.slow

# Of other files' tests: several processes, a GPU, scripts and files of others.
ELSEWHERE = re.compile(
    r'mpiexec|--device|rnnlm (run|convert)\b|python ')

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
                          if not ELSEWHERE.search(command))
    assert len(found) > 15
    return list(found)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the demo's model, and with what the commands name."""
    folder = tmp_path_factory.mktemp('shown')
    for name in 'novel.txt', 'FILE.txt', 'other.txt':
        (folder / name).write_text(NOVEL)
    for place in 'FOLDER', 'ptb':
        (folder / place).mkdir()
        for part in 'train', 'valid', 'test':
            (folder / place / f'ptb.{part}.txt').write_text(
                'the company said <unk> N\n' * 40)
    (folder / 'sentences.txt').write_text('the company said\n')
    (folder / 'nbest.txt').write_text(
        '1 ||| the company ||| -1.5\n1 ||| company the ||| -1.5\n')
    made = [['train', *SHORT, '--out', out] for out in ('result', 'DIR', 'OTHER')]
    made += [['train', '--corpus', corpus, *SHORT, '--out', out] for corpus, out in (
        ('novel.txt', 'novel'), ('./ptb', 'small'), ('./ptb', 'medium'),
        ('./ptb', 'other'), ('novel.txt', 'one'), ('novel.txt', 'two'))]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for args in made:
            assert cli.main(args) == 0
    return folder


@pytest.mark.parametrize('command', shown())
def test_it_runs(folder, command, monkeypatch, capsys):
    command = command.replace('--corpus ptb', '--corpus ./ptb').replace(
        'inspect FILE', 'inspect result/model.npz')
    before, _, after = command.rpartition(' | ')
    stdin = None
    if before:
        word, text = shlex.split(before)
        assert word == 'echo'
        stdin = text + '\n'
    name, *args = shlex.split(after)
    assert name == 'rnnlm'
    if '>' in args:
        del args[args.index('>'):]
    if '<' in args:
        at = args.index('<')
        stdin = (folder / args[at + 1]).read_text()
        del args[at:at + 2]
    if args[0] == 'train':
        args += SHORT if '--resume' not in args else ['--epoch', '2']
        if '--resume' not in args:
            args += ['--overwrite'] + ([] if '--out' in args else ['--out', 'again'])
    monkeypatch.chdir(folder)
    if stdin is not None:
        monkeypatch.setattr(
            sys, 'stdin', io.TextIOWrapper(io.BytesIO(stdin.encode())))
    capsys.readouterr()
    status = cli.main(args)
    out, err = capsys.readouterr()
    assert status == 0, err
    assert out.strip()
    if before:  # of words that the model knows
        assert ', 0 of them unknown' in err
