"""The example of sampled losses and the benchmark of large vocabularies, small."""
import importlib
import json
import os

from helpers import ROOT
import numpy
import pytest

from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(ROOT, 'examples', 'large_vocabulary'))
    return importlib.import_module('sampled')


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(os.path.join(ROOT, 'benchmarks'))
    common = importlib.import_module('common')
    found = importlib.import_module('large_vocabulary')
    monkeypatch.setattr(common, 'RESULTS', str(tmp_path / 'RESULTS.md'))
    monkeypatch.setattr(found, 'KEPT', str(tmp_path / 'kept.json'))
    monkeypatch.setattr(found.report_pictures.pictures, 'FOLDER', str(tmp_path))
    monkeypatch.setattr(found, 'UNITS', 8)
    monkeypatch.setattr(found, 'SECONDS', 0)
    return found


def small_corpus(V=12):
    """Each word is followed by the next one or the one after it."""
    random = numpy.random.RandomState(0)
    words = (numpy.cumsum(random.randint(1, 3, 1500)) % V).astype('i')
    return Corpus('steps', words[:1200], words[1200:1400], words[1400:],
                  Vocabulary([f'w{k}' for k in range(V)]))


@pytest.mark.parametrize('option', ['--unit', '--epoch', '--samples'])
def test_numbers_of_the_example_are_checked(example, option, capsys):
    for value in '0', '-1', 'x':
        with pytest.raises(SystemExit):
            example.main([option, value])
        assert f'argument {option}: ' in capsys.readouterr().err


@pytest.mark.parametrize('loss', ['blackout', 'negative'])
def test_a_sampled_loss_learns(example, loss, caplog):
    numpy.random.seed(0)
    shown = []
    model, found = example.train(small_corpus(), loss, units=16, epochs=4, samples=6,
                                 steps=10, batch=10, lr=1.0, show=shown.append)
    assert len(found) == len(shown) + 1 == 5
    assert found[-1] < 4 and found[0] > 10
    assert model.output(numpy.zeros((3, 16), 'f')).shape == (3, 12)


def test_the_ids_follow_zipfs_law(benchmark):
    words = benchmark.zipf(1000, 200_000)
    assert words.min() == 0 and words.max() == 999 and words.dtype == numpy.int32
    counts = numpy.bincount(words, minlength=1000)
    for rank in 10, 100, 500:
        share = counts[:rank].sum() / len(words)
        assert share == pytest.approx(numpy.log(rank + 1) / numpy.log(1001), abs=0.01)


@pytest.mark.parametrize('system', ['full', 'adaptive', 'torch-adaptive', 'torch-full'])
def test_a_system_is_measured(benchmark, system):
    if system.startswith('torch'):
        pytest.importorskip('torch')
    found = benchmark.measure(system, 200)
    assert found['ms'] > 0 and found['GB'] > 0.01 and found['windows'] == 3


def test_the_table(benchmark, monkeypatch, tmp_path):
    figures = {'adaptive': {'ms': 100.0, 'GB': 1.0}, 'full': None,
               'torch-adaptive': {'ms': 250.0, 'GB': 2.0}}
    monkeypatch.setattr(benchmark, 'run', lambda system, n_vocab: figures.get(system))
    monkeypatch.setattr(benchmark.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(benchmark.common, 'begin', lambda command: None)
    benchmark.main(['--vocabulary', '1000'])
    kept = json.loads((tmp_path / 'kept.json').read_text())
    assert 'full' not in kept['figures']['1000']
    text = (tmp_path / 'RESULTS.md').read_text()
    assert '| 1,000 |  |  | 100 | 1.0 |  |  | 250 | 2.0 | 2.5 |' in text
    benchmark.main(['--tables'])
    assert (tmp_path / 'RESULTS.md').read_text() == text


def test_what_needs_too_much_memory_is_left_out(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, 'free_bytes', lambda: 1000)
    assert benchmark.run('full', 800_000) is None
