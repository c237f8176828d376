"""The adaptive softmax of a window against its link, numbers, and one of its own."""
import doctest

import chainer
from chainer import functions as F
from hypothesis import given, settings, strategies as st
import numpy
import pytest

from rnnlm import functions
from rnnlm.functions import adaptive_softmax, softmax_loss
from rnnlm.links import AdaptiveSoftmax, adaptive_softmax as links_module
from rnnlm.parts import TABLE

PART = TABLE[AdaptiveSoftmax]


def make(n, V, cutoffs, dtype='d', seed=0, **kwargs):
    """A link whose words have ranks of no order."""
    random = numpy.random.RandomState(seed)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        link = AdaptiveSoftmax(n, V, cutoffs, random.randint(0, 9, V), **kwargs)
    for param in link.params():
        param.array[...] = random.uniform(-1, 1, param.shape)
    return link


def by_definition(link, h):
    """Log probabilities (B, V) of h (B, n), from the formula alone, word by word."""
    params = {name: param.array.astype('d') for name, param in link.namedparams()}

    def log_softmax(z):
        return z - numpy.log(numpy.exp(z).sum())

    found = numpy.empty((len(h), link.n_vocab))
    edges = [0, *link.cutoffs, link.n_vocab]
    for row, x in zip(found, h.astype('d')):
        head = log_softmax(params['/head/W'] @ x + params.get('/head/b', 0))
        for word, rank in enumerate(link.ranks):
            k = numpy.searchsorted(edges, rank, 'right') - 1
            if k == 0:
                row[word] = head[rank]
                continue
            within = log_softmax(
                params[f'/tail{k}/W'] @ (params[f'/project{k}/W'] @ x))
            row[word] = head[edges[1] + k - 1] + within[rank - edges[k]]
    return found


@pytest.mark.parametrize('dtype, limit', [('d', 1e-12), ('f', 1e-5), ('e', 2e-2)])
@pytest.mark.parametrize('head_bias', [True, False])
@pytest.mark.parametrize('V, cutoffs', [(2, [1]), (9, [2, 3, 8]), (30, [29])])
def test_log_probabilities_of_words(V, cutoffs, head_bias, dtype, limit, monkeypatch):
    link = make(4, V, cutoffs, dtype, head_bias=head_bias)
    random = numpy.random.RandomState(1)
    h = random.uniform(-1, 1, (50, 4)).astype(dtype)
    for t in random.randint(0, V, 50), numpy.zeros(50, int):
        expected = by_definition(link, h)[range(50), t]
        for elements in 2 ** 24, 7:  # in one chunk, and row by row
            monkeypatch.setattr(softmax_loss, 'CHUNK_ELEMENTS', elements)
            actual = PART.log_probs(link, h, t)
            assert actual.dtype == 'd'
            numpy.testing.assert_allclose(actual, expected, rtol=0, atol=limit)
    assert PART.log_probs(link, h[:0], t[:0]).shape == (0,)


def by_steps(link, h, t):
    """The loss of a window by the link and Chainer's loss, step by step."""
    return sum(F.softmax_cross_entropy(link(h_t), t_t)
               for h_t, t_t in zip(F.separate(h), t))


def gradients(link, loss, h):
    link.cleargrads()
    h.cleargrad()
    loss.backward()
    grads = [param.grad for _, param in sorted(link.namedparams())]
    return [loss.array, h.grad, *grads]


@st.composite
def cases(draw):
    """(link, h, t): cutoffs anywhere, targets that leave clusters out, some of -1."""
    V = draw(st.integers(2, 12))
    cutoffs = draw(st.sets(st.integers(1, V - 1), min_size=1).map(sorted))
    n, T, B = (draw(st.integers(1, 5)) for _ in range(3))
    link = make(n, V, cutoffs, div_value=draw(st.sampled_from([1, 2, 4.0])),
                head_bias=draw(st.booleans()), seed=draw(st.integers(0, 99)))
    words = draw(st.sets(st.integers(-1, V - 1), min_size=1).map(sorted))
    t = draw(st.lists(st.sampled_from(words), min_size=T * B, max_size=T * B))
    h = numpy.random.RandomState(V).uniform(-1, 1, (T, B, n))
    return link, chainer.Variable(h), numpy.array(t, 'i').reshape(T, B)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(cases(), st.integers(1, 40))
def test_a_window_is_its_steps(case, chunk):
    link, h, t = case
    expected = gradients(link, by_steps(link, h, t), h)
    before = softmax_loss.CHUNK_ELEMENTS
    softmax_loss.CHUNK_ELEMENTS = chunk
    try:
        actual = gradients(link, PART.loss(link, h, t, []), h)
    finally:
        softmax_loss.CHUNK_ELEMENTS = before
    for a, b in zip(actual, expected):
        numpy.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None, database=None, derandomize=True)
@given(cases())
def test_probabilities_are_those_of_the_definition_and_sum_to_one(case):
    link, h, t = case
    assert PART.why_not(link) == ''
    window = PART.window(link, h).array
    for step, h_t in zip(window, h.array):
        numpy.testing.assert_allclose(step, by_definition(link, h_t), rtol=1e-9)
    numpy.testing.assert_allclose(numpy.exp(window).sum(axis=2), 1, rtol=1e-12)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('head_bias', [True, False])
def test_a_window_on_a_device(device, dtype, head_bias):
    link = make(6, 11, [2, 5, 9], dtype, head_bias=head_bias)
    link.to_device(device)
    random = numpy.random.RandomState(3)
    h = chainer.Variable(device.send(random.uniform(-1, 1, (4, 3, 6)).astype(dtype)))
    t = device.send(random.randint(-1, 8, (4, 3)).astype('i'))
    close = {'f': dict(rtol=1e-4, atol=1e-5), 'd': dict(rtol=1e-9, atol=1e-9)}[dtype]
    actual = gradients(link, PART.loss(link, h, t, []), h)
    for a, b in zip(actual, gradients(link, by_steps(link, h, t), h)):
        assert a.dtype == dtype
        numpy.testing.assert_allclose(
            *(chainer.cuda.to_cpu(x) for x in (a, b)), **close)


def test_numerical_gradient():
    link = make(4, 9, [2, 6])
    random = numpy.random.RandomState(1)
    h = chainer.Variable(random.randn(3, 2, 4))
    t = numpy.array([[0, 8], [-1, 3], [5, 5]], 'i')
    variables = [h, *link.params()]
    direction = [random.randn(*v.shape) for v in variables]

    def loss(step):
        for v, d in zip(variables, direction):
            v.array[...] += step * d
        found = float(PART.loss(link, h, t, []).array)
        for v, d in zip(variables, direction):
            v.array[...] -= step * d
        return found

    numerical = (loss(1e-6) - loss(-1e-6)) / 2e-6
    gradients(link, PART.loss(link, h, t, []), h)
    analytical = sum((v.grad * d).sum() for v, d in zip(variables, direction))
    assert analytical == pytest.approx(numerical, rel=1e-7)


def test_the_gradient_is_scaled_and_made_again():
    link = make(4, 9, [2, 6])
    h = chainer.Variable(numpy.random.RandomState(0).randn(3, 2, 4))
    t = numpy.array([[0, 8], [-1, 3], [5, 5]], 'i')
    once = gradients(link, PART.loss(link, h, t, []), h)
    loss = PART.loss(link, h, t, [])
    loss.backward()
    twice = gradients(link, 2 * loss, h)
    for a, b in zip(twice, once):
        numpy.testing.assert_allclose(a, 2 * b, rtol=1e-12)


def test_half_precision_is_computed_in_float32():
    link = make(8, 9, [2, 6], 'e')
    wide = make(8, 9, [2, 6], 'f')
    h = numpy.random.RandomState(0).uniform(-1, 1, (3, 2, 8)).astype('e')
    t = numpy.array([[0, 8], [-1, 3], [5, 5]], 'i')
    narrow = gradients(link, PART.loss(link, chainer.Variable(h), t, []),
                       chainer.Variable(h))
    for param, other in zip(link.params(), wide.params()):
        other.array[...] = param.array
    expected = gradients(wide, PART.loss(wide, chainer.Variable(h.astype('f')), t, []),
                         chainer.Variable(h))
    assert narrow[0].dtype == numpy.float32 and narrow[2].dtype == numpy.float16
    for a, b in zip(narrow, expected):
        if b is not None:
            numpy.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


def test_there_is_no_second_derivative():
    link = make(4, 9, [2, 6])
    h = chainer.Variable(numpy.random.RandomState(0).randn(3, 2, 4))
    loss = PART.loss(link, h, numpy.zeros((3, 2), 'i'), [])
    grad, = chainer.grad([loss], [h], enable_double_backprop=True)
    with pytest.raises(RuntimeError, match='first derivatives only'):
        F.sum(grad).backward()


@pytest.mark.parametrize('change, match', [
    (lambda a: a.update(x=a['x'].astype('f')), 'dtype'),
    (lambda a: a.update(x=a['x'][0]), 'ndim'),
    (lambda a: a.update(head_b=a['head_b'][1:]), 'shape'),
    (lambda a: a['tails'].__setitem__(1, a['tails'][1].T), 'shape'),
    (lambda a: a.update(t=a['t'].astype('f')), 't: int array'),
    (lambda a: a.update(ranks=a['ranks'][:, None]), 'ranks: int array'),
    (lambda a: a.update(t=a['t'][1:]), 'shape')])
def test_arguments_that_do_not_fit(change, match):
    link = make(4, 9, [2, 6])
    arguments = dict(
        x=numpy.zeros((3, 2, 4)), head_W=link.head.W.array, head_b=link.head.b.array,
        tails=[inner.W.array for tail in link.tails() for inner in tail],
        ranks=link.ranks, t=numpy.zeros((3, 2), 'i'))
    functions.adaptive_softmax_cross_entropy(**arguments)
    change(arguments)
    with pytest.raises(chainer.utils.type_check.InvalidType, match=match):
        functions.adaptive_softmax_cross_entropy(**arguments)


def test_clusters_without_words():
    link = make(4, 9, [2, 4, 6])
    edges = [*link.cutoffs, 9]
    ids = numpy.argsort(link.ranks)
    found = adaptive_softmax.tails_without_words(
        link.ranks, edges, numpy.array([[ids[0], -1], [ids[4], ids[1]]]))
    assert found == [0, 2]


@pytest.mark.parametrize('counts, expected', [
    ([1, 1], (1,)), ([5, 0], (1,)), ([0, 0, 0], (2,)), ([9, 0, 0], (1,)),
    ([1] * 100, (80, 95)), (1 / numpy.arange(1, 101), (36, 78))])
def test_default_cutoffs_cover_80_and_95_percent(counts, expected):
    found = links_module.default_cutoffs(counts)
    assert found == expected == links_module.default_cutoffs(counts[::-1])
    assert AdaptiveSoftmax(3, len(counts), counts=counts).cutoffs == found


def test_the_examples_of_the_documentation():
    found = doctest.testmod(links_module, extraglobs={'numpy': numpy})
    assert found.attempted and not found.failed
