"""Text generation: samples follow the distribution, after all of the prime."""
import chainer
import numpy
import pytest

import rnnlm
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.inference.generate import generate, text_of


class Counting(rnnlm.RNNForLM):
    """Model whose probabilities are an exact function of the words seen so far."""

    def __init__(self):
        super().__init__(4, 2)
        self.seen = []

    def forward(self, x):
        assert not chainer.config.train and not chainer.config.enable_backprop
        self.seen.append(int(x[0]))
        p = numpy.array([0.1, 0.2, 0.3, 0.4])
        p = numpy.roll(p, sum(self.seen))
        return chainer.Variable(numpy.log(p)[None].astype('f'))

    def reset_state(self):
        self.seen = []


def test_words_come_from_the_distribution():
    model = Counting()
    counts = numpy.zeros(4)
    numpy.random.seed(0)
    for _ in range(3000):
        word, = generate(model, [1, 2], 1)
        counts[word] += 1
    expected = 3000 * numpy.roll([0.1, 0.2, 0.3, 0.4], 3)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 16  # 3 degrees of freedom: once in a thousand


def test_all_words_are_read_and_each_is_fed_back():
    model = Counting()
    words = list(generate(model, [1, 3, 2], 5, sample=False))
    assert model.seen == [1, 3, 2] + words
    # The most probable word is the fourth, shifted by the sum of the words read.
    total, expected = 6, []
    for _ in range(5):
        expected.append((3 + total) % 4)
        total += expected[-1]
    assert words == expected


def test_the_callers_configuration_is_left_alone():
    one = generate(Counting(), [0], 3)
    two = generate(Counting(), [0], 3)
    for _ in zip(one, two):
        assert chainer.config.train and chainer.config.enable_backprop
    assert chainer.config.train and chainer.config.enable_backprop


def test_same_seed_same_text_and_a_fresh_state():
    numpy.random.seed(0)
    model = rnnlm.RNNForLM(9, 8)
    texts = []
    for _ in range(2):
        numpy.random.seed(5)
        texts.append(list(generate(model, [3], 20)))
    assert texts[0] == texts[1]


def test_text_of():
    words = Vocabulary(['<eos>', 'a', 'b'])
    assert ''.join(text_of(words, [1, 2, 0, 2, 1])) == 'a b\nb a'
    characters = Vocabulary(['x', '\n', ' '])
    assert ''.join(text_of(characters, [0, 2, 0, 1])) == 'x x\n'


@pytest.mark.parametrize('prime, length', [([], 3), ([1], -1), ([1], 2.5)])
def test_bad_arguments(prime, length):
    with pytest.raises(rnnlm.InputError):
        list(generate(Counting(), prime, length))
