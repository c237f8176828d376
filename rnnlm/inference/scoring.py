"""Probabilities of sentences and texts, word by word."""
from __future__ import annotations

from typing import Any, Callable, Iterator, Optional, Sequence

import chainer
import numpy

from rnnlm import parts, states
from rnnlm.chain import LanguageModel
from rnnlm.data import flat
from rnnlm.data.text import EOS, UNK, Ids
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, require, require_count, require_ids

# Number of sentences computed at a time, each a column of a window.
BATCH = 32

# Number of sentences that are sorted by length, so that similar ones share a window.
GROUP = 8 * BATCH

# Number of logits computed at a time.
CHUNK_ELEMENTS = 2 ** 24

NAN_PROBABILITY = (
    'model: expected finite weights, found some that give NaN or infinity for the next '
    'word; train it again, or use an older snapshot')


def boundary(vocabulary: Vocabulary) -> Optional[int]:
    """Returns the id of the token between sentences; None if there is none."""
    token = '\n' if vocabulary.by_character else EOS
    return int(vocabulary.encode([token])[0]) if token in vocabulary else None


def encode_sentence(
        vocabulary: Vocabulary, text: str
) -> tuple[list[str], numpy.ndarray, numpy.ndarray]:
    """Splits and encodes a sentence.

    Args:
        vocabulary: The vocabulary of the model.
        text: One line: words separated by blanks, or characters.

    Returns:
        The N tokens; their ids, int32, where unknown tokens have the id of ``<unk>``,
        or are skipped if the vocabulary has no ``<unk>``; and which tokens are unknown,
        bool (N,).
    """
    tokens = list(vocabulary.split(text))
    unknown = numpy.array([token not in vocabulary for token in tokens], dtype=bool)
    kept = [UNK if new else token for token, new in zip(tokens, unknown)
            if not new or UNK in vocabulary]
    return tokens, numpy.asarray(vocabulary.encode(kept), dtype='i'), unknown


def score_sentences(model: LanguageModel, sentences: Sequence[Ids],
                    between: int) -> Iterator[numpy.ndarray]:
    r"""Computes log probabilities of the words of independent sentences.

    .. math::
        \log p(w_1), \log p(w_2 | w_1), ..., \log p(end | w_1 ... w_N)

    The recurrent state is reset before each sentence, and the model then reads the
    token between sentences.  The sentence ends with the same token.  Afterwards the
    recurrent state of the model is restored.

    Args:
        model: The model.
        sentences: The ids (N,) of each sentence, without its end; N may be 0.
        between: The id of the token between sentences, for example `<eos>`.

    Yields:
        Natural logarithms, float64 (N + 1,), for each sentence in order.

    Raises:
        rnnlm.InputError: If `between` or a sentence is invalid or has an id that is not
            in the vocabulary, or if a probability is NaN.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> scores = rnnlm.score_sentences(model, [[1, 2, 3], [4]], between=0)
        >>> [len(log_probs) for log_probs in scores]
        [4, 2]
    """
    n_vocab = model._vocabulary_size()
    require_count('between', between, least=0, most=n_vocab - 1)
    checked = [require_ids('sentence', ids, 0, n_vocab) for ids in sentences]
    # Arguments are checked at once; sentences are scored when they are requested.
    return (scores for start in range(0, len(checked), GROUP)
            for scores in _score_group(model, checked[start:start + GROUP], between))


def score_text_by_sentences(
        model: LanguageModel, ids: numpy.ndarray, between: int,
        progress: Optional[Callable[[int], object]] = None
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Computes log probabilities of a text whose sentences start from a reset state.

    Args:
        model: The model.
        ids: The text, int (N,).
        between: The id of the token that ends a sentence.
        progress: Function called with the number of tokens scored so far.

    Returns:
        The natural logarithms, float64, and the words they belong to: those of the
        text, and `between` at its end if that is missing.

    Raises:
        rnnlm.InputError: If the text has no token, or a probability is NaN.
    """
    require('text', ids, 'at least one token', len)
    ends = numpy.flatnonzero(ids == between)
    sentences = [part[part != between] for part in numpy.split(ids, ends + 1)]
    if len(sentences) > 1 and not len(sentences[-1]):
        sentences.pop()
    found, n_words = [], 0
    for log_probs in score_sentences(model, sentences, between):
        found.append(log_probs)
        n_words += len(log_probs)
        if progress:
            progress(n_words)
    return numpy.concatenate(found), numpy.concatenate(
        [numpy.append(part, between) for part in sentences])


def _score_group(model: LanguageModel, sentences: Sequence[numpy.ndarray],
                 between: int) -> list[numpy.ndarray]:
    """Returns the scores of some sentences, in the given order."""
    order = sorted(range(len(sentences)), key=lambda k: len(sentences[k]))
    found: dict[int, numpy.ndarray] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start:start + BATCH]
        window = numpy.full(
            (len(sentences[batch[-1]]) + 2, len(batch)), between, dtype='i')
        wanted = numpy.zeros((len(window) - 1, len(batch)), bool)
        for column, k in enumerate(batch):
            window[1:len(sentences[k]) + 1, column] = sentences[k]
            wanted[:len(sentences[k]) + 1, column] = True
        with _reset_state(model):
            scores = log_probabilities(model, window, wanted)
        for column, k in enumerate(batch):
            found[k] = scores[:len(sentences[k]) + 1, column].copy()
    return [found[k] for k in range(len(sentences))]


def log_probabilities(model: LanguageModel, window: numpy.ndarray,
                      wanted: Optional[numpy.ndarray] = None) -> numpy.ndarray:
    """Computes log probabilities of the words of a window, given those before them.

    Args:
        model: The model; its recurrent state is used and updated.
        window: Ids, int (T + 1, B); the first row is not predicted.
        wanted: Which words to compute, bool (T, B); the others get 0.  By default all.

    Returns:
        Natural logarithms, float64 (T, B).

    Raises:
        rnnlm.InputError: If a probability is NaN.
    """
    T, B = len(window) - 1, window.shape[1]
    scores = numpy.zeros((T, B))
    wanted = numpy.ones((T, B), bool) if wanted is None else wanted
    steps = max(1, CHUNK_ELEMENTS // (B * model.n_vocab))
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        for start in range(0, T, steps):
            part = slice(start, start + steps)
            ids = model.device.send(window[start:start + steps + 1])
            scores[part][wanted[part]] = _of_chunk(model, ids, wanted[part])
    if numpy.isnan(scores).any():
        raise InputError(NAN_PROBABILITY)
    return scores


def _of_chunk(model: LanguageModel, ids: Any, wanted: numpy.ndarray) -> numpy.ndarray:
    """Computes log probabilities of the wanted words of ids (T + 1, B), all at once."""
    targets = chainer.cuda.to_cpu(ids[1:])[wanted]
    output = model._output()
    if model.xp is numpy and not model.why_steps(ids.shape[1]):
        log_probs = parts.TABLE[type(output)].log_probs
        if log_probs:
            h = model._features(ids[:-1], '').array
            return log_probs(output, h[wanted], targets, *model._shared())
    logits = chainer.cuda.to_cpu(model.logits(ids[:-1]).array)[wanted]
    top = logits.max(axis=1, keepdims=True)
    # Infinite logits give NaN, which the caller reports.
    with numpy.errstate(invalid='ignore'):
        total = numpy.exp(logits - top).sum(axis=1, dtype='d')
        found = numpy.take_along_axis(logits, targets[:, None], axis=1) - top
        return found[:, 0] - numpy.log(total)


def score_text(model: LanguageModel, ids: Ids, chunk: int = 1000,
               progress: Optional[Callable[[int], object]] = None) -> numpy.ndarray:
    """Computes log probabilities of the words of a text, given all words before them.

    The text is read as one stream from a reset state.  Afterwards the recurrent state
    of the model is restored.

    Args:
        model: The model.
        ids: Ids (N + 1,) of the text; the first word is not predicted.
        chunk: Number of steps computed at a time.
        progress: Function called with the number of words read, after each chunk.

    Returns:
        Natural logarithms, float64 (N,).

    Raises:
        rnnlm.InputError: If there are fewer than two ids, if one is not in the
            vocabulary, or if a probability is NaN.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> log_probs = rnnlm.score_text(model, [1, 2, 3, 4])
        >>> perplexity = float(numpy.exp(-log_probs.mean()))
        >>> log_probs.shape, 5 < perplexity < 20
        ((3,), True)
    """
    require_count('chunk', chunk)
    text = require_ids('text', ids, 2, model._vocabulary_size())
    return _score(model, text, len(text) - 1, chunk, progress)


def _score(model: LanguageModel, text: numpy.ndarray, n: int, chunk: int = 1000,
           progress: Optional[Callable[[int], object]] = None) -> numpy.ndarray:
    scores = numpy.empty(n)
    for start, found, _ in score_windows(model, text, n, chunk):
        scores[start:start + len(found)] = found
        if progress:
            progress(start + len(found))
    return scores


def score_windows(model: LanguageModel, text: numpy.ndarray, n: int, chunk: int = 1000
                  ) -> Iterator[tuple[int, numpy.ndarray, numpy.ndarray]]:
    """Yields log probabilities of n words of a text that wraps around at its end.

    Yields:
        For each window the number of words before it, the natural logarithms, float64
        (T,), and the words.  The first word of the text is not predicted, unless n is
        the length of the text.
    """
    with _reset_state(model):
        for start in range(0, n, chunk):
            window = flat.ring(text, start, min(start + chunk, n) + 1)[:, None]
            yield start, log_probabilities(model, window)[:, 0], window[1:, 0]


def score_ring(model: LanguageModel, ids: Ids,
               progress: Optional[Callable[[int], object]] = None) -> numpy.ndarray:
    """Computes log probabilities of all words of a text; the first one is read last.

    The first word is predicted after the last one.  Chainer's iterators read a text in
    this way, and so do training and ``rnnlm evaluate``.

    Args:
        model: The model.
        ids: Ids (N,) of the text, N >= 1.
        progress: As for `score_text`.

    Returns:
        Natural logarithms, float64 (N,), starting with the second word.

    Raises:
        rnnlm.InputError: If there are no ids, or one is not in the vocabulary.
    """
    text = require_ids('text', ids, n_vocab=model._vocabulary_size())
    return _score(model, text, len(text), progress=progress)


def mixture_weight(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Finds the weight of the first of two models with the best interpolation.

    The log likelihood is concave in the weight, so bisection of its slope finds it.

    Args:
        one, other: Log probabilities of the same words by both models, float (N,).

    Returns:
        The weight for `mix`, between 0 and 1.
    """
    low, high = 1e-9, 1 - 1e-9
    for _ in range(50):
        weight = (low + high) / 2
        mixture = mix(one, other, weight)
        slope = (numpy.exp(one - mixture) - numpy.exp(other - mixture)).mean()
        low, high = (weight, high) if slope > 0 else (low, weight)
    return weight


def mix(one: numpy.ndarray, other: numpy.ndarray, weight: float) -> numpy.ndarray:
    """Computes log(weight p_one + (1 - weight) p_other) from logarithms."""
    require('weight', weight, 'a number between 0 and 1', lambda v: 0 < v < 1)
    return numpy.logaddexp(numpy.log(weight) + one, numpy.log1p(-weight) + other)


class _reset_state:
    """Resets the recurrent state of a model, and restores it afterwards."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.state = states.get(self.model)
        self.model.reset_state()

    def __exit__(self, *exc: object) -> None:
        states.set_back(self.model, self.state)
