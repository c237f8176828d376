"""Perplexity of a text, with and without its unknown words."""
from __future__ import annotations

import dataclasses
import math
from typing import Any, Optional

import numpy

from rnnlm.chain import LanguageModel
from rnnlm.data.corpus import Encoded
from rnnlm.data.text import UNK
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.inference import scoring


@dataclasses.dataclass(frozen=True)
class Perplexity:
    """Perplexity of a text, with and without its unknown tokens.

    Attributes:
        value: Perplexity of all tokens, where unknown tokens are ``<unk>``.
        known: Perplexity of the known tokens, in the same text.
        rate: Fraction of unknown tokens.
        left_out: Whether unknown tokens were removed from the text because the
            vocabulary has no ``<unk>``; then `value` and `known` are equal.
    """
    value: float
    known: float
    rate: float
    left_out: bool

    @classmethod
    def of(cls, log_probs: numpy.ndarray, targets: numpy.ndarray, text: Encoded,
           unknown: Optional[int]) -> Perplexity:
        """Computes it from the log probabilities (N,) of the tokens `targets` (N,)."""
        value = _perplexity(log_probs)
        if not text.n_unknown:
            return cls(value, value, 0.0, False)
        if unknown is None:
            return cls(value, value, text.rate, True)
        return cls(value, _perplexity(log_probs[targets != unknown]), text.rate, False)

    def to_json(self) -> dict[str, Any]:
        return {'perplexity': self.value, 'unknown': self.rate,
                'perplexity without unknown': self.known}

    def say_unknown(self, unit: str) -> str:
        """Returns a text about unknown tokens to print after the perplexity, or ''."""
        if not self.rate:
            return ''
        rate = f'{100 * self.rate:.3g}% unknown {unit}s'
        if self.left_out:
            return f', {rate} skipped: the vocabulary has no {UNK}'
        known = '' if math.isnan(self.known) else f'; {self.known:.3f} without them'
        return f', with {rate}{known}'


def _perplexity(log_probs: numpy.ndarray) -> float:
    if not len(log_probs):
        return float('nan')
    with numpy.errstate(over='ignore'):
        return float(numpy.exp(-log_probs.mean()))


def without_unknown(model: LanguageModel, ids: numpy.ndarray,
                    vocabulary: Vocabulary) -> float:
    """Computes the perplexity of the tokens of a text that are not ``<unk>``.

    The model reads all tokens, and predicts the first one after the last.  Only
    predictions of ``<unk>`` are excluded from the mean.

    Args:
        model: The model.
        ids: Ids (N,) of the text.
        vocabulary: The vocabulary, which has ``<unk>``.
    """
    total, n = 0.0, 0
    for _, scores, words in scoring.score_windows(model, ids, len(ids)):
        known = words != vocabulary.unknown
        total += float(scores[known].sum())
        n += int(known.sum())
    return _perplexity(numpy.array([total / n] if n else []))
