"""What is computed by windows and what step by step, and the log messages for both."""
import functools
import logging

import chainer
from chainer import functions as F
from chainer import links as L
from helpers import make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm import parts, unaltered
from rnnlm.training.windows import why_not_windows

WEIGHTS = numpy.linspace(0.5, 1.5, 20).astype('f')


def parameters(trainer):
    return {name: param.array.copy() for name, param in
            trainer.updater.get_optimizer('main').target.namedparams()}


def trained(lossfun, **kwargs):
    model = small(dropout=0.3)
    model.lossfun = lossfun
    trainer = make_trainer(model, text(), '.', stop=(6, 'iteration'), **kwargs)
    numpy.random.seed(3)
    trainer.run()
    return trainer


@pytest.mark.parametrize('settings', [
    {'class_weight': WEIGHTS}, {'ignore_label': 3}, {'normalize': False}])
def test_settings_of_the_loss_go_by_window(settings):
    lossfun = functools.partial(F.softmax_cross_entropy, **settings)
    ours, steps = trained(lossfun), trained(lossfun, per_step=True)
    assert ours.updater.why_per_step == ''
    for name, array in parameters(steps).items():
        numpy.testing.assert_allclose(
            parameters(ours)[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def squares(y, t):
    return F.mean((y - F.cast(F.broadcast_to(F.expand_dims(t, 1), y.shape), 'f')) ** 2)


def test_any_loss_of_logits_goes_by_window_if_it_is_asked_for():
    def lossfun(y, t):
        return squares(y, chainer.as_variable(t)) * 1e-3

    assert 'loss' in trained(lossfun).updater.why_per_step
    ours = trained(lossfun, loss_of_logits=True)
    assert ours.updater.why_per_step == ''
    for name, array in parameters(trained(lossfun)).items():
        numpy.testing.assert_allclose(
            parameters(ours)[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_reason_is_a_warning_once(caplog):
    model = small()
    model.predictor.l2 = L.StatefulGRU(8, 8)
    trainer = make_trainer(model, text(), '.', stop=(3, 'iteration'))
    with caplog.at_level(logging.INFO, logger='rnnlm'):
        trainer.run()
    told = [record for record in caplog.records if 'StatefulGRU' in record.message]
    assert [record.levelname for record in told] == ['WARNING']


def test_per_step_is_no_warning(caplog):
    trainer = make_trainer(small(), text(), '.', stop=(2, 'iteration'), per_step=True)
    with caplog.at_level(logging.INFO, logger='rnnlm'):
        trainer.run()
    assert {record.levelname for record in caplog.records} == {'INFO'}


@pytest.mark.parametrize('owner, name', [
    (L.LSTM, 'forward'), (L.Linear, 'forward'), (chainer.Link, '__call__'),
    (L.Classifier, 'forward'), (rnnlm.RNNForLM, 'forward'), (F, 'dropout'),
    (rnnlm.links.AdaptiveSoftmax, 'forward'), (F, 'log_softmax'), (F, 'permutate'),
    (rnnlm.links.LockedDropout, 'draw'), (rnnlm.links.HardSigmoidLSTM, '_gate'),
    (F, 'clip')])
def test_replaced_code_is_seen(monkeypatch, owner, name):
    assert why_not_windows(small()) == ''
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: None)
    assert name in why_not_windows(small())


def test_added_code_is_detected(monkeypatch):
    monkeypatch.setattr(L.LSTM, '__call__', L.LSTM.forward, raising=False)
    assert unaltered.EVERYTHING.changed() == 'LSTM.__call__ has been added'


def test_arrays_that_share_memory_are_seen():
    model = small()
    model.predictor.l2.upward.W.array = model.predictor.l1.upward.W.array[::1]
    assert 'share memory' in why_not_windows(model)


@pytest.mark.parametrize('name', ['debug', 'lazy_grad_sum', 'keep_graph_on_report'])
def test_configuration_is_seen(name):
    with chainer.using_config(name, True):
        assert name in why_not_windows(small())


def test_a_part_may_be_added():
    class Half(L.LSTM):
        def forward(self, x):
            return super().forward(x) / 2

    def window(link, x):
        return parts.lstm_window(link, x) / 2

    ids = numpy.arange(12, dtype='i').reshape(6, 2)
    model = small(dropout=0.0).predictor
    model.l1 = Half(8, 8)
    assert 'Half has no window function' == model.why_steps()
    expected = model.logits(ids).array
    parts.add(Half, window, ('c', 'h'))
    try:
        model.reset_state()
        assert model.why_steps() == ''
        numpy.testing.assert_allclose(
            model.logits(ids).array, expected, rtol=1e-5, atol=1e-6)
    finally:
        del parts.TABLE[Half]


def test_a_column_of_ids_is_one_step_as_in_chainer():
    model = small(dropout=0.0).predictor
    ids = numpy.arange(5, dtype='i')
    column = model(ids[:, None])
    model.reset_state()
    numpy.testing.assert_allclose(column.array, model(ids).array, rtol=1e-6)
    model.reset_state()
    assert model.logits(ids[:, None]).shape == (5, 1, 20)


def test_several_optimizers_and_iterators():
    model = small()
    optimizers = {'main': chainer.optimizers.SGD().setup(model),
                  'other': chainer.optimizers.Adam().setup(L.Linear(2, 2))}
    updater = rnnlm.BPTTUpdater(
        {'main': rnnlm.ParallelSequentialIterator(text(), 4)}, optimizers, 5)
    updater.update()
    assert optimizers['main'].t == 1 and optimizers['other'].t == 0


@pytest.mark.parametrize('per_step', [False, True])
def test_epochs_of_the_optimizer_are_counted(per_step):
    trainer = make_trainer(
        small(), text(), '.', stop=(2, 'epoch'), per_step=per_step)
    trainer.run()
    assert trainer.updater.get_optimizer('main').epoch == 2


@pytest.mark.parametrize('per_step', [False, True])
def test_a_classifier_of_a_whole_window(per_step):
    """Its loss is the mean over all words; `BPTTUpdater`'s the sum over the steps."""
    model = chainer.links.Classifier(small(dropout=0).predictor)
    model.predictor.per_step = per_step
    words = text(40).reshape(8, 5)
    x, t = words[:-1].copy(), words[1:].copy()
    t[2, 3] = -1
    for make in (lambda array: array), chainer.Variable:
        model.predictor.reset_state()
        loss = model(make(x), make(t))
        loss.backward()
        assert model.y.shape == (7, 5, 20)
        model.predictor.reset_state()
        logits = model.predictor(x).array.reshape(35, 20)
        expected = F.softmax_cross_entropy(logits, t.ravel())
        numpy.testing.assert_allclose(loss.array, expected.array, rtol=1e-6)
        accuracy = F.accuracy(logits, t.ravel()).array
        numpy.testing.assert_array_equal(model.accuracy.array, accuracy)
    model.predictor.reset_state()
    assert model(x[0], t[0]).shape == () and model.y.shape == (5, 20)


@pytest.mark.parametrize('way', [{'loss_of_logits': True}, {'per_step': True}])
def test_what_a_lossfun_reports_is_the_mean_of_the_window(way):
    def lossfun(y, t):
        loss = squares(y, chainer.as_variable(t)) * 1e-3
        chainer.report({'seen': loss})
        return loss

    observation = trained(lossfun, **way).observation
    numpy.testing.assert_allclose(
        observation['seen'].array, observation['main/loss'].array, rtol=1e-5)
