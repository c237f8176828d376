"""examples/awd beside its equations in PyTorch, and what its scripts do."""
import argparse
import importlib
import json
import os
import subprocess
import sys

import awd_case as case
import chainer
from chainer import links as L
from helpers import ROOT, TESTS
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm

AWD = os.path.join(ROOT, 'examples', 'awd')
MODULES = 'options', 'model', 'training', 'main', 'finetune', 'cache'


@pytest.fixture
def awd(monkeypatch):
    """Imports a module of the example."""
    monkeypatch.syspath_prepend(AWD)
    table = dict(rnnlm.parts.TABLE)
    for name in MODULES:
        sys.modules.pop(name, None)  # other examples have modules of these names
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)
    rnnlm.parts.TABLE.clear()
    rnnlm.parts.TABLE.update(table)


def make(awd, dtype='d'):
    """The model of `case`, and its updater."""
    options = argparse.Namespace(**case.OPTIONS)
    numpy.random.seed(0)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        model = awd('model').make_model(case.V, options)
    params = {path.strip('/'): param for path, param in model.namedparams()}
    given = case.parameters()
    assert set(params) == set(given)
    for name, param in params.items():
        param.array[...] = given[name]
    training = awd('training')
    target = L.Classifier(model)
    target.compute_accuracy = False
    optimizer = training.make_optimizer(
        target, options.lr, options.clip, options.wdecay)
    updater = training.Updater(
        rnnlm.ParallelSequentialIterator(case.text(), case.B), optimizer, options.bptt,
        options.alpha, options.beta)
    numpy.random.seed(7)
    return model, optimizer, updater


def run(model, optimizer, updater, windows=case.WINDOWS):
    """What tests/awd_torch.py finds too."""
    reporter = chainer.Reporter()
    reporter.add_observer('main', optimizer.target)
    losses = []
    while updater.iteration < windows:
        if updater.iteration == case.AVERAGED_FROM:
            optimizer.begin_averaging()
        observed = {}
        with reporter.scope(observed):
            updater.update()
        losses.append(float(observed['main/loss'].array))

    def arrays():
        return case.summary({path.strip('/'): param.array
                             for path, param in model.namedparams()})

    now = arrays()
    with optimizer.averaged():
        return {'losses': losses, 'parameters': now, 'means': arrays()}


def assert_same(found, expected, rtol):
    assert len(found['losses']) == len(expected['losses']) == case.WINDOWS
    assert_allclose(found['losses'], expected['losses'], rtol=rtol)
    for what in 'parameters', 'means':
        assert set(found[what]) == set(expected[what])
        for name, numbers in expected[what].items():
            assert_allclose(found[what][name], numbers, rtol=rtol, atol=rtol,
                            err_msg=f'{what} {name}')


@pytest.fixture(scope='module')
def recorded():
    with open(os.path.join(TESTS, 'awd_torch.json')) as f:
        return json.load(f)


@pytest.mark.parametrize('per_step', [False, True])
@pytest.mark.parametrize('dtype, rtol', [('d', 1e-9), ('f', 1e-4)])
def test_200_windows_are_those_of_pytorch(awd, recorded, dtype, rtol, per_step):
    model, *others = make(awd, dtype)
    assert model.why_steps() == ''
    model.per_step = per_step
    assert_same(run(model, *others), recorded, rtol)


def test_the_recorded_numbers_are_those_of_pytorch(recorded):
    pytest.importorskip('torch')
    import awd_torch
    assert_same(awd_torch.run(), recorded, 1e-9)
