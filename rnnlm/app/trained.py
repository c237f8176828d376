"""`load` and `TrainedModel`: a trained model with its vocabulary, for use on text."""
from __future__ import annotations

import dataclasses
import os
from typing import Callable, Iterable, Iterator, Optional, Sequence, Union

import numpy

from rnnlm import structure
from rnnlm.app import run_folder
from rnnlm.chain import LanguageModel
from rnnlm.data.text import UNK, split_text
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.devices import get_device
from rnnlm.errors import InputError, require, require_ids
from rnnlm.inference import generate, scoring
from rnnlm.serializers.archive import open_verified
from rnnlm.serializers.model_files import load_from, read_structure
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceScore:
    """Probability of one sentence, token by token.

    Attributes:
        tokens: The N tokens of the sentence and the one that ends it, N + 1 in all.
        token_log_probs: float64 (N + 1,), the natural logarithm of the probability of
            each token given those before it.
        n_unknown: Number of tokens that are not in the vocabulary.  They are scored as
            ``<unk>``; if the vocabulary has none, their logarithm is -inf and the model
            skips them.
    """
    tokens: list[str]
    token_log_probs: numpy.ndarray
    n_unknown: int

    @property
    def log_prob(self) -> float:
        """Natural logarithm of the probability of the sentence, its end included.

        Unknown tokens with -inf are ignored.
        """
        found = self.token_log_probs
        return float(found[found > -numpy.inf].sum())


class TrainedModel:
    """Trained model with its vocabulary, as returned by `rnnlm.load`.

    Args:
        model: The model.
        vocabulary: Its vocabulary, of ``model.n_vocab`` tokens.  Without it, methods
            that take or return text raise an `InputError`.
        path: The path that it was loaded from, for messages.
        sentences: Whether it was trained by sentences, each from a reset state.  The
            state is then reset before each generated sentence too.

    Attributes:
        model (LanguageModel): The model, on the requested device.
        vocabulary (Vocabulary or None): Its vocabulary.

    Raises:
        rnnlm.InputError: If the vocabulary has another size than the model.

    Example:
        >>> vocabulary = rnnlm.Vocabulary(['<eos>', 'a', 'dog', 'sleeps', '<unk>'])
        >>> trained = rnnlm.TrainedModel(rnnlm.RNNForLM(5, 8), vocabulary)
        >>> score, = trained.score(['a cat sleeps'])
        >>> score.tokens, score.n_unknown
        (['a', 'cat', 'sleeps', '<eos>'], 1)
        >>> round(trained.perplexity('a dog sleeps'))  # untrained: near 5, the tokens
        5
        >>> len(trained.generate('a dog', length=3, seed=0).split(' '))
        3
    """

    def __init__(self, model: LanguageModel, vocabulary: Optional[Vocabulary] = None,
                 path: str = 'model', sentences: bool = False) -> None:
        if vocabulary is not None and len(vocabulary) != model.n_vocab:
            raise _another_size(path, vocabulary, model.n_vocab)
        self.model = model
        self.vocabulary = vocabulary
        self._path = path
        self._sentences = sentences

    def __repr__(self) -> str:
        return f'<TrainedModel of {structure.of_model(self.model)}>'

    def require_vocabulary(self) -> Vocabulary:
        """Returns the vocabulary.

        Raises:
            rnnlm.InputError: If there is none.
        """
        if self.vocabulary is None:
            raise InputError(
                f'{self._path}: expected a model with a {run_folder.VOCABULARY}, found '
                'none')
        return self.vocabulary

    def require_boundary(self) -> int:
        """Returns the id of the token between sentences: ``<eos>``, or a line feed.

        Raises:
            rnnlm.InputError: If the vocabulary has no such token.
        """
        between = scoring.boundary(self.require_vocabulary())
        if between is None:
            raise InputError(
                f'{self._path}: expected a vocabulary with a token between sentences '
                '(<eos>, or a line feed), found none')
        return between

    def score(self, sentences: Iterable[str]) -> list[SentenceScore]:
        """Computes log probabilities of sentences, each from a reset state.

        Args:
            sentences: List or other iterable of str.  Words are separated by blanks,
                unless the model's tokens are characters.  The end of each sentence is
                added and scored too.

        Returns:
            A `SentenceScore` for each sentence, in the same order.

        Raises:
            rnnlm.InputError: If the vocabulary has no token that ends a sentence, or a
                probability is NaN.
        """
        require('sentences', sentences, 'a list of str', lambda given: isinstance(
            given, Iterable) and not isinstance(given, str))
        sentences = list(sentences)
        require('sentences', sentences, 'a list of str', lambda given: all(
            isinstance(one, str) for one in given))
        vocabulary, between = self.require_vocabulary(), self.require_boundary()
        encoded = [scoring.encode_sentence(vocabulary, text) for text in sentences]
        found = scoring.score_sentences(
            self.model, [ids for _, ids, _ in encoded], between)
        end, scores = vocabulary.words[between], []
        for (tokens, _, unknown), log_probs in zip(encoded, found):
            if len(log_probs) <= len(tokens):  # without <unk>
                known = numpy.append(~unknown, True)
                every = numpy.full(len(known), -numpy.inf)
                every[known] = log_probs
                log_probs = every
            scores.append(
                SentenceScore([*tokens, end], log_probs, int(unknown.sum())))
        return scores

    def generate(self, prime: Optional[str] = None, length: int = 100,
                 temperature: float = 1.0, top_k: Optional[int] = None,
                 top_p: Optional[float] = None, seed: Optional[int] = None,
                 one_sentence: bool = False, no_unknown: bool = False) -> str:
        """Generates a continuation of a text.

        Args:
            prime: Text to continue; by default a new sentence is started.
            length: Number of tokens to sample, words or characters.
            temperature: Divisor of the logits; values below 1 favour likely tokens.
            top_k: If given, samples only from the k most probable tokens.
            top_p: If given, samples only from the smallest set of tokens with at least
                this total probability (Holtzman et al. 2020).
            seed: Random seed; by default ``numpy.random`` is used.
            one_sentence: Whether to stop at the end of the first sentence.
            no_unknown: Whether to never sample ``<unk>``.

        Returns:
            The continuation, without `prime`; sentences end with a line feed.

        Raises:
            rnnlm.InputError: If a token of `prime` is not in the vocabulary, or an
                argument is out of range.
        """
        return ''.join(self.stream(prime, length, temperature, top_k, top_p, seed,
                                   one_sentence=one_sentence, no_unknown=no_unknown))

    def stream(self, prime: Optional[str] = None, length: int = 100,
               temperature: float = 1.0, top_k: Optional[int] = None,
               top_p: Optional[float] = None, seed: Optional[int] = None,
               sample: bool = True, one_sentence: bool = False,
               no_unknown: bool = False, skip_unknown: bool = False
               ) -> Iterator[str]:
        """Yields the text of `generate` in pieces, as soon as they are drawn.

        Args:
            prime, length, temperature, top_k, top_p, seed, one_sentence, no_unknown: As
                for `generate`.
            sample: If false, the most probable token is chosen at each step.
            skip_unknown: Whether to skip unknown tokens of `prime`.

        Yields:
            The text of each token, including the blank or line feed before it.
        """
        vocabulary = self.require_vocabulary()
        random = None
        if seed is not None:
            require('seed', seed, 'an integer from 0 to 2**32 - 1',
                    lambda v: 0 <= v < 2 ** 32 and int(v) == v)
            random = numpy.random.RandomState(seed)
        ids = generate.generate(
            self.model, self.encode_prime(prime, skip_unknown), length, sample,
            temperature, top_k, top_p, random,
            self.require_boundary() if one_sentence else None,
            self.unknown_ids() if no_unknown else None, self.fresh_after)
        return generate.text_of(vocabulary, ids)

    @property
    def fresh_after(self) -> Optional[int]:
        """Id of the token after which the state is reset; None to never reset it."""
        return scoring.boundary(self.require_vocabulary()) if self._sentences else None

    def unknown_ids(self) -> list[int]:
        """Returns the id of ``<unk>`` in a list, empty if the vocabulary has none."""
        vocabulary = self.require_vocabulary()
        return vocabulary.encode([UNK]).tolist() if UNK in vocabulary else []

    def encode_prime(self, prime: Optional[str] = None,
                     skip_unknown: bool = False) -> numpy.ndarray:
        """Encodes a text to continue; by default the token before a sentence.

        Args:
            prime: The text.
            skip_unknown: Whether to skip unknown tokens.

        Returns:
            int32 (N,), N >= 1.

        Raises:
            rnnlm.InputError: If the text has no token, or an unknown one.
        """
        vocabulary = self.require_vocabulary()
        if prime is not None:
            return generate.encode_prime(vocabulary, prime, skip_unknown)
        between = scoring.boundary(vocabulary)
        return numpy.array([0 if between is None else between], dtype='i')

    def perplexity(self, text: Union[str, Sequence[int], numpy.ndarray],
                   progress: Optional[Callable[[int], object]] = None) -> float:
        """Computes the perplexity of a text, per token.

        Args:
            text: Either a str, which is split into tokens like a corpus: for words,
                each line ends with ``<eos>`` and empty lines are skipped.  All its
                tokens are predicted, the first one as the start of a sentence.
                Or ids (N,), as in `Corpus`.  The first id is then predicted after the
                last, as by `PerplexityEvaluator` and ``rnnlm evaluate``, which return
                the same number.  If the model was trained by sentences, each sentence
                of either starts from a reset state, as in ``rnnlm evaluate``.
            progress: Function called with the number of tokens read so far.

        Returns:
            exp of the mean of -log p(token).

        Raises:
            rnnlm.InputError: If a word is unknown and the vocabulary has no ``<unk>``,
                if an id is not in the vocabulary, or if there are too few tokens.
        """
        if not isinstance(text, str):
            text = require_ids('text', text, n_vocab=self.model._vocabulary_size())
            if self._sentences:
                return self._perplexity_by_sentences(text, progress)
            evaluator = make_evaluator(text, make_classifier(self.model))
            evaluator.progress = progress
            with numpy.errstate(invalid='ignore'):
                found = evaluate_perplexity(evaluator)
            if numpy.isnan(found):
                raise InputError(scoring.NAN_PROBABILITY)
            return found
        vocabulary = self.require_vocabulary()
        tokens = split_text(
            text, 'char' if vocabulary.by_character else 'word', blank_lines=False)
        ids = vocabulary.encode(
            vocabulary.split(tokens) if isinstance(tokens, str) else tokens)
        if self._sentences:
            return self._perplexity_by_sentences(ids, progress)
        between = scoring.boundary(vocabulary)
        if between is not None:
            ids = numpy.insert(ids, 0, between)
        with numpy.errstate(over='ignore'):
            return float(numpy.exp(-scoring.score_text(
                self.model, ids, progress=progress).mean()))

    def _perplexity_by_sentences(
            self, ids: numpy.ndarray, progress: Optional[Callable[[int], object]]
    ) -> float:
        log_probs, _ = scoring.score_text_by_sentences(
            self.model, ids, self.require_boundary(), progress)
        with numpy.errstate(over='ignore'):
            return float(numpy.exp(-log_probs.mean()))


def load(path: Union[str, os.PathLike], device: Union[int, str] = -1) -> TrainedModel:
    """Loads a trained model and its vocabulary.

    Args:
        path: The folder of a run, as written by `rnnlm.train` or ``rnnlm train``; or a
            model or snapshot file, optionally with a ``vocabulary.json`` in the same
            folder.
        device: -1 for NumPy, 0, 1, ... for a GPU through CuPy.

    Returns:
        The model with its vocabulary.

    Raises:
        rnnlm.InputError: If there is no such file or device, or if the file does not
            contain an `RNNForLM` with finite weights.

    Example:
        >>> trained = rnnlm.load('result')
        >>> scores = trained.score(['the king sleeps', 'sleeps king the'])
        >>> scores[0].log_prob > scores[1].log_prob
        True
    """
    chosen = get_device(device)
    given = os.fspath(path)
    file, vocabulary = run_folder.find_model(given)
    try:
        model = _load_model(file, vocabulary)
    except InputError as e:
        command = run_folder.convert_command(file)
        if command is None:
            raise
        raise InputError(
            f'{file}: expected a model of rnnlm or Chainer, found a file of another '
            f'framework; convert it with: {command}', e.name) from None
    for name, param in model.namedparams():
        if not numpy.isfinite(param.array).all():
            raise InputError(
                f'{file}: expected finite weights, found NaN or infinity in {name}; '
                'train it again, or use an older snapshot')
    model.to_device(chosen)
    return TrainedModel(model, vocabulary, given, run_folder.by_sentences(given))


def _load_model(file: str, vocabulary: Optional[Vocabulary]) -> LanguageModel:
    """Loads the model in an npz or HDF5 file of Chainer."""
    with open_verified(file) as archive:
        found = read_structure(archive)
        # Checked before memory is allocated for a model of that size.
        if vocabulary is not None and len(vocabulary) != found.n_vocab:
            raise _another_size(file, vocabulary, found.n_vocab)
        model = found.build()
        load_from(archive, model)
        return model


def _another_size(path: str, vocabulary: Vocabulary, n_vocab: int) -> InputError:
    return InputError(
        f'{path}: expected a model of {len(vocabulary):,} words, as in its '
        f'{run_folder.VOCABULARY}, found one of {n_vocab:,}')
