"""A run that begins with the weights of a trained model, on another text."""
import json
import os
import shutil

from helpers import in_a_copy
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.app.initial import InitialModel

pytestmark = pytest.mark.slow

FIRST = 'the cat sat on the mat\nthe dog saw the red cat\n' * 20
SECOND = 'the horse sat on the mat\nthe zebra saw the red horse\n' * 20
SMALL = ['-u', '6', '-b', '4', '-l', '5', '-e', '1']
NEXT = ['-b', '4', '-l', '5', '-e', '1']


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp('begun')
    (folder / 'first').write_text(FIRST)
    (folder / 'second').write_text(SECOND)
    (folder / 'rare').write_text(FIRST + 'the bird sat\n')  # with <unk>
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        learned = ['-e', '6', '--init-scale', '0.5', '--dropout', '0']
        for out, *more in (['plain', '--corpus', 'first', *learned],
                           ['unknown', '--corpus', 'rare'],
                           ['tied', '--corpus', 'first', '--tied', '--embed', '6'],
                           ['char', '--corpus', 'first', '--tokens', 'char', *learned]):
            assert cli.main(['train', *SMALL, '--out', out, *more]) == 0
    return folder


@pytest.fixture
def here(begun, tmp_path, monkeypatch):
    return in_a_copy(begun, tmp_path, monkeypatch)


def weights(model):
    return {name: param.array for name, param in model.namedparams()}


def started(monkeypatch, argv):
    """The model of a run before its first window."""
    found = []

    def run(trainer):
        found.append(trainer.updater.get_optimizer('main').target.predictor)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rnnlm.app.experiment, 'run', run)
        assert cli.main(argv) == 130
    return weights(found[0])


@pytest.mark.parametrize('name', ['plain', 'tied'])
def test_it_begins_with_the_weights(here, monkeypatch, name, capsys):
    old = rnnlm.load(name)
    new = started(monkeypatch, [
        'train', '--init-from', name, '--corpus', 'second', '--extend-vocab', *NEXT])
    n = len(old.vocabulary)
    assert 'starts   from ' in capsys.readouterr().out
    words = rnnlm.Vocabulary.load('result/vocabulary.json').words
    assert words == (*old.vocabulary.words, 'horse', 'zebra')
    for path, array in weights(old.model).items():
        if len(new[path]) == len(array):
            numpy.testing.assert_array_equal(new[path], array)
            continue
        assert len(new[path]) == n + 2 and len(array) == n
        numpy.testing.assert_array_equal(new[path][:n], array)
        # Near the mean, and each row another one.
        added = new[path][n:] - array.mean(axis=0)
        assert 0 < abs(added).max() <= 0.1 and (added[0] != added[1]).any()


def test_known_words_are_predicted_as_before(here, monkeypatch):
    """An extended model has lost nothing: it differs by the new words' share alone."""
    old = rnnlm.load('plain')
    assert cli.main(['train', '--init-from', 'plain', '--corpus', 'second',
                     '--extend-vocab', *NEXT, '--lr', '1e-9']) == 0
    new = rnnlm.load('result')
    text = 'the cat sat on the mat'
    before, = old.score([text])
    after, = new.score([text])
    assert after.tokens == before.tokens
    n = len(before.tokens)
    least = n * numpy.log(len(old.vocabulary) / len(new.vocabulary))
    assert least - 0.2 < after.log_prob - before.log_prob < 0
    assert after.n_unknown == 0


def test_a_vocabulary_that_is_kept(here, capsys):
    assert cli.main(['train', '--init-from', 'unknown', '--corpus', 'second',
                     *NEXT]) == 0
    out = capsys.readouterr().out
    assert 'vocabulary of 10 words is kept' in out and 'of the words are <unk>' in out
    vocabularies = [(here / name / 'vocabulary.json').read_bytes()
                    for name in ('unknown', 'result')]
    assert vocabularies[0] == vocabularies[1]
    described = json.loads((here / 'result' / 'run.json').read_text())
    assert described['init from']['vocabulary'] == 'kept'
    assert described['recipe']['n_units'] == 6


def test_words_that_are_added_must_be_frequent_enough(here, capsys):
    (here / 'second').write_text(SECOND + 'the unicorn saw the unicorn\n')
    for least, more in (3, 'horse zebra <unk>'), (2, 'horse zebra unicorn'):
        assert cli.main(['train', '--init-from', 'plain', '--corpus', 'second', *NEXT,
                         '--extend-vocab', '--min-count', str(least), '--overwrite',
                         '--out', 'new']) == 0
        words = rnnlm.Vocabulary.load('new/vocabulary.json').words
        if least == 2:  # it is in the last part alone
            more = more.replace('unicorn', '<unk>')
        assert ' '.join(words[len(rnnlm.load('plain').vocabulary):]) == more


@pytest.mark.parametrize('tokens', ['plain', 'char'])
@pytest.mark.parametrize('source', ['folder', 'model', 'snapshot'])
def test_it_learns_faster_than_from_nothing(here, tokens, source, capsys):
    path = {'folder': tokens, 'model': f'{tokens}/model.npz',
            'snapshot': rnnlm.serializers.snapshot_files.newest_snapshot(tokens)}
    assert cli.main(['train', '--init-from', path[source], '--corpus', 'second', *NEXT,
                     '--extend-vocab']) == 0
    kind = ['--tokens', 'char'] if tokens == 'char' else []
    assert cli.main(['train', '--corpus', 'second', *SMALL, *kind, '--out', 'new']) == 0
    first, second = (json.loads((here / name / 'log').read_text())[0]['val_perplexity']
                     for name in ('result', 'new'))
    assert first < second


def test_a_run_goes_on_and_can_be_repeated_when_the_model_is_gone(here, capsys):
    args = ['train', '--init-from', 'plain', '--corpus', 'second', '--extend-vocab']
    assert cli.main([*args, *NEXT[:-1], '2', '--out', 'whole']) == 0
    assert cli.main([*args, *NEXT]) == 0
    assert cli.main(['train', '--config', 'result', '--out', 'again']) == 0
    assert ((here / 'again' / 'model.npz').read_bytes()
            == (here / 'result' / 'model.npz').read_bytes())
    began = json.loads((here / 'result' / 'run.json').read_text())['init from']
    shutil.move('plain', 'elsewhere')
    assert cli.main(['train', '--resume', 'result', '-e', '2']) == 0
    assert ((here / 'whole' / 'model.npz').read_bytes()
            == (here / 'result' / 'model.npz').read_bytes())
    assert began == json.loads((here / 'result' / 'run.json').read_text())['init from']
    capsys.readouterr()
    assert cli.main(['train', '--config', 'result', '--out', 'x']) == 2
    err = capsys.readouterr().err
    assert '--config: expected the model that ' in err and '--init-from' in err
    shutil.copytree('tied', 'plain')
    assert cli.main(['train', '--config', 'result', '--out', 'x']) == 2
    assert '--config: ' in capsys.readouterr().err and not os.path.exists('x')


def test_a_run_is_repeated_from_a_model_that_was_moved(here):
    assert cli.main(['train', '--init-from', 'plain', '--corpus', 'rare',
                     '--extend-vocab', '--min-count', '1', *NEXT]) == 0
    shutil.move('plain', 'elsewhere')
    again = ['train', '--config', 'result', '--init-from', 'elsewhere']
    assert cli.main([*again, '--out', 'one']) == 0
    shutil.move('rare', 'text')
    assert cli.main([*again, '--corpus', 'text', '--out', 'two']) == 0
    for out in 'one', 'two':  # its vocabulary is extended, as before
        assert ((here / out / 'model.npz').read_bytes()
                == (here / 'result' / 'model.npz').read_bytes())


def test_in_python(here):
    old = rnnlm.load('plain')
    corpus = rnnlm.load_corpus('first', vocabulary=old.vocabulary)
    recipe = rnnlm.Recipe(n_units=6, batch_size=4, bprop_len=5, epochs=1, lr=1e-9)
    rnnlm.train(corpus, recipe, out='new', init_from='plain', seed=0)
    numpy.testing.assert_allclose(
        rnnlm.load('new').model.embed.W.array, old.model.embed.W.array, atol=1e-6)
    for other, recipe, name in (
            (rnnlm.load_corpus('second'), recipe, 'corpus'),
            (corpus, rnnlm.Recipe(n_units=7), 'n_units')):
        with pytest.raises(rnnlm.InputError) as e:
            rnnlm.train(other, recipe, out='x', init_from='plain')
        assert e.value.name == name and not os.path.exists('x')


def test_weights_without_a_vocabulary(here, capsys):
    """As Chainer's scripts save them: the text must have as many words."""
    shutil.copy('plain/model.npz', 'model.npz')
    args = ['train', '--init-from', 'model.npz', *NEXT, '--out', 'new']
    assert cli.main([*args, '--corpus', 'first']) == 0
    assert 'has no vocabulary' in capsys.readouterr().out
    (here / 'third').write_text(FIRST + FIRST.replace('cat', 'cow'))
    assert cli.main([*args[:-1], 'x', '--corpus', 'third']) == 2
    assert '--init-from: ' in capsys.readouterr().err


@pytest.mark.parametrize('args, message', [
    (['--corpus', 'second'], 'add --extend-vocab'),
    (['--corpus', 'first', '-u', '7'], '--unit: expected 6'),
    (['--corpus', 'first', '--layer', '1'], '--layer: expected 2'),
    (['--corpus', 'first', '--tied'], '--tied: expected False'),
    (['--corpus', 'first', '--tokens', 'char'], "--tokens: expected 'word'"),
    (['--corpus', 'first', '--vocab', 'plain/vocabulary.json'],
     '--vocab cannot be combined with --init-from'),
    (['--corpus', 'first', '--vocab-limit', '5'], '--vocab-limit cannot be combined'),
    (['--corpus', 'first', '--min-count', '5'], '--min-count can only be combined'),
    (['--resume', 'plain'], '--init-from cannot be combined with --resume'),
    (['--corpus', 'first', '--out', 'plain'], 'choose another folder with --out'),
    (['--corpus', '-', '--extend-vocab'], '--corpus: expected a file')])
def test_what_cannot_go_together_is_refused(here, args, message, capsys):
    before = sorted(os.listdir('.')), (here / 'plain' / 'run.json').read_bytes()
    assert cli.main(['train', '--init-from', 'plain', *NEXT, *args]) == 2
    assert message in capsys.readouterr().err
    assert before == (sorted(os.listdir('.')),
                      (here / 'plain' / 'run.json').read_bytes())
    assert cli.main(['train', '--extend-vocab']) == 2
    assert 'only be used with --init-from' in capsys.readouterr().err


@pytest.mark.parametrize('words, good', [('\nab', True), ('\na\xe9', False)])
def test_a_vocabulary_of_bytes(tmp_path, words, good):
    """As char-rnn's: those of ASCII are characters."""
    rnnlm.Vocabulary(words, 'byte').save(tmp_path / 'vocabulary.json')
    rnnlm.save_npz(str(tmp_path / 'model.npz'), rnnlm.RNNForLM(3, 4))
    if good:
        assert InitialModel.load(str(tmp_path)).vocabulary.tokens == 'char'
    else:
        with pytest.raises(rnnlm.InputError, match='found one of bytes') as e:
            InitialModel.load(str(tmp_path))
        assert e.value.name == 'init_from'


def test_the_corpus_of_the_model_is_the_default(here, capsys):
    assert cli.main(['train', '--init-from', 'plain', *NEXT]) == 0
    assert 'corpus   first: ' in capsys.readouterr().out
    shutil.copy('plain/model.npz', 'model.npz')
    shutil.copy('plain/vocabulary.json', 'vocabulary.json')
    assert cli.main(['train', '--init-from', 'model.npz', *NEXT, '--out', 'x']) == 2
    assert '--corpus: expected a text' in capsys.readouterr().err
