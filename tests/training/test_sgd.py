"""SGD in blocks does what Chainer's SGD and GradientClipping do."""
import chainer
from chainer import links as L
from helpers import make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm import functions, kernels
from rnnlm.training import mixed_precision, nan_check, sgd


def pair(dtype='f', clip=None, lr=0.5, n_units=9, seed=0):
    made = []
    for _ in range(2):
        numpy.random.seed(seed)
        with chainer.using_config('dtype', numpy.dtype(dtype)):
            model = rnnlm.RNNForLM(30, n_units)
        optimizer = chainer.optimizers.SGD(lr=lr).setup(model)
        if clip:
            optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
        made.append((model, optimizer))
    return made


def set_gradients(model, scale=1.0, seed=1):
    random = numpy.random.RandomState(seed)
    for param in model.params():
        param.grad = (scale * random.randn(*param.shape)).astype(param.dtype)


@pytest.mark.parametrize('block', [7, 100, 2 ** 15])
@pytest.mark.parametrize('clip', [None, 0.1, 60, 1e6])  # the norm is 44
@pytest.mark.parametrize('dtype', 'fd')
def test_same_as_chainers(dtype, clip, block, monkeypatch):
    monkeypatch.setattr(sgd, 'BLOCK', block)
    (model, optimizer), (ours, our_optimizer) = pair(dtype, clip)
    ours.l1.upward.W.update_rule.hyperparam.lr = 0.1
    model.l1.upward.W.update_rule.hyperparam.lr = 0.1
    for step in range(3):
        for m in model, ours:
            set_gradients(m, seed=step)
        optimizer.update()
        assert sgd.why_not_blocks(our_optimizer) == ''
        sgd.update(our_optimizer, functions.RowGradient())
    tolerance = dict(rtol=2e-6, atol=1e-7) if dtype == 'f' else dict(rtol=1e-13)
    for (name, p), q in zip(model.namedparams(), ours.params()):
        numpy.testing.assert_allclose(q.array, p.array, err_msg=name, **tolerance)
        numpy.testing.assert_allclose(q.grad, p.grad, err_msg=name, **tolerance)
        assert q.dtype == p.dtype and q.update_rule.t == p.update_rule.t == 3
    assert our_optimizer.t == optimizer.t == 3


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf])
def test_broken_gradients_break_the_parameters_as_in_chainer(value):
    for clip in None, 5:
        (model, optimizer), (ours, our_optimizer) = pair(clip=clip)
        for m in model, ours:
            set_gradients(m)
            m.l1.upward.b.grad[3] = value
        with numpy.errstate(all='ignore'):
            optimizer.update()
            sgd.update(our_optimizer, functions.RowGradient())
        for p, q in zip(model.params(), ours.params()):
            numpy.testing.assert_array_equal(
                numpy.isfinite(p.array), numpy.isfinite(q.array))


def test_gradients_of_zero_are_not_divided_by():
    _, (ours, optimizer) = pair(clip=5)
    before = [p.array.copy() for p in ours.params()]
    ours.cleargrads()
    sgd.update(optimizer, functions.RowGradient())
    for p, array in zip(ours.params(), before):
        numpy.testing.assert_array_equal(p.array, array)


def test_the_norm_of_many_elements_is_exact():
    g = numpy.random.RandomState(0).uniform(0.5, 1, 3_000_000).astype('f')
    exact = (g.astype('d') ** 2).sum()
    assert abs(sgd.sum_of_squares(g) / exact - 1) < 1e-7


def test_only_the_rows_of_the_window_are_touched():
    (model, optimizer), (ours, our_optimizer) = pair(clip=0.05)
    rows = functions.RowGradient()
    ours.row_gradient = rows
    untouched = ours.embed.W.array[20:].copy()
    kept = None
    for step in range(4):
        x = numpy.random.RandomState(step).randint(0, 20, (5, 3)).astype('i')
        for m in model, ours:
            numpy.random.seed(step)
            loss = m.loss(x, x[::-1])
            m.cleargrads()
            loss.backward()
            loss.unchain_backward()
        numpy.testing.assert_allclose(
            ours.embed.W.grad, model.embed.W.grad, rtol=1e-4, atol=1e-7)
        # Code that holds or writes the gradient of a window keeps its array.
        assert kept is None or ours.embed.W.grad is not kept
        kept = ours.embed.W.grad
        optimizer.update()
        sgd.update(our_optimizer, rows)
        numpy.testing.assert_allclose(
            ours.embed.W.grad, model.embed.W.grad, rtol=1e-4, atol=1e-7)
        kept += 1  # noise added by an extension
    for (name, p), q in zip(model.namedparams(), ours.params()):
        numpy.testing.assert_allclose(q.array, p.array, rtol=1e-4, atol=1e-6,
                                      err_msg=name)
    numpy.testing.assert_array_equal(ours.embed.W.array[20:], untouched)


def test_why_not_blocks():
    def reason(change):
        model = small()
        optimizer = chainer.optimizers.SGD().setup(model)
        changed = change(optimizer, model)
        return sgd.why_not_blocks(changed or optimizer)

    assert reason(lambda o, m: o.add_hook(
        chainer.optimizer_hooks.GradientClipping(5))) == ''
    assert 'hooks' in reason(
        lambda o, m: o.add_hook(chainer.optimizer_hooks.WeightDecay(1e-3)))
    assert 'hooks' in reason(lambda o, m: [
        o.add_hook(chainer.optimizer_hooks.GradientClipping(5), name=name)
        for name in 'ab'] and o)
    after = chainer.optimizer_hooks.GradientClipping(5)
    after.timing = 'post'
    assert 'hooks' in reason(lambda o, m: o.add_hook(after))
    assert 'not SGD' in reason(lambda o, m: chainer.optimizers.MomentumSGD().setup(m))
    assert 'scaled' in reason(lambda o, m: o.set_loss_scale(2))
    assert 'l2/upward/W' in reason(
        lambda o, m: m.predictor.l2.upward.W.update_rule.add_hook(print))
    assert 'l1/lateral/W' in reason(lambda o, m: setattr(
        m.predictor.l1.lateral.W, 'update_rule',
        chainer.optimizers.MomentumSGD().create_update_rule()))
    assert 'l3/b' in reason(
        lambda o, m: setattr(m.predictor.l3.b.update_rule, 'enabled', False))
    assert 'embed' in reason(lambda o, m: setattr(
        m.predictor.embed.W, 'array', numpy.asfortranarray(
            m.predictor.embed.W.array)))

    class Own(chainer.optimizers.SGD):
        pass

    assert 'not SGD' in reason(lambda o, m: Own().setup(m))


def test_updater_uses_the_graph_if_possible(tmp_path, monkeypatch):
    calls = []
    update = sgd.update
    monkeypatch.setattr(
        sgd, 'update', lambda *args: calls.append(1) or update(*args))
    make_trainer(small(), text(), tmp_path, stop=(3, 'iteration')).run()
    assert len(calls) == 3
    trainer = make_trainer(small(), text(), tmp_path, stop=(3, 'iteration'))
    trainer.updater.get_optimizer('main').add_hook(
        chainer.optimizer_hooks.WeightDecay(1e-4))
    trainer.run()
    make_trainer(small(), text(), tmp_path, stop=(3, 'iteration'), per_step=True).run()
    assert len(calls) == 3


def test_tied_weights_get_both_gradients(tmp_path):
    class Tied(rnnlm.RNNForLM):
        def __init__(self):
            super().__init__(20, 8, dropout=0)
            with self.l3.init_scope():
                self.l3.W = self.embed.W

    finals = []
    for per_step in False, True:
        numpy.random.seed(0)
        model = L.Classifier(Tied())
        model.compute_accuracy = False
        trainer = make_trainer(model, text(), tmp_path, stop=(5, 'iteration'),
                               per_step=per_step)
        trainer.run()
        finals.append(model.predictor.embed.W.array.copy())
    numpy.testing.assert_allclose(*finals, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('scale', [None, 256.0])
@pytest.mark.parametrize('threshold', [0.5, 1e6])
def test_clipping_of_float16(threshold, scale):
    with chainer.using_config('dtype', numpy.dtype('e')):
        link = chainer.links.Linear(30, 40)
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(link)
    if scale:
        optimizer.loss_scaling(scale=scale)
    random = numpy.random.RandomState(0)
    grads = [random.randn(*p.shape) * 40 for p in link.params()]
    for p, g in zip(link.params(), grads):
        p.grad = (g * (scale or 1)).astype('e')  # the squares overflow
    mixed_precision.GradientClipping(threshold)(optimizer)
    norm = numpy.sqrt(sum((g ** 2).sum() for g in grads))
    for p, g in zip(link.params(), grads):
        assert p.grad.dtype == numpy.float16
        numpy.testing.assert_allclose(
            p.grad / (scale or 1), g * min(1, threshold / norm), rtol=2e-3, atol=1e-4)


def test_gradients_of_zero_are_not_clipped():
    link = chainer.links.Linear(2, 2)
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(link)
    for p in link.params():
        p.grad = numpy.zeros_like(p.array)
    mixed_precision.GradientClipping(1.0)(optimizer)
    assert all((p.grad == 0).all() for p in link.params())


@pytest.mark.parametrize('fast', [False, True])
def test_the_norm_is_finite_where_float32_squares_overflow(fast, monkeypatch):
    """Chainer goes on with such gradients, so they are not refused as infinite."""
    monkeypatch.setattr(kernels, 'enabled', fast)
    _, (ours, optimizer) = pair(clip=5)
    for param in ours.params():
        param.grad = numpy.full(param.shape, 3e20, 'f')
    norms = []
    sgd.update(optimizer, functions.RowGradient(), norms.append)
    size = sum(param.size for param in ours.params())
    assert norms == [pytest.approx(3e20 * size ** .5)]
    assert nan_check.gradient_norm(ours) == pytest.approx(5)
