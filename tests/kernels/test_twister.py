"""Masks of dropout are of NumPy's own stream, and leave it where NumPy would."""
import numpy
import pytest

import rnnlm
from rnnlm import functions, kernels

pytest.importorskip('llvmlite')
from rnnlm.kernels import twister  # noqa: E402

# The last of them ends within a state, at its end, and at an odd word.
COUNTS = [0, 1, 2, 15, 16, 17, 311, 312, 313, 623, 624, 625, 5000]


def same_state(one, other):
    return (one[0] == other[0] and one[2:] == other[2:]
            and numpy.array_equal(one[1], other[1]))


@pytest.mark.parametrize('count', COUNTS)
@pytest.mark.parametrize('drawn_before', [0, 1, 2, 311, 623, 624, 625, 1247])
def test_same_numbers_and_the_same_state_after_them(count, drawn_before):
    for seed, ratio in (0, 0.5), (1, 0.65), (2, 1e-3), (3, numpy.float64(0.2)):
        numpy.random.seed(seed)
        numpy.random.randint(0, 2 ** 32, drawn_before, dtype='u4')
        numpy.random.randn(seed)  # an odd number of these leaves one for later
        before = numpy.random.get_state()
        expected = numpy.float32(3) * (numpy.random.rand(count) >= ratio)
        after = numpy.random.get_state()
        numpy.random.set_state(before)
        actual = twister.masks(count, ratio, numpy.float32(3))
        assert actual.dtype == expected.dtype == numpy.float32
        numpy.testing.assert_array_equal(actual, expected)
        assert same_state(numpy.random.get_state(), after)


def test_a_number_that_is_the_ratio_is_kept():
    numpy.random.seed(4)
    numbers = numpy.random.rand(1000)
    for ratio in [*numbers[:20], *numpy.nextafter(numbers[20:40], 2)]:
        numpy.random.seed(4)
        numpy.testing.assert_array_equal(
            twister.masks(1000, ratio, 1), numbers >= ratio)


def test_another_generator_and_another_rand_go_without(monkeypatch):
    assert twister.masks(3, 0.5, 1) is not None
    with monkeypatch.context() as patch:
        patch.setattr(numpy.random, 'rand', lambda *shape: numpy.ones(shape))
        assert twister.masks(3, 0.5, 1) is None
        drop = functions.WindowDropout(numpy, 2, 3, [4], 0.5, numpy.float32)
        x = numpy.ones((2, 3, 4), 'f')
        numpy.testing.assert_array_equal(drop(0, x).array, 2 * x)
    if hasattr(numpy.random, 'set_bit_generator'):
        before = numpy.random.get_bit_generator()
        numpy.random.set_bit_generator(numpy.random.PCG64(1))
        try:
            state = numpy.random.get_bit_generator().state
            assert twister.masks(3, 0.5, 1) is None
            assert numpy.random.get_bit_generator().state == state
        finally:
            numpy.random.set_bit_generator(before)


@pytest.mark.parametrize('B, widths', [(1, [3]), (3, [5, 7, 2]), (20, [40, 40, 40])])
def test_dropout_of_a_window(B, widths, monkeypatch):
    x = [numpy.ones((4, B, n), 'f') for n in widths]
    found, states = [], []
    for enabled in True, False:
        monkeypatch.setattr(kernels, 'enabled', enabled)
        numpy.random.seed(0)
        drop = functions.WindowDropout(numpy, 4, B, widths, 0.3, numpy.float32)
        found.append([drop(k, array).array for k, array in enumerate(x)])
        states.append(numpy.random.get_state())
    for one, other in zip(*found):
        numpy.testing.assert_array_equal(one, other)
        assert 0.5 < (one > 0).mean() < 0.9 or one.size < 50
    assert same_state(*states)


def test_they_are_what_a_model_drops_with(monkeypatch):
    called = []
    masks = twister.masks
    monkeypatch.setattr(
        twister, 'masks', lambda *args: called.append(args) or masks(*args))
    model = rnnlm.RNNForLM(10, 20, dropout=0.5)
    model(numpy.zeros((3, 2), 'i'))
    assert [count for count, *_ in called] == [3 * 3 * 2 * 20]
