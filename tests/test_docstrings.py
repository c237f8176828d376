"""The examples in the docstrings of the public names run, and print what they say."""
import argparse
import doctest
import inspect

import chainer
import numpy
import pytest

import rnnlm

CODE = [name for name in rnnlm.__all__ if callable(getattr(rnnlm, name))]

# Names with an example.
WITH_EXAMPLE = {
    'Corpus', 'DurableWriter', 'DynamicEvaluation', 'LanguageModel',
    'ParallelSequentialIterator', 'RNNForLM', 'TrainedModel', 'Vocabulary',
    'WeightAverage', 'adaptive_model', 'add_options', 'add_perplexity', 'beam_search',
    'generate', 'get_device', 'load', 'load_corpus', 'load_model', 'resume', 'run',
    'save_npz', 'score_sentences', 'score_text'}


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
    """A folder with a run in ./result that has learned a little of the demo corpus."""
    folder = tmp_path_factory.mktemp('docstrings')
    recipe = rnnlm.Recipe(n_units=24, n_layers=1, dropout=0, bprop_len=20, epochs=2)
    rnnlm.train(rnnlm.load_corpus('demo'), recipe, out=str(folder / 'result'), seed=0)
    return folder


def examples_of(name):
    """The doctests of a public name, those of its methods among them."""
    tests = doctest.DocTestFinder(recurse=True).find(
        getattr(rnnlm, name), name, module=False, globs={
            name: getattr(rnnlm, name), 'rnnlm': rnnlm, 'argparse': argparse,
            'chainer': chainer, 'numpy': numpy})
    return [test for test in tests if test.examples]


@pytest.mark.parametrize('name', CODE)
def test_examples(name, run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    numpy.random.seed(0)
    found = examples_of(name)
    assert bool(found) == (name in WITH_EXAMPLE)
    for test in found:
        report = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=report.append)
        assert not runner.failures, ''.join(report)


@pytest.mark.parametrize('name', CODE)
def test_sections_come_in_order(name):
    """Google's sections, in one order, each with something below it."""
    order = ['Args:', 'Attributes:', 'Returns:', 'Yields:', 'Raises:', 'Example:',
             'References:']
    lines = inspect.getdoc(getattr(rnnlm, name)).splitlines()
    found = [line for line in lines if line in order]
    assert found == sorted(found, key=order.index)
    assert len(found) == len(set(found))
    for section in found:
        assert lines[lines.index(section) + 1].startswith('    ')
