"""Updates of a window by one graph, with kernels that run on the host."""
import functools

import chainer
from chainer import functions as F
from chainer import links as L
import cuda_on_host
import numpy
import pytest

import rnnlm
from rnnlm import RNNForLM, kernels
from rnnlm.kernels.cuda import lstm
from rnnlm.kernels.cuda.gpu import Gpu
from rnnlm.training import cuda_graph, sgd, updater as updater_module

pytestmark = pytest.mark.skipif(
    cuda_on_host.COMPILER is None, reason='no C++ compiler was found')

V, T, B = 14, 5, 3


@pytest.fixture
def gpu(monkeypatch):
    """Makes NumPy arrays use the CUDA kernels."""
    gpu = Gpu(cuda_on_host.Cuda())
    gpu.cuda.order = 'shuffled'
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: gpu)
    return gpu


def setup(kind, clip=None, dropout=0.0, n=7, lr=0.5):
    numpy.random.seed(0)
    model = RNNForLM(V, n, dropout=dropout, **kind)
    target = L.Classifier(model)
    target.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=lr).setup(target)
    if clip:
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
    return model, target, optimizer


def windows(count):
    return numpy.random.RandomState(5).randint(0, V, (count, T + 1, B)).astype('i')


def by_chainer(model, target, optimizer, window):
    loss = model.loss(window[:-1], window[1:])
    target.cleargrads()
    loss.backward()
    loss.unchain_backward()
    optimizer.update()
    return float(loss.array)


def same(model, other, tolerance):
    for (name, p), q in zip(model.namedparams(), other.params()):
        for one, two in (p.array, q.array), (p.grad, q.grad):
            numpy.testing.assert_allclose(one, two, rtol=0, atol=tolerance,
                                          err_msg=name)
    for one, two in zip(model.get_state(), other.get_state()):
        numpy.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


@pytest.mark.parametrize('kind,clip,persistent,count', [
    ({}, 0.3, True, 50), ({}, None, True, 5), ({}, 100.0, False, 5),
    ({'tied': True}, 0.3, True, 5), ({'n_layers': 1}, 0.3, True, 5),
    ({'n_embed': 4, 'n_layers': 3}, 0.3, False, 5)])
def test_windows_are_those_of_chainer(gpu, kind, clip, persistent, count, monkeypatch):
    monkeypatch.setattr(lstm, 'persistent', persistent)
    monkeypatch.setattr(cuda_graph, 'PIECE', 6)  # the vocabulary is larger
    model, target, optimizer = setup(kind, clip)
    assert not cuda_graph.why_not(target, model, optimizer)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    losses = []
    for k, window in enumerate(windows(count)):
        optimizer.lr = 0.5 / (1 + k)  # changes of the rate take effect
        losses.append(float(graph.update(window)))
    assert graph._graph is not None and optimizer.t == count

    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: None)
    other, target, optimizer = setup(kind, clip)
    for k, (window, loss) in enumerate(zip(windows(count), losses)):
        optimizer.lr = 0.5 / (1 + k)
        assert by_chainer(other, target, optimizer, window) == pytest.approx(
            loss, rel=1e-5)
    same(model, other, 1e-5)


def test_float64(gpu, monkeypatch):
    with chainer.using_config('dtype', numpy.dtype('d')):
        model, target, optimizer = setup({}, 0.3)
        other, other_target, other_optimizer = setup({}, 0.3)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    losses = [graph.update(window).copy() for window in windows(5)]
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: None)
    for window, loss in zip(windows(5), losses):
        assert loss.dtype == numpy.float64
        assert by_chainer(other, other_target, other_optimizer, window) == (
            pytest.approx(float(loss), rel=1e-12))
    same(model, other, 1e-12)


def test_dropout_is_that_of_the_functions(gpu, monkeypatch):
    """The graph draws the same keys, and so the same masks, as the functions."""
    model, target, optimizer = setup({'n_embed': 5}, 0.5, dropout=0.4)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    numpy.random.seed(1)
    losses = [float(graph.update(window)) for window in windows(6)]

    other, target, optimizer = setup({'n_embed': 5}, 0.5, dropout=0.4)
    numpy.random.seed(1)
    for window, loss in zip(windows(6), losses):
        assert by_chainer(other, target, optimizer, window) == pytest.approx(
            loss, rel=1e-6)
    same(model, other, 1e-6)


def test_the_state_can_be_saved_and_restored(gpu):
    model, target, optimizer = setup({})
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    for window in windows(3):
        graph.update(window)
    state, array = model.get_state(), model.l1.h.array
    model.reset_state()
    graph.update(windows(1)[0])
    assert model.l1.h.array is not None and not (state[0][1] == model.l1.h.array).all()

    found = []
    for before in state, None:
        numpy.random.seed(0)
        model, target, optimizer = setup({})
        graph = cuda_graph.WindowGraph(model, optimizer, T, B)
        model.set_state(before)
        found.append(float(graph.update(windows(1)[0])))
        model.set_state(before)
        with chainer.using_config('train', False):
            assert found[-1] != float(model.loss(
                windows(1)[0][:-1], windows(1)[0][1:]).array)
    assert found[0] != found[1]
    assert array is not state[0][1]


def test_states_set_between_windows_are_used(gpu, monkeypatch):
    def losses(update, model):
        found, state = [], None
        for k, window in enumerate(windows(7)):
            if k in (2, 5):  # includes the graph's own arrays, which have changed
                state = model.get_state()
                model.reset_state()
            if k == 4:
                model.set_state(state)
            found.append(float(update(window)))
        return found

    model, target, optimizer = setup({})
    ours = losses(cuda_graph.WindowGraph(model, optimizer, T, B).update, model)
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: None)
    other, target, optimizer = setup({})
    theirs = losses(lambda w: by_chainer(other, target, optimizer, w), other)
    assert ours == pytest.approx(theirs, rel=1e-5)
    same(model, other, 1e-5)


@pytest.mark.parametrize('replace', [
    lambda layer: setattr(layer.h, 'array', layer.h.array + 1),  # in the same Variable
    lambda layer: setattr(layer, 'h', chainer.Variable(layer.h.array + 1)),
    lambda layer: layer.h.array.__iadd__(1)], ids=['array', 'variable', 'elements'])
def test_a_changed_state_is_used(gpu, replace):
    found = []
    for change in replace, lambda layer: layer.reset_state(), lambda layer: None:
        model, _, optimizer = setup({}, lr=0.0)
        graph = cuda_graph.WindowGraph(model, optimizer, T, B)
        for window in windows(3):
            graph.update(window)
        change(model.l1)
        found.append(float(graph.update(windows(1)[0])))
    assert len(set(found)) == 3


def test_gradients_set_between_windows_are_replaced(gpu):
    model, _, optimizer = setup({})
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    for window in windows(3):
        graph.update(window)
        model.l1.upward.W.cleargrad()
        model.l2.upward.W.grad = model.l2.upward.W.array
        model.l3.W.grad_var = chainer.Variable(model.l3.W.array)
        graph.update(window)
        assert all(any(p.grad is g for g in graph.grads) for p in model.params())


def test_a_state_of_one_row_is_not_that_of_all(gpu):
    model, _, optimizer = setup({})
    model.set_state([(numpy.ones((1, 7), 'f'),) * 2] * 2)
    with pytest.raises(ValueError, match='state: expected'):
        cuda_graph.WindowGraph(model, optimizer, T, B).update(windows(1)[0])


def test_changes_that_need_another_graph(gpu):
    model, _, optimizer = setup({}, dropout=0.5)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    with chainer.using_config('train', False):
        assert not graph.fits(T, B, True)
    with chainer.using_config('tf32', True):
        assert not graph.fits(T, B, True)
    model.dropout = 0.4
    assert not graph.fits(T, B, True)
    model.dropout = 0.5
    assert graph.fits(T, B, True)
    model.output.b.array = model.output.b.array.copy()
    assert not graph.fits(T, B, True)


def test_an_optimizer_that_is_replaced(gpu, monkeypatch):
    words = numpy.random.RandomState(3).randint(0, V, 200).astype('i')
    found = []
    for reason in '', 'a test':
        monkeypatch.setattr(updater_module, 'why_no_graph', lambda *_: reason)
        model, target, optimizer = setup({}, 0.3)
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(words, B), optimizer, T)
        for k in range(5):
            if k == 3:
                updater._optimizers['main'] = chainer.optimizers.SGD(0.1).setup(target)
            updater.update()
        found.append([p.array for p in model.params()])
    for one, other in zip(*found):
        numpy.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings('ignore:invalid value')
def test_windows_of_other_lengths_and_a_rate_that_is_none(gpu, monkeypatch):
    words = numpy.random.RandomState(3).randint(0, V, 200).astype('i')
    found = []
    for reason in '', 'a test':
        monkeypatch.setattr(updater_module, 'why_no_graph', lambda *_: reason)
        model, target, optimizer = setup({}, 0.3)
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(words, B), optimizer, T)
        losses = []
        for updater.bprop_len in 5, 5, 5, 2, 2, 2, 5, 5:
            updater.update()
            losses.append(float(target.loss.array))
        found.append(losses)
        optimizer.lr = numpy.inf
        updater.update()
        with pytest.raises(rnnlm.errors.NotFinite):
            updater.update()
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize('refuse', [True, False])
def test_a_gradient_that_is_not_finite(gpu, refuse):
    model, target, optimizer = setup({}, 1.0)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B, refuse)
    graph.update(windows(1)[0])
    model.l1.c.array[0, 0] = numpy.nan  # the array of the graph itself
    before = [p.array.copy() for p in model.params()]
    loss = graph.update(windows(1)[0])
    assert numpy.isnan(loss) and numpy.isnan(graph.result[0])
    unchanged = all((p.array == q).all() for p, q in zip(model.params(), before))
    assert unchanged == refuse
    if not refuse:
        assert numpy.isnan(model.l1.lateral.W.array).any()


def test_invalid_ids_give_nan(gpu):
    """On a GPU ids are not checked, but they never access other memory."""
    model, target, optimizer = setup({})
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    before = [p.array.copy() for p in model.params()]
    for id in V, 2 ** 31 - 1, -2, -2 ** 31:
        window = windows(1)[0]
        window[2, 1] = id
        assert numpy.isnan(graph.update(window))
        model.reset_state()
    assert all((p.array == q).all() for p, q in zip(model.params(), before))


def test_unsupported_targets(gpu, monkeypatch):
    model, target, optimizer = setup({})
    assert not cuda_graph.why_not(target, model, optimizer)
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    assert graph.fits(T, B, True) and not graph.fits(T, B + 1, True)
    assert not graph.fits(T, B, False)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(1))
    assert not cuda_graph.why_not(target, model, optimizer)
    assert not graph.fits(T, B, True)
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(1))
    assert 'hooks' in cuda_graph.why_not(target, model, optimizer)
    adam = chainer.optimizers.Adam().setup(setup({})[1])
    assert 'SGD' in cuda_graph.why_not(adam.target, adam.target.predictor, adam)
    model, target, optimizer = setup({})
    model.l1.upward.b.update_rule.hyperparam.lr = 0.1
    assert '/l1/upward/b has' in cuda_graph.why_not(target, model, optimizer)
    model, target, optimizer = setup({})
    target.compute_accuracy = True
    assert 'accuracy' in cuda_graph.why_not(target, model, optimizer)
    target.compute_accuracy = False
    # These lossfuns are computed by window, but a graph would ignore their settings.
    for lossfun in (functools.partial(F.softmax_cross_entropy, ignore_label=3),
                    lambda y, t: F.sum(y)):
        target.lossfun = lossfun
        assert 'the loss' in cuda_graph.why_not(target, model, optimizer)
    target.lossfun = F.softmax_cross_entropy
    with target.init_scope():
        target.extra = chainer.Parameter(0, 3)
    optimizer.setup(target)
    assert 'the model does not have' in cuda_graph.why_not(target, model, optimizer)
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: None)
    assert 'kernels' in cuda_graph.why_not(target, model, optimizer)
    assert not sgd.why_not_plain_sgd(optimizer)


def test_not_for_an_adaptive_softmax(gpu):
    model = rnnlm.adaptive_model(V, 8, cutoffs=[2])
    target = L.Classifier(model)
    target.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(1.0).setup(target)
    assert cuda_graph.why_not(target, model, optimizer) == (
        'the output layer is of type AdaptiveSoftmax')


def run(out, words, epochs=2, resume=None):
    """Runs a complete training; returns parameters and log."""
    model, target, optimizer = setup({}, clip=0.5, dropout=0.3)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words, B), optimizer, T)
    trainer = chainer.training.Trainer(updater, (epochs, 'epoch'), out=str(out))
    trainer.extend(rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(words[:40], 1, repeat=False), target))
    trainer.extend(chainer.training.extensions.LogReport(trigger=(1, 'epoch')))
    trainer.extend(rnnlm.Snapshot(n_retains=None), trigger=(1, 'iteration'))
    if resume:
        rnnlm.resume(str(resume), trainer)
    trainer.run()
    log = trainer.get_extension('LogReport').log
    return [p.array for p in model.params()], [
        (entry['main/loss'], entry['validation/main/loss']) for entry in log], updater


def test_a_run_of_the_trainer(gpu, tmp_path, monkeypatch, caplog):
    caplog.set_level('INFO', 'rnnlm')
    words = numpy.random.RandomState(3).randint(0, V, 100).astype('i')
    monkeypatch.setattr(updater_module, 'why_no_graph', lambda target, optimizer:
                        cuda_graph.why_not(target, target.predictor, optimizer))
    params, log, updater = run(tmp_path / 'a', words)
    assert updater._graph._graph is not None
    assert 'each a CUDA graph' in caplog.text
    # Resumed in the middle of an epoch, the result is bit-identical.
    again, log_again, _ = run(tmp_path / 'b', words, resume=tmp_path / 'a' /
                              'snapshot_iter_4')
    assert log_again == log
    for one, other in zip(params, again):
        assert (one == other).all()
    # Without graphs, by the same kernels one after the other.
    monkeypatch.setattr(updater_module, 'why_no_graph', lambda *_: 'a test')
    plain, plain_log, _ = run(tmp_path / 'c', words)
    assert 'without a CUDA graph: a test' in caplog.text
    numpy.testing.assert_allclose(log, plain_log, rtol=1e-6)
    for one, other in zip(params, plain):
        numpy.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_the_flag_of_v1(gpu):
    model = rnnlm.v1.RNNForLM(V, 7)
    optimizer = chainer.optimizers.SGD().setup(L.Classifier(model))
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    assert graph._drops
    model.train = False
    assert not graph.fits(T, B, True)
    assert not cuda_graph.WindowGraph(model, optimizer, T, B)._drops


def test_names_that_a_subclass_uses_for_itself(gpu, monkeypatch):
    model, target, optimizer = setup({}, 0.3)
    model.n_layers, model.n_vocab, model.layers, model.output = 'own', 3, 'own', None
    graph = cuda_graph.WindowGraph(model, optimizer, T, B)
    loss = float(graph.update(windows(1)[0]))
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: None)
    other, target, optimizer = setup({}, 0.3)
    assert by_chainer(other, target, optimizer, windows(1)[0]) == pytest.approx(
        loss, rel=1e-5)
