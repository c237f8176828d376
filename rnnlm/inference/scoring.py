"""Probabilities of sentences and texts, word by word."""
import chainer
import numpy

from rnnlm.data.text import EOS, UNK
from rnnlm.errors import InputError, require, require_count, require_ids

# Sentences that are computed at once, each a column of a window.
BATCH = 32

# Elements of logits at once.
CHUNK_ELEMENTS = 2 ** 24


def boundary(vocabulary):
    """int: the token between sentences; None if the vocabulary has none."""
    token = '\n' if vocabulary.by_character else EOS
    return vocabulary.encode([token])[0] if token in vocabulary else None


def encode_sentence(vocabulary, text):
    """The tokens of a sentence, their ids, and which of them are unknown.

    Args:
        vocabulary: `rnnlm.data.vocabulary.Vocabulary`.
        text (str): One line: words between blanks, or characters.

    Returns:
        tuple: tokens (list of str), ids (int32 (N,)) and unknown (bool (N,)).
        Unknown tokens have the id of ``<unk>``.

    Raises:
        rnnlm.errors.InputError: if one is unknown and the vocabulary has no
            ``<unk>``.
    """
    tokens = list(text) if vocabulary.by_character else text.split()
    unknown = numpy.array([token not in vocabulary for token in tokens], dtype=bool)
    if unknown.any() and UNK not in vocabulary:
        raise InputError(
            f'{tokens[int(unknown.argmax())]!r}: expected a token of the vocabulary, '
            f'which has no {UNK} for others; train with --vocab-limit to have one')
    ids = vocabulary.encode(
        [UNK if new else token for token, new in zip(tokens, unknown)])
    return tokens, numpy.asarray(ids, dtype='i'), unknown


def score_sentences(model, sentences, between):
    """Log probabilities of sentences, each on its own.

    .. math::
        \\log p(w_1), \\log p(w_2 | w_1), ..., \\log p(end | w_1 ... w_N)

    Each sentence is read from a fresh state after the token between sentences, and
    ends with it.

    Args:
        model: `RNNForLM`; its state is put aside.
        sentences (list of int arrays): ids of each, without the end.
        between (int): the token between sentences.

    Yields:
        numpy.ndarray: float64 (N + 1,), natural logarithms, in the order of the
        sentences.
    """
    require_count('between', between, least=0)
    sentences = [require_ids('sentence', ids, least=0) for ids in sentences]
    for start in range(0, len(sentences), BATCH):
        part = sentences[start:start + BATCH]
        longest = max(len(ids) for ids in part)
        window = numpy.full((longest + 2, len(part)), between, dtype='i')
        for column, ids in enumerate(part):
            window[1:len(ids) + 1, column] = ids
        with _fresh_state(model):
            scores = log_probabilities(model, window)
        for column, ids in enumerate(part):
            yield scores[:len(ids) + 1, column]


def log_probabilities(model, window):
    """log p of each word of a window given those before it.

    Args:
        model: `RNNForLM`; its state goes on.
        window: int (T + 1, B), words; the first row is only read.

    Returns:
        numpy.ndarray: float64 (T, B), natural logarithms.
    """
    T, B = len(window) - 1, window.shape[1]
    scores = numpy.empty((T, B))
    steps = max(1, CHUNK_ELEMENTS // (B * model.n_vocab))
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        for start in range(0, T, steps):
            ids = model.device.send(window[start:start + steps + 1])
            logits = chainer.cuda.to_cpu(model.logits(ids[:-1]).array)
            target = chainer.cuda.to_cpu(ids[1:])[..., None]
            top = logits.max(axis=2, keepdims=True)
            total = numpy.exp(logits - top).sum(axis=2, dtype='d')
            found = numpy.take_along_axis(logits, target, axis=2) - top
            scores[start:start + steps] = found[..., 0] - numpy.log(total)
    return scores


def score_text(model, ids, chunk=1000):
    """log p of each word of a text read as one stream, but the first.

    Args:
        model: `RNNForLM`; its state is put aside.
        ids: int (N + 1,).
        chunk (int): Steps at once.

    Returns:
        numpy.ndarray: float64 (N,), natural logarithms.
    """
    require_count('chunk', chunk)
    ids = require_ids('text', ids, least=2)
    with _fresh_state(model):
        return numpy.concatenate([
            log_probabilities(model, ids[start:start + chunk + 1, None])[:, 0]
            for start in range(0, len(ids) - 1, chunk)])


def mixture_weight(one, other):
    """The weight of the first of two models at which their mixture is best.

    The likelihood of the mixture is concave in the weight; its slope is bisected.

    Args:
        one, other: float (N,), natural logarithms of the same words' probabilities.

    Returns:
        float: lambda, between 0 and 1, of ``mix``.
    """
    low, high = 1e-9, 1 - 1e-9
    for _ in range(50):
        weight = (low + high) / 2
        mixture = mix(one, other, weight)
        slope = (numpy.exp(one - mixture) - numpy.exp(other - mixture)).mean()
        low, high = (weight, high) if slope > 0 else (low, weight)
    return weight


def mix(one, other, weight):
    """log(weight p_one + (1 - weight) p_other) from logarithms."""
    require('weight', weight, 'a number between 0 and 1', lambda v: 0 < v < 1)
    return numpy.logaddexp(numpy.log(weight) + one, numpy.log1p(-weight) + other)


class _fresh_state:
    """Puts a model's recurrent state aside."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.state = self.model.get_state()
        self.model.reset_state()

    def __exit__(self, *exc):
        self.model.set_state(self.state)
