"""Wrong CUDA kernels are detected at once, on the stand-in for CuPy.

Every kernel is made wrong in turn, in each array that it writes and in several ways.
Then either the kernels are refused and the run is bit-identical to one without them,
or the fault has no effect.
"""
import re

import chainer
from chainer import links as L
from helpers import ON_HOST
import numpy
import pytest

import rnnlm
from rnnlm import kernels
from rnnlm.kernels import verification
from rnnlm.kernels.cuda import launch, lstm
from rnnlm.kernels.verification import OFF, TRUSTED, VERIFY

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(
    not ON_HOST, reason='a kernel that is wrong can end the process of a GPU')]

# Each window has all words, so that an error in one of them shows at once.
V, N, T, B, WINDOWS = 4, 6, 4, 3, 4
SOURCES = launch.source(*launch.HEADERS, *launch.SOURCES, 'persistent_forward.cu',
                        'persistent_backward.cu')
KERNELS = sorted(launch.parameters(SOURCES))


def written(name):
    """Returns the indices of a kernel's parameters that it may write."""
    declared = re.search(rf'\b{name}\s*\(([^)]*)\)\s*{{', SOURCES).group(1)
    return [k for k, parameter in enumerate(declared.split(','))
            if '*' in parameter and 'const' not in parameter]


def off_by_a_hundredth(x):
    x += (0.01 * abs(x).max()).astype(x.dtype) if x.dtype.kind == 'f' else 1


def nan(x):
    x.reshape(-1)[x.size // 2:x.size // 2 + 1] = (
        numpy.nan if x.dtype.kind == 'f' else 7)


def shifted(x):
    flat = x.reshape(-1)
    if x.size > 1:
        flat[1:] = flat[:-1].copy()


def missing(x):
    x[abs(x) == abs(x).max()] = 0


WRONG = [off_by_a_hundredth, nan, shifted, missing]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Resets the verification, and recompiles the kernels afterwards."""
    monkeypatch.setattr(verification, '_state', verification.State(VERIFY))
    kernels._gpu.cache_clear()
    yield
    kernels._gpu.cache_clear()


def train(optimizer, dropout=0.4, windows=WINDOWS, clip=0.5, **kind):
    """Returns losses, parameters, states and random state after a run."""
    numpy.random.seed(3)
    words = numpy.arange(71, dtype='i') * 7 % 10 % V
    target = L.Classifier(rnnlm.RNNForLM(V, N, dropout=dropout, **kind))
    target.compute_accuracy = False
    for param in target.params():
        param.array *= 8
    target.to_device('@cupy:0')
    optimizer = getattr(chainer.optimizers, optimizer)(lr=0.5).setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words, B), optimizer, T, '@cupy:0')
    found = {}
    for k in range(windows):
        updater.update()
        found[f'loss {k}'] = target.loss.array
    for name, param in target.namedparams():
        found[name], found[f'gradient {name}'] = param.array, param.grad
    for k, layer in enumerate(target.predictor.layers):
        found[f'c {k}'], found[f'h {k}'] = layer.c.array, layer.h.array
    found = {name: verification.on_host(x).copy() for name, x in found.items()}
    found['random'] = numpy.random.rand(3)
    found['t'] = numpy.array([optimizer.t] + [
        param.update_rule.t for param in target.params()])
    return found


def without(monkeypatch, optimizer, kept={}, **kwargs):
    """Returns the same for a run by CuPy alone."""
    key = optimizer, *sorted(kwargs.items())
    if key not in kept:
        with monkeypatch.context() as patch:
            patch.setattr(verification, '_state', verification.State(OFF))
            kept[key] = train(optimizer, **kwargs)
    return kept[key]


def judge(found, expected):
    """Returns 'refused' or 'harmless'; fails otherwise."""
    assert found.keys() == expected.keys()
    if verification.state().refused:
        for name, x in expected.items():
            numpy.testing.assert_array_equal(found[name], x, err_msg=name)
        return 'refused'
    for name, x in expected.items():
        numpy.testing.assert_allclose(found[name], x, rtol=1e-3, atol=1e-5,
                                      err_msg=name)
    return 'harmless'


def make_wrong(monkeypatch, name, place, how):
    """Makes a kernel's output wrong after each launch; returns a list of launches."""
    original, done = launch.Module.launch, []

    def wrong(self, launched, grid, block, args, shared=0):
        original(self, launched, grid, block, args, shared)
        if launched == name and args[place] is not None:
            done.append(name)
            how(args[place])

    monkeypatch.setattr(launch.Module, 'launch', wrong)
    return done


@pytest.mark.parametrize('optimizer', ['SGD', 'MomentumSGD'])
def test_correct_kernels_are_verified(monkeypatch, caplog, optimizer):
    for kind in {}, {'tied': True}, {'dropout': 0.0}, {'clip': 100.0}:
        found = train(optimizer, **kind)
        assert judge(found, without(monkeypatch, optimizer, **kind)) == 'harmless'
    assert optimizer == 'SGD' or len(verification.state().verified) > 4
    assert not [r for r in caplog.records if r.levelname == 'WARNING']


@pytest.mark.slow
@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('optimizer', ['SGD', 'MomentumSGD'])
@pytest.mark.parametrize('name', KERNELS)
def test_wrong_kernels_are_detected(monkeypatch, caplog, name, optimizer, persistent):
    monkeypatch.setattr(lstm, 'persistent', persistent)
    expected = without(monkeypatch, optimizer)
    verdicts, launched = [], []
    for place in written(name):
        for how in WRONG:
            caplog.clear()
            with monkeypatch.context() as patch:
                patch.setattr(verification, '_state', verification.State(VERIFY))
                done = make_wrong(patch, name, place, how)
                verdicts.append(judge(train(optimizer), expected))
                launched += done
                if not done:
                    break
                warnings = [r.message for r in caplog.records
                            if r.levelname == 'WARNING']
                assert len(warnings) == (verdicts[-1] == 'refused')
    if name != 'clear_rows':  # if all words occur, what it clears is overwritten
        assert ('refused' in verdicts) == bool(launched)


def raising(*args, **kwargs):
    raise RuntimeError('a fault of the test')


@pytest.mark.parametrize('optimizer', ['SGD', 'MomentumSGD'])
@pytest.mark.parametrize('what', [
    (launch.Cuda, 'compile'), (launch.Module, 'launch'), (launch.Module, 'function'),
    (launch.Cuda, 'start_cooperatively'), (launch.Cuda, 'dot'),
    (launch.Cuda, 'capture'), (launch.Cuda, 'lane'),
    (chainer.backends.cuda.cupy.cuda.Graph if ON_HOST else None, 'launch')])
def test_failures_are_detected(monkeypatch, caplog, what, optimizer):
    expected = without(monkeypatch, optimizer)
    monkeypatch.setattr(*what, raising)
    of_graphs = what[1] in ('capture', 'lane') or what[0] is not launch.Cuda and (
        what[0] is not launch.Module)
    verdict = judge(train(optimizer), expected)
    assert verdict == (
        'harmless' if optimizer == 'MomentumSGD' and of_graphs else 'refused')
    if verdict == 'refused':
        record, = [r for r in caplog.records if r.levelname == 'WARNING']
        assert 'RuntimeError: a fault of the test' in record.message


def test_a_failure_during_a_capture(monkeypatch):
    """Streams that were being captured are left, including those of lanes."""
    from cupy import _device
    expected = without(monkeypatch, 'SGD')
    original = launch.Module.launch

    def fails(self, name, *args):
        if _device.is_capturing() and name == 'softmax_cross_entropy':
            raise RuntimeError('a fault of the test')
        original(self, name, *args)

    monkeypatch.setattr(launch.Module, 'launch', fails)
    assert judge(train('SGD'), expected) == 'refused'
    assert not _device._capturing and not _device.is_capturing()


def test_a_graph_that_replays_the_first_window_is_detected(monkeypatch):
    """A graph that repeats its first window is detected at the second one."""
    original = launch.Cuda.upload
    uploads = []

    def stale(self, x, to):
        uploads.append(x.copy())
        original(self, uploads[0], to)

    monkeypatch.setattr(launch.Cuda, 'upload', stale)
    found = train('SGD')
    assert len(uploads) == 3 and verification.state().refused
    assert found['t'].tolist() == without(monkeypatch, 'SGD')['t'].tolist()


def test_settings(monkeypatch):
    expected = without(monkeypatch, 'MomentumSGD')
    make_wrong(monkeypatch, 'dropout', *written('dropout'), off_by_a_hundredth)
    for mode, same in (OFF, True), (TRUSTED, False), (VERIFY, True):
        monkeypatch.setattr(verification, '_state', verification.State(mode))
        found = train('MomentumSGD')
        assert all((found[name] == x).all() for name, x in expected.items()) == same
        assert bool(verification.state().refused) == (mode == VERIFY)


def test_new_shapes_are_verified_too(monkeypatch):
    """Kernels that only fail for one row are refused when one row occurs."""
    model = L.Classifier(rnnlm.RNNForLM(V, N, dropout=0))
    model.to_device('@cupy:0')
    xp, found = model.xp, {}
    words = xp.asarray(numpy.arange(30, dtype='i').reshape(10, 3) % V)
    original = launch.Module.launch

    def wrong(self, name, grid, block, args, shared=0):
        original(self, name, grid, block, args, shared)
        if name == 'softmax_cross_entropy' and args[1] == 1:  # B
            args[5] += 0.1
            args[8] += 0.1

    monkeypatch.setattr(launch.Module, 'launch', wrong)
    for rows in 3, 1:
        for backward in False, True:
            model.predictor.reset_state()
            with chainer.using_config('enable_backprop', backward):
                loss = model.predictor.loss(words[:-1, :rows], words[1:, :rows])
            found[rows, backward] = float(loss.array)
        assert bool(verification.state().refused) == (rows == 1)
    monkeypatch.setattr(verification, '_state', verification.State(OFF))
    for (rows, _), loss in found.items():
        model.predictor.reset_state()
        exact = model.predictor.loss(words[:-1, :rows], words[1:, :rows])
        assert loss == pytest.approx(float(exact.array), rel=1e-6)
