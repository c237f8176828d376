"""What old releases computed in another way; numbers as printed by the true ones."""
import numpy
import pytest

pytestmark = pytest.mark.slow  # processes of their own

FIRST = 'r = lambda *shape: np.random.uniform(-1, 1, shape).astype("f")\n'


@pytest.fixture
def run(run):
    """Runs lines with a source of random numbers; returns what `show` is given."""
    def lines(text, api='1.24'):
        return run(FIRST + 'np.random.seed(0)\n' + text, api)
    return lines


def test_parameters_that_are_added_after_the_setup_are_trained(run):
    before, after = run("""
m = chainer.Chain(a=L.Linear(4, 4))
o = chainer.optimizers.Adam()
o.setup(m)
m.add_link('b', L.Linear(4, 2))
W = m.b.W.data.copy()
m.zerograds()
F.sum(m.b(m.a(chainer.Variable(r(3, 4)))) ** 2).backward()
o.update()
print(json.dumps([W.tolist(), m.b.W.data.tolist()]))
""")
    assert (numpy.array(before) != after).all()


def test_each_optimizer_has_its_own_states(run):
    a, b, both = run("""
def model():
    np.random.seed(1)
    return L.Linear(4, 4)
def step(m, o):
    m.zerograds()
    F.sum(m(chainer.Variable(np.ones((3, 4), 'f'))) ** 2).backward()
    o.update()
found = []
for lrs in [0.1], [0.01], [0.1, 0.01]:
    m, made = model(), []
    for lr in lrs:
        made.append(chainer.optimizers.MomentumSGD(lr))
        made[-1].setup(m)
    W = m.W.data.copy()
    step(m, made[0])
    found.append(float((m.W.data - W)[0, 0]))
print(json.dumps(found))
""")
    assert both == a != b


def test_tied_weights_have_a_state_for_each_name(run):
    by_sgd, by_momentum = run("""
found = []
for name in 'SGD', 'MomentumSGD':
    m = chainer.Chain(e=L.EmbedID(5, 4), o=L.Linear(4, 5))
    m.o.W = m.e.W
    o = getattr(chainer.optimizers, name)(0.5)
    o.setup(m)
    m.zerograds()
    x = chainer.Variable(np.arange(3, dtype='i'))
    F.softmax_cross_entropy(m.o(m.e(x)), x).backward()
    W, g = m.e.W.data.copy(), m.e.W.grad.copy()
    o.update()
    found.append(float(((m.e.W.data - W) / g)[0, 0]))
print(json.dumps(found))
""")
    assert [by_sgd, by_momentum] == pytest.approx([-1, -1], rel=1e-4)


@pytest.mark.parametrize('api, expected', [('1.5', 2.04889), ('1.6', 1.02444)])
def test_sigmoid_cross_entropy(run, api, expected):
    """Per example until 1.5, and the label -1 counted."""
    found = run("""
x = np.array([[1, -2, .5], [0, 3, -1]], 'f')
t = np.array([[1, 0, 1], [0, 1, 0]], 'i')
print(json.dumps(float(F.sigmoid_cross_entropy(
    chainer.Variable(x), chainer.Variable(t)).data)))
""", api)
    x = numpy.array([[1, -2, .5], [0, 3, -1]])
    t = numpy.array([[1, 0, 1], [0, 1, 0]])
    total = (numpy.log1p(numpy.exp(x)) - x * t).sum()
    assert found == pytest.approx(total / (2 if api == '1.5' else 6), rel=1e-5)


@pytest.mark.parametrize('api', ['1.24', '2.1', '3.0'])
def test_eps_of_layer_normalization(run, api):
    found = numpy.array(run("""
x = np.array([[1, 1.5, 2, 4]], 'f')
print(json.dumps(L.LayerNormalization(4, 0.1)(x).data.tolist()))
""", api))
    x = numpy.array([[1, 1.5, 2, 4]])
    x = x - x.mean()
    std = x.std() + 0.1 if api < '3' else numpy.sqrt(x.var() + 0.1)
    numpy.testing.assert_allclose(found, x / std, rtol=1e-5)


def test_layer_normalization_with_arrays(run):
    assert run("""
l = L.LayerNormalization(2, 1e-6, np.array([2, 3], 'f'), np.array([4, 5], 'f'))
print(json.dumps([l.gamma.data.tolist(), l.beta.data.tolist()]))
""") == [[2, 3], [4, 5]]


@pytest.mark.parametrize('api', ['5.4', '6.0'])
def test_orthogonal(run, api):
    """By a singular value decomposition until 5.4, up to the signs of its vectors."""
    found = numpy.array(run("""
W = np.zeros((2, 3), 'f')
chainer.initializers.Orthogonal()(W)
print(json.dumps(W.tolist()))
""", api))
    numpy.random.seed(0)
    _, _, v = numpy.linalg.svd(numpy.random.normal(size=(2, 3)), full_matrices=False)
    numpy.testing.assert_allclose(found @ found.T, 1.21 * numpy.eye(2), atol=1e-5)
    assert numpy.allclose(abs(found), abs(1.1 * v), atol=1e-5) == (api == '5.4')


@pytest.mark.parametrize('api, expected', [('1.24', [12, 4]), ('2.0', [12, 16])])
def test_fans_of_a_convolution(run, api, expected):
    assert run("""
from chainer import initializer
print(json.dumps([int(n) for n in initializer.get_fans((4, 3, 2, 2))]))
""", api) == expected


@pytest.mark.parametrize('api, kept', [('5.4', True), ('6.0', False)])
def test_the_gradient_of_what_is_differentiated(run, api, kept):
    assert run("""
x = chainer.Variable(np.ones(2, 'f'))
y = x * 3
y.grad = np.ones(2, 'f')
y.backward()
print(json.dumps(y.grad is not None and x.grad.tolist() == [3, 3]))
""", api) == kept


def test_a_variable_is_a_key_until_2_1(run):
    assert run("""
x = chainer.Variable(np.ones(2, 'f'))
print(json.dumps([{x: 1}[x], len({x, x})]))
""", '2.1') == [1, 1]


def test_simplified_dropconnect_without_training(run):
    """Its argument is still there, and the configuration is not asked."""
    assert run("""
link = L.SimplifiedDropconnect(4, 3)
x = r(2, 4)
print(json.dumps(bool(np.allclose(
    link(chainer.Variable(x), False).data, x.dot(link.W.data.T) + link.b.data))))
""")


def test_snapshots_have_their_old_names(run):
    assert run("""
from chainer.training import extensions
model = L.Classifier(L.Linear(2, 2))
o = chainer.optimizers.SGD()
o.setup(model)
it = chainer.iterators.SerialIterator([(np.ones(2, 'f'), 0)] * 4, 2)
trainer = chainer.training.Trainer(
    chainer.training.StandardUpdater(it, o), (1, 'epoch'), out='out')
trainer.extend(extensions.snapshot())
trainer.extend(extensions.snapshot_object(model, 'm'))
trainer.run()
print(json.dumps([trainer.get_extension(name) is not None
                  for name in ('snapshot', 'snapshot_object')]))
""", '5.4') == [True, True]


def test_a_link_that_is_replaced_keeps_its_name(run):
    assert run("""
c = chainer.Chain(a=L.Linear(2, 3), b=L.Linear(3, 2))
c.a = L.Linear(2, 3)
print(json.dumps([[n for n, _ in c.namedparams()], [n for n, _ in c.namedlinks()]]))
""") == [['/a/W', '/a/b', '/b/W', '/b/b'], ['/', '/a', '/b']]


def test_parameters_without_a_shape_are_not_there_yet(run):
    assert run("""
link = L.Linear(None, 5)
before = [n for n, _ in link.namedparams()]
link(chainer.Variable(r(2, 3)))
print(json.dumps([before, sorted(n for n, _ in link.namedparams())]))
""") == [['/b'], ['/W', '/b']]


def test_a_convolution_with_wscale(run):
    assert run("""
np.random.seed(0)
one = L.MLPConvolution2D(3, (8, 8), 3, 1, 0, 4, F.relu)
np.random.seed(0)
other = L.MLPConvolution2D(3, (8, 8), 3)
print(json.dumps([bool(np.allclose(a.W.data, 2 * b.W.data)) for a, b in
                  zip(one.children(), other.children())]))
""") == [True, True]
