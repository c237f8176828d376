"""States of links that are not in the table of parts: evaluated, reset and resumed."""
import io

import chainer
from chainer import functions as F
from chainer import links as L
from helpers import make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm import states
from tests.customisations.cases_layers import (
    ArrayRNN, Around, CoupledLSTM, OwnRNN, Residual, replace)


class WithConstant(OwnRNN):
    """A Variable that is neither a parameter nor a state."""

    def __init__(self, n):
        super().__init__(n)
        self.factor = chainer.Variable(numpy.full((1, n), 1.5, 'f'))

    def forward(self, x):
        return super().forward(x) * F.broadcast_to(self.factor, x.shape)


LAYERS = {
    'variable': OwnRNN, 'array': ArrayRNN, 'in a part': Around, 'c and h': CoupledLSTM,
    'in a part of a part': lambda n: Residual(Around(n)),
    'in a Sequential': lambda n: chainer.Sequential(L.LSTM(n, n), F.tanh),
    'beside a constant': WithConstant, 'StatefulGRU': lambda n: L.StatefulGRU(n, n)}


def make(layer, out, windows=6):
    target = small()
    replace(target.predictor, 'l1', LAYERS[layer](8))
    for param in target.params():
        param.array *= 5
    return make_trainer(target, text(), out, stop=(windows, 'iteration'))


def target_of(trainer):
    return trainer.updater.get_optimizer('main').target


def trained(trainer):
    trainer.run(show_loop_exception_msg=False)
    return [param.array for param in target_of(trainer).params()]


@pytest.mark.parametrize('layer', LAYERS)
def test_evaluation_and_a_resume_leave_the_training_as_it_is(layer, tmp_path):
    expected = trained(make(layer, tmp_path))

    evaluated = make(layer, tmp_path)
    evaluated.extend(rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(text(30), 2, repeat=False),
        target_of(evaluated)), trigger=(1, 'iteration'))
    results = [trained(evaluated)]
    begun = make(layer, tmp_path, windows=3)
    trained(begun)
    file = io.BytesIO()
    chainer.serializers.save_npz(file, begun)
    file.seek(0)
    resumed = make(layer, tmp_path)
    chainer.serializers.load_npz(file, resumed)

    for params in *results, trained(resumed):
        for param, array in zip(params, expected):
            numpy.testing.assert_array_equal(param, array)


@pytest.mark.parametrize('layer', LAYERS)
def test_each_evaluation_starts_from_a_reset_state(layer, tmp_path):
    target = target_of(make(layer, tmp_path))
    evaluator = rnnlm.PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(text(30), 2, repeat=False), target)
    with chainer.Reporter().scope({}):
        first, second = evaluator(), evaluator()
    assert first == second
    target.predictor(numpy.array([1, 2], 'i'))
    assert any(value is not None for state in states.get(target).values()
               for value in state.values())
    target.predictor.reset_state()
    assert not any(value is not None for state in states.get(target).values()
                   for name, value in state.items() if name != 'factor')


def test_a_snapshot_file_keeps_states_of_any_name(tmp_path):
    for layer in 'variable', 'array', 'in a part':
        whole = trained(make(layer, tmp_path))
        begun = make(layer, tmp_path, windows=3)
        begun.extend(rnnlm.Snapshot(), trigger=(3, 'iteration'))
        trained(begun)
        resumed = make(layer, tmp_path)
        rnnlm.resume(str(tmp_path), resumed)
        for param, array in zip(trained(resumed), whole):
            numpy.testing.assert_array_equal(param, array)
