"""The evaluator's loss without <unk>: from the same pass, of all words but one."""
import dataclasses
import json

from helpers import TINY, classifier, make_model
import numpy
import pytest

import rnnlm
from rnnlm.app import experiment
from rnnlm.data.corpus import Corpus
from rnnlm.inference import scoring
from rnnlm.training.evaluator import (
    evaluate_perplexities, evaluate_perplexity, make_evaluator)


def words(n, n_vocab=11):
    return numpy.random.RandomState(3).randint(0, n_vocab, n).astype('i')


@pytest.mark.parametrize('length', [17, 2500])  # of one chunk and of several
@pytest.mark.parametrize('variant', [dict(), dict(tied=True), dict(dtype='f')])
def test_it_is_the_mean_of_the_other_words(length, variant):
    model, ids = make_model(**variant), words(length)
    unknown = int(ids[2])
    loss, known = evaluate_perplexities(
        make_evaluator(ids, classifier(model), unknown=unknown))
    assert loss == evaluate_perplexity(make_evaluator(ids, classifier(model)))
    scores = scoring.score_ring(model, ids)
    others = numpy.roll(ids, -1) != unknown
    assert 0 < others.sum() < length
    rtol = 1e-5 if variant.get('dtype') == 'f' else 1e-9
    numpy.testing.assert_allclose(loss, numpy.exp(-scores.mean()), rtol=rtol)
    numpy.testing.assert_allclose(known, numpy.exp(-scores[others].mean()), rtol=rtol)


def test_of_several_streams():
    model, ids = make_model(), words(600)
    iterator = rnnlm.ParallelSequentialIterator(ids, 6, repeat=False)
    _, known = evaluate_perplexities(rnnlm.PerplexityEvaluator(
        iterator, classifier(model), unknown=4))
    scores, others = [], []
    for start in range(0, 600, 100):
        part = numpy.append(ids, ids)[start:start + 101]
        scores.append(scoring.score_text(model, part))
        others.append(part[1:] != 4)
    others = numpy.concatenate(others)
    numpy.testing.assert_allclose(
        known, numpy.exp(-numpy.concatenate(scores)[others].mean()), rtol=1e-9)


@pytest.mark.parametrize('ids', [words(50) % 4, numpy.full(20, 4, 'i')])
def test_none_or_all_are_unknown(ids):
    loss, known = evaluate_perplexities(
        make_evaluator(ids, classifier(make_model()), unknown=4))
    if (ids == 4).all():
        assert numpy.isnan(known)  # and nothing of it is in a log
    else:
        assert known == pytest.approx(loss)


def test_the_log_has_it(tmp_path, capsys):
    vocabulary = rnnlm.Vocabulary(['<eos>', 'a', 'b', 'c', '<unk>'])
    text = Corpus('x', words(300, 5), words(40, 5), words(50, 5), vocabulary)
    experiment.train(text, dataclasses.replace(TINY, epochs=1), out=str(tmp_path),
                     seed=0)
    with open(tmp_path / 'log') as f:
        entry = json.load(f)[-1]
    model = rnnlm.load(str(tmp_path)).model
    known = numpy.roll(text.valid, -1) != 4
    assert entry['val_known'] == pytest.approx(numpy.exp(
        -scoring.score_ring(model, text.valid)[known].mean()), rel=1e-5)
    printed = capsys.readouterr().out
    table = [line.split() for line in printed.split('\n')]
    head = next(line for line in table if line[:1] == ['epoch'])
    row = dict(zip(head, table[table.index(head) + 1]))
    assert float(row['val_known']) == pytest.approx(entry['val_known'], rel=1e-4)
