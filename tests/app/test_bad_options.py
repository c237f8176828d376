"""Every option of every command with values that it cannot have."""
import argparse
import os

import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.data import sources

BIG = '99999999999999999999'
VALUES = ['', 'x', '-1', '0', '1e999', 'nan', '1e-400', '1.5', BIG, 'folder']

# Arguments with which the option could be used.
WITH = {
    'train': ['--corpus', 'text', '-e', '1', '--out', 'new'],
    'evaluate': ['run', '--dynamic', 'sgd'],
    'generate': ['run'],
    'score': ['run', 'text', '--mix', 'run', '--nbest'],
    'interpolate': ['run', 'run', '--text', 'text', '--weight', '0.5'],
    'run': ['script.py'], 'inspect': ['run'], 'convert': ['run', 'new.npz'],
    'info': []}

# Values that are good: these are not tried.
GOOD = {
    '--device': ['-1'], '--length': ['0'], '--seed': ['0'],
    '--temperature': ['1.5', BIG],
    '--dropout': ['0', '1e-400'], '--init-scale': ['1.5', BIG], '--lr': ['1.5', BIG],
    '--decay': ['1.5', BIG], '--decay-after': ['0'], '--gradclip': ['1.5', BIG],
    '--vocab-limit': [BIG], '--save-every': ['0', '1e999', '1e-400', '1.5', BIG],
    '--decay-on-plateau': ['1.5', BIG], '--average': ['0', '1e-400', '1.5', BIG],
    '--timeout': ['1e999', '1.5', BIG], '--out': VALUES[1:],
    '--dynamic-lr': ['1.5', BIG], '--dynamic-decay': ['0', '1e-400'],
    '--api': ['1.5'], '--lm-weight': ['-1', '0', '1e-400', '1.5', BIG],
    '--word-penalty': ['-1', '0', '1e-400', '1.5', BIG]}


def commands():
    action, = (action for action in cli.make_parser()._actions
               if isinstance(action, argparse._SubParsersAction))
    return action.choices


def values_of(parser):
    """Pairs of a flag and a value that it cannot have."""
    for action in parser._actions:
        if action.option_strings and action.nargs != 0:
            flag = max(action.option_strings, key=len)
            for value in VALUES:
                if value not in GOOD.get(flag, []):
                    yield flag, value


def files():
    return {os.path.join(folder, name) for folder, inner, names in os.walk('.')
            for name in inner + names}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'run').mkdir()
    (tmp_path / 'script.py').write_text('')
    (tmp_path / 'text').write_text('the cat sat\n' * 20)
    vocabulary = rnnlm.Vocabulary(['<eos>', 'the', 'cat', 'sat'])
    vocabulary.save('run/vocabulary.json')
    rnnlm.save_npz('run/model.npz', rnnlm.RNNForLM(4, 2))


def refused(argv, capsys):
    """The message of a command that cannot be used."""
    before = files()
    try:
        status = cli.main(argv)
    except SystemExit as e:
        status = e.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, ''), (argv, err)
    assert len(err.splitlines()) <= 2 and files() == before, (argv, err)
    return err


@pytest.mark.parametrize('name', list(WITH))
def test_an_option_is_refused_by_its_flag(name, here, capsys):
    for flag, value in values_of(commands()[name]):
        given = [f'{flag}={value}']  # behind the script it would be the script's
        argv = [name, *given, *WITH[name]] if name == 'run' else [
            name, *WITH[name], *given]
        assert flag in refused(argv, capsys), argv


# Whether these are valid depends on the text.
BY_THE_TEXT = {('--batchsize', BIG), ('--bproplen', BIG)}


def test_a_long_text_is_not_read_before_an_option_is_refused(here, capsys, monkeypatch):
    def find(*args):
        raise AssertionError('the text is read')

    monkeypatch.setattr(sources, 'find', find)
    argv = ['train', *WITH['train']]
    for flag, value in values_of(commands()['train']):
        if (flag, value) not in BY_THE_TEXT and flag != '--corpus':
            assert flag in refused([*argv, f'{flag}={value}'], capsys), (flag, value)
    open('run/.lock', 'w').close()  # a look into the folder leaves it
    assert 'expected a folder without a run' in refused([*argv, '--out=run'], capsys)


def test_all_commands_are_tried():
    assert set(WITH) == set(commands())


@pytest.mark.parametrize('argv', [
    ['run', 'text', '--total'], ['run', '--total', 'text'], ['--total', 'run', 'text'],
    ['run', '--total', '-'], ['run', '--total']])
def test_the_text_of_score_may_stand_behind_an_option(argv, here, capsys, monkeypatch):
    with open('text') as f:
        monkeypatch.setattr('sys.stdin', f)
        assert cli.main(['score', *argv]) == 0
    assert capsys.readouterr().out.startswith('total: 20 sentences')
    assert "unrecognized arguments: b" in refused(
        ['score', 'run', '--total', 'text', 'b'], capsys)


def test_a_part_without_a_known_word(here, capsys):
    with open('words', 'w') as f:
        f.write('a b c d e f g h i\n' * 2)
    assert cli.main(['train', '--corpus', 'words', '-u', '2', '-e', '1', '-b', '2',
                     '--out', 'new']) == 0
    assert cli.main(['evaluate', 'new', '--part', 'valid']) == 0
    out = capsys.readouterr().out
    assert out.count('with 100% unknown words\n') == 2 and 'nan' not in out


@pytest.mark.parametrize('argv, part', [
    (['evaluate', ''], 'argument model: expected a name'),
    (['score', 'run', ''], 'argument FILE: expected a name'),
    (['interpolate', 'run', ''], 'argument other: expected a name'),
    (['inspect', ''], 'argument file: expected a name'),
    (['convert', '', 'x.npz'], 'argument input: expected a name'),
    (['convert', 'run', ''], 'argument output: expected a name'),
    (['evaluate', 'folder'], "found one without model.npz and without a snapshot; "
                             "train a model with 'rnnlm train'"),
    (['evaluate', 'run', '--text', 'demo'], '--text: demo: expected a file'),
    (['evaluate', 'run', '--dynamic-lr', '1'], 'only be used with --dynamic'),
    (['evaluate', 'run', '--dynamic-decay', '1'], 'only be used with --dynamic'),
    (['train', '--out', 'text'], 'choose another one with --out')])
def test_names_and_options_that_do_not_fit(argv, part, here, capsys):
    assert part in refused(argv, capsys)


@pytest.mark.parametrize('name, flag', [
    (name, flag) for name in ('evaluate', 'generate', 'score', 'interpolate', 'train')
    for flag in sorted({flag for flag, _ in values_of(commands()[name])})])
def test_an_option_is_refused_before_model_and_text_are_read(
        name, flag, here, capsys, monkeypatch):
    def read(*args, **kwargs):
        raise AssertionError('read before the options were checked')

    if flag in ('--corpus', '--text', '--mix', '--device', '--primetext', '--vocab',
                '--init-from', '--resume', '--config', '--out'):
        return  # names of what is read or written, and a text for the vocabulary
    monkeypatch.setattr('rnnlm.data.sources.find', read)
    for module in 'evaluate', 'generate', 'score':
        monkeypatch.setattr(f'rnnlm.app.{module}.load', read)
    monkeypatch.setattr('rnnlm.data.sources.find_unsplit', read)
    for value in [v for f, v in values_of(commands()[name]) if f == flag]:
        assert flag in refused([name, *WITH[name], f'{flag}={value}'], capsys)
