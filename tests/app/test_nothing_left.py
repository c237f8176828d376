"""Resuming a complete run, and starting from a model in the folder of the new run."""
import json

from helpers import refused
import numpy
import pytest

import rnnlm
from rnnlm.app import cli


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'story.txt').write_text('the cat sat on the mat\n' * 60)
    options = ['--corpus', 'story.txt', '-u', '4', '-b', '4', '-l', '5', '-e', '2']
    assert cli.main(['train', *options, '--out', 'a']) == 0
    return options


def described():
    with open('a/run.json') as f:
        return json.load(f)


@pytest.mark.parametrize('options, message', [
    (['--epoch', '1'], '--epoch: expected at least 2'),
    (['--lr', '0.1'], '--lr: expected a run that is not complete'),
    (['--lr', '0.1', '--epoch', '2'], '--lr: expected a run that is not complete'),
    (['--dropout', '0.1', '--gradclip', '1'], '--epoch 3 or more')])
def test_options_that_would_have_no_effect(story, options, message, capsys):
    before = described()
    assert cli.main(['train', '--resume', 'a', *options]) == 2
    assert message in capsys.readouterr().err
    assert described() == before
    assert cli.main(['train', '--config', 'a', '--out', 'again']) == 0


def test_a_complete_run_can_be_resumed(story):
    assert cli.main(['train', '--resume', 'a']) == 0
    assert cli.main(['train', '--resume', 'a', '--epoch', '3', '--lr', '0.1']) == 0
    with open('a/result.json') as f:
        assert json.load(f)['epochs'] == 3


def test_the_model_to_start_from_is_not_deleted(story, capsys):
    model = rnnlm.load('a').model.embed.W.array
    for start in 'a', 'a/model.npz':
        assert cli.main(['train', *story, '--init-from', start, '--out', 'a',
                         '--overwrite', '-u', '4']) == 2
        assert 'without the model of --init-from' in capsys.readouterr().err
    numpy.testing.assert_array_equal(rnnlm.load('a').model.embed.W.array, model)


@pytest.mark.parametrize('tokens', ['word', 'char'])
def test_a_vocabulary_of_the_other_kind(story, tokens):
    other = {'word': 'char', 'char': 'word'}[tokens]
    rnnlm.Vocabulary(['a', 'b', 'c', '<unk>'], other).save('other.json')
    with refused('vocabulary: .*expected a vocabulary of '):
        rnnlm.load_corpus('story.txt', tokens=tokens, vocabulary='other.json')


def test_json_where_standard_output_is_ascii(story, capsys, monkeypatch):
    class Ascii:
        encoding = 'ascii'

    from rnnlm.app import console
    monkeypatch.setattr(console.sys, 'stdout', Ascii())
    assert json.loads(console.to_json({'a': 'naïve'})) == {'a': 'naïve'}
    assert 'ï' not in console.to_json({'a': 'naïve'})
