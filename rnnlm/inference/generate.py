"""What a trained model is for: the text that it would go on with."""
import difflib

import chainer
import numpy

from rnnlm.data.text import EOS
from rnnlm.errors import (
    InputError, require, require_count, require_ids, require_positive)


def encode_prime(vocabulary, text):
    """Ids of the words to begin with.

    Args:
        vocabulary: `rnnlm.data.corpus.Vocabulary`.
        text (str): Words between blanks, or characters if the vocabulary's tokens
            are such.

    Returns:
        numpy.ndarray: int32 (N,), N >= 1.

    Raises:
        rnnlm.errors.InputError: if there is no word, or one that the vocabulary
            lacks: here, unlike in a corpus, it does not become ``<unk>``.
    """
    words = text if vocabulary.by_character else text.split()
    if not words:
        raise InputError('prime text: expected at least one word, found none')
    for word in words:
        if word not in vocabulary:
            close = difflib.get_close_matches(word, vocabulary.words, 3)
            raise InputError(
                f'prime text: expected words of the vocabulary, found {word!r}'
                + (f'; close to it: {", ".join(map(repr, close))}' if close else ''))
    return vocabulary.encode(words)


def text_of(vocabulary, ids):
    """Yields the text of ids piece by piece: a line a sentence, if by word."""
    gap = ''
    for word in ids:
        token, = vocabulary.decode([word])
        if vocabulary.by_character:
            yield token
        elif token == EOS:
            yield '\n'
            gap = ''
        else:
            yield gap + token
            gap = ' '


def generate(model, prime, length, sample=True, temperature=1.0, top_k=None,
             top_p=None, random=None):
    """Goes on with a text, word by word.

    Words are drawn from the model's distribution with ``numpy.random``, as
    Chainer's gentxt.py draws them.  The model's state is reset first.

    Args:
        model: `RNNForLM`.
        prime (sequence of int): Ids of the words to begin with, at least one.
        length (int): Number of words to add.
        sample (bool): If false, always the most probable word is taken.
        temperature (float): What the logits are divided by: below 1 likely words
            become likelier.
        top_k (int): Only the k most probable words are drawn from.
        top_p (float): Only the fewest words that together have this probability
            (nucleus sampling; Holtzman et al. 2020).
        random: What draws, as `numpy.random.RandomState`; ``numpy.random`` if None.

    Yields:
        int: the id of the next word.
    """
    require_count('length', length, least=0)
    require_positive('temperature', temperature)
    if top_k is not None:
        require_count('top_k', top_k)
    if top_p is not None:
        require('top_p', top_p, 'a probability above 0', lambda v: 0 < v <= 1)
    prime = require_ids('prime', prime)
    model.reset_state()
    for word in prime:
        logits = _next(model, word)
    for _ in range(length):
        if sample:
            p = _probabilities(logits / temperature, top_k, top_p)
            word = int((random or numpy.random).choice(len(p), p=p))
        else:
            word = int(logits.argmax())
        yield word
        logits = _next(model, word)


def _probabilities(logits, top_k, top_p):
    p = numpy.exp(logits - logits.max())
    p /= p.sum()
    if top_k is None and top_p is None:
        return p
    order = numpy.argsort(-p, kind='stable')
    kept = min(top_k or len(p), len(p))
    if top_p is not None:
        kept = min(kept, 1 + int((numpy.cumsum(p[order]) < top_p).sum()))
    p[order[kept:]] = 0
    return p / p.sum()


def beam_search(model, prime, length, width):
    """The most probable way to go on with a text, as far as `width` beams see.

    Args:
        model: `RNNForLM`; its state is reset first.
        prime (sequence of int): Ids of the words to begin with, at least one.
        length (int): Number of words to add.
        width (int): Beams.

    Returns:
        tuple: the ids (list of int) and the natural logarithm of their probability.
    """
    require_count('length', length, least=0)
    require_count('width', width)
    prime = require_ids('prime', prime)
    model.reset_state()
    for word in prime[:-1]:
        _next(model, word)
    beams = [(0.0, [prime[-1]])]
    for _ in range(length):
        logits = _logits(model, [words[-1] for _, words in beams])
        logits -= logits.max(axis=1, keepdims=True)
        logits -= numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
        scores = logits + numpy.array([score for score, _ in beams])[:, None]
        best = numpy.argsort(-scores, axis=None, kind='stable')[:width]
        rows, words = numpy.unravel_index(best, scores.shape)
        beams = [(float(scores[row, word]), beams[row][1] + [int(word)])
                 for row, word in zip(rows, words)]
        model.set_state([tuple(state[rows] for state in layer)
                         for layer in model.get_state()])
    score, words = max(beams, key=lambda beam: beam[0])
    return words[1:], score


def _next(model, word):
    """Logits of the word after `word`, float64 (V,)."""
    return _logits(model, [word])[0]


def _logits(model, words):
    """Logits of the words after these, a stream each: float64 (B, V)."""
    # Not around a yield: the caller would run under this configuration.
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        y = model(model.xp.array(words, dtype='i'))
    return chainer.cuda.to_cpu(y.array).astype(numpy.float64)
