"""What a step of a link in the table calls of Chainer is not replaced unseen."""
import sys

import chainer
from chainer import functions as F
from chainer import links as L
import numpy
import pytest

import rnnlm
from rnnlm import parts, unaltered
from rnnlm.links import (
    AdaptiveSoftmax, HardSigmoidLSTM, LockedDropout, OutputBias, WeightDropLSTM)

x = numpy.random.RandomState(0).uniform(-1, 1, (3, 4)).astype('f')
STEPS = {
    L.EmbedID: lambda: L.EmbedID(5, 4)(numpy.arange(3, dtype='i')),
    L.LSTM: lambda: two_steps(L.LSTM(4, 4)),
    L.Linear: lambda: L.Linear(4, 5)(x),
    HardSigmoidLSTM: lambda: two_steps(HardSigmoidLSTM(4, 4)),
    WeightDropLSTM: lambda: two_steps(WeightDropLSTM(4, 4)),
    LockedDropout: lambda: LockedDropout(0.5)(chainer.Variable(x)),
    OutputBias: lambda: OutputBias(5)(x, chainer.Parameter(x[:1].repeat(5, 0))),
    AdaptiveSoftmax: lambda: AdaptiveSoftmax(4, 5, [2, 3])(x)}


def two_steps(layer):
    layer(x)
    return layer(x)


def _name_of(code, names):
    """A function's name, with that of its class."""
    cls = type(names['self']) if 'self' in names else None
    return f'{cls.__name__}.{code.co_name}' if cls else code.co_name


def functions_of(step):
    """(name, module, code) of what a step and its gradients run in Chainer."""
    found = set()

    def see(frame, event, arg):
        module = frame.f_globals.get('__name__', '')
        if event == 'call' and module.startswith('chainer.functions.'):
            code = frame.f_code
            found.add((_name_of(code, frame.f_locals), module, code))

    sys.setprofile(see)
    try:
        y = step()
        y.grad = numpy.ones_like(y.array)
        y.backward()
    finally:
        sys.setprofile(None)
    return found


def test_each_part_is_here():
    assert set(STEPS) == set(parts.TABLE)


@pytest.mark.parametrize('link', STEPS, ids=lambda link: link.__name__)
def test_what_a_step_runs_is_known(link):
    known = {function.__code__ for function in unaltered._functions}
    classes = {(cls.__module__, cls.__name__) for cls in unaltered._classes}
    lacking = {f'{module}.{name}' for name, module, code in functions_of(STEPS[link])
               if code not in known and '<' not in name
               and (module, name.partition('.')[0]) not in classes}
    assert not lacking


@pytest.mark.parametrize('name', [
    'log_softmax', 'concat', 'permutate', 'broadcast_to', 'tanh', 'clip', 'linear'])
def test_a_replaced_function_is_seen(monkeypatch, name):
    model = rnnlm.adaptive_model(20, 4, cutoffs=[3, 9])
    assert model.why_steps() == ''
    monkeypatch.setattr(F, name, lambda *args, **kwargs: None)
    assert name in model.why_steps()


def test_what_an_added_link_calls_is_seen(monkeypatch):
    class Squashed(L.LSTM):
        def forward(self, x):
            return F.arctan(super().forward(x))

    parts.add(Squashed, parts.lstm_window)
    try:
        assert unaltered.changed_code() == ''
        monkeypatch.setattr(F, 'arctan', lambda x: x)
        assert 'arctan' in unaltered.changed_code()
    finally:
        del parts.TABLE[Squashed]
