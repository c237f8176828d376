"""run.json: what it holds, and that all of it is checked when it is read."""
import dataclasses
import json
import os

import pytest

import rnnlm
from rnnlm.app import cli, description
from rnnlm.app.recipes import Recipe
from rnnlm.app.description import RunDescription
from rnnlm.data import corpus

RECIPE = Recipe(n_units=4, batch_size=2, lr=0.5, n_embed=3, tied=False)


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp('text') / 'text.txt'
    path.write_text('the cat sees the dog\n' * 60)
    return corpus.load(str(path), 'char', 8)


def test_what_is_saved_is_loaded(text, tmp_path):
    assert RunDescription.load(str(tmp_path)) is None
    described = RunDescription.of(text, RECIPE)
    described.save(str(tmp_path))
    assert RunDescription.load(str(tmp_path)) == described
    assert described.source == text.source and described.recipe == RECIPE
    assert os.listdir(tmp_path) == ['run.json']


def test_the_format_of_the_file(text, tmp_path):
    RunDescription.of(text, RECIPE).save(str(tmp_path))
    found = json.loads((tmp_path / 'run.json').read_text())
    assert list(found) == [
        'corpus', 'tokens', 'training words', 'vocabulary', 'text', 'source', 'recipe',
        'seed', 'init from', 'changes', 'computed by']
    assert found['recipe'] == dataclasses.asdict(RECIPE)
    assert found['training words'] == len(text.train)


def test_a_file_of_an_earlier_or_later_version(text, tmp_path):
    described = RunDescription.of(text, RECIPE)
    found = described.to_json()
    del found['source'], found['text'], found['computed by'], found['seed']
    del found['init from'], found['changes']
    del found['recipe']['precision']
    found['recipe']['of a later version'] = 1
    (tmp_path / 'run.json').write_text(json.dumps(found))
    assert RunDescription.load(str(tmp_path)) == dataclasses.replace(
        described, source={}, text=None, unknown=('of a later version',))


@pytest.mark.parametrize('changes, found', [
    ({'corpus': 3}, 'corpus: expected a string, found 3'),
    ({'tokens': 'letter'}, "tokens: expected 'word' or 'char', found 'letter'"),
    ({'training words': -1}, 'training words: expected a count, found -1'),
    ({'training words': True}, 'training words: expected a count, found True'),
    ({'vocabulary': None}, 'vocabulary: expected a string, found None'),
    ({'source': 'ptb'}, "source: expected a corpus, its tokens and vocab_limit"),
    ({'source': {'corpus': 'ptb'}}, 'source: expected'),
    ({'source': {'corpus': 'ptb', 'tokens': 'word', 'vocab_limit': 'a'}}, 'source: '),
    ({'text': 3}, 'text: expected a string, found 3'),
    ({'computed by': []}, 'computed by: expected a JSON object of strings'),
    ({'computed by': {'NumPy': 2}}, 'computed by: expected a JSON object of strings'),
    ({'seed': -1}, 'seed: expected an integer or null, found -1'),
    ({'seed': True}, 'seed: expected an integer or null, found True'),
    ({'init from': {'model': 'x'}}, 'init from: expected a model, its weights and'),
    ({'changes': {}}, 'changes: expected a list of windows and recipes'),
    ({'changes': [{'window': 3}]}, 'changes: expected a list of windows and recipes'),
    ({'changes': [{'window': 3, 'recipe': {'lr': [0, 1]}}]}, 'lr: expected a finite'),
    ({'changes': [{'window': 3, 'recipe': {'lr': 1}}]}, 'changes: expected a list of'),
    ({'recipe': []}, 'recipe: expected a JSON object, found []'),
    ({'recipe': {'lr': 'fast'}}, "lr: expected a finite number greater than 0, found"),
    ({'recipe': {'tied': 'no'}}, "tied: expected True or False, found 'no'"),
    ({'recipe': {'n_embed': 0}}, 'n_embed: expected an integer of at least 1')])
def test_damaged_values(text, tmp_path, changes, found, capsys):
    data = {**RunDescription.of(text, RECIPE).to_json(), **changes}
    path = tmp_path / 'run.json'
    path.write_text(json.dumps(data))
    with pytest.raises(rnnlm.InputError) as e:
        RunDescription.load(str(tmp_path))
    assert str(e.value).startswith(f'{path}: {found}')
    # The flag of the command line is not what is wrong.
    (tmp_path / 'snapshot_iter_1').touch()
    assert cli.main(['train', '--out', str(tmp_path), '--resume']) == 2
    assert capsys.readouterr().err == f'rnnlm train: error: {e.value}\n'


@pytest.mark.parametrize('content', ['', '{', '[]', 'null', '"a"', '[' * 10 ** 5])
def test_damaged_json(tmp_path, content):
    (tmp_path / 'run.json').write_text(content)
    with pytest.raises(rnnlm.InputError, match='run.json: ') as e:
        RunDescription.load(str(tmp_path))
    assert 'expected' in str(e.value)


def test_only_some_fields_may_change(text, tmp_path):
    RunDescription.of(text, RECIPE).save(str(tmp_path))
    snapshot = str(tmp_path / 'snapshot_iter_1')
    free = dict(epochs=1, dropout=0.1, gradclip=1.0, bprop_len=7, batch_size=3, lr=0.4,
                decay=2.0, decay_after=9, plateau_decay=2.0, patience=3, log_interval=9)
    assert set(free) == set(description.MAY_CHANGE)
    assert description.check_resumable(
        snapshot, text, dataclasses.replace(RECIPE, **free)) == snapshot
    for name, value in dict(
            n_units=5, n_layers=1, init_scale=0.2, n_embed=4, tied=True,
            precision='tf32', optimizer='adam').items():
        with pytest.raises(rnnlm.InputError, match=f'^{name}: expected') as e:
            description.check_resumable(
                snapshot, text, dataclasses.replace(RECIPE, **{name: value}))
        assert e.value.name == name


@pytest.mark.parametrize('command', [
    ['evaluate', 'run', '--text', 'text'],
    ['generate', 'run', '--length', '1'], ['inspect', 'run'],
    ['convert', 'run', 'new.npz'], ['interpolate', 'run', 'run', '--text', 'text',
                                    '--weight', '0.5']], ids=lambda args: args[0])
@pytest.mark.parametrize('complete', [True, False])
def test_a_complete_run_without_its_model(
        text, tmp_path, monkeypatch, caplog, command, complete):
    """That a snapshot is used instead is said; an incomplete run has no model yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').write_text('the cat sees the dog\n')
    rnnlm.train(text, dataclasses.replace(RECIPE, epochs=1), out='run', seed=0)
    os.unlink('run/model.npz')
    if not complete:
        os.unlink('run/result.json')
    caplog.clear()
    assert cli.main(command) == 0
    said = [r.getMessage() for r in caplog.records if 'snapshot' in r.getMessage()]
    assert bool(said) == complete and all(
        'run: expected model.npz' in one and 'run/snapshot_iter_' in one
        for one in said)
