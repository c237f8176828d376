"""The updater, the evaluator and the learning rate, against recorded runs."""
import logging

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.link_hooks import TimerHook
from chainer.training import extensions
from helpers import Record, classifier, make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.functions import softmax_loss
from rnnlm.training.evaluator import evaluate_perplexity, make_evaluator
from rnnlm.training.windows import why_not_windows


def run_golden(golden, model, out, **kwargs):
    model = classifier(model)
    trainer = make_trainer(
        model, golden.train, out, golden.batchsize, golden.bproplen,
        (golden.windows, 'iteration'), clip=golden.gradclip, **kwargs)
    record, details = Record(), []
    trainer.extend(record)
    trainer.extend(lambda t: details.append(t.updater.epoch_detail), name='details')
    trainer.run()
    numpy.testing.assert_allclose(
        [o['main/loss'] for o in record.seen], golden.window_mean_loss, rtol=1e-4)
    numpy.testing.assert_allclose(details, golden.epoch_detail)
    for name, param in model.namedparams():
        abs_sum, total = golden.final_param_abs_sum_and_sum[name]
        array = param.array.astype('d')
        numpy.testing.assert_allclose(abs(array).sum(), abs_sum, rtol=1e-4)
        numpy.testing.assert_allclose(array.sum(), total, atol=1e-4 * abs_sum)
    return model


def valid_loss(golden, model, evaluator=rnnlm.PerplexityEvaluator):
    iterator = rnnlm.ParallelSequentialIterator(golden.valid, 1, repeat=False)
    return float(evaluator(iterator, model)()['main/loss'])


@pytest.mark.parametrize('per_step', [False, True])
def test_golden_run(golden_7, tmp_path, per_step):
    numpy.random.seed(golden_7.seed)
    model = run_golden(
        golden_7, rnnlm.RNNForLM(golden_7.n_vocab, golden_7.n_units), tmp_path,
        per_step=per_step)
    for evaluator in rnnlm.PerplexityEvaluator, extensions.Evaluator:
        model.predictor.reset_state()
        numpy.testing.assert_allclose(
            valid_loss(golden_7, model, evaluator), golden_7.val_mean_loss, rtol=1e-4)


@pytest.mark.parametrize('per_step', [False, True])
def test_golden_run_v1(golden_1, tmp_path, per_step):
    numpy.random.seed(golden_1.seed)
    model = run_golden(
        golden_1, rnnlm.v1.RNNForLM(golden_1.n_vocab, golden_1.n_units), tmp_path,
        per_step=per_step)
    model.predictor.train = False
    numpy.testing.assert_allclose(
        valid_loss(golden_1, model), golden_1.val_mean_loss, rtol=1e-4)


def test_windows_and_steps_report_the_mean_of_the_window(tmp_path):
    losses = []

    class Own(chainer.Chain):
        """A target that is not a Classifier."""

        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.lm = small(dropout=0.3).predictor

        def forward(self, x, t):
            loss = F.softmax_cross_entropy(self.lm(x), t)
            chainer.report({'loss': loss, 'seen': len(x)}, self)
            losses.append(float(loss.array))
            return loss

    seen = []
    for model in small(dropout=0.3), Own():
        trainer = make_trainer(model, text(), tmp_path, T=5, stop=(6, 'iteration'))
        numpy.random.seed(1)
        record = Record()
        trainer.extend(record)
        trainer.run()
        seen.append([o['main/loss'] for o in record.seen])
    assert record.seen[0]['main/seen'] == 4
    numpy.testing.assert_allclose(
        seen[1], numpy.reshape(losses, (6, 5)).mean(1), rtol=1e-6)
    numpy.testing.assert_allclose(seen[0], seen[1], rtol=1e-5)


def test_accuracy_is_reported_as_step_by_step(tmp_path):
    seen = []
    for per_step in False, True:
        model = small()
        model.compute_accuracy = True
        trainer = make_trainer(model, text(), tmp_path, per_step=per_step)
        record = Record()
        trainer.extend(record)
        trainer.run()
        assert bool(trainer.updater.why_per_step) == per_step
        seen.append(record.seen)
    for a, b in zip(*seen):
        assert a.keys() == {'main/loss', 'main/accuracy'}
        for key in a:
            numpy.testing.assert_allclose(a[key], b[key], rtol=1e-4)


def test_the_way_is_logged_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger='rnnlm.training.updater'):
        make_trainer(small(), text(), tmp_path).run()
        make_trainer(small(), text(), tmp_path, per_step=True).run()
    assert [r.getMessage() for r in caplog.records] == [
        'training in windows', 'training step by step: per_step is set']


def test_why_not_windows():
    assert why_not_windows(small()) == ''
    assert 'Classifier' in why_not_windows(small().predictor)
    assert 'Classifier' in why_not_windows(L.Classifier(L.Linear(2, 2)))
    model = small()
    model.lossfun = F.hinge
    assert 'loss' in why_not_windows(model)

    class Own(rnnlm.RNNForLM):
        def forward(self, x):
            return super().forward(x) * 2

    assert 'forward' in why_not_windows(classifier(Own(5, 4)))

    class Older(rnnlm.RNNForLM):
        def __call__(self, x):
            return super().__call__(x) * 2

    assert '__call__' in why_not_windows(classifier(Older(5, 4)))
    model = small()
    model.predictor.forward = lambda x: x
    assert 'forward' in why_not_windows(model)
    model = small()
    model.label_key = 0
    assert 'label' in why_not_windows(model)
    for link in (lambda model: model), (lambda model: model.predictor):
        model = small()
        link(model).add_hook(TimerHook())
        assert 'hook' in why_not_windows(model)
    assert 'converter' in why_not_windows(small(), converter=lambda *_: None)
    model = small()
    model.compute_accuracy, model.accfun = True, F.r2_score
    assert 'accuracy' in why_not_windows(model)
    assert why_not_windows(classifier(rnnlm.v1.RNNForLM(5, 4))) == ''


def test_a_hook_on_the_classifier_sees_every_step(tmp_path):
    model = small()
    hook = TimerHook()
    model.add_hook(hook)
    make_trainer(model, text(), tmp_path, T=5, stop=(2, 'iteration')).run()
    assert [name for name, _ in hook.call_history] == ['Classifier'] * 10


def test_an_iterator_without_windows_goes_step_by_step(tmp_path):
    words = text(41)
    pairs = list(zip(words[:-1], words[1:]))
    model = small()
    optimizer = chainer.optimizers.Adam().setup(model)
    iterator = chainer.iterators.SerialIterator(pairs, 5, shuffle=False)
    updater = rnnlm.BPTTUpdater(iterator, optimizer, 2)
    updater.update()
    assert 'next_window' in updater.why_per_step
    assert iterator.current_position == 10


@pytest.mark.parametrize('length', [0, -1, 1.5, None])
def test_wrong_bprop_len_is_refused(length):
    with pytest.raises(rnnlm.InputError, match='bprop_len: expected'):
        rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(text(), 2),
            chainer.optimizers.SGD().setup(small()), length)


@pytest.mark.parametrize('B', [1, 3])
def test_evaluator_gives_the_result_of_chainers(B):
    model = small()
    words = text(1203)
    iterator = rnnlm.ParallelSequentialIterator(words, B, repeat=False)
    model.predictor(words[:6].reshape(2, 3))
    state = model.predictor.get_state()
    actual = rnnlm.PerplexityEvaluator(iterator, model)()
    for (c, h), (c_after, h_after) in zip(state, model.predictor.get_state()):
        numpy.testing.assert_array_equal(c, c_after)
        numpy.testing.assert_array_equal(h, h_after)
    model.predictor.reset_state()
    expected = extensions.Evaluator(iterator, model)()
    assert actual.keys() == expected.keys() == {'main/loss'}
    numpy.testing.assert_allclose(
        actual['main/loss'], expected['main/loss'], rtol=1e-6)
    # With accuracy, Chainer's evaluator is used, still from a reset state.
    model.compute_accuracy = True
    both = rnnlm.PerplexityEvaluator(iterator, model)()
    assert both.keys() == {'main/loss', 'main/accuracy'}
    numpy.testing.assert_allclose(both['main/loss'], expected['main/loss'], rtol=1e-6)


@pytest.mark.parametrize('per_step', [False, True])
def test_a_text_that_is_read_once_ends_before_a_short_window(per_step, tmp_path):
    trainer = make_trainer(small(), text(60), tmp_path, B=3, T=6, per_step=per_step)
    trainer.updater.get_iterator('main').repeat = False
    for _ in range(3):
        trainer.updater.update()
    with pytest.raises(StopIteration):
        trainer.updater.update()
    assert trainer.updater.get_optimizer('main').t == 3


@pytest.mark.parametrize('by_steps', [False, True])
def test_evaluator_shows_its_progress(by_steps, capsys):
    model = small()
    model.predictor.per_step = by_steps
    iterator = rnnlm.ParallelSequentialIterator(text(2500), 2, repeat=False)
    result = rnnlm.PerplexityEvaluator(iterator, model, progress_bar=True)()
    out = capsys.readouterr().out
    assert out.count('validation [') == (1250 if by_steps else 3)
    assert '40.00%' in out and '100.00%' in out
    assert result == rnnlm.PerplexityEvaluator(iterator, model)()


def test_an_iterator_that_never_ends_is_not_evaluated():
    pairs = chainer.iterators.SerialIterator([(0, 1)] * 9, 1, repeat=True)
    for iterator in rnnlm.ParallelSequentialIterator(text(), 2), pairs, {'main': pairs}:
        with pytest.raises(rnnlm.InputError, match='iterator: expected one that ends'):
            rnnlm.PerplexityEvaluator(iterator, small())


def test_a_text_is_evaluated_as_one_stream():
    model = small()
    words = text(103)
    with chainer.using_config('train', False):
        y = model.predictor.logits(words[:, None])
        # The text is a ring: after the last word comes the first, as in Chainer.
        expected = F.softmax_cross_entropy(y[:, 0], numpy.roll(words, -1)).array
    found = evaluate_perplexity(make_evaluator(words, model))
    numpy.testing.assert_allclose(found, numpy.exp(expected), rtol=1e-5)


def test_evaluator_falls_back_to_chainers():
    model = small()
    words = text(81)
    calls = []

    def converter(batch, device):
        calls.append(len(batch))
        return chainer.dataset.concat_examples(batch, device)

    windows = rnnlm.ParallelSequentialIterator(words, 2, repeat=False)
    pairs = chainer.iterators.SerialIterator(
        list(zip(words, words[1:])), 1, repeat=False, shuffle=False)
    rnnlm.PerplexityEvaluator(windows, model, converter=converter)()
    assert calls == [2] * 41
    result = rnnlm.PerplexityEvaluator(pairs, model)()
    one = rnnlm.ParallelSequentialIterator(words[:-1], 1, repeat=False)
    assert abs(result['main/loss'] - rnnlm.PerplexityEvaluator(one, model)()[
        'main/loss']) < 0.1  # the same, except for the last word to predict
    seen = []
    rnnlm.PerplexityEvaluator(windows, model, eval_hook=seen.append)()
    assert len(seen) == 1
    own = rnnlm.PerplexityEvaluator(
        windows, model, eval_func=lambda x, t: chainer.report({'n': len(x)}, model))
    assert own()['main/n'] == 2


def test_graph_can_be_dumped(tmp_path):
    for per_step in False, True:
        trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'),
                               per_step=per_step)
        trainer.extend(extensions.DumpGraph('main/loss', filename='graph.dot'))
        trainer.run()
        assert 'digraph' in (tmp_path / 'graph.dot').read_text()
        (tmp_path / 'graph.dot').unlink()


def test_report_trigger_fires_at_the_end_of_each_epoch(tmp_path):
    trainer = make_trainer(small(), text(200), tmp_path, stop=(3, 'epoch'))
    fired = []
    trainer.extend(lambda t: fired.append(t.updater.iteration), name='fired',
                   trigger=rnnlm.training.triggers.ReportTrigger(8))
    trainer.run()  # 10 windows of 20 words in an epoch
    assert fired == [8, 10, 16, 20, 24, 30]


def test_evaluator_in_a_trainer_changes_nothing(tmp_path):
    final = []
    for evaluate in False, True:
        model = small()
        trainer = make_trainer(model, text(), tmp_path)
        if evaluate:
            valid = rnnlm.ParallelSequentialIterator(text(77), 1, repeat=False)
            trainer.extend(rnnlm.PerplexityEvaluator(valid, model),
                           trigger=(3, 'iteration'))
            record = Record()
            trainer.extend(record)
        trainer.run()
        final.append([p.array for p in model.params()])
    assert 'validation/main/loss' in record.seen[2]
    assert 'validation/main/loss' not in record.seen[3]
    for a, b in zip(*final):
        numpy.testing.assert_array_equal(a, b)


def test_learning_rate_decay_from_the_first_epoch(tmp_path):
    trainer = make_trainer(small(), text(200), tmp_path, stop=(2, 'epoch'))
    rates = []
    trainer.extend(rnnlm.LearningRateDecay(2, 0))
    trainer.extend(lambda t: rates.append(t.updater.get_optimizer('main').lr),
                   name='rates', trigger=(1, 'iteration'), call_before_training=True)
    trainer.run()  # 10 windows in an epoch; the tenth starts the next one
    assert rates == [0.5] * 10 + [0.25] * 10 + [0.125]


def test_learning_rate_decay_by_epoch(tmp_path):
    model = small()
    trainer = make_trainer(model, text(200), tmp_path, stop=(6, 'epoch'))
    rates = {}
    trainer.extend(rnnlm.LearningRateDecay(2, 3))
    trainer.extend(lambda t: rates.setdefault(
        t.updater.epoch, t.updater.get_optimizer('main').lr), name='rates')
    trainer.run()
    # Epochs 1 to 3 with the full rate, then half of the previous one.
    assert rates == {0: 1, 1: 1, 2: 1, 3: 0.5, 4: 0.25, 5: 0.125, 6: 0.0625}


@pytest.mark.parametrize('optimizer', ['Adam', 'MomentumSGD', 'RMSprop'])
def test_stock_optimizers_and_hooks(optimizer):
    finals = []
    for per_step in False, True:
        model = small()
        opt = getattr(chainer.optimizers, optimizer)().setup(model)
        opt.add_hook(chainer.optimizer_hooks.WeightDecay(1e-3))
        opt.add_hook(chainer.optimizer_hooks.GradientClipping(0.1))
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(text(), 4), opt, 6, per_step=per_step)
        for _ in range(5):
            updater.update()
        finals.append([p.array for p in model.params()])
    for a, b in zip(*finals):
        numpy.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize('kwargs', [
    dict(n_units=0), dict(epochs=-1), dict(dropout=1.0), dict(lr=0),
    dict(gradclip=float('inf')), dict(batch_size=2.5), dict(decay=-1)])
def test_wrong_recipes_are_refused(kwargs):
    with pytest.raises(rnnlm.InputError, match=next(iter(kwargs)) + ': expected'):
        rnnlm.Recipe(**kwargs)


def test_the_gradients_of_two_windows_are_not_kept_together(tmp_path, monkeypatch):
    model = small()
    trainer = make_trainer(model, text(), tmp_path, 4, 5, (3, 'iteration'))
    compute, seen = softmax_loss.cross_entropy_of_rows, []

    def watched(*args):
        seen.extend(param.grad is None for param in model.params())
        return compute(*args)

    monkeypatch.setattr(softmax_loss, 'cross_entropy_of_rows', watched)
    trainer.run()
    assert seen and all(seen)
