"""A `LanguageModel` with an adaptive softmax in all that a model meets."""
import re

from adaptive_case import V, counts, make, window, words
import chainer
from chainer import links as L
from chainer.link_hooks import TimerHook
from helpers import ON_HOST, classifier
import numpy
import pytest

import rnnlm
from rnnlm.inference import scoring
from rnnlm.links import AdaptiveSoftmax
from rnnlm.training import sgd
from rnnlm.training.evaluator import (
    PerplexityEvaluator, evaluate_perplexity, make_classifier, make_evaluator)


def copied(model):
    model = model.copy('copy')
    model.reset_state()
    return model


def gradient_run(model, per_step):
    model.per_step = per_step
    numpy.random.seed(5)
    found = []
    for k in range(3):
        ids = window(seed=k)
        model.cleargrads()
        loss = model.loss(ids[:-1], ids[1:])
        loss.backward()
        found += [loss.array, *(param.grad for _, param in sorted(model.namedparams()))]
        for layer in model.layers:
            layer.c.unchain(), layer.h.unchain()
    return found + [numpy.random.rand(), model.logits(window(seed=9)).array]


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_a_window_is_its_steps(dropout):
    actual, expected = (gradient_run(make(dropout=dropout), per_step)
                        for per_step in (False, True))
    assert make().why_steps() == ''
    for a, b in zip(actual, expected):
        numpy.testing.assert_allclose(a, b, rtol=5e-4, atol=1e-5)


def test_the_model_that_is_made():
    model = make(n_embed=4)
    assert type(model) is rnnlm.LanguageModel and not model.tied
    assert type(model.output) is AdaptiveSoftmax
    assert model.widths == [4, 6, 6]
    order = numpy.argsort(-counts(), kind='stable')
    numpy.testing.assert_array_equal(model.output.ranks[order], range(V))
    for param in model.params():
        assert 0.5 < abs(param.array).max() <= 0.8 or param.size < 10
    with pytest.raises(rnnlm.InputError, match='n_layers'):
        make(n_layers=0)
    with pytest.raises(rnnlm.InputError, match='init_scale'):
        make(init_scale=-1)


# Training ---------------------------------------------------------------------

def trained(model, windows=12, per_step=False, optimizer=None, lr=0.5, text=None):
    target = classifier(model)
    optimizer = (optimizer or chainer.optimizers.SGD(lr)).setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(1))
    iterator = rnnlm.ParallelSequentialIterator(words() if text is None else text, 4)
    updater = rnnlm.BPTTUpdater(iterator, optimizer, 5, -1, per_step=per_step)
    assert bool(updater.why_per_step) == per_step
    for _ in range(windows):
        updater.update()
    return target


# Words of some clusters alone: ranks below 3, and 7 to 14.
FEW = numpy.flatnonzero(numpy.isin(make().output.ranks, [0, 1, 2, 7, 8, 11]))


@pytest.mark.parametrize('make_optimizer', [
    lambda: chainer.optimizers.SGD(0.5), lambda: chainer.optimizers.Adam(0.01),
    lambda: chainer.optimizers.MomentumSGD(0.1)])
@pytest.mark.parametrize('text', [words(), FEW[words(203, len(FEW))].astype('i')],
                         ids=['all', 'few clusters'])
def test_training_is_that_of_the_steps(text, make_optimizer):
    """In float64: the same parameters and gradients, whatever the optimizer."""
    with chainer.using_config('dtype', numpy.dtype('d')):
        actual, expected = (
            trained(make(), per_step=per_step, text=text, optimizer=make_optimizer())
            for per_step in (False, True))
    for (name, a), (_, b) in zip(sorted(actual.namedparams()),
                                 sorted(expected.namedparams())):
        numpy.testing.assert_allclose(a.array, b.array, rtol=0, atol=1e-9, err_msg=name)
        numpy.testing.assert_allclose(a.grad, b.grad, rtol=0, atol=1e-9, err_msg=name)


def test_with_a_hook_that_changes_all_parameters():
    def target(per_step):
        found = classifier(make())
        optimizer = chainer.optimizers.SGD(0.5).setup(found)
        optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(0.1))
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(FEW[words(203, len(FEW))].astype('i'), 4),
            optimizer, 5, -1, per_step=per_step)
        for _ in range(5):
            updater.update()
        return found

    with chainer.using_config('dtype', numpy.dtype('d')):
        actual, expected = target(False), target(True)
    for a, b in zip(actual.params(), expected.params()):
        numpy.testing.assert_allclose(a.array, b.array, rtol=0, atol=1e-9)


@pytest.mark.parametrize('dtype', 'fd')
def test_what_a_window_does_not_use_is_not_touched(dtype, monkeypatch):
    """Neither in the norm nor in the update, compiled (float32) or not."""
    touched = {}
    flat, units = sgd._flat, sgd._units

    def of_numpy(param, ids):
        p, g = flat(param, ids)
        touched[id(param)] = p.size
        return p, g

    def of_kernels(param, ids):
        found = units(param, ids)
        if found is not None:
            touched[id(param)] = 0 if not found else param.size if ids is None else (
                sum(len(rows) for rows, *_ in found) * param.array[0].size)
        return found

    monkeypatch.setattr(sgd, '_flat', of_numpy)
    monkeypatch.setattr(sgd, '_units', of_kernels)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        model = make(cutoffs=[3, 7, 15], n_layers=1)
        trained(model, 1, text=FEW[words(203, len(FEW))].astype('i'))
    output = model.output
    assert len(touched) == len(list(model.params()))
    for param in (output.project1.W, output.tail1.W, output.project3.W, output.tail3.W):
        assert touched[id(param)] == 0
        assert not param.grad.any()
    for param in (output.project2.W, output.tail2.W, output.head.W):
        assert touched[id(param)] == param.size
    assert touched[id(model.embed.W)] == 6 * len(FEW)


# Use --------------------------------------------------------------------------

def test_scores_beams_and_generation_agree():
    model = make()
    text = words(40)
    log_p = scoring.score_text(model, text)
    ids = numpy.append(text, text[:1])
    with chainer.using_config('train', False):
        model.reset_state()
        expected = [model(ids[k:k + 1]).array[0, ids[k + 1]]
                    for k in range(len(text) - 1)]
    numpy.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=1e-5)
    found, log_prob = rnnlm.beam_search(model, [1, 2], 4, width=V)
    numpy.testing.assert_allclose(
        scoring.score_text(model, [1, 2, *found])[1:].sum(), log_prob, rtol=1e-4)
    greedy = list(rnnlm.generate(model, [1, 2], 4, sample=False))
    assert scoring.score_text(model, [1, 2, *greedy])[1:].sum() <= log_prob + 1e-4
    sentences = [[1, 2, 3], [4], []]
    scores = list(rnnlm.score_sentences(model, sentences, between=0))
    for sentence, score in zip(sentences, scores):
        numpy.testing.assert_allclose(
            score, scoring.score_text(model, [0, *sentence, 0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('streams', [1, 3])
def test_evaluation_is_that_of_chainer(streams):
    model = make(dropout=0.5)
    iterator = rnnlm.ParallelSequentialIterator(words(), streams, repeat=False)
    found = evaluate_perplexity(PerplexityEvaluator(iterator, make_classifier(model)))
    model.per_step = True
    iterator.reset()
    expected = evaluate_perplexity(
        PerplexityEvaluator(iterator, make_classifier(model)))
    assert found == pytest.approx(expected, rel=1e-5)
    if streams == 1:
        text = words()
        log_p = scoring.score_ring(model, text)
        assert found == pytest.approx(numpy.exp(-log_p.mean()), rel=1e-5)


@pytest.mark.parametrize('rule', ['sgd', 'rms'])
def test_dynamic_evaluation(rule):
    text = numpy.array([1, 2, 3] * 50)
    model = make()
    before = [param.array.copy() for param in model.params()]
    adaptive = rnnlm.DynamicEvaluation(model, lr={'sgd': 1.0, 'rms': 0.01}[rule],
                                       rule=rule)
    if rule == 'rms':
        adaptive.gather(text, windows=5)
    fixed = numpy.exp(-rnnlm.score_text(model, text).mean())
    assert adaptive.perplexity(text) < fixed
    for param, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(param.array, array)


def test_accuracy_and_a_loss_of_logits():
    target = L.Classifier(make())
    optimizer = chainer.optimizers.SGD(0.1).setup(target)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words(), 4), optimizer, 5, -1)
    assert updater.why_per_step == ''
    updater.update()
    assert target.y.shape == (4, V) and 0 <= float(target.accuracy.array) <= 1


def test_what_the_classifier_keeps():
    """The log probabilities of the last step cost too much to be made for nobody."""
    assert trained(make(), 1).y is None
    assert trained(make(), 1, per_step=True).y.shape == (4, V)


def test_copies_have_parameters_of_their_own():
    model = make()
    other = copied(model)
    assert other.why_steps() == ''
    for a, b in zip(model.params(), other.params()):
        assert not numpy.may_share_memory(a.array, b.array)
    numpy.testing.assert_array_equal(model.output.ranks, other.output.ranks)
    numpy.testing.assert_array_equal(
        model.logits(window()).array, other.logits(window()).array)


@pytest.mark.parametrize('change, match', [
    (lambda m: setattr(m.output.tail1, 'forward', lambda x: x), 'hides Linear.forward'),
    (lambda m: m.output.add_link('tail1', L.Bias(1, (1,))), 'is not a Linear'),
    (lambda m: setattr(m.output, 'cutoffs', (3, 7, 16)), 'do not have the sizes'),
    (lambda m: setattr(m.output, 'ranks', m.output.ranks[1:]), 'do not have the sizes'),
    (lambda m: m.output.ranks.fill(0), 'not a permutation'),
    (lambda m: setattr(m.output, 'ranks', m.output.ranks - 1), 'not a permutation'),
    (lambda m: m.output.tail2.W.__setattr__('array', m.output.tail1.W.array),
     'do not have the sizes|share memory'),
    (lambda m: m.output.project1.add_hook(TimerHook()), 'hook')])
def test_a_changed_link_goes_step_by_step(change, match):
    model = make()
    assert model.why_steps() == ''
    if match == 'is not a Linear':
        delattr(model.output, 'tail1')
    change(model)
    assert re.search(match, model.why_steps())


# Devices ----------------------------------------------------------------------

def test_on_a_device(device, tmp_path):
    """Moved there and back, trained there, without a CUDA graph."""
    model = make(dropout=0.0)
    expected = copied(model)
    model.to_device(device)
    assert device.xp is numpy or isinstance(model.output.ranks, device.xp.ndarray)
    assert model.why_steps() == ''
    targets = []
    for one, where in ((model, device), (expected, -1)):
        target = classifier(one)
        optimizer = chainer.optimizers.SGD(0.5).setup(target)
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(words(), 4), optimizer, 5, where)
        for _ in range(4):
            updater.update()
        targets.append(target)
    targets[0].to_device('@numpy')
    limit = 1e-4 if not ON_HOST else 1e-5
    for a, b in zip(*(target.params() for target in targets)):
        numpy.testing.assert_allclose(a.array, b.array, rtol=0, atol=limit)
    assert isinstance(model.output.ranks, numpy.ndarray)
    assert evaluate_perplexity(make_evaluator(
        words(), make_classifier(model))) == pytest.approx(evaluate_perplexity(
            make_evaluator(words(), make_classifier(expected))), rel=1e-3)
