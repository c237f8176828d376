"""Scores of sentences and texts, mixtures, dynamic evaluation."""
import itertools
import json
import math

import chainer
import numpy
import pytest

import rnnlm
from rnnlm import parts
from rnnlm.app import cli
from rnnlm.data.corpus import load as load_corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.inference import scoring
from rnnlm.inference.dynamic import DynamicEvaluation
from rnnlm.inference.generate import _probabilities, beam_search, generate

WORDS = ('<eos>', 'the', 'cat', 'dog', 'sleeps', 'sees', '<unk>')


@pytest.fixture
def model():
    numpy.random.seed(3)
    return rnnlm.RNNForLM(len(WORDS), 8, init_scale=0.9)


@pytest.fixture
def folder(model, tmp_path):
    rnnlm.save_npz(str(tmp_path / 'model.npz'), model)
    Vocabulary(WORDS).save(str(tmp_path / 'vocabulary.json'))
    return str(tmp_path)


def one_by_one(model, ids):
    """Returns log p of each word but the first, step by step in float64."""
    state, scores = model.get_state(), []
    model.reset_state()
    with chainer.using_config('train', False):
        for word, after in zip(ids, ids[1:]):
            y = model(numpy.array([word], 'i')).array[0].astype('d')
            scores.append(y[after] - y.max() - math.log(numpy.exp(y - y.max()).sum()))
    model.set_state(state)
    return numpy.array(scores)


SENTENCES = [[1, 2, 4], [], [1, 3, 5, 1, 2], [6], [2, 2]]


def test_score_sentences(model):
    before = model(numpy.array([1, 2], 'i')).array  # a state, which is saved
    state = model.get_state()
    found = list(scoring.score_sentences(
        model, [numpy.array(ids, 'i') for ids in SENTENCES], 0))
    for ids, scores in zip(SENTENCES, found):
        numpy.testing.assert_allclose(
            scores, one_by_one(model, [0, *ids, 0]), rtol=0, atol=2e-6)
    for kept, now in zip(state, model.get_state()):
        numpy.testing.assert_array_equal(kept, now)
    assert before.shape == (2, len(WORDS))


def test_many_sentences_are_scored_as_few(model, monkeypatch):
    random = numpy.random.RandomState(0)
    sentences = [random.randint(0, 7, random.randint(9)).astype('i') for _ in range(50)]
    together = list(scoring.score_sentences(model, sentences, 0))
    for batch, group in (1, 1), (3, 7), (32, 50):
        monkeypatch.setattr(scoring, 'BATCH', batch)
        monkeypatch.setattr(scoring, 'GROUP', group)
        monkeypatch.setattr(scoring, 'CHUNK_ELEMENTS', 20)  # a few steps at a time
        for one, other in zip(
                scoring.score_sentences(model, sentences, 0), together):
            numpy.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize('dtype', ['f', 'd', 'e'])
@pytest.mark.parametrize('tied', [False, True])
def test_log_probabilities_of_any_dtype(dtype, tied):
    """By the output layer's own function, and from the logits of the whole window."""
    numpy.random.seed(0)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        model = rnnlm.RNNForLM(40, 20, init_scale=0.5, tied=tied)
    window = numpy.random.randint(0, 40, (9, 4)).astype('i')
    wanted = numpy.random.rand(8, 4) < 0.6
    assert parts.TABLE[type(model.output)].log_probs and not model.why_steps()
    found = scoring.log_probabilities(model, window)
    some = scoring.log_probabilities(model, window, wanted)
    model.reset_state()
    with chainer.using_config('train', False):
        y = model.logits(window[:-1]).array.astype('d')
    y -= numpy.log(numpy.exp(y).sum(axis=2, keepdims=True))
    expected = numpy.take_along_axis(y, window[1:, :, None], axis=2)[..., 0]
    tolerance = dict(rtol=0, atol={'f': 2e-6, 'd': 1e-12, 'e': 4e-3}[dtype])
    numpy.testing.assert_allclose(found, expected, **tolerance)
    assert not some[~wanted].any()


def test_continuations_sum_to_one(model):
    for prefix in SENTENCES:
        window = numpy.array([[0, *prefix, word] for word in range(len(WORDS))], 'i').T
        model.reset_state()
        last = scoring.log_probabilities(model, window)[-1]
        assert abs(numpy.exp(last).sum() - 1) < 1e-6


def test_large_logits_do_not_overflow(model):
    """Adding a constant to all logits has no effect."""
    def found():
        numpy.random.seed(0)
        return [*scoring.score_text(model, numpy.array([1, 2, 3, 4, 5], 'i')),
                *generate(model, [0], 20), *beam_search(model, [0], 5, 3)[0],
                beam_search(model, [0], 5, 3)[1]]

    expected = found()
    for constant in 1000, -1000:
        model.output.b.array += numpy.float32(constant)
        numpy.testing.assert_allclose(found(), expected, rtol=0, atol=2e-3)
        model.output.b.array -= numpy.float32(constant)


def test_score_text(model):
    ids = numpy.random.RandomState(1).randint(0, 7, 57).astype('i')
    found = scoring.score_text(model, ids, chunk=10)
    numpy.testing.assert_allclose(found, one_by_one(model, ids), rtol=0, atol=2e-6)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_probabilities_that_are_nan(model, value):
    model.output.W.array[2, 3] = value
    with pytest.raises(rnnlm.InputError, match='finite weights'):
        scoring.score_text(model, [1, 2, 3])
    with pytest.raises(rnnlm.InputError, match='finite weights'):
        rnnlm.TrainedModel(model).perplexity([1, 2, 3] * 5)
    with pytest.raises(rnnlm.InputError, match='finite weights'):
        list(generate(model, [0], 3))


def test_the_ring_is_what_chainers_evaluator_reads(model):
    ids, read = numpy.array([1, 2, 4, 0, 3, 5] * 30, 'i'), []
    found = scoring.score_ring(model, ids, read.append)
    assert len(found) == len(ids) == read[-1]
    expected = rnnlm.TrainedModel(model).perplexity(ids)
    assert abs(math.exp(-found.mean()) / expected - 1) < 1e-6


def test_mixture():
    random = numpy.random.RandomState(0)
    one, other = numpy.log(random.uniform(0.01, 1, (2, 500)))
    weight = scoring.mixture_weight(one, other)
    grid = numpy.linspace(0.001, 0.999, 999)
    best = grid[numpy.argmax([scoring.mix(one, other, w).mean() for w in grid])]
    assert abs(weight - best) < 0.002
    numpy.testing.assert_allclose(
        scoring.mix(one, other, 0.3), numpy.log(.3 * numpy.exp(one)
                                                + .7 * numpy.exp(other)))
    assert scoring.mixture_weight(one, one - 1) > 0.999


def run(capsys, *args, status=0):
    assert cli.main([str(arg) for arg in args]) == status
    return capsys.readouterr()


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / 'corpus'
    folder.mkdir()
    (folder / 'ptb.train.txt').write_text('the cat sleeps\nthe dog sees <unk>\n' * 20)
    for part in 'valid', 'test':
        (folder / f'ptb.{part}.txt').write_text('the dog sleeps\n' * 20)
    return folder


def test_interpolate(folder, corpus, tmp_path, capsys):
    given = 'interpolate', folder, tmp_path / 'other', '--corpus', corpus
    (tmp_path / 'other').mkdir()
    numpy.random.seed(4)
    other = rnnlm.RNNForLM(7, 5, init_scale=0.9)
    rnnlm.save_npz(str(tmp_path / 'other' / 'model.npz'), other)
    Vocabulary(WORDS).save(str(tmp_path / 'other' / 'vocabulary.json'))
    Vocabulary(WORDS[::-1]).save(str(tmp_path / 'vocabulary.json'))
    assert 'expected the vocabulary of' in run(capsys, *given, status=2).err
    text = load_corpus(str(corpus))
    for place in tmp_path, tmp_path / 'other':
        text.vocabulary.save(str(place / 'vocabulary.json'))
    found = json.loads(run(capsys, *given, '--json', '--weight', 0.3).out)
    model = rnnlm.RNNForLM(7, 8)
    rnnlm.load_model(str(tmp_path / 'model.npz'), model)
    ring = numpy.append(text.test, text.test[0])  # as Chainer's iterators read it
    one, two = (numpy.exp(one_by_one(m, ring)) for m in (model, other))
    evaluated = json.loads(run(
        capsys, 'evaluate', folder, '--corpus', corpus, '--json').out)['perplexity']
    assert abs(found['first'] / evaluated - 1) < 1e-6
    for name, p in ('first', one), ('second', two), ('mixture', .3 * one + .7 * two):
        expected = math.exp(-numpy.log(p).mean())
        assert abs(found[name] / expected - 1) < 1e-5, name
    best = json.loads(run(capsys, *given, '--json').out)
    assert best['mixture'] <= 1e-5 + min(
        best['first'], best['second'], found['mixture'])
    assert 'interpolated, weights ' in run(capsys, *given).out
    assert '--weight' in run(capsys, *given, '--weight', 2, status=2).err


def test_beams_and_ways_to_draw(model):
    greedy = list(generate(model, [0], 12, sample=False))
    numpy.random.seed(0)
    assert list(generate(model, [0], 12, top_k=1)) == greedy
    assert list(generate(model, [0], 12, top_p=1e-9)) == greedy
    assert list(generate(model, [0], 12, temperature=1e-3)) == greedy
    numpy.random.seed(0)
    plain = list(generate(model, [0], 30))
    numpy.random.seed(0)
    assert list(generate(
        model, [0], 30, temperature=1, top_k=7, top_p=1.0)) == plain
    assert beam_search(model, [0], 12, 1)[0] == greedy
    last = -numpy.inf
    for width in 1, 7, 49:
        words, score = beam_search(model, [0, 3], 3, width)
        assert abs(score - one_by_one(model, [0, 3, *words])[1:].sum()) < 1e-5
        assert score >= last - 1e-6
        last = score
    # 49 beams are all continuations of two words, so none is more probable.
    everything = [[0, 3, a, b, c] for a in range(7) for b in range(7) for c in range(7)]
    best = max(one_by_one(model, ids)[1:].sum() for ids in everything)
    assert abs(last - best) < 1e-5


def test_a_beam_that_ends_is_the_most_probable_sentence(model):
    """The most probable of all that end within four words, by exhaustive search."""
    best, score = beam_search(model, [0], 4, 400, stop=0, never=[6])
    words = range(1, 6)
    ends = [[*rest, 0] for n in range(4) for rest in itertools.product(words, repeat=n)]
    every = ends + [list(rest) for rest in itertools.product(words, repeat=4)]
    scores = [one_by_one(model, [0, *ids]).sum() for ids in every]
    most = every[int(numpy.argmax(scores))]
    assert best == [word for word in most if word]
    assert abs(score - max(scores)) < 1e-5


def test_where_a_text_stops_and_what_it_never_has(model):
    numpy.random.seed(1)
    plain = list(generate(model, [0], 300))
    assert 3 in plain and 6 in plain
    numpy.random.seed(1)
    assert list(generate(model, [0], 300, stop=3)) == plain[:plain.index(3)]
    assert 6 not in list(generate(model, [0], 300, never=[6]))
    greedy = list(generate(model, [0], 9, sample=False))
    assert greedy[0] not in generate(model, [0], 9, sample=False, never=[greedy[0]])
    assert greedy[0] not in beam_search(model, [0], 9, 3, never=[greedy[0]])[0]
    for never in [7], [-1], list(range(7)), ['a']:
        with pytest.raises(rnnlm.InputError, match='never: expected'):
            generate(model, [0], 9, never=never)  # at the call, before iteration


@pytest.mark.parametrize('width', [0, -1, 1.5])
def test_bad_beams(model, width):
    with pytest.raises(rnnlm.InputError, match='width: expected'):
        beam_search(model, [0], 3, width)


def test_top_k_and_top_p():
    p = numpy.log([0.5, 0.1, 0.3, 0.1])
    for arguments, expected in (
            ((None, None), [.5, .1, .3, .1]), ((2, None), [.625, 0, .375, 0]),
            ((3, None), [.5 / .9, .1 / .9, .3 / .9, 0]), ((9, None), [.5, .1, .3, .1]),
            ((None, .49), [1, 0, 0, 0]), ((None, .51), [.625, 0, .375, 0]),
            ((1, .9), [1, 0, 0, 0])):
        numpy.testing.assert_allclose(
            _probabilities(p, 1.0, *arguments), expected)


@pytest.mark.parametrize('given', [
    dict(temperature=0), dict(temperature=-1), dict(top_k=0), dict(top_p=0),
    dict(top_p=1.1), dict(temperature=math.nan)])
def test_bad_ways_to_draw(model, given):
    with pytest.raises(rnnlm.InputError, match=next(iter(given))):
        next(generate(model, [0], 3, **given))


# Dynamic evaluation ---------------------------------------------------------

IDS = numpy.random.RandomState(2).randint(0, 7, 41).astype('i')


def test_hardly_moving_is_static(model):
    found = DynamicEvaluation(model, lr=1e-12, decay=0).perplexity(IDS)
    assert abs(found / math.exp(-one_by_one(model, IDS).mean()) - 1) < 1e-5


@pytest.mark.parametrize('rule', ['sgd', 'rms'])
def test_one_move(model, rule):
    first = [param.array.copy() for param in model.params()]
    adaptive = DynamicEvaluation(model, 0.2, 0.3, steps=4, rule=rule, clip=1e9)

    def gradient(words):
        twin = model.copy('copy')
        twin.reset_state()
        with chainer.using_config('train', False):
            loss = twin.loss(words[:-1, None], words[1:, None])
            twin.cleargrads()
            loss.backward()
        return [param.grad.astype('d') for param in twin.params()]

    scale = back = [1.0] * len(first)
    if rule == 'rms':
        adaptive.gather(IDS, windows=2, epsilon=0.01)
        squares = [(a ** 2 + b ** 2) / 2 for a, b in zip(
            gradient(IDS[:5]), gradient(IDS[36:41]))]
        roots = [numpy.sqrt(square) for square in squares]
        mean = numpy.concatenate([root.ravel() for root in roots]).mean()
        scale = [1 / (root + 0.01) for root in roots]
        back = [numpy.minimum(root / mean, 1 / 0.3) for root in roots]
    # Two segments: the second starts from parameters that the first has moved.
    adaptive.perplexity(IDS[:5])
    moved = [p.astype('d') - 0.2 * s * g
             for p, s, g in zip(first, scale, gradient(IDS[:5]))]
    for param, expected in zip(adaptive.model.params(), moved):
        numpy.testing.assert_allclose(param.array, expected, rtol=1e-4, atol=1e-6)
    for param in adaptive.model.params():
        param.cleargrad()
        param.grad = numpy.zeros_like(param.array)
    adaptive._move()
    for param, p, p_0, r in zip(adaptive.model.params(), moved, first, back):
        numpy.testing.assert_allclose(
            param.array, p + 0.3 * r * (p_0 - p), rtol=1e-4, atol=1e-6)
    for param, p_0 in zip(model.params(), first):
        numpy.testing.assert_array_equal(param.array, p_0)  # a copy moved


@pytest.mark.parametrize('share', [0.1, 0.9, 1.5])
def test_a_gradient_is_clipped_to_its_norm(model, share):
    words, first = IDS[:5], [param.array.copy() for param in model.params()]
    with chainer.using_config('train', False):
        loss = model.loss(words[:-1, None], words[1:, None])
        model.cleargrads()
        loss.backward()
    grads = [param.grad.astype('d') for param in model.params()]
    norm = math.sqrt(sum((grad ** 2).sum() for grad in grads))
    assert norm > 2  # far from its square and from its root
    adaptive = DynamicEvaluation(model, 0.2, 0, steps=4, clip=share * norm)
    adaptive.perplexity(words)
    for param, p, grad in zip(adaptive.model.params(), first, grads):
        numpy.testing.assert_allclose(
            param.array, p - 0.2 * min(share, 1) * grad, rtol=1e-4, atol=1e-6)


def test_it_learns_what_repeats(model):
    words = numpy.tile(numpy.array([1, 2, 4, 0, 3, 5], 'i'), 40)
    static = math.exp(-one_by_one(model, words).mean())
    assert DynamicEvaluation(model, lr=0.2, clip=5.0).perplexity(words) < 0.5 * static


@pytest.mark.parametrize('given', [
    dict(lr=0), dict(decay=-1), dict(decay=2), dict(steps=0), dict(rule='adam'),
    dict(clip=0)])
def test_bad_dynamic_evaluation(model, given):
    with pytest.raises(rnnlm.InputError, match=next(iter(given))):
        DynamicEvaluation(model, **given)


def test_dynamic_command(folder, corpus, tmp_path, capsys):
    load_corpus(str(corpus)).vocabulary.save(
        str(tmp_path / 'vocabulary.json'))
    for rule in 'sgd', 'rms':
        out = run(capsys, 'evaluate', folder, '--corpus', corpus, '--dynamic', rule).out
        lines = out.splitlines()
        assert len(lines) == 2 and f'dynamic evaluation ({rule})' in lines[1]
    found = json.loads(run(capsys, 'evaluate', folder, '--corpus', corpus, '--part',
                           'valid', '--dynamic', 'sgd', '--json').out)
    assert found['dynamic sgd'] < found['perplexity'] and found['part'] == 'valid'
