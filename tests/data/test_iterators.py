"""ParallelSequentialIterator against the official semantics, written out."""
import warnings

import chainer
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy
import pytest

import rnnlm
from rnnlm.errors import InputError


class Official:
    """One step after the other, by the words of the official example."""

    def __init__(self, words, B, repeat):
        self.words, self.B, self.repeat = words, B, repeat
        self.iteration = self.epoch = 0

    def step(self):
        N = len(self.words)
        if not self.repeat and self.iteration * self.B >= N:
            raise StopIteration
        at = [(b * N // self.B + self.iteration) % N for b in range(self.B)]
        pairs = [(self.words[k], self.words[(k + 1) % N]) for k in at]
        self.before = self.iteration * self.B / N
        self.iteration += 1
        epoch = self.iteration * self.B // N
        self.is_new_epoch, self.epoch = epoch > self.epoch, epoch
        return pairs


@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
@settings(deadline=None, max_examples=60)
def test_steps(N, B, repeat):
    words = [int(w) for w in numpy.random.RandomState(N).randint(0, 99, N)]
    official = Official(words, B, repeat)
    iterator = rnnlm.ParallelSequentialIterator(words, B, repeat)
    assert iterator.previous_epoch_detail is None
    for _ in range(3 * N):
        try:
            expected = official.step()
        except StopIteration:
            with pytest.raises(StopIteration):
                next(iterator)
            break
        assert next(iterator) == expected
        assert iterator.epoch == official.epoch
        assert iterator.is_new_epoch == official.is_new_epoch
        assert iterator.iteration == official.iteration
        assert iterator.epoch_detail == official.iteration * B / N
        assert iterator.previous_epoch_detail == official.before
    iterator.reset()
    assert iterator.epoch == iterator.iteration == 0


@given(st.integers(1, 60), st.integers(1, 9), st.booleans(),
       st.lists(st.integers(1, 20), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_windows(N, B, repeat, lengths):
    words = numpy.random.RandomState(N).randint(0, 99, N)
    official = Official(words, B, repeat)
    iterator = rnnlm.ParallelSequentialIterator(words, B, repeat)
    for length in lengths:
        steps, new_epoch, before = [], False, iterator.epoch_detail
        try:
            for _ in range(length):
                steps.append(official.step())
                new_epoch |= official.is_new_epoch
        except StopIteration:
            if not steps:
                with pytest.raises(StopIteration):
                    iterator.next_window(length)
                return
        window = iterator.next_window(length)
        assert window.dtype == numpy.int32
        assert window.shape == (len(steps) + 1, B)
        for t, pairs in enumerate(steps):
            assert list(zip(window[t], window[t + 1])) == pairs
        assert iterator.is_new_epoch == new_epoch
        assert iterator.epoch == official.epoch
        assert iterator.previous_epoch_detail == before


def test_serialize(tmp_path):
    words = numpy.arange(50)
    iterator = rnnlm.ParallelSequentialIterator(words, 3)
    iterator.next_window(20)
    chainer.serializers.save_npz(tmp_path / 'i.npz', iterator)
    other = rnnlm.ParallelSequentialIterator(words, 3)
    chainer.serializers.load_npz(tmp_path / 'i.npz', other)
    for name in ('iteration', 'epoch', 'epoch_detail', 'previous_epoch_detail'):
        assert getattr(other, name) == getattr(iterator, name)
    numpy.testing.assert_array_equal(other.next_window(4), iterator.next_window(4))

    fresh = rnnlm.ParallelSequentialIterator(words, 3)
    chainer.serializers.save_npz(tmp_path / 'f.npz', fresh)
    chainer.serializers.load_npz(tmp_path / 'f.npz', other)
    assert other.previous_epoch_detail is None


def test_old_snapshots_lack_the_previous_epoch_detail(tmp_path):
    numpy.savez(tmp_path / 'i.npz', iteration=20, epoch=1)
    iterator = rnnlm.ParallelSequentialIterator(numpy.arange(50), 3)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        chainer.serializers.load_npz(tmp_path / 'i.npz', iterator)
    assert iterator.previous_epoch_detail == 19 * 3 / 50


@pytest.mark.parametrize('n, B', [(0, 1), (5, 0), (5, -2), (5, 1.5)])
def test_wrong_arguments_are_refused(n, B):
    with pytest.raises(rnnlm.InputError, match='batch_size|dataset'):
        rnnlm.ParallelSequentialIterator(list(range(n)), B)


@pytest.mark.parametrize('words', [
    numpy.arange(12) + .5, (numpy.arange(12) + .5).tolist(), numpy.arange(12) > 3,
    numpy.arange(12) + 2 ** 32])
def test_a_dataset_replaced_by_other_values_is_not_converted_in_silence(words):
    """They would become other ids."""
    iterator = rnnlm.ParallelSequentialIterator(numpy.arange(12, dtype='i'), 2)
    assert iterator.next_window(3).dtype == numpy.int32
    iterator.dataset = words
    found = iterator.next_window(3)
    assert found.dtype == numpy.asarray(words).dtype
    with pytest.raises(InputError, match='ids: expected'):
        rnnlm.RNNForLM(20, 4).check_ids(found)
