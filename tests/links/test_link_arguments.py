"""Arguments of links that cannot be used are refused by name."""
import chainer
from helpers import refused
import numpy
import pytest

import rnnlm
from rnnlm.links import (
    AdaptiveSoftmax, DroppedLinear, HardSigmoidLSTM, LockedDropout, OutputBias,
    WeightDropLSTM)
from rnnlm.links.adaptive_softmax import default_cutoffs

NAN, INFINITE = float('nan'), float('inf')
NO_SIZES = ['3', -1, 0, 2.5, True, NAN, (2, 3), numpy.array([3]), 2 ** 31]
NO_NUMBERS = ['0.2', None, NAN, INFINITE, -INFINITE, -1, 1j, [0.2],
              numpy.array([0.2]), 10 ** 400]


def bad(make, name, values):
    return [(make, name, value) for value in values]


CASES = [
    *(case for kind in (HardSigmoidLSTM, WeightDropLSTM) for case in (
        *bad(lambda v, kind=kind: kind(v, 2), 'in_size', NO_SIZES),
        *bad(lambda v, kind=kind: kind(3, v), 'out_size', NO_SIZES),
        *bad(lambda v, kind=kind: kind(v, None), 'in_size', [*NO_SIZES, None]))),
    *bad(lambda v: HardSigmoidLSTM(3, 2, v), 'slope', [*NO_NUMBERS, 0.3]),
    *(case for make in (LockedDropout, lambda v: WeightDropLSTM(3, 2, v),
                        lambda v: DroppedLinear(numpy.zeros((2, 2), 'f'), v),
                        lambda v: rnnlm.RNNForLM(5, 3, dropout=v))
      for case in bad(make, 'ratio|dropout', [*NO_NUMBERS, 1])),
    *bad(lambda v: DroppedLinear(v, .5), 'W',
         [3, None, [[.5]], numpy.zeros(3, 'f'), numpy.zeros((2, 2), 'i')]),
    *bad(OutputBias, 'n_vocab', [*NO_SIZES, None]),
    *bad(lambda v: rnnlm.RNNForLM(5, 3, init_scale=v), 'init_scale', NO_NUMBERS),
    *bad(lambda v: AdaptiveSoftmax(v, 100), 'in_size', [*NO_SIZES, None]),
    *bad(lambda v: AdaptiveSoftmax(4, v), 'n_vocab', [*NO_SIZES, None, 1]),
    *bad(lambda v: AdaptiveSoftmax(4, 100, [9, 20], div_value=v), 'div_value',
         [*NO_NUMBERS, 0.5]),
    *bad(lambda v: AdaptiveSoftmax(4, 100, v), 'cutoffs', [
        5, 'ab', '12', [], (), iter([]), iter([3, 2]), [NAN, 20], [INFINITE], [True, 9],
        [2.5], [None], ['3'], [[1, 2], [3, 4]], numpy.array([[1], [2]]), {20: 1, 9: 2},
        range(1, 101), iter(lambda: 1, 2), [100], [10 ** 400]]),
    *bad(lambda v: AdaptiveSoftmax(4, 100, [9, 20], projected=v), 'projected', [
        5, 'ab', [], [3], [3, 2, 1], iter([3, 2]), {5, 6}, {3: 1, 4: 2}, [2, -1],
        [2.5, 2], [NAN, 2], [None, 2], [True, 2], numpy.array([[3], [2]]),
        [2, 2 ** 31]]),
    *(case for make in (lambda v: AdaptiveSoftmax(4, 3, counts=v), default_cutoffs,
                        lambda v: rnnlm.adaptive_model(3, 4, counts=v))
      for case in bad(make, 'counts', [
          5, 'abc', [1], iter([1, 2, 3]), {0: 1, 1: 2, 2: 3}, ['a'] * 3,
          [[1], [2, 3], 4],
          [1, 1j, 2], [10 ** 30] * 3, [1, -1, 2], [1, NAN, 2], [1, INFINITE, 2],
          [1, -INFINITE, 2], numpy.ones((3, 1)), [None] * 3, [True] * 3])),
]


@pytest.mark.parametrize('make, name, value', CASES)
def test_bad_arguments(make, name, value):
    with pytest.raises(rnnlm.InputError, match=f'^({name}): expected .*, found '):
        make(value)


def test_the_count_that_is_wrong_is_shown():
    with refused('counts', '3 finite numbers', 'found nan for word 1'):
        AdaptiveSoftmax(4, 3, counts=[1, NAN, 2])
    with refused('counts', 'found 2 of them'):
        AdaptiveSoftmax(4, 3, counts=[1, 2])


def test_good_arguments():
    for cutoffs in (k for k in (9, 20)), range(9, 21, 11), numpy.array([9., 20.]):
        assert AdaptiveSoftmax(4, 100, cutoffs).cutoffs == (9, 20)
    sizes = [[project.W.shape[0] for project, _ in link.tails()] for link in (
        AdaptiveSoftmax(64, 100, [9, 20, 50], div_value=1e300),
        AdaptiveSoftmax(64, 100, [9, 20, 50], div_value=numpy.float32(8)),
        AdaptiveSoftmax(64, 100, [9, 20, 50], projected=numpy.array([3, 2, 7])))]
    assert sizes == [[1, 1, 1], [8, 1, 1], [3, 2, 7]]
    for cls in HardSigmoidLSTM, WeightDropLSTM:
        for arguments in (3, 2), (None, 2), (2, None):
            assert cls(*arguments)(numpy.zeros((4, 3), 'f')).shape == (4, 2)


@pytest.mark.parametrize('largest', [2.0 ** 1023, 2.0 ** -1074])
def test_counts_whose_sum_is_no_number(largest):
    assert default_cutoffs([largest] * 100) == (80, 95)
    model = rnnlm.adaptive_model(100, 4, counts=[largest] * 100)
    assert model.output.cutoffs == (80, 95)
    assert isinstance(model.output, chainer.Link)
