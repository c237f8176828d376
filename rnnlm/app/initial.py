"""Starting a run from the weights of a trained model: ``--init-from``."""
from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import Any, Dict, Optional, Union

import numpy

from rnnlm import structure
from rnnlm.app import run_folder, trained
from rnnlm.app.recipes import Recipe
from rnnlm.data import corpus
from rnnlm.data.corpus import Corpus
from rnnlm.data.sources import Spec
from rnnlm.data.text import PARTS, UNK
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, about
from rnnlm.model import RNNForLM


@dataclasses.dataclass(frozen=True, eq=False)
class InitialModel:
    """Trained model that provides the initial weights of a run.

    Attributes:
        path: The path that it was loaded from.
        sizes: Fields of the recipe that the model determines.
        vocabulary: Its vocabulary; None if there is no vocabulary file.
        arrays: Its parameters by name.
        sentences: Whether it was trained by sentences.
    """
    path: str
    sizes: Dict[str, Any]
    vocabulary: Optional[Vocabulary]
    arrays: Dict[str, numpy.ndarray]
    sentences: bool = False

    @classmethod
    def load(cls, path: str) -> 'InitialModel':
        """Loads a trained model.

        Args:
            path: The folder of a run, or a model or snapshot file.

        Raises:
            rnnlm.errors.InputError: If there is no model, or if it cannot be trained
                further: it is not an `RNNForLM`, or its tokens are bytes.
        """
        with about('init_from'):
            found = trained.load(path)
            if type(found.model) is not RNNForLM:
                raise InputError(
                    f'{path}: expected LSTM layers of one size and a full softmax, '
                    f'found a model of {structure.of_model(found.model)}')
            vocabulary = found.vocabulary
            if vocabulary is not None and vocabulary.by_byte:
                if any(word > '\x7f' for word in vocabulary.words):
                    raise InputError(
                        f'{path}: expected a vocabulary of words or characters, found '
                        'one of bytes')
                vocabulary = Vocabulary(vocabulary.words, 'char')
        sizes = structure.of_model(found.model).arguments()
        del sizes['n_vocab']
        return cls(
            os.path.abspath(path),
            {'n_embed': None, 'tied': False, 'softmax': 'full', **sizes},
            vocabulary, {name: param.array for name, param in sorted(
                found.model.namedparams())}, run_folder.by_sentences(path))

    @property
    def n_vocab(self) -> int:
        """Vocabulary size."""
        return len(self.arrays['/embed/W'])

    def encode(self, spec: Spec, tokens: Optional[str] = None,
               extend: bool = False, min_count: Optional[int] = None,
               **reading: Any) -> Corpus:
        """Encodes a text with the vocabulary of the model.

        Args:
            spec: As for `rnnlm.data.corpus.load`.
            tokens: 'word' or 'char'; None for the vocabulary's kind.
            extend: Whether to add words that are not in the vocabulary at its end;
                otherwise they are unknown.
            min_count: New words that occur fewer times in the training part stay
                unknown; None for the default of `load`.
            reading: Arguments of `load`: 'cache' and 'progress'.

        Raises:
            rnnlm.errors.InputError: If the text cannot be read, or has unknown tokens
                and the vocabulary has no ``<unk>``.
        """
        if self.vocabulary is None:
            return corpus.load(spec, tokens or 'word', None, min_count, **reading)
        known = self.vocabulary
        if tokens not in (None, known.tokens):
            raise InputError(
                f'expected {known.tokens!r}, the tokens of {self.path}, found '
                f'{tokens!r}', 'tokens')
        if not extend:
            text = load_by(known, spec, **reading)
            self._require_no_more(text)
            return text
        own = corpus.load(spec, known.tokens, None, min_count, **reading)
        assert own.source is not None
        more = [word for word in own.vocabulary.words
                if word not in known and word != UNK]
        text = corpus.load(
            spec, known.tokens, vocabulary=Vocabulary(
                [*known.words, *more], known.tokens), **reading)
        return text.with_source(own.source)

    def _require_no_more(self, text: Corpus) -> None:
        """Refuses a text for which <unk> or <eos> would have to be added."""
        assert self.vocabulary is not None
        more = text.vocabulary.words[len(self.vocabulary):]
        if not more:
            return
        n_unknown = sum(round(text.unknown_rate(part) * len(getattr(text, part)))
                        for part in PARTS)
        found = (f'{n_unknown:,} {text.unit}s that are not in it' if UNK in more
                 else f'{more[0]!r}, which is not in it')
        raise InputError(
            f'{self.path}: expected a vocabulary of the {text.unit}s of {text.name}, '
            f'since it has no {UNK} for others, found {found}; add --extend-vocab',
            'init_from')

    def check(self, text: Corpus, recipe: Recipe) -> None:
        """Refuses a text or a recipe that does not fit the model."""
        for name, size in self.sizes.items():
            found = getattr(recipe, name)
            if found != size and not (name == 'n_embed' and size is None
                                      and found == recipe.n_units):
                raise InputError(
                    f'expected {size}, as in {self.path}, found {found}; omit this '
                    'option', name)
        words = text.vocabulary.words
        if self.vocabulary is None and len(words) != self.n_vocab:
            raise InputError(
                f'{self.path}: expected a model with a vocabulary.json, or a text with '
                f'{self.n_vocab:,} different tokens like the training text, found '
                f'neither: {text.name} has {len(words):,}', 'init_from')
        if self.vocabulary is not None and (
                words[:self.n_vocab] != self.vocabulary.words):
            raise InputError(
                f'{text.name}: expected ids of the vocabulary of {self.path}, found '
                'ids of another one; load the text with vocabulary=', 'corpus')

    def fill(self, model: RNNForLM) -> RNNForLM:
        """Copies the weights into a new model, which may have more tokens.

        The weights of a new token are those of the new model plus the mean over the
        tokens of the trained model.
        """
        for name, param in model.namedparams():
            old = self.arrays[name]
            n = len(old) if old.shape != param.shape else None
            param.array[:n] = old
            if n is not None:
                param.array[n:] += old.mean(axis=0)
        return model

    def describe(self, text: Corpus) -> Dict[str, str]:
        """Returns the entry of ``run.json``."""
        digest = hashlib.sha256()
        for name, array in self.arrays.items():
            digest.update(f'{name} {array.shape} '.encode())
            digest.update(numpy.ascontiguousarray(array, '<f4').tobytes())
        extended = len(text.vocabulary) > self.n_vocab
        return {'model': self.path, 'weights': digest.hexdigest(),
                'vocabulary': 'extended' if extended else 'kept'}

    def summary(self, text: Corpus, sentences: bool = False) -> str:
        """Describes what the run takes from the model.

        Args:
            text: The text of the run.
            sentences: Whether the run is by sentences.
        """
        added = len(text.vocabulary) - self.n_vocab
        if self.vocabulary is None:
            return (f'{self.path}; it has no vocabulary, and uses that of the text'
                    + self._reading(sentences))
        return (f'{self.path}; its vocabulary of {self.n_vocab:,} {text.unit}s is '
                + (f'extended by {added:,}' if added else 'kept')
                + self._reading(sentences))

    def _reading(self, sentences: bool) -> str:
        """Describes how model and run read texts; '' if both read running text."""
        if not (sentences or self.sentences):
            return ''
        before, now = ('by sentences' if each else 'on running text'
                       for each in (self.sentences, sentences))
        if self.sentences == sentences:
            return '; it was trained by sentences, as this run is'
        return f'; it was trained {before}, this run is {now}'


def load_by(vocabulary: Vocabulary, spec: Spec, **reading: Any) -> Corpus:
    """Encodes a text with a vocabulary, extending it only if it has no ``<unk>``.

    If it has ``<unk>`` but no ``<eos>``, for example because its size was limited, the
    ends of sentences are unknown tokens too.

    Args:
        vocabulary: The vocabulary.
        spec: As for `rnnlm.data.corpus.load`, whose errors this raises.
        reading: Arguments of `load`: 'cache' and 'progress'.
    """
    return corpus.load(
        spec, vocabulary.tokens, vocabulary=vocabulary,
        extend=vocabulary.unknown is None, **reading)


def initial_model(given: Union[str, InitialModel, None]) -> Optional[InitialModel]:
    """Returns the model for an argument ``init_from``, loading it if it is a path."""
    if given is None or isinstance(given, InitialModel):
        return given
    return InitialModel.load(os.fspath(given))
