"""What several test files use: small models, texts and trainers, and comparisons."""
import os
import shutil

import rnnlm  # makes Chainer importable, and so comes first

import chainer
from chainer import links as L
from chainer import optimizer_hooks, optimizers, training
from chainer.training import extensions
import numpy
import pytest

from rnnlm import structure
from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.training.updater import BPTTUpdater

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)

# Relative and absolute differences that rounding explains, by dtype.
TOLERANCE = {'f': dict(rtol=2e-5, atol=2e-6), 'd': dict(rtol=1e-12, atol=1e-13)}

# Whether CuPy is the stand-in for it, on which sums come in one order.
ON_HOST = hasattr(chainer.backends.cuda.cupy, '_device')

TINY = Recipe(n_units=5, batch_size=4, bprop_len=5, epochs=3, dropout=0.2)


def in_a_copy(folder, tmp_path, monkeypatch):
    """Copies a folder that many tests begin with, and goes there."""
    here = tmp_path / 'here'
    shutil.copytree(folder, here)
    monkeypatch.chdir(here)
    return here


def text(n=203, n_vocab=20):
    return numpy.random.RandomState(5).randint(0, n_vocab, n).astype('i')


def small(words=None, seed=0, n_vocab=20, **kwargs):
    numpy.random.seed(seed)
    return classifier(rnnlm.RNNForLM(n_vocab, 8, **kwargs))


def make_model(n_vocab=11, n_units=6, seed=0, dtype='d', **kwargs):
    numpy.random.seed(seed)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        return rnnlm.RNNForLM(n_vocab, n_units, **kwargs)


def ids(T, B, n_vocab=11, seed=1):
    return numpy.random.RandomState(seed).randint(0, n_vocab, (T, B)).astype('i')


def classifier(model):
    model = L.Classifier(model)
    model.compute_accuracy = False
    return model


def make_trainer(model, words, out, B=4, T=5, stop=(20, 'iteration'), lr=1.0, clip=5,
                 rows=slice(None), **kwargs):
    optimizer = chainer.optimizers.SGD(lr=lr).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words, B, rows=rows), optimizer, T, -1,
        **kwargs)
    return training.Trainer(updater, stop, out=str(out))


def gpu_words(length=200, n_vocab=20):
    return (numpy.arange(length) * 7 % n_vocab).astype('i')


def make_gpu_trainer(device, out, epochs=2, optimizer=None, dropout=0.0,
                     per_step=False):
    """A small run with the extensions that people hang on a language model."""
    numpy.random.seed(1)
    classifier = L.Classifier(rnnlm.RNNForLM(20, 8, dropout=dropout))
    classifier.compute_accuracy = False
    classifier.to_device(device)
    optimizer = (optimizer or optimizers.SGD)().setup(classifier)
    optimizer.add_hook(optimizer_hooks.GradientClipping(0.2))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(gpu_words(), 4), optimizer, 5, device=device,
        per_step=per_step)
    trainer = training.Trainer(updater, (epochs, 'epoch'), out=str(out))
    trainer.extend(rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(gpu_words(60), 1, repeat=False),
        classifier.copy(), device=device))
    trainer.extend(extensions.LogReport(trigger=(3, 'iteration')))
    trainer.extend(extensions.ParameterStatistics(classifier.predictor))
    trainer.extend(extensions.FailOnNonNumber())
    trainer.extend(extensions.snapshot(filename='{.updater.iteration}'),
                   trigger=(7, 'iteration'))
    return trainer


def extend(trainer):
    trainer.extend(rnnlm.LearningRateDecay(1.5, 1))
    trainer.extend(extensions.LogReport(
        postprocess=rnnlm.add_perplexity, trigger=(3, 'iteration')))
    valid = rnnlm.ParallelSequentialIterator(text(50), 1, repeat=False)
    trainer.extend(rnnlm.PerplexityEvaluator(
        valid, trainer.updater.get_optimizer('main').target))
    return trainer


class Record(training.Extension):
    """Keeps what was observed after each window."""

    def __init__(self):
        self.seen = []

    def __call__(self, trainer):
        self.seen.append({k: float(chainer.cuda.to_cpu(getattr(v, 'array', v)))
                          for k, v in trainer.observation.items()})


def tiny_corpus():
    words = text(300, 5)
    return Corpus('x', words, words[:40], words[40:90],
                  Vocabulary('abcde'), 'char')


def poisoned_above(rate, monkeypatch, window):
    """Puts NaN into the model at a window, if the learning rate is above one."""
    update_core = BPTTUpdater.update_core

    def poisoned(self):
        optimizer = self.get_optimizer('main')
        if self.iteration == window and optimizer.lr > rate:
            optimizer.target.predictor.l1.upward.W.array[0] = numpy.nan
        with numpy.errstate(invalid='ignore'):
            update_core(self)

    monkeypatch.setattr(BPTTUpdater, 'update_core', poisoned)


def assert_same_parameters(trainer, other):
    for (name, p), (_, q) in zip(*(
            t.updater.get_optimizer('main').target.namedparams()
            for t in (trainer, other))):
        numpy.testing.assert_array_equal(p.array, q.array, err_msg=name)


def variables(xp, *arrays):
    return [chainer.Variable(xp.asarray(a)) for a in arrays]


def assert_close(actual, expected, dtype):
    actual = chainer.cuda.to_cpu(actual)
    assert actual.dtype == dtype
    numpy.testing.assert_allclose(actual, expected, **TOLERANCE[dtype])


def lstm_case(T, B, n_in, n, dtype, seed=0):
    random = numpy.random.RandomState(seed)
    shapes = [(T, B, n_in), (B, n), (B, n), (4 * n, n_in), (4 * n,), (4 * n, n)]
    inputs = [random.randn(*shape).astype(dtype) for shape in shapes]
    grads = [random.randn(*shape).astype(dtype)
             for shape in [(T, B, n), (B, n), (B, n)]]
    return inputs, grads


def assert_shapes_refused(found, name, shape, match):
    """Asserts that parameters of a Structure, one with another shape, are refused.

    If the shape is None, that parameter is missing.
    """
    shapes = found.shapes()
    if shape is None:
        del shapes[name]
    else:
        shapes[name] = shape
    with pytest.raises(rnnlm.InputError, match=match):
        structure.of_shapes(shapes, 'a file')


def refused(*parts):
    return pytest.raises(rnnlm.InputError, match='(?s)' + '.*'.join(parts))


# Imports Chainer first, as people make today's Python do it.
CHAINER_FIRST = '''
import sys, types, numpy, warnings
warnings.simplefilter('ignore')
check = types.ModuleType('chainer._environment_check')
check.check = lambda: None
sys.modules['chainer._environment_check'] = check
if not hasattr(numpy, 'sctypes'):
    numpy.sctypes = {'int': [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
                     'float': [numpy.float32]}
import chainer
'''
