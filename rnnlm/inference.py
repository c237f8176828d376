"""What a trained model is for: the text that it would go on with."""
import difflib

import chainer
import numpy

from rnnlm.errors import InputError, require_count
from rnnlm.vocabulary import EOS


def encode_prime(vocabulary, text):
    """Ids of the words to begin with.

    Args:
        vocabulary: `rnnlm.corpus.Vocabulary`.
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


def generate(model, prime, length, sample=True):
    """Goes on with a text, word by word.

    Words are drawn from the model's distribution with ``numpy.random``, as
    Chainer's gentxt.py draws them.  The model's state is reset first.

    Args:
        model: `RNNForLM`.
        prime (sequence of int): Ids of the words to begin with, at least one.
        length (int): Number of words to add.
        sample (bool): If false, always the most probable word is taken.

    Yields:
        int: the id of the next word.
    """
    require_count('length', length, least=0)
    if not len(prime):
        raise InputError('prime: expected at least one word, found none')
    model.reset_state()
    for word in prime:
        logits = _next(model, word)
    for _ in range(length):
        if sample:
            p = numpy.exp(logits - logits.max())
            word = int(numpy.random.choice(len(p), p=p / p.sum()))
        else:
            word = int(logits.argmax())
        yield word
        logits = _next(model, word)


def _next(model, word):
    """Logits of the word after `word`, float64 (V,)."""
    # Not around a yield: the caller would run under this configuration.
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        y = model(model.xp.array([word], dtype='i'))
    return chainer.cuda.to_cpu(y.array)[0].astype(numpy.float64)
