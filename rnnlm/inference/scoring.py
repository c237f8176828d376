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

# Sentences that are computed at once, each a column of a window.
BATCH = 32

# Sentences among which those of like length are sought, to be computed together.
GROUP = 8 * BATCH

# Elements of logits at once.
CHUNK_ELEMENTS = 2 ** 24

NAN_PROBABILITY = (
    'model: expected finite weights, found some that give NaN or infinity for the next '
    'word; train it again, or use an older snapshot')


def boundary(vocabulary: Vocabulary) -> Optional[int]:
    """The id of the token between sentences; None if the vocabulary has none."""
    token = '\n' if vocabulary.by_character else EOS
    return int(vocabulary.encode([token])[0]) if token in vocabulary else None


def encode_sentence(
        vocabulary: Vocabulary, text: str
) -> tuple[list[str], numpy.ndarray, numpy.ndarray]:
    """The tokens of a sentence, their ids, and which of them are unknown.

    Args:
        vocabulary: The tokens of the model.
        text: One line: words separated by blanks, or characters.

    Returns:
        The N tokens; the ids of those that can be scored, int32, that of ``<unk>``
        for unknown ones, which are left out if the vocabulary has no ``<unk>``; and
        bool (N,), which are unknown.
    """
    tokens = list(vocabulary.split(text))
    unknown = numpy.array([token not in vocabulary for token in tokens], dtype=bool)
    kept = [UNK if new else token for token, new in zip(tokens, unknown)
            if not new or UNK in vocabulary]
    return tokens, numpy.asarray(vocabulary.encode(kept), dtype='i'), unknown


def score_sentences(model: LanguageModel, sentences: Sequence[Ids],
                    between: int) -> Iterator[numpy.ndarray]:
    r"""Log probabilities of the words of sentences, each sentence on its own.

    .. math::
        \log p(w_1), \log p(w_2 | w_1), ..., \log p(end | w_1 ... w_N)

    Each sentence begins in the zero state after the token between sentences, and ends
    with that token.  The recurrent state of the model is kept.

    Args:
        model: The model.
        sentences: The ids (N,) of each sentence, without its end; N may be 0.
        between: The id of the token between sentences, `<eos>` say.

    Yields:
        float64 (N + 1,) for each sentence in turn: natural logarithms.

    Raises:
        rnnlm.InputError: If an argument is not as described.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> scores = rnnlm.score_sentences(model, [[1, 2, 3], [4]], between=0)
        >>> [len(log_probs) for log_probs in scores]
        [4, 2]
    """
    require_count('between', between, least=0)
    checked = [require_ids('sentence', ids, least=0) for ids in sentences]
    for start in range(0, len(checked), GROUP):
        yield from _score_group(model, checked[start:start + GROUP], between)


def _score_group(model: LanguageModel, sentences: Sequence[numpy.ndarray],
                 between: int) -> list[numpy.ndarray]:
    """The scores of some sentences, in their order."""
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
        with _fresh_state(model):
            scores = log_probabilities(model, window, wanted)
        for column, k in enumerate(batch):
            found[k] = scores[:len(sentences[k]) + 1, column].copy()
    return [found[k] for k in range(len(sentences))]


def log_probabilities(model: LanguageModel, window: numpy.ndarray,
                      wanted: Optional[numpy.ndarray] = None) -> numpy.ndarray:
    """Log probabilities of the words of a window, given those before them.

    Args:
        model: The model; its recurrent state is used and advanced.
        window: int (T + 1, B), ids; the first row is not predicted.
        wanted: bool (T, B), of which words; the others get 0.  All if None.

    Returns:
        float64 (T, B), natural logarithms.

    Raises:
        rnnlm.InputError: If one is NaN.
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
    """Log probabilities of the wanted words of ids (T + 1, B) that fit into memory."""
    targets = chainer.cuda.to_cpu(ids[1:])[wanted]
    output = model._output()
    if model.xp is numpy and not model.why_steps(ids.shape[1]):
        log_probs = parts.TABLE[type(output)].log_probs
        if log_probs:
            h = model._features(ids[:-1], '').array
            return log_probs(output, h[wanted], targets, *model._shared())
    logits = chainer.cuda.to_cpu(model.logits(ids[:-1]).array)[wanted]
    top = logits.max(axis=1, keepdims=True)
    # Infinite logits give NaN, of which more is said by the caller.
    with numpy.errstate(invalid='ignore'):
        total = numpy.exp(logits - top).sum(axis=1, dtype='d')
        found = numpy.take_along_axis(logits, targets[:, None], axis=1) - top
        return found[:, 0] - numpy.log(total)


def score_text(model: LanguageModel, ids: Ids, chunk: int = 1000,
               progress: Optional[Callable[[int], object]] = None) -> numpy.ndarray:
    """Log probabilities of the words of a text, given all words before them.

    The text is read as one stream from the zero state.  The recurrent state of the
    model is kept.

    Args:
        model: The model.
        ids: Ids (N + 1,) of the text; the first word is not predicted.
        chunk: Number of steps that are computed at once.
        progress: Called with the number of words read, after each chunk.

    Returns:
        float64 (N,), natural logarithms.

    Raises:
        rnnlm.InputError: If there are fewer than two ids, or they are not ints; or
            if a probability is NaN.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> log_probs = rnnlm.score_text(model, [1, 2, 3, 4])
        >>> perplexity = float(numpy.exp(-log_probs.mean()))
        >>> log_probs.shape, 5 < perplexity < 20
        ((3,), True)
    """
    require_count('chunk', chunk)
    text = require_ids('text', ids, least=2)
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
    """Log probabilities of the n words behind the first of a ring, a window at a time.

    Yields:
        The number of words before the window; float64 (T,), natural logarithms; and
        the words.
    """
    with _fresh_state(model):
        for start in range(0, n, chunk):
            window = flat.ring(text, start, min(start + chunk, n) + 1)[:, None]
            yield start, log_probabilities(model, window)[:, 0], window[1:, 0]


def score_ring(model: LanguageModel, ids: Ids,
               progress: Optional[Callable[[int], object]] = None) -> numpy.ndarray:
    """Log probabilities of all words of a text, whose first follows its last.

    Chainer's iterators read a text so, and the perplexities of training and of
    ``rnnlm evaluate`` are of these words.

    Args:
        model: The model.
        ids: Ids (N,) of the text, N >= 1.
        progress: As of `score_text`.

    Returns:
        float64 (N,), natural logarithms, of the second word first.

    Raises:
        rnnlm.InputError: If there are no ids, or they are not ints.
    """
    text = require_ids('text', ids)
    return _score(model, text, len(text), progress=progress)


def mixture_weight(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The weight of the first of two models at which their mixture is best.

    The likelihood of the mixture is concave in the weight; its slope is bisected.

    Args:
        one, other: float (N,), natural logarithms of the same words' probabilities.

    Returns:
        The weight of `mix`, between 0 and 1.
    """
    low, high = 1e-9, 1 - 1e-9
    for _ in range(50):
        weight = (low + high) / 2
        mixture = mix(one, other, weight)
        slope = (numpy.exp(one - mixture) - numpy.exp(other - mixture)).mean()
        low, high = (weight, high) if slope > 0 else (low, weight)
    return weight


def mix(one: numpy.ndarray, other: numpy.ndarray, weight: float) -> numpy.ndarray:
    """log(weight p_one + (1 - weight) p_other) from logarithms."""
    require('weight', weight, 'a number between 0 and 1', lambda v: 0 < v < 1)
    return numpy.logaddexp(numpy.log(weight) + one, numpy.log1p(-weight) + other)


class _fresh_state:
    """Resets the recurrent state of a model, and restores it afterwards."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.state = states.get(self.model)
        self.model.reset_state()

    def __exit__(self, *exc: object) -> None:
        states.set_back(self.model, self.state)
