"""Text generation: sampling and beam search."""
from __future__ import annotations

import codecs
import difflib
from typing import Any, Callable, Iterable, Iterator, Optional, Sequence

import chainer
import numpy

from rnnlm import states
from rnnlm.data.text import EOS, Ids
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import (
    InputError, require, require_count, require_ids, require_positive)
from rnnlm.chain import LanguageModel
from rnnlm.inference.next_word import logits_of_next_word
from rnnlm.inference.scoring import NAN_PROBABILITY


def encode_prime(vocabulary: Vocabulary, text: str,
                 skip_unknown: bool = False) -> numpy.ndarray:
    """Encodes a text to be continued.

    Args:
        vocabulary: The tokens of the model.
        text: Words separated by blanks, where a line feed means ``<eos>`` if there is
            such a token; or characters, if the tokens are characters.
        skip_unknown: Whether to skip words that are not in the vocabulary.

    Returns:
        int32 (N,), N >= 1.

    Raises:
        rnnlm.InputError: If there is no word, or a word is not in the vocabulary.
            Unlike in a corpus, it is not replaced by ``<unk>``.
    """
    words: Sequence[str] = text.replace('\r\n', '\n')
    if vocabulary.by_byte:
        words = vocabulary.split(text)
    elif not vocabulary.by_character:
        words = text.replace('\n', f' {EOS} ' if EOS in vocabulary else ' ').split()
    if skip_unknown:
        words = [word for word in words if word in vocabulary]
    if not words:
        raise InputError('expected at least one word'
                         + (' of the vocabulary' if skip_unknown else '')
                         + ', found none', 'prime')
    for word in words:
        if word not in vocabulary:
            close = difflib.get_close_matches(word, vocabulary.words, 3)
            raise InputError(
                f'expected words of the vocabulary, found {word!r}'
                + (f'; close to it: {", ".join(map(repr, close))}' if close else ''),
                'prime')
    return vocabulary.encode(words)


def text_of(vocabulary: Vocabulary, ids: Iterable[int]) -> Iterator[str]:
    """Yields the text of ids token by token; for words, one sentence per line."""
    if vocabulary.by_byte:
        yield from _text_of_bytes(vocabulary, ids)
        return
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


def _text_of_bytes(vocabulary: Vocabulary, ids: Iterable[int]) -> Iterator[str]:
    """Yields the text of bytes; a character is yielded with its last byte."""
    decoder = codecs.getincrementaldecoder('utf-8')('replace')
    for word in ids:
        token, = vocabulary.decode([word])
        yield decoder.decode(token.encode('latin-1'))
    yield decoder.decode(b'', final=True)


def generate(model: LanguageModel, prime: Ids, length: int, sample: bool = True,
             temperature: float = 1.0, top_k: Optional[int] = None,
             top_p: Optional[float] = None,
             random: Optional[numpy.random.RandomState] = None,
             stop: Optional[int] = None, never: Optional[Ids] = None,
             fresh_after: Optional[int] = None) -> Iterator[int]:
    """Generates text: continues a sequence of words by sampling from the model.

    The recurrent state of the model is reset first, and left as it is at the end.  For
    the same seed, the samples are those of Chainer's gentxt.py.

    Args:
        model: The model.
        prime: Ids (N,) of the words to continue, N >= 1.
        length: Number of words to generate.
        sample: If false, the most probable word is chosen at each step.
        temperature: Divisor of the logits, above 0; values below 1 favour likely
            words.
        top_k: If given, only the k most probable words can be sampled.
        top_p: If given, only the smallest set of words whose total probability is at
            least this can be sampled (nucleus sampling).
        random: Random generator; by default the global one of ``numpy.random``.
        stop: If given, generation ends at the word with this id, for example
            ``<eos>``, which is not yielded.
        never: Ids that are never sampled, for example that of ``<unk>``.
        fresh_after: If given, the recurrent state is reset before the word with this
            id: ``<eos>`` for a model that was trained by sentences.

    Yields:
        The id of the next word, `length` times, or until `stop`.

    Raises:
        rnnlm.InputError: If an argument is out of range, or the model outputs NaN.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> ids = list(rnnlm.generate(model, [1, 2], length=5, temperature=0.8))
        >>> len(ids), max(ids) < 10
        (5, True)

    References:
        Holtzman, Buys, Du, Forbes and Choi, "The Curious Case of Neural Text
        Degeneration" (2020), https://arxiv.org/abs/1904.09751
    """
    require_count('length', length, least=0)
    require_positive('temperature', temperature)
    if top_k is not None:
        require_count('top_k', top_k)
    if top_p is not None:
        require('top_p', top_p, 'a probability above 0 and at most 1',
                lambda v: 0 < v <= 1)
    generator: Any = numpy.random if random is None else random
    require('random', generator, 'a random generator with a method choice',
            lambda v: callable(getattr(v, 'choice', None)))
    prime = require_ids('prime', prime, n_vocab=model._vocabulary_size())
    left_out = _left_out(model, never, stop, fresh_after)

    def draw(logits: numpy.ndarray) -> int:
        logits[left_out] = -numpy.inf
        if not sample:
            return int(logits.argmax())
        p = _probabilities(logits, temperature, top_k, top_p)
        return int(generator.choice(len(p), p=p))

    # Arguments are checked at once; words are generated when they are requested.
    return _continue(model, prime, length, draw, stop, fresh_after)


def _continue(model: LanguageModel, prime: numpy.ndarray, length: int,
              draw: Callable[[numpy.ndarray], int], stop: Optional[int],
              fresh_after: Optional[int]) -> Iterator[int]:
    model.reset_state()
    for word in prime:
        logits = _next(model, word, fresh_after)
    for _ in range(length):
        word = draw(logits)
        if word == stop:
            return
        yield word
        logits = _next(model, word, fresh_after)


def _left_out(model: LanguageModel, never: Optional[Ids], stop: Optional[int],
              fresh_after: Optional[int]) -> numpy.ndarray:
    """Returns the ids that are never sampled, after checking all arguments."""
    n_vocab = model._vocabulary_size()
    for name, word in ('stop', stop), ('fresh_after', fresh_after):
        if word is not None:
            require_count(name, word, least=0, most=n_vocab - 1)
    ids = require_ids('never', [] if never is None else never, 0, n_vocab)
    require('never', sorted(set(ids.tolist())), 'not all ids of the vocabulary',
            lambda v: len(v) < n_vocab)
    return ids.astype(int)


def _probabilities(logits: numpy.ndarray, temperature: float, top_k: Optional[int],
                   top_p: Optional[float]) -> numpy.ndarray:
    with numpy.errstate(over='ignore'):  # overflows for temperatures such as 1e-310
        scaled = logits / temperature
        if not numpy.isfinite(scaled.max()):
            scaled = (logits - logits.max()) / temperature
    # Subtracting the maximum avoids overflow and does not change the softmax.
    p = numpy.exp(scaled - scaled.max())
    p /= p.sum()
    if top_k is None and top_p is None:
        return p
    order = numpy.argsort(-p, kind='stable')
    kept = min(top_k or len(p), len(p))
    if top_p is not None:
        # The word that crosses top_p is included, so at least one is kept.
        kept = min(kept, 1 + int((numpy.cumsum(p[order]) < top_p).sum()))
    p[order[kept:]] = 0
    return p / p.sum()


def beam_search(model: LanguageModel, prime: Ids, length: int, width: int,
                stop: Optional[int] = None, never: Optional[Ids] = None,
                fresh_after: Optional[int] = None) -> tuple[list[int], float]:
    """Finds the most probable continuation of a sequence of words by beam search.

    The recurrent state of the model is reset first; at the end it is that of several
    streams, so reset or restore it before other use.

    Args:
        model: The model.
        prime: Ids (N,) of the words to continue, N >= 1.
        length: Number of words to add.
        width: Number of candidates kept at each step.
        stop: If given, a continuation ends at the word with this id, for example
            ``<eos>``.  Ended continuations compete with longer ones.
        never: Ids that are never used.
        fresh_after: As for `generate`.

    Returns:
        The ids of the best continuation found, without `stop`, and the natural
        logarithm of its probability, including that of `stop`.

    Raises:
        rnnlm.InputError: If an argument is out of range, or the model outputs NaN.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> ids, log_prob = rnnlm.beam_search(model, [1, 2], length=5, width=4)
        >>> len(ids), log_prob < 0
        (5, True)
    """
    require_count('length', length, least=0)
    require_count('width', width)
    prime = require_ids('prime', prime, n_vocab=model._vocabulary_size())
    left_out = _left_out(model, never, stop, fresh_after)
    model.reset_state()
    for word in prime[:-1]:
        _next(model, word, fresh_after)
    beams: list[tuple[float, list[int]]] = [(0.0, [prime[-1]])]
    ended: tuple[float, list[int]] = (-numpy.inf, [])
    for _ in range(length):
        logits = _logits(model, [words[-1] for _, words in beams], fresh_after)
        # Log softmax of each beam.
        logits -= logits.max(axis=1, keepdims=True)
        logits -= numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
        scores = logits + numpy.array([score for score, _ in beams])[:, None]
        scores[:, left_out] = -numpy.inf
        # A continuation that ends here competes with longer ones by its total
        # probability.
        if stop is not None:
            row = int(scores[:, stop].argmax())
            ended = max(ended, (float(scores[row, stop]), beams[row][1]),
                        key=lambda beam: beam[0])
            scores[:, stop] = -numpy.inf
        if scores.max() <= ended[0]:  # longer continuations are even less probable
            break
        best = numpy.argsort(-scores, axis=None, kind='stable')[:width]
        best = best[scores.ravel()[best] > -numpy.inf]
        # Each new beam extends the beam `row`, so it needs a copy of that beam's state.
        rows, words = numpy.unravel_index(best, scores.shape)
        beams = [(float(scores[row, word]), beams[row][1] + [int(word)])
                 for row, word in zip(rows, words)]
        states.change(model, lambda state: state[rows])
    else:
        ended = max(ended, *beams, key=lambda beam: beam[0])
    score, found = ended
    return found[1:], score


def _next(model: LanguageModel, word: int, fresh_after: Optional[int]
          ) -> numpy.ndarray:
    """Returns the logits of the next word after `word`, float64 (V,)."""
    return _logits(model, [word], fresh_after)[0]


def _logits(model: LanguageModel, words: Sequence[int], fresh_after: Optional[int]
            ) -> numpy.ndarray:
    """Returns the logits of the next words, one stream for each word: float64 (B, V).
    """
    if fresh_after in words:
        kept = model.xp.array([[word != fresh_after] for word in words])
        states.change(model, lambda state: state * kept.astype(state.dtype))
    # This must not enclose a yield: the caller would run with this configuration.
    with chainer.using_config('train', False), chainer.no_backprop_mode(), (
            numpy.errstate(over='ignore', invalid='ignore')):
        y = logits_of_next_word(model, words[0]) if len(words) == 1 else None
        y = y[None] if y is not None else chainer.cuda.to_cpu(
            model(model.xp.array(words, dtype='i')).array)
    logits = y.astype(numpy.float64)
    if not (logits.max(axis=1) < numpy.inf).all():  # infinite, or NaN
        raise InputError(NAN_PROBABILITY)
    return logits
