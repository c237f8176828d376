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


def with_gradients(step):
    y = step()
    y.grad = numpy.ones_like(y.array)
    y.backward()


def functions_of(call):
    """(name, module, code) of what a call runs of Chainer's functions and links."""
    found = set()

    def see(frame, event, arg):
        module = frame.f_globals.get('__name__', '')
        if event == 'call' and module.startswith(
                ('chainer.functions.', 'chainer.links.')):
            code = frame.f_code
            found.add((_name_of(code, frame.f_locals), module, code))

    sys.setprofile(see)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def lacking(recorded, call):
    """Names of what a call runs that is not recorded."""
    known = {function.__code__ for function in recorded.functions}
    classes = {(cls.__module__, cls.__name__) for cls in recorded.classes}
    return {f'{module}.{name}' for name, module, code in functions_of(call)
            if code not in known and '<' not in name
            and (module, name.partition('.')[0]) not in classes}


def test_each_part_is_here():
    assert set(STEPS) == set(parts.TABLE)


@pytest.mark.parametrize('link', STEPS, ids=lambda link: link.__name__)
def test_what_a_step_runs_is_known(link):
    assert not lacking(unaltered.EVERYTHING, lambda: with_gradients(STEPS[link]))


@pytest.mark.parametrize('tied', [True, False])
def test_what_a_step_of_generation_runs_is_known(tied):
    model = rnnlm.LanguageModel(
        L.EmbedID(20, 4), [L.LSTM(4, 4)], OutputBias(20) if tied else L.Linear(4, 20),
        [LockedDropout(0.5), LockedDropout(0.5)] if tied else 0.5)
    word = numpy.array([3], 'i')
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        for _ in range(2):  # without and with a state
            assert not lacking(unaltered.ONE_STEP, lambda: model(word))


@pytest.mark.parametrize('owner, name', [
    (F, 'lstm'), (F, 'embed_id'), (F, 'linear'), (F, 'dropout'), (L.LSTM, 'forward'),
    (L.EmbedID, 'forward'), (L.Linear, 'forward'), (OutputBias, 'forward'),
    (LockedDropout, 'forward'), (chainer.Link, '__call__'),
    (chainer.Variable, '__add__'), (numpy, 'tanh'),
    (rnnlm.LanguageModel, '_step'), (rnnlm.RNNForLM, '__init__')])
def test_what_is_replaced_between_two_words_is_seen(monkeypatch, owner, name):
    assert unaltered.ONE_STEP.changed() == ''
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: None)
    assert name in unaltered.ONE_STEP.changed()


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
        assert unaltered.EVERYTHING.changed() == ''
        monkeypatch.setattr(F, 'arctan', lambda x: x)
        assert 'arctan' in unaltered.EVERYTHING.changed()
    finally:
        del parts.TABLE[Squashed]


class Alike:
    """Equal to everything, and unlike anything."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __call__(self, *args, **kwargs):
        return None


class Unequal(Alike):
    """As an array, not to be asked whether it equals something."""

    def __eq__(self, other):
        raise ValueError('the truth value is ambiguous')

    __hash__ = Alike.__hash__


@pytest.mark.parametrize('value', [Alike(), Unequal(), None], ids=str)
@pytest.mark.parametrize('space, name', [
    (F, 'dropout'), (numpy, 'tanh'), (chainer.functions.rnn.lstm, 'lstm')],
    ids=lambda value: getattr(value, '__name__', value))
def test_a_name_is_compared_by_identity(monkeypatch, space, name, value):
    for code in unaltered.EVERYTHING, unaltered.ONE_STEP:
        monkeypatch.setattr(space, name, value)
        assert code.changed() == f'{space.__name__}.{name} has been replaced'
        monkeypatch.undo()
        assert code.changed() == ''


def test_a_deleted_name_is_seen(monkeypatch):
    monkeypatch.delattr(F, 'dropout')
    assert unaltered.EVERYTHING.changed() == (
        'chainer.functions.dropout has been replaced')


@pytest.mark.parametrize('defaults', [(0.5,), (Alike(),), (Unequal(),), None, ()])
def test_defaults_are_compared_by_identity(monkeypatch, defaults):
    monkeypatch.setattr(F.dropout, '__defaults__', defaults)
    assert unaltered.EVERYTHING.changed() == 'the code of dropout has been replaced'


def test_replaced_code_of_a_function_is_seen(monkeypatch):
    monkeypatch.setattr(F.dropout, '__code__', (lambda x, *args, **kwargs: x).__code__)
    assert 'dropout' in unaltered.EVERYTHING.changed()


def test_a_change_between_any_two_windows_is_seen(monkeypatch):
    """Whatever was accepted for the windows before."""
    target = L.Classifier(rnnlm.RNNForLM(20, 4))
    target.compute_accuracy = False
    optimizer = chainer.optimizers.SGD().setup(target)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(numpy.arange(20).repeat(9), 3), optimizer, 5)
    model = target.predictor
    shared, param = model.l1.upward.W.array, model.l2.upward.W
    own = param.array
    changes = {
        'dropout has been replaced': lambda: monkeypatch.setattr(F, 'dropout', None),
        'LSTM.forward has been replaced': lambda: monkeypatch.setattr(
            L.LSTM, 'forward', lambda link, x: x),
        'hides LSTM.forward': lambda: monkeypatch.setitem(
            vars(model.l2), 'forward', None),
        'hides Linear.forward': lambda: monkeypatch.setitem(
            vars(model.l2.lateral), 'forward', None),
        'a link hook': lambda: model.l2.lateral.add_hook(
            chainer.LinkHook(), 'a hook'),
        'share memory': lambda: monkeypatch.setattr(param, 'array', shared),
        'another role': lambda: monkeypatch.setitem(vars(model), 'l2', model.l3)}
    for reason, change in changes.items():
        updater.update()
        assert updater.why_per_step == ''
        change()
        assert reason in updater.why_per_step
        monkeypatch.undo()
        if reason == 'a link hook':
            model.l2.lateral.delete_hook('a hook')
    assert param.array is own and updater.why_per_step == ''
