"""`rnnlm.load`: a trained model, used on text."""
import math
import os

import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)

WORDS = ('<eos>', 'the', 'cat', 'dog', 'sleeps', 'sees', '<unk>')


@pytest.fixture
def folder(tmp_path):
    numpy.random.seed(3)
    rnnlm.save_npz(str(tmp_path / 'model.npz'),
                   rnnlm.RNNForLM(len(WORDS), 8, 3, init_scale=3))
    rnnlm.Vocabulary(WORDS).save(str(tmp_path / 'vocabulary.json'))
    return tmp_path


@pytest.fixture
def trained(folder):
    return rnnlm.load(folder)


def test_load(folder, trained):
    assert trained.model.n_layers == 3 and trained.vocabulary.words == WORDS
    assert 'vocabulary 7' in repr(trained)
    other = rnnlm.load(str(folder / 'model.npz'), device='@numpy')
    for a, b in zip(trained.model.params(), other.model.params()):
        numpy.testing.assert_array_equal(a.array, b.array)
    with pytest.raises(rnnlm.InputError, match='device'):
        rnnlm.load(folder, device=99)
    with pytest.raises(rnnlm.InputError, match='gone'):
        rnnlm.load(folder / 'gone')


def test_score(trained):
    first, empty = trained.score(['the bird sleeps', ''])
    assert first.tokens == ['the', 'bird', 'sleeps', '<eos>'] and first.n_unknown == 1
    assert empty.tokens == ['<eos>'] and empty.n_unknown == 0
    wanted = rnnlm.score_text(trained.model, [0, 1, 6, 4, 0])
    numpy.testing.assert_allclose(first.token_log_probs, wanted, atol=2e-6)
    assert first.log_prob == pytest.approx(wanted.sum(), abs=1e-5)
    assert first.log_prob < 0 and isinstance(first.log_prob, float)
    assert trained.score([]) == []


@pytest.mark.parametrize('given', ['the cat', [3], None, [['the', 'cat']]])
def test_score_wants_a_list_of_sentences(trained, given):
    with pytest.raises(rnnlm.InputError, match='^sentences: expected a list of str'):
        trained.score(given)


def test_perplexity_of_a_text(trained):
    one, two = trained.score(['the cat sleeps', 'dog'])
    assert trained.perplexity('the cat sleeps') == pytest.approx(
        math.exp(-one.log_prob / 4), rel=1e-5)
    # The second sentence is read in the state that the first one left.
    ids = trained.vocabulary.encode(
        ['<eos>', 'the', 'cat', 'sleeps', '<eos>', 'dog', '<eos>'])
    wanted = math.exp(-rnnlm.score_text(trained.model, ids).mean())
    for text in ('the cat sleeps\ndog', 'the cat sleeps\r\n\n\ndog\n'):
        assert trained.perplexity(text) == pytest.approx(wanted, rel=1e-6)
    assert trained.perplexity('the bird') == trained.perplexity('the <unk>')
    assert wanted != pytest.approx(trained.perplexity('dog\nthe cat sleeps'), rel=1e-3)


def test_perplexity_of_ids_is_that_of_the_evaluator(trained):
    ids = numpy.random.RandomState(0).randint(0, 7, 50)
    wanted = evaluate_perplexity(make_evaluator(ids, make_classifier(trained.model)))
    assert trained.perplexity(ids) == wanted
    assert trained.perplexity(ids.tolist()) == wanted
    with pytest.raises(rnnlm.InputError, match='expected'):
        trained.perplexity([1.5, 2])


def test_an_unknown_word_is_named():
    vocabulary = rnnlm.Vocabulary(['<eos>', 'the', 'cat'])
    trained = rnnlm.TrainedModel(rnnlm.RNNForLM(3, 4), vocabulary)
    for use in trained.perplexity, trained.generate:
        with pytest.raises(rnnlm.InputError, match="'caat'"):
            use('the caat')


def test_without_unk_unknown_words_are_left_out():
    vocabulary = rnnlm.Vocabulary(['<eos>', 'the', 'cat'])
    trained = rnnlm.TrainedModel(rnnlm.RNNForLM(3, 4), vocabulary)
    with_it, without, nothing = trained.score(['the caat cat', 'the cat', 'caat'])
    assert with_it.tokens == ['the', 'caat', 'cat', '<eos>'] and with_it.n_unknown == 1
    assert with_it.token_log_probs[1] == -math.inf
    numpy.testing.assert_allclose(
        numpy.delete(with_it.token_log_probs, 1), without.token_log_probs, atol=1e-6)
    assert abs(with_it.log_prob - without.log_prob) < 1e-6
    assert nothing.n_unknown == 1 and -5 < nothing.log_prob < 0


def test_generate(trained):
    text = trained.generate('the cat', length=12, seed=5)
    words = text.replace('\n', ' <eos> ').split()
    assert len(words) == 12 and set(words) <= set(WORDS)
    assert text == trained.generate('the cat', length=12, seed=5)
    assert text != trained.generate('the cat', length=12, seed=6)
    assert text != trained.generate(length=12, seed=5)
    assert trained.generate(length=0) == ''
    # What `generate` draws from the same seed.
    numpy.random.seed(5)
    ids = rnnlm.generate(trained.model, [1, 2], 12, top_k=3, temperature=0.5)
    assert trained.generate('the cat', 12, top_k=3, temperature=0.5, seed=5) == (
        ''.join(rnnlm_text(ids)))


def rnnlm_text(ids):
    gap = ''
    for word in ids:
        yield '\n' if word == 0 else gap + WORDS[word]
        gap = '' if word == 0 else ' '


def test_a_seed_leaves_the_random_numbers_of_others(trained):
    numpy.random.seed(1)
    wanted = numpy.random.rand()
    numpy.random.seed(1)
    trained.generate(length=3, seed=7)
    assert numpy.random.rand() == wanted
    numpy.random.seed(1)
    trained.generate(length=3)
    assert numpy.random.rand() != wanted


@pytest.mark.parametrize('name, value', [
    ('temperature', 0), ('top_k', 0), ('top_p', 2), ('length', -1), ('seed', -1),
    ('seed', 'x'), ('seed', 1.5)])
def test_generate_refuses(trained, name, value):
    with pytest.raises(rnnlm.InputError, match=f'^{name}: expected'):
        trained.generate(**{name: value})


def test_the_text_comes_word_by_word(trained):
    pieces = trained.stream('the', length=10 ** 9)
    assert next(pieces) and next(pieces)


def test_characters():
    trained = rnnlm.TrainedModel(rnnlm.RNNForLM(4, 8), rnnlm.Vocabulary('ab \n'))
    assert len(trained.generate('a', length=20, seed=0)) == 20
    score, = trained.score(['a b'])
    assert score.tokens == ['a', ' ', 'b', '\n']
    assert trained.perplexity('a b\r\n') == pytest.approx(
        math.exp(-score.log_prob / 4), rel=1e-5)
    # Without a line feed there is no beginning to predict the first token from.
    trained = rnnlm.TrainedModel(rnnlm.RNNForLM(2, 8), rnnlm.Vocabulary('ab'))
    assert trained.perplexity('abab') == pytest.approx(math.exp(
        -rnnlm.score_text(trained.model, [0, 1, 0, 1]).mean()))
    with pytest.raises(rnnlm.InputError, match='line feed'):
        trained.score(['ab'])


def test_without_a_vocabulary(folder):
    os.unlink(folder / 'vocabulary.json')
    trained = rnnlm.load(folder)
    assert trained.vocabulary is None and trained.perplexity([1, 2, 3]) > 1
    for use in (trained.generate, lambda: trained.perplexity('the'),
                lambda: trained.score(['the'])):
        with pytest.raises(rnnlm.InputError, match='vocabulary.json'):
            use()


def test_a_vocabulary_of_another_size(folder):
    rnnlm.Vocabulary(WORDS[:-1]).save(str(folder / 'vocabulary.json'))
    with pytest.raises(rnnlm.InputError, match='model of 6 words.* of 7'):
        rnnlm.load(folder)
    with pytest.raises(rnnlm.InputError, match='model of 2 words.* of 7'):
        rnnlm.TrainedModel(rnnlm.RNNForLM(7, 2), rnnlm.Vocabulary('ab'))


def test_the_command_line_draws_the_same(folder, trained, capsys):
    assert cli.main(['generate', str(folder), '--length', '9', '--seed', '4']) == 0
    assert capsys.readouterr().out == trained.generate(length=9, seed=4) + '\n'
