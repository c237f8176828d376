"""The comparison of arrays by which kernels are verified, on NumPy and on a GPU."""
import chainer
from helpers import ON_HOST
import numpy
import pytest

from rnnlm.kernels import verification
from rnnlm.kernels.verification import deviation, difference, sum_of_squares

SHAPES = [(), (1,), (40,), (0,), (0, 3), (3, 0), (7, 5), (5, 8, 3), (1, 30)]
SPECIAL = numpy.nan, numpy.inf, -numpy.inf


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(verification, 'PIECE', 11)


def expected(ours, reference, floor):
    """The same by plain NumPy, on the whole arrays at once."""
    known = numpy.isfinite(reference)
    whole = bool(known.all())
    kind = 'd' if ours.dtype == 'd' else 'f'
    ours, reference = (x[known].astype(kind) for x in (ours, reference))
    if not ours.size:
        return 0.0, whole
    if not numpy.isfinite(ours).all():
        return numpy.nan, whole
    with numpy.errstate(over='ignore'):
        most = float(abs(ours - reference).max())
    return most / max(float(abs(reference).max()), floor, 1e-30), whole


def pairs(dtype):
    """Yields (ours, reference), with numbers that are not finite in either or both."""
    random = numpy.random.RandomState(0)
    for shape in SHAPES:
        for _ in range(12):
            pair = random.randn(2, *shape).astype(dtype)
            pair[1] = pair[0] + pair[1] * random.choice([0, 1e-3, 1])
            ours, reference = pair[0, ...], pair[1, ...]
            for one, other in (ours, reference), (reference, ours):
                at = random.rand(*shape) < random.choice([0, 0, 0.1, 1])
                one[at] = random.choice(SPECIAL)
                if random.rand() < 0.3:
                    other[at] = random.choice(SPECIAL)
            yield ours, reference


@pytest.mark.parametrize('dtype', ['e', 'f', 'd'])
def test_deviation_is_that_of_numpy(xp, dtype):
    seen = set()
    for ours, reference in pairs(dtype):
        for floor in 0.0, 3.0:
            exact = expected(ours, reference, floor)
            seen.add((numpy.isnan(exact[0]), exact[1], exact[0] > 0.1))
            for sent in reference, xp.asarray(reference):
                found = deviation(xp.asarray(ours), sent, floor)
                numpy.testing.assert_equal(found, exact)
                assert [type(x) for x in found] == [float, bool]
    assert len(seen) == 6


def test_arrays_that_are_not_contiguous(xp):
    x, y = numpy.random.RandomState(0).randn(2, 6, 8).astype('f')
    for view in (lambda a: a.T, lambda a: a[:, ::3], lambda a: a[::-1],
                 lambda a: a[:, None, 3:]):
        numpy.testing.assert_equal(
            deviation(view(xp.asarray(x)), view(y)), expected(view(x), view(y), 0.0))


@pytest.mark.parametrize('other', [
    numpy.zeros((3, 4), 'f'), numpy.zeros((4, 3), 'd'), numpy.zeros(12, 'f'),
    numpy.zeros((4, 0), 'f')])
def test_other_shapes_and_dtypes_never_agree(xp, other):
    x = xp.zeros((4, 3), 'f')
    assert deviation(x, xp.asarray(other))[0] == numpy.inf
    assert difference([('a', x, other, 1e9)], 'float32')[0] == (
        'a differs from the reference: expected at most 1e-04 of its largest number '
        '(float32), found inf')


@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_differences_that_overflow(xp, dtype):
    most = numpy.finfo(dtype).max
    ours = xp.full(30, most, dtype)
    assert deviation(ours, numpy.full(30, -most, dtype)) == (numpy.inf, True)
    assert deviation(ours, numpy.full(30, numpy.inf, dtype)) == (0.0, False)
    assert deviation(xp.full(9, 65504, 'e'), numpy.full(9, -65504, 'e')) == (2.0, True)


def test_the_worst_array_is_named(xp):
    one = numpy.linspace(-2, 2, 40, dtype='f')

    def found(*changes):
        arrays = []
        for k, change in enumerate(changes):
            ours = one.copy()
            ours[17] += change
            arrays.append((f'array {k}', xp.asarray(ours), one, 0.0))
        return difference(iter(arrays), 'float32')

    assert found() == found(0, 1e-4, 0) == ('', True)
    assert found(0, 0.02, 0.2, 0.002)[0] == (
        'array 2 differs from the reference: expected at most 1e-04 of its largest '
        'number (float32), found 1.0e-01')
    for change in SPECIAL:
        assert found(9, change, 0)[0] == (
            'array 1 differs from the reference: expected at most 1e-04 of its largest '
            'number (float32), found numbers that are not finite')


def test_references_that_are_not_finite_are_reported(xp):
    one = numpy.ones(40, 'f')
    for value in SPECIAL:
        other = one.copy()
        other[23] = value
        pairs = [('a', xp.asarray(one), one, 0.0), ('b', xp.asarray(one), other, 0.0)]
        assert difference(pairs, 'float32') == ('', False)
        assert difference(pairs[::-1], 'float32') == ('', False)


def test_a_floor(xp):
    x, y = xp.zeros(3, 'd'), numpy.full(3, 1e-12)
    assert difference([('a', x, y, 1e-2)], 'float64') == ('', True)
    assert difference([('a', x, y, 1e-4)], 'float64')[0]


@pytest.mark.parametrize('dtype', ['e', 'f', 'd'])
def test_sum_of_squares(xp, dtype):
    for shape in SHAPES:
        x = numpy.asarray(300 * numpy.random.RandomState(0).randn(*shape), dtype)
        found = sum_of_squares(xp.asarray(x))
        assert found.dtype == 'd' and found.shape == ()
        assert float(found) == pytest.approx((x.astype('d') ** 2).sum(), rel=1e-14)


@pytest.mark.gpu
def test_without_memory_on_the_gpu_the_host_compares(monkeypatch):
    cupy = chainer.backends.cuda.cupy

    def full(*args):
        raise cupy.cuda.memory.OutOfMemoryError(8, 8)

    x, y = cupy.ones(40, 'f'), numpy.full(40, 1.5, 'f')
    monkeypatch.setattr(cupy, 'where', full)
    assert deviation(x, y) == pytest.approx((1 / 3, True))
    assert deviation(x, cupy.asarray(y)) == pytest.approx((1 / 3, True))


@pytest.mark.gpu
@pytest.mark.skipif(not ON_HOST, reason='the stand-in counts')
def test_the_host_waits_once_for_each_array():
    cupy = chainer.backends.cuda.cupy
    arrays = [('a', cupy.ones(40, 'f'), cupy.ones(40, 'f'), 0.0)] * 3
    cupy._device.counts.reset()
    difference(arrays, 'float32')
    assert len(cupy._device.counts.waits) == 3
    cupy._device.counts.reset()
    sum_of_squares(cupy.ones(40, 'f'))
    assert cupy._device.counts.waits == []
