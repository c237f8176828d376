"""Training and evaluation by sentences: against plain Chainer, one by one."""
import functools
import itertools
import json

import chainer
from chainer import functions as F
from helpers import classifier, make_model
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm
from rnnlm.data.sentences import PADDING, SentenceIterator
from rnnlm.inference import scoring
from rnnlm.training.evaluator import evaluate_perplexities
from rnnlm.training.sentences import SentenceUpdater, make_sentence_evaluator

EOS = 3


def text(n=60, seed=0, longest=9, n_vocab=11, whole=True):
    """Sentences of random lengths, 0 among them; `whole` if the last one has an end."""
    random = numpy.random.RandomState(seed)
    words = [numpy.append(one[one != EOS], EOS) for one in (
        random.randint(0, n_vocab, k) for k in random.randint(0, longest, n))]
    words = numpy.concatenate([*words, [1, EOS]]).astype('i')
    return words if whole else words[:-1]


def sentences_of(words):
    ends = numpy.flatnonzero(words == EOS)
    parts = numpy.split(words, ends + 1)
    return [tuple(part[part != EOS].tolist()) for part in parts
            if len(part)]


def read(iterator, length):
    """The sentences of an epoch, and its windows."""
    found, windows, columns = [], [], None
    while True:
        try:
            window = iterator.next_window(length)
        except StopIteration:
            break
        windows.append(window)
        if iterator.is_new_batch:
            columns = [[] for _ in range(window.shape[1])]
            assert (window[0][window[1] != PADDING] == EOS).all()
            found += columns
        for column, tokens in zip(columns, window[1:].T):
            column += tokens[tokens != PADDING].tolist()
        if iterator.is_new_epoch:
            break
    return [tuple(one[:-1]) for one in found if one], windows


@pytest.mark.parametrize('length', [1, 4, 50])
@pytest.mark.parametrize('batch', [1, 4, 61])
@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('repeat', [True, False])
def test_an_epoch_has_each_sentence_once(length, batch, whole, repeat):
    words = text(whole=whole)
    iterator = SentenceIterator(words, batch, EOS, repeat)
    expected = sorted(sentences_of(words))
    orders = []
    for epoch in range(3 if repeat else 1):
        found, windows = read(iterator, length)
        assert sorted(found) == expected and iterator.epoch == epoch + 1
        assert len(windows) == iterator.windows_per_epoch(length)
        assert iterator.n_words == sum(map(len, found)) + len(found) == sum(
            (window[1:] != PADDING).sum() for window in windows)
        assert iterator.epoch_detail == epoch + 1
        orders.append(found)
    assert not repeat or orders[0] != orders[1] != orders[2]


def test_batches_are_of_about_one_length():
    iterator = SentenceIterator(text(400, longest=30), 10, EOS)
    _, windows = read(iterator, 100)
    padding = numpy.mean([(window[1:] == PADDING).mean() for window in windows])
    assert padding < 0.1  # in the order of the text 0.5


@pytest.mark.parametrize('length', [3, 50])
def test_where_it_stands_is_saved(length):
    words = text()
    iterator = SentenceIterator(words, 4, EOS)
    for _ in range(37):
        iterator.next_window(length)
    saved = chainer.serializers.DictionarySerializer()
    iterator.serialize(saved)
    other = SentenceIterator(words, 4, EOS)
    random = numpy.random.get_state()
    chainer.serializers.NpzDeserializer(saved.target).load(other)
    assert other.epoch_detail == iterator.epoch_detail
    assert other.previous_epoch_detail == iterator.previous_epoch_detail
    later = []
    for each in iterator, other:
        numpy.random.set_state(random)  # as a snapshot does
        later.append([each.next_window(length) for _ in range(40)])
    for one, two in zip(*later):
        assert_array_equal(one, two)


def test_another_batch_size_goes_on_nearby():
    words = text()
    iterator = SentenceIterator(words, 4, EOS)
    while iterator.epoch_detail < 1.5:
        iterator.next_window(3)
    saved = chainer.serializers.DictionarySerializer()
    iterator.serialize(saved)
    other = SentenceIterator(words, 10, EOS)
    chainer.serializers.NpzDeserializer(saved.target).load(other)
    assert other.epoch == 1 and abs(other.epoch_detail - 1.5) < 0.3
    other.next_window(3)
    assert other.is_new_batch


@pytest.mark.parametrize('name, value', [('batch', 16), ('step', 99)])
def test_a_place_that_is_none_is_refused(name, value):
    iterator = SentenceIterator(text(), 4, EOS)
    saved = chainer.serializers.DictionarySerializer()
    iterator.serialize(saved)
    saved.target[name] = numpy.array(value)
    with pytest.raises(rnnlm.InputError, match='expected one of 16 batches'):
        chainer.serializers.NpzDeserializer(saved.target).load(iterator)


def test_too_few_sentences():
    with pytest.raises(rnnlm.InputError, match='at least 20 sentences.*found 2'):
        SentenceIterator([1, EOS, 2, EOS], 20, EOS)


def loss_one_by_one(model, window, keep):
    """Sum of -log p by Chainer's links, a sentence at a time; and how many words."""
    loss, n_words, states = 0, 0, []
    for column, state in zip(window.T, keep or [None] * window.shape[1]):
        model.set_state(state)
        for x, t in zip(column, column[1:]):
            if t == PADDING:
                break
            y = model(numpy.array([x], 'i'))
            loss += F.softmax_cross_entropy(y, numpy.array([t], 'i'))
            n_words += 1
        states.append(model.get_state())
    return loss, n_words, states


@pytest.mark.parametrize('variant', [dict(), dict(tied=True), dict(n_layers=1)])
@pytest.mark.parametrize('length', [3, 50])
def test_an_update_is_that_of_the_sentences_one_by_one(variant, length):
    words, B = text(), 4
    model = make_model(dropout=0.0, **variant)
    other = make_model(dropout=0.0, **variant)
    other.per_step = True
    numpy.random.seed(1)
    iterator = SentenceIterator(words, B, EOS)
    optimizer = chainer.optimizers.SGD(lr=0.3).setup(classifier(model))
    updater = SentenceUpdater(iterator, optimizer, length)
    numpy.random.seed(1)
    twin = SentenceIterator(words, B, EOS)
    assert updater.windows_per_epoch == twin.windows_per_epoch(length)
    states, padded = None, 0
    for _ in range(15):  # less than an epoch
        reporter, observation = chainer.Reporter(), {}
        reporter.add_observer('main', updater.get_optimizer('main').target)
        with reporter, reporter.scope(observation):
            updater.update()
        window = twin.next_window(length)
        padded += (window == PADDING).sum()
        other.cleargrads()
        loss, n_words, states = loss_one_by_one(
            other, window, None if twin.is_new_batch else states)
        (loss / B).backward()
        for param in other.params():
            if param.grad is not None:  # of one step there is no lateral product
                param.array -= 0.3 * param.grad
        mean, weight = observation['main/loss']
        assert weight == n_words
        assert_allclose(mean.array, loss.array / n_words, rtol=1e-9)
        for (name, p), (_, q) in zip(model.namedparams(), other.namedparams()):
            assert_allclose(p.array, q.array, rtol=1e-8, atol=1e-10, err_msg=name)
    assert padded


def test_the_log_has_the_mean_of_all_words(tmp_path):
    model = make_model(dropout=0.0)
    optimizer = chainer.optimizers.SGD(lr=1e-12).setup(classifier(model))
    iterator = SentenceIterator(text(), 4, EOS)
    trainer = chainer.training.Trainer(
        SentenceUpdater(iterator, optimizer, 3), (2, 'epoch'), out=str(tmp_path))
    trainer.extend(chainer.training.extensions.LogReport())
    trainer.run()
    expected = -numpy.concatenate(list(scoring.score_sentences(
        model, sentences_of(text()), EOS))).mean()
    with open(tmp_path / 'log') as f:
        assert [entry['main/loss'] for entry in json.load(f)] == pytest.approx(
            [expected] * 2)


@pytest.mark.parametrize('n, whole', [(0, True), (0, False), (5, True), (90, False)])
def test_the_evaluator_agrees_with_the_scores(n, whole):
    words = text(n, whole=whole) if n else text(1, whole=whole)[-1 - whole:]
    model = make_model()
    model(numpy.array([1, 2], 'i'))
    before = model.get_state()
    random = numpy.random.get_state()[1].copy()
    loss, known = evaluate_perplexities(
        make_sentence_evaluator(words, classifier(model), EOS, unknown=5))
    assert_array_equal(numpy.random.get_state()[1], random)
    for one, two in zip(itertools.chain(*model.get_state()), itertools.chain(*before)):
        assert_array_equal(one, two)
    sentences = sentences_of(words)
    scores = numpy.concatenate(list(scoring.score_sentences(model, sentences, EOS)))
    targets = numpy.concatenate([[*one, EOS] for one in sentences])
    assert_allclose(loss, numpy.exp(-scores.mean()), rtol=1e-9)
    assert_allclose(known, numpy.exp(-scores[targets != 5].mean()), rtol=1e-9)


def test_a_model_that_goes_step_by_step_is_refused():
    model = make_model()
    model.per_step = True
    optimizer = chainer.optimizers.SGD().setup(classifier(model))
    updater = SentenceUpdater(SentenceIterator(text(), 4, EOS), optimizer, 5)
    with pytest.raises(rnnlm.InputError, match='computed in windows.*per_step'):
        updater.update()


def test_another_lossfun_is_refused():
    target = classifier(make_model())
    target.lossfun = functools.partial(
        F.softmax_cross_entropy, class_weight=numpy.ones(11, 'f'))
    optimizer = chainer.optimizers.SGD().setup(target)
    updater = SentenceUpdater(SentenceIterator(text(), 4, EOS), optimizer, 5)
    with pytest.raises(rnnlm.InputError, match='softmax_cross_entropy, found'):
        updater.update()
