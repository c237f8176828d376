"""On a GPU everything works as on NumPy: training, snapshots, commands, scripts.

Without a GPU these tests run on the stand-in of `cupy_on_host`, by
`test_on_host_gpu.py`.
"""
import json
import os
import re
import runpy
import sys

import chainer
from chainer import optimizer_hooks, optimizers
from chainer import links as L
from helpers import ON_HOST, ROOT, gpu_words, make_gpu_trainer
import numpy
import pytest

import rnnlm
from rnnlm import kernels
from rnnlm.app import cli

pytestmark = pytest.mark.gpu

PTB = os.path.join(ROOT, 'examples', 'ptb')
BOTH = '@numpy', '@cupy:0'
SMALL = '-u 8 -b 4 -l 5'.split()


def arrays(trainer):
    """Returns the target's values in a snapshot: name -> NumPy array."""
    optimizer = trainer.updater.get_optimizer('main')
    return chainer.serializers.npz.serialize(optimizer.target)


def close(one, other, rtol=1e-3):
    assert one.keys() == other.keys()
    for name in one:
        numpy.testing.assert_allclose(
            one[name], other[name], rtol=rtol, atol=1e-5, err_msg=name)


def dtypes(trainer):
    target = trainer.updater.get_optimizer('main').target
    return {a.dtype for p in target.params() for a in (
        p.array, p.grad, *(p.update_rule.state or {}).values()) if hasattr(a, 'dtype')}


# The same numbers ---------------------------------------------------------------

@pytest.mark.parametrize('name, per_step, enabled', [
    ('SGD', False, True), ('SGD', True, True), ('SGD', False, False),
    ('Adam', False, True)])
def test_training_is_the_same(tmp_path, monkeypatch, name, per_step, enabled):
    """Step by step and by windows, by our kernels and by CuPy alone."""
    monkeypatch.setattr(kernels, 'enabled', enabled)
    logs, found = [], []
    for device in BOTH:
        trainer = make_gpu_trainer(device, tmp_path / device, per_step=per_step,
                                   optimizer=getattr(optimizers, name))
        trainer.run()
        logs.append(json.loads((tmp_path / device / 'log').read_text()))
        found.append(arrays(trainer))
        assert dtypes(trainer) == {numpy.dtype('f')}
    close(*found)
    for one, other in zip(*logs):
        assert one.keys() == other.keys()
        for key in set(one) - {'elapsed_time'}:
            assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-6), key


@pytest.mark.parametrize('scalar', [float, numpy.float64, numpy.float32])
@pytest.mark.parametrize('name', [
    'AdaDelta', 'AdaGrad', 'Adam', 'AMSGrad', 'AdaBound', 'AMSBound', 'AdamW',
    'CorrectedMomentumSGD', 'MomentumSGD', 'NesterovAG', 'RMSprop', 'RMSpropGraves',
    'SGD', 'SMORMS3'])
def test_optimizers_keep_float32(tmp_path, name, scalar):
    """Even if a hyperparameter is a NumPy scalar, which would widen an array."""
    def optimizer():
        made = getattr(optimizers, name)()
        for key, value in made.hyperparam.get_dict().items():
            if isinstance(value, float):
                setattr(made.hyperparam, key, scalar(value))
        return made

    found = []
    for device in BOTH:
        trainer = make_gpu_trainer(device, tmp_path, optimizer=optimizer)
        for _ in range(3):
            trainer.updater.update()
        assert dtypes(trainer) == {numpy.dtype('f')}
        found.append(arrays(trainer))
    close(*found)


@pytest.mark.parametrize('hook', [
    optimizer_hooks.WeightDecay(numpy.float64(.01)),
    optimizer_hooks.Lasso(numpy.float64(.01)),
    optimizer_hooks.GradientLARS(numpy.float64(.01), numpy.float64(.01)),
    optimizer_hooks.GradientHardClipping(numpy.float64(-.01), numpy.float64(.01))])
def test_hooks_keep_float32(tmp_path, hook):
    found = []
    for device in BOTH:
        trainer = make_gpu_trainer(device, tmp_path)
        trainer.updater.get_optimizer('main').add_hook(hook)
        for _ in range(3):
            trainer.updater.update()
        assert dtypes(trainer) == {numpy.dtype('f')}
        found.append(arrays(trainer))
    close(*found)


@pytest.mark.parametrize('per_step', [False, True])
def test_accuracy(per_step):
    found = []
    for device in BOTH:
        trainer = make_gpu_trainer(device, 'unused', per_step=per_step)
        trainer.updater.get_optimizer('main').target.compute_accuracy = True
        observation = {}
        with trainer.reporter.scope(observation):
            trainer.updater.update()
        found.append([float(chainer.as_array(observation[f'main/{key}']))
                      for key in ('loss', 'accuracy')])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_dropout_follows_numpys_seed(tmp_path):
    found = []
    for _ in range(2):
        trainer = make_gpu_trainer('@cupy:0', tmp_path, dropout=0.5)
        trainer.run()
        found.append(arrays(trainer))
    close(*found, rtol=1e-2)  # a GPU adds in varying order


def test_one_step_of_chainers_own_loop():
    """Only Chainer's links, without our updater."""
    found = []
    for device in BOTH:
        numpy.random.seed(3)
        model = L.Classifier(rnnlm.RNNForLM(20, 8, dropout=0))
        model.to_device(device)
        optimizer = optimizers.SGD(1.0).setup(model)
        loss, text = 0, chainer.get_device(device).send(gpu_words(6).reshape(3, 2))
        for x, t in zip(text, text[1:]):
            loss += model(chainer.Variable(x), chainer.Variable(t))
        model.cleargrads()
        loss.backward()
        loss.unchain_backward()
        optimizer.update()
        found.append(chainer.serializers.npz.serialize(model))
    close(*found)


def test_ignored_words():
    found = []
    for device in map(chainer.get_device, BOTH):
        numpy.random.seed(4)
        model = rnnlm.RNNForLM(20, 8, dropout=0)
        model.to_device(device)
        x, t = gpu_words(12).reshape(4, 3), gpu_words(12)[::-1].reshape(4, 3).copy()
        t[1:, 2] = -1
        loss = model.loss(device.send(x), device.send(t))
        loss.backward()
        found.append({name: chainer.cuda.to_cpu(p.grad)
                      for name, p in model.namedparams()})
    close(*found)


# Snapshots ----------------------------------------------------------------------

@pytest.mark.parametrize('written, read', [BOTH, BOTH[::-1], BOTH[1:] * 2])
def test_snapshots_are_of_no_device(tmp_path, written, read):
    """A run can be resumed on any device."""
    whole = make_gpu_trainer(written, tmp_path, optimizer=optimizers.Adam)
    whole.run()
    rest = make_gpu_trainer(read, tmp_path / 'rest', optimizer=optimizers.Adam)
    chainer.serializers.load_npz(str(tmp_path / '7'), rest)
    rest.run()
    close(arrays(whole), arrays(rest))
    assert all(param.device == chainer.get_device(read) for param in (
        rest.updater.get_optimizer('main').target.params()))


@pytest.mark.parametrize('per_step', [False, True])
def test_resuming_is_exact(tmp_path, per_step):
    whole = make_gpu_trainer('@cupy:0', tmp_path, dropout=0.0 if per_step else 0.5,
                             per_step=per_step)
    whole.run()
    rest = make_gpu_trainer('@cupy:0', tmp_path, dropout=0.0 if per_step else 0.5,
                            per_step=per_step)
    numpy.random.seed(99)
    chainer.serializers.load_npz(str(tmp_path / '7'), rest)
    rest.run()
    if ON_HOST:
        for name, array in arrays(whole).items():
            numpy.testing.assert_array_equal(array, arrays(rest)[name], err_msg=name)
    else:  # a GPU adds in varying order
        close(arrays(whole), arrays(rest), rtol=1e-2)


# Commands and scripts -----------------------------------------------------------

@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Returns a function that runs a command in a folder with a small text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'story').write_text('the cat sat on the mat\nthe dog saw it\n' * 40)

    def run(*args):
        capsys.readouterr()
        assert cli.main(list(args)) == 0
        return capsys.readouterr().out
    return run


def perplexities(out):
    return [float(number) for number in re.findall(r'perplexity +([\d.]+)', out)]


def test_commands(run):
    train = 'train', '--corpus', 'story', *SMALL, '--dropout', '0'
    found = [perplexities(run(*train, '-e', '2', '-o', device, '--device', device))
             for device in ('-1', '0')]
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    for extra in ((), ('--dynamic', 'sgd'), ('--dynamic', 'rms')):
        found = [perplexities(run('evaluate', '0', '--corpus', 'story', *extra,
                                  '--device', device)) for device in ('-1', '0')]
        assert found[0] and found[0] == pytest.approx(found[1], rel=1e-3)
    for options in (('--seed', '1'), ('--greedy',), ('--beam', '3')):
        found = [run('generate', '0', '--length', '12', *options, '--device', device)
                 for device in ('-1', '0')]
        assert found[0] and found[1]
        # Rounding may lead to another sampled word.
        if '--seed' not in options or ON_HOST:
            assert found[0] == found[1]
    with open('lines', 'w') as f:
        f.write('the cat sat\nthe dog\n')
    found = [run('score', '0', 'lines', '--device', device) for device in ('-1', '0')]
    numbers = [re.findall(r'-?\d+\.\d+', out) for out in found]
    assert numbers[0]
    assert list(map(float, numbers[0])) == pytest.approx(
        list(map(float, numbers[1])), rel=1e-3)


@pytest.mark.filterwarnings('ignore:Non finite number')  # the scale is too high yet
@pytest.mark.parametrize('precision', ['tf32', 'mixed16'])
def test_precisions(run, precision):
    train = 'train', '--corpus', 'story', *SMALL, '-e', '1', '--dropout', '0'
    found = [perplexities(run(*train, '-o', device, '--device', device,
                              '--precision', precision)) for device in ('-1', '0')]
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_a_run_goes_on(run):
    train = 'train', '--corpus', 'story', *SMALL, '--device', '0'
    run(*train, '-e', '2', '-o', 'whole')
    run(*train, '-e', '1', '-o', 'part')
    run('train', '--resume', '-e', '2', '-o', 'part', '--device', '0')
    found = [perplexities(run('evaluate', name)) for name in ('whole', 'part')]
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def script(name, *args):
    """Runs a script of examples/ptb."""
    sys.argv = [name, *args]
    with pytest.raises(SystemExit) as end:
        runpy.run_path(os.path.join(PTB, name), run_name='__main__')
    assert not end.value.code


@pytest.mark.parametrize('flag', ['--device=0', '-g=0', '--gpu=0', '-g', '-d=@cupy:0'])
@pytest.mark.parametrize('name', ['train_ptb.py', 'train_ptb_custom_loop.py'])
def test_scripts(run, monkeypatch, capsys, name, flag):
    monkeypatch.setattr(sys, 'argv', [])
    monkeypatch.syspath_prepend(PTB)
    small = '--corpus', 'story', '-u', '8', '-b', '4', '-l', '5', '-e', '1'
    used, to_device = [], chainer.Link.to_device
    monkeypatch.setattr(chainer.Link, 'to_device', lambda link, device: (
        used.append(str(chainer.get_device(device))) or to_device(link, device)))
    script(name, *small, *flag.split('='))
    assert re.search(r'test perplexity: [\d.]+\n', capsys.readouterr().out)
    assert set(used) == {'@cupy:0'}
    if name == 'train_ptb.py':
        model, = (f for f in os.listdir('result_ptb') if f.startswith('model_iter_'))
        script('gentxt.py', '-m', f'result_ptb/{model}', '--corpus', 'story', '-u', '8',
               '-p', 'the', '--length', '9', *flag.split('='))
        assert capsys.readouterr().out.strip()


# The CUDA graph -----------------------------------------------------------------

def test_extensions_do_not_end_the_use_of_a_graph(tmp_path):
    """Nothing of ours or Chainer's keeps what a graph overwrites in the next window."""
    trainer = make_gpu_trainer('@cupy:0', tmp_path, epochs=3, dropout=0.3)
    target = trainer.updater.get_optimizer('main').target
    average = rnnlm.WeightAverage(target, 20)
    trainer.extend(average)
    trainer.extend(rnnlm.PerplexityEvaluator(rnnlm.ParallelSequentialIterator(
        gpu_words(60), 1, repeat=False), average.averaged), name='averaged')
    trainer.extend(rnnlm.PerplexityEvaluator(rnnlm.ParallelSequentialIterator(
        gpu_words(60), 1, repeat=False), target), name='same_model')
    trainer.extend(rnnlm.BestModel(target, str(tmp_path / 'best.npz')))
    trainer.extend(rnnlm.LearningRateDecay(2.0, 1))
    trainer.extend(rnnlm.Snapshot(), trigger=rnnlm.SnapshotTrigger(0))
    trainer.extend(lambda t: target.predictor.get_state(), name='state_read')
    assert rnnlm.run(trainer) == (0, None)
    assert trainer.updater._graph is not None and not trainer.updater._keeps_arrays


@pytest.mark.parametrize('keep', [
    lambda model: model.l1.h, lambda model: model.l2.c.array,
    lambda model: model.embed.W.grad, lambda model: model.l3.b.grad[:3],
    lambda model: model.l1.c[:2]])
def test_what_is_kept_is_not_overwritten(tmp_path, keep, caplog):
    trainer = make_gpu_trainer('@cupy:0', tmp_path)
    model = trainer.updater.get_optimizer('main').target.predictor
    kept = []

    def extension(trainer):
        thing = keep(model)
        kept.append((thing, getattr(thing, 'array', thing).copy()))

    trainer.extend(extension, trigger=(5, 'iteration'), name='keep')
    with caplog.at_level('INFO', 'rnnlm'):
        trainer.run()
    assert len(kept) > 2 and 'are kept without a copy' in caplog.text
    for thing, value in kept:
        assert (getattr(thing, 'array', thing) == value).all()
