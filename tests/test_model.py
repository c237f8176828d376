"""RNNForLM: one step and a window are the same model, Chainer's."""
import hashlib
import json
import pickle

import chainer
from chainer import functions as F
from chainer import links as L
from helpers import ids, make_model
import numpy
import oracle
import pytest

import rnnlm


def oracle_params(model):
    return {path: chainer.cuda.to_cpu(p.array) for path, p in model.namedparams()}


def test_names_and_shapes_are_the_official_ones():
    model = L.Classifier(make_model(n_vocab=10, n_units=3))
    assert {name: p.shape for name, p in model.namedparams()} == {
        '/predictor/embed/W': (10, 3),
        '/predictor/l1/upward/W': (12, 3),
        '/predictor/l1/upward/b': (12,),
        '/predictor/l1/lateral/W': (12, 3),
        '/predictor/l2/upward/W': (12, 3),
        '/predictor/l2/upward/b': (12,),
        '/predictor/l2/lateral/W': (12, 3),
        '/predictor/l3/W': (10, 3),
        '/predictor/l3/b': (10,),
    }


@pytest.mark.parametrize('scale', [0.1, 0.04])
def test_init_is_uniform(scale):
    model = make_model(n_vocab=500, n_units=40, init_scale=scale)
    for name, p in model.namedparams():
        assert abs(p.array).max() <= scale
        if p.size > 1000:
            # A uniform variable: the tail is full, and its variance is scale^2 / 3.
            assert abs(p.array).max() > 0.99 * scale
            numpy.testing.assert_allclose(
                p.array.var(), scale ** 2 / 3, rtol=0.1, err_msg=name)


def test_golden_init(golden_7):
    numpy.random.seed(golden_7.seed)
    model = L.Classifier(rnnlm.RNNForLM(golden_7.n_vocab, golden_7.n_units))
    assert {name: hashlib.sha256(p.array.tobytes()).hexdigest()
            for name, p in model.namedparams()} == golden_7.init_sha256


def test_golden_init_v1(golden_1):
    numpy.random.seed(golden_1.seed)
    model = L.Classifier(rnnlm.v1.RNNForLM(golden_1.n_vocab, golden_1.n_units))
    assert {name: hashlib.sha256(p.array.tobytes()).hexdigest()
            for name, p in model.namedparams()} == golden_1.init_sha256


@pytest.mark.parametrize('per_step', [False, True])
@pytest.mark.parametrize('n_layers', [1, 2, 3])
@pytest.mark.parametrize('dropout', [0, 0.5])
def test_window_equals_oracle(device, n_layers, dropout, per_step):
    T, B = 4, 3
    model = make_model(n_layers=n_layers, dropout=dropout)
    model.per_step = per_step
    params = oracle_params(model)
    model.to_device(device)
    x, t = ids(T + 2, B), ids(T + 2, B, seed=2)
    t[1, 0] = -1
    if device.xp is not numpy and dropout:
        pytest.skip('the random numbers of a GPU are others')

    numpy.random.seed(7)
    masks = [oracle.official_masks(length, n_layers, B, 6, dropout, numpy.float64)
             if dropout else None for length in (2, T)]
    _, state, _ = oracle.forward(params, x[:2], masks[0])
    logits, end, _ = oracle.forward(params, x[2:], masks[1], state)
    loss = oracle.loss(params, x[2:], t[2:], masks[1], state)
    grads, _ = oracle.backward(params, x[2:], t[2:], masks[1], state)

    numpy.random.seed(7)
    x, t = device.send(x), device.send(t)
    before = model(x[:2])
    assert before.shape == (2, B, 11)
    before.unchain_backward()
    numpy_state = numpy.random.get_state()
    y = model(x[2:])
    numpy.testing.assert_allclose(
        chainer.cuda.to_cpu(y.array), logits, rtol=1e-12, atol=1e-14)
    for (c, h), c_end, h_end in zip(model.get_state(), *end):
        numpy.testing.assert_allclose(chainer.cuda.to_cpu(c), c_end, rtol=1e-12)
        numpy.testing.assert_allclose(chainer.cuda.to_cpu(h), h_end, rtol=1e-12)

    # The loss, from the same state and the same random numbers.
    numpy.random.set_state(numpy_state)
    model.set_state(list(zip(*state)))
    model.cleargrads()
    actual = model.loss(x[2:], t[2:])
    numpy.testing.assert_allclose(float(actual.array), loss, rtol=1e-12)
    actual.backward()
    for name, p in model.namedparams():
        numpy.testing.assert_allclose(
            chainer.cuda.to_cpu(p.grad), grads[name], rtol=1e-10, atol=1e-13,
            err_msg=name)


def test_steps_equal_window():
    model, window = make_model(), make_model()
    x = ids(5, 3)
    numpy.random.seed(3)
    steps = [model(x_t) for x_t in x]
    numpy.random.seed(3)
    whole = window(x)
    assert steps[0].shape == (3, 11)
    for y, expected in zip(steps, whole.array):
        numpy.testing.assert_allclose(y.array, expected, rtol=1e-12)


def test_dropout_follows_config():
    model = make_model()
    x = ids(5, 3)
    with chainer.using_config('train', False):
        expected = model(x).array
        model.reset_state()
        numpy.random.seed(99)
        numpy.testing.assert_array_equal(model(x).array, expected)
    model.reset_state()
    assert abs(model(x).array - expected).max() > 1e-3


def test_gradient_flows_across_windows_until_cut():
    model, whole = make_model(dropout=0), make_model(dropout=0)
    x, t = ids(6, 2), ids(6, 2, seed=5)
    model.cleargrads()
    (model.loss(x[:3], t[:3]) + model.loss(x[3:], t[3:])).backward()
    whole.cleargrads()
    whole.loss(x, t).backward()
    for (name, p), q in zip(model.namedparams(), whole.params()):
        numpy.testing.assert_allclose(p.grad, q.grad, rtol=1e-10, err_msg=name)

    cut = make_model(dropout=0)
    cut.loss(x[:3], t[:3]).unchain_backward()
    for layer in cut.layers:
        assert layer.c.creator is None and layer.h.creator is None
    cut.cleargrads()
    cut.loss(x[3:], t[3:]).backward()
    assert abs(cut.l1.lateral.W.grad - whole.l1.lateral.W.grad).max() > 1e-6


def test_state_can_be_read_and_set():
    model = make_model()
    assert model.get_state() is None
    with chainer.using_config('train', False):
        model(ids(4, 3))
        state = model.get_state()
        assert [(c.shape, h.shape) for c, h in state] == [((3, 6), (3, 6))] * 2
        expected = model(ids(2, 3, seed=8)).array
        model.reset_state()
        assert model.get_state() is None
        model.set_state(state)
        numpy.testing.assert_array_equal(
            model(ids(2, 3, seed=8)).array, expected)
    model.set_state(None)
    assert model.l1.h is None and model.l2.c is None


@pytest.mark.parametrize('dtype', 'ef')
def test_a_state_takes_the_dtype_of_the_model(dtype):
    model = make_model(dtype=dtype)
    state = [(numpy.full((3, 6), 0.25), numpy.full((3, 6), -0.5))] * 2
    model.set_state(state)
    for pair in model.get_state():
        assert [array.dtype for array in pair] == [dtype, dtype]
    assert model(ids(2, 3)).dtype == dtype


@pytest.mark.parametrize('state', [
    [], [(numpy.zeros((3, 6)),) * 2], [(numpy.zeros((3, 5)),) * 2] * 2,
    [(numpy.zeros((3, 6)), numpy.zeros((2, 6)))] * 2,
    [(numpy.zeros((3, 6)),) * 2, (numpy.zeros((4, 6)),) * 2]])
def test_wrong_state_is_refused(state):
    model = make_model()
    with pytest.raises(rnnlm.InputError, match='state: expected for 2 layers'):
        model.set_state(state)
    assert model.get_state() is None


def test_copy_shares_parameters_and_has_its_own_state():
    model = L.Classifier(make_model())
    copy = model.copy()
    model.predictor(ids(2, 3))
    assert copy.predictor.get_state() is None
    state = model.predictor.get_state()
    copy.predictor(ids(3, 2))
    numpy.testing.assert_array_equal(model.predictor.get_state()[0][0], state[0][0])
    model.predictor.l1.upward.W.array[...] = 5
    assert (copy.predictor.l1.upward.W.array == 5).all()


def test_pickle_round_trip():
    model = make_model()
    with chainer.using_config('train', False):
        model(ids(2, 3))
        copy = pickle.loads(pickle.dumps(model))
        numpy.testing.assert_array_equal(
            copy(ids(3, 3)).array, model(ids(3, 3)).array)


def test_float16():
    """A window in mixed precision, beside the same weights in float64."""
    found = []
    for dtype in 'ed':
        model = make_model(dtype='e', dropout=0)
        arrays = [p.array for p in model.params()]
        if dtype == 'd':
            model = make_model(dtype='d', dropout=0)
            for p, array in zip(model.params(), arrays):
                p.array[...] = array
        x = ids(4, 2)
        loss = model.loss(x[:-1], x[1:])
        assert loss.dtype == (numpy.float32 if dtype == 'e' else numpy.float64)
        model.cleargrads()
        loss.backward(loss_scale=64)
        assert all(p.grad.dtype == dtype for p in model.params())
        found.append([loss.array, *(p.grad.astype('d') / 64 for p in model.params())])
    for half, double in zip(*found):
        assert numpy.linalg.norm(half - double) < 2e-3 * numpy.linalg.norm(double)


@pytest.mark.parametrize('kwargs, name', [
    (dict(n_vocab=0), 'n_vocab'), (dict(n_units=-3), 'n_units'),
    (dict(n_units=2.5), 'n_units'), (dict(n_layers=0), 'n_layers'),
    (dict(dropout=1), 'dropout'), (dict(dropout=-0.1), 'dropout'),
    (dict(init_scale=-1), 'init_scale'), (dict(init_scale=float('nan')), 'init_scale'),
    (dict(n_vocab='ten'), 'n_vocab'), (dict(n_vocab=None), 'n_vocab')])
def test_wrong_arguments_are_refused(kwargs, name):
    with pytest.raises(rnnlm.InputError, match=name + ': expected'):
        rnnlm.RNNForLM(**dict(dict(n_vocab=5, n_units=4), **kwargs))


@pytest.mark.parametrize('x', [
    numpy.zeros((2, 3), 'f'), numpy.zeros((2, 3, 4), 'i'), numpy.zeros((), 'i'),
    numpy.zeros((0, 3), 'i'), numpy.array([11], 'i'), numpy.array([[-12]], 'i')])
def test_wrong_ids_are_refused(x):
    with pytest.raises(rnnlm.InputError, match='ids: expected'):
        make_model()(x)


@pytest.mark.parametrize('version', ['1.24.0', '7.8.1'])
@pytest.mark.parametrize('name', ['model.npz', 'snapshot_iter_60'])
@pytest.mark.parametrize('per_step', [False, True])
def test_snapshots_of_chainer_give_their_logits(path_of, version, name, per_step):
    folder = path_of('snapshots', 'chainer-' + version)
    with open(folder + '/expected.json') as f:
        expected = json.load(f)
    model = L.Classifier(rnnlm.RNNForLM(expected['n_vocab'], expected['n_units']))
    rnnlm.load_model(folder + '/' + name, model)
    x = numpy.array(expected['input_ids'], 'i')[:, None]
    model.predictor.per_step = per_step
    with chainer.using_config('train', False):
        y = model.predictor.logits(x)
    numpy.testing.assert_allclose(
        y.array[:, 0, :8], expected['first_8_logits_of_each_step'], rtol=1e-5,
        atol=1e-6)


def test_v1_flag_alone_decides():
    numpy.random.seed(0)
    model = rnnlm.v1.RNNForLM(11, 6)
    assert model.train is True
    x = ids(4, 2)

    def run(flag, config, x):
        model.train = flag
        model.reset_state()
        numpy.random.seed(1)
        with chainer.using_config('train', config):
            return model(x).array

    for x in (ids(4, 2), ids(1, 2)[0]):
        numpy.testing.assert_array_equal(run(True, True, x), run(True, False, x))
        numpy.testing.assert_array_equal(run(False, True, x), run(False, False, x))
        assert abs(run(True, False, x) - run(False, False, x)).max() > 1e-3
    assert rnnlm.v1.RNNForLM(11, 6, train=False).train is False
    eval_model = L.Classifier(model).copy()
    eval_model.predictor.train = False
    model.train = True
    assert eval_model.predictor.train is False and model.train is True


def test_classifier_on_one_step():
    model = L.Classifier(make_model(dropout=0))
    x, t = ids(1, 3)[0], ids(1, 3, seed=3)[0]
    loss = model(x, t)
    model.predictor.reset_state()
    numpy.testing.assert_allclose(
        loss.array, F.softmax_cross_entropy(model.predictor(x), t).array)


VARIANTS = [dict(n_embed=4), dict(tied=True), dict(n_embed=9, n_layers=1),
            dict(tied=True, n_layers=3)]


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('dropout', [0, 0.5])
def test_variants_by_window_equal_steps(variant, dropout):
    """Of these the oracle knows nothing: the links, one by one, are it."""
    results = []
    for per_step in False, True:
        model = make_model(dropout=dropout, **variant)
        model.per_step = per_step
        numpy.random.seed(5)
        model(ids(3, 4)).unchain_backward()
        loss = model.loss(ids(5, 4), ids(5, 4, seed=2))
        model.cleargrads()
        loss.backward()
        results.append((float(loss.array), {
            name: p.grad for name, p in model.namedparams()}))
    (loss, grads), (expected_loss, expected) = results
    numpy.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    for name in expected:
        numpy.testing.assert_allclose(
            grads[name], expected[name], rtol=1e-9, atol=1e-13, err_msg=name)


def test_tied_gradient_is_of_both_uses():
    model = make_model(tied=True, dropout=0)
    x, t = ids(5, 3), ids(5, 3, seed=2)
    direction = numpy.random.RandomState(0).randn(*model.embed.W.shape)

    def loss(step):
        model.reset_state()
        model.embed.W.array[...] += step * direction
        value = float(model.loss(x, t).array)
        model.embed.W.array[...] -= step * direction
        return value

    model.cleargrads()
    model.reset_state()
    model.loss(x, t).backward()
    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    numpy.testing.assert_allclose((model.embed.W.grad * direction).sum(), slope,
                                  rtol=1e-7)


def test_tied_parameters():
    model = make_model(tied=True)
    names = [name for name, _ in model.namedparams()]
    assert '/l3/b' in names and '/l3/W' not in names
    copied = model.copy()
    copied.embed.W.array[...] = 0  # shared: the output layer sees it too
    numpy.testing.assert_array_equal(
        model(ids(2, 3)).array, numpy.broadcast_to(model.output.b.array, (2, 3, 11)))
    with pytest.raises(rnnlm.InputError, match='n_embed'):
        rnnlm.RNNForLM(11, 6, n_embed=5, tied=True)
    with pytest.raises(rnnlm.InputError, match='n_embed'):
        rnnlm.RNNForLM(11, 6, n_embed=0)
