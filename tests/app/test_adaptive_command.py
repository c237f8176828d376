"""`--softmax adaptive` from the command line to the files, and back."""
import argparse
import json

import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment
from rnnlm.app.recipes import Recipe, cutoffs_of
from rnnlm.data import corpus

SIZES = ['--unit', '12', '--layer', '1', '--epoch', '1', '--bproplen', '10']


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    """A folder of a text of 30 words, some rarer than others."""
    folder = tmp_path_factory.mktemp('texts')
    random = numpy.random.RandomState(0)
    for name, n in (('train', 400), ('valid', 60), ('test', 60)):
        ids = numpy.minimum(random.zipf(1.5, (n, 5)), 30)
        (folder / f'ptb.{name}.txt').write_text(
            ''.join(' '.join(f'w{k}' for k in line) + '\n' for line in ids))
    return folder


def train(texts, out, *options):
    return cli.main(['train', '--corpus', str(texts), '--out', str(out), *SIZES,
                     *options])


def test_a_run(texts, tmp_path, capsys):
    out = tmp_path / 'run'
    assert train(texts, out, '--softmax', 'adaptive', '--cutoffs', '4,10') == 0
    assert 'adaptive softmax' in capsys.readouterr().out
    described = json.loads((out / 'run.json').read_text())
    assert described['recipe']['softmax'] == 'adaptive'
    assert described['recipe']['cutoffs'] == [4, 10]
    model = rnnlm.load(str(out)).model
    assert model.output.cutoffs == (4, 10)
    # The words of the training text, the most frequent first.
    words = corpus.load(str(texts))
    counts = numpy.bincount(words.train, minlength=len(words.vocabulary))
    by_rank = counts[numpy.argsort(model.output.ranks)]
    assert (numpy.diff(by_rank) <= 0).all()
    for command in (['evaluate', str(out), '--corpus', str(texts)],
                    ['generate', str(out), '--length', '5'],
                    ['generate', str(out), '--length', '3', '--beam', '2'],
                    ['inspect', str(out)]):
        assert cli.main(command) == 0, command
    assert 'adaptive softmax with cutoffs 4, 10' in capsys.readouterr().out
    # It goes on, and only with the same softmax.
    assert train(texts, out, '--resume', str(out), '--epoch', '2', '--softmax',
                 'adaptive', '--cutoffs', '4,10') == 0
    assert train(texts, out, '--resume', str(out), '--epoch', '2') == 0
    for options in (('--softmax', 'full'), ('--cutoffs', '4,11')):
        assert train(texts, out, '--resume', str(out), *options) == 2


def test_with_a_preset_that_ties(texts, tmp_path, capsys):
    options = ['--preset', 'laptop', '--softmax', 'adaptive', '--cutoffs', '4,10',
               '--epoch', '1', '--unit', '8']
    assert train(texts, tmp_path / 'run', *options) == 2
    assert 'tied: expected False' in capsys.readouterr().err
    assert train(texts, tmp_path / 'run', *options, '--no-tied') == 0


def test_the_cutoffs_of_the_text(texts):
    words = corpus.load(str(texts))
    model = experiment.make_model(words, Recipe(n_units=8, softmax='adaptive'))
    counts = numpy.bincount(words.train, minlength=len(words.vocabulary))
    shares = numpy.sort(counts)[::-1].cumsum() / counts.sum()
    first, second = model.output.cutoffs
    assert shares[first - 2] < 0.8 <= shares[first - 1]
    assert shares[second - 2] < 0.95 <= shares[second - 1]


@pytest.mark.parametrize('arguments, match', [
    (dict(softmax='sampled'), 'softmax: expected one of full, adaptive'),
    (dict(softmax='adaptive', tied=True), 'tied: expected False with an adaptive'),
    (dict(cutoffs=(3, 4)), 'cutoffs: expected none with a full softmax'),
    (dict(softmax='adaptive', cutoffs=(4, 3)), 'cutoffs: expected one or more'),
    (dict(softmax='adaptive', cutoffs='ab'), 'cutoffs: expected one or more'),
    (dict(softmax='adaptive', cutoffs=()), 'cutoffs: expected one or more')])
def test_recipes_that_cannot_be(arguments, match):
    with pytest.raises(rnnlm.InputError, match=match):
        Recipe(**arguments)


def test_cutoffs_that_are_read_once():
    for cutoffs in [4, 10], iter([4, 10]), numpy.array([4., 10.]):
        assert Recipe(softmax='adaptive', cutoffs=cutoffs).cutoffs == (4, 10)


@pytest.mark.parametrize('text', ['', 'a', '3,', '4,3', '0,3', '3,3', '2.5'])
def test_cutoffs_that_cannot_be(text, texts, tmp_path, capsys):
    with pytest.raises(argparse.ArgumentTypeError, match='expected increasing numbers'):
        cutoffs_of(text)


def test_cutoffs_beyond_the_vocabulary(texts, tmp_path, capsys):
    out = tmp_path / 'run'
    assert train(texts, out, '--softmax', 'adaptive', '--cutoffs', '4,1000') == 2
    assert '--cutoffs: expected one or more' in capsys.readouterr().err
    assert not out.exists()


def test_what_a_window_costs():
    full = Recipe(softmax='full').operations(100_000)
    adaptive = Recipe(softmax='adaptive', cutoffs=(1000, 5000, 25000)).operations(
        100_000)
    assert adaptive < full / 5
    assert Recipe(softmax='adaptive').operations(100_000) < full / 2
