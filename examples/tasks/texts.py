"""The texts that classify.py classifies: film reviews, or synthetic ones.

In a synthetic text nine words, each good or bad, are at random places among noise.  In
a text of class 1 each is good with probability 0.7, in one of class 0 with 0.3.  The
best classifier takes the majority of the nine.
"""
import collections
import glob
import math
import os
import re

import numpy

import rnnlm

from options import read_book

PAD, UNKNOWN, BAD, GOOD, NOISE = range(5)  # NOISE is the first of the noise words
# Few words: 5,000 texts could be told apart by rare words, without learning the task.
WORDS, MARKS, AGREE = 100, 9, 0.7
# Highest possible accuracy: how often at least five of nine agree with the class.
BEST = sum(math.comb(MARKS, k) * AGREE ** k * (1 - AGREE) ** (MARKS - k)
           for k in range(MARKS // 2 + 1, MARKS + 1))


def make_up(n, length, n_vocab=WORDS):
    """Generates texts (n, length) and their classes, as described above.

    A text has from `length` / 5 to `length` words, with padding before them.
    """
    classes = numpy.random.randint(0, 2, n)
    ids = numpy.full((n, length), PAD, 'i')
    shortest = max(MARKS, length // 5)
    for text, kind in zip(ids, classes):
        size = numpy.random.randint(shortest, length + 1)
        words = numpy.random.randint(NOISE, n_vocab, size)
        agree = numpy.random.rand(MARKS) < AGREE
        words[numpy.random.permutation(size)[:MARKS]] = numpy.where(
            agree == kind, GOOD, BAD)
        text[length - size:] = words
    return ids, classes.astype('i')


def read_imdb(folder, length, n_vocab):
    """Reads (ids, classes) for training and testing from the folder aclImdb."""
    portions = []
    for part in 'train', 'test':
        texts, classes = [], []
        for kind, name in enumerate(('neg', 'pos')):
            paths = sorted(glob.glob(os.path.join(
                glob.escape(folder), part, name, '*.txt')))
            if not paths:
                raise rnnlm.InputError(
                    f'{folder}: expected the folder aclImdb with texts as '
                    f'{part}/{name}/*.txt, found none')
            texts += [re.findall("[a-z']+", read_book(path).lower()) for path in paths]
            classes += [kind] * len(paths)
        portions.append((texts, numpy.array(classes, 'i')))
    counts = collections.Counter(word for text in portions[0][0] for word in text)
    numbers = {word: k for k, (word, _) in enumerate(
        counts.most_common(n_vocab - 2), 2)}
    return [(pad([[numbers.get(word, UNKNOWN) for word in text] for text in texts],
                 length), classes) for texts, classes in portions]


def pad(texts, length):
    """Returns (n, length): the last words of each text, padded in front."""
    ids = numpy.full((len(texts), length), PAD, 'i')
    for row, text in zip(ids, texts):
        text = text[-length:]
        row[length - len(text):] = text
    return ids
