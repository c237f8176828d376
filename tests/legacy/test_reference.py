"""examples/ptb/reference.py: the model in plain Chainer."""
import importlib.util
import os
import subprocess
import sys

import chainer
from chainer import links as L
from helpers import ROOT
import numpy
import pytest

import rnnlm

PATH = os.path.join(ROOT, 'examples', 'ptb', 'reference.py')
_spec = importlib.util.spec_from_file_location('reference', PATH)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def windows_of(golden):
    words = rnnlm.ParallelSequentialIterator(golden.train, golden.batchsize)
    for _ in range(golden.windows):
        yield words.next_window(golden.bproplen)


def optimizer_of(golden, predictor):
    """Makes an optimizer for a model that was made from the golden run's seed."""
    numpy.random.seed(golden.seed)
    model = L.Classifier(predictor(golden.n_vocab, golden.n_units))
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(golden.gradclip))
    return optimizer


MODELS = {
    'golden_7': (reference.RNNForLM, rnnlm.RNNForLM),
    'golden_1': (reference.RNNForLMOfV1, rnnlm.v1.RNNForLM),
}


def check_golden(golden, plain, ours):
    optimizer = optimizer_of(golden, plain)
    losses = [reference.update(optimizer, window) / golden.bproplen
              for window in windows_of(golden)]
    numpy.testing.assert_allclose(losses, golden.window_mean_loss, rtol=1e-6)
    other = optimizer_of(golden, ours)
    other.target.predictor.per_step = True
    steps = [reference.update(other, window) / golden.bproplen
             for window in windows_of(golden)]
    assert steps == losses
    for (name, a), (_, b) in zip(optimizer.target.namedparams(),
                                 other.target.namedparams()):
        assert (a.array == b.array).all(), name


def test_recorded_run_of_chainer_7(golden_7):
    check_golden(golden_7, *MODELS['golden_7'])


def test_recorded_run_of_chainer_1(golden_1):
    check_golden(golden_1, *MODELS['golden_1'])


@pytest.mark.parametrize('plain, ours', MODELS.values())
@pytest.mark.parametrize('train', [True, False])
def test_each_step_is_that_of_the_model(plain, ours, train):
    models = []
    for cls in plain, ours:
        numpy.random.seed(3)
        models.append(cls(30, 8))
    for model in models:
        if hasattr(model, 'train'):
            model.train = train
    ids = numpy.random.randint(0, 30, (6, 4)).astype(numpy.int32)
    with chainer.using_config('train', train):
        logits = []
        for model in models:
            numpy.random.seed(4)
            model.reset_state()
            logits.append([model(x).array for x in ids])
    assert (numpy.array(logits[0]) == logits[1]).all()
    a, b = ({name: param.shape for name, param in model.namedparams()}
            for model in models)
    assert a == b


def test_it_runs():
    done = subprocess.run(
        [sys.executable, PATH], env={**os.environ, 'PYTHONPATH': ROOT},
        capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 20, done.stderr


def test_it_is_short():
    with open(PATH, encoding='utf-8') as f:
        lines = f.read().split('def main(')[0].splitlines()
    assert len(lines) < 75
