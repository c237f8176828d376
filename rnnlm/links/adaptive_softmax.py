"""Output layer for large vocabularies: an adaptive softmax."""
from __future__ import annotations

import math
import warnings
from typing import Any, Iterable, Iterator, Optional, Sequence, Tuple

import chainer
from chainer import backend
from chainer import functions as F
from chainer import links as L
import numpy

from rnnlm.errors import (
    InputError, checked_cutoffs, require, require_count, require_divisor, short_repr)

# Default cutoffs: the most frequent words that make up these fractions of the text.
COVERED = 0.8, 0.95


class AdaptiveSoftmax(chainer.Chain):
    """Output layer for large vocabularies: an adaptive softmax.

    The words are sorted by frequency and divided into a short list and clusters.  The
    head computes the probabilities of the short list's words and of the clusters.  The
    tail of a cluster computes those of its words, with fewer units the rarer they are:

    .. math::
        p(w) &= \\mathrm{softmax}(W_0 h + b_0)_w
            & \\quad w \\in \\mathrm{short\\ list} \\\\
        p(w) &= \\mathrm{softmax}(W_0 h + b_0)_{c_k}
            \\mathrm{softmax}(W_k P_k h)_w & \\quad w \\in \\mathrm{cluster}\\ k

    In training, a tail is computed only for the words of its cluster.  The results
    equal those of :class:`torch.nn.AdaptiveLogSoftmaxWithLoss`, but ids need not be
    sorted by frequency: a table of ranks is saved with the parameters.

    Args:
        in_size (int): Size n of the inputs.
        n_vocab (int): Size V of the vocabulary, at least 2.
        cutoffs (sequence of int): The ranks at which the clusters begin, ascending,
            from 1 to V - 1.  The default is `default_cutoffs`.
        counts (sequence of numbers): Frequency of each word in the training text, (V,).
            By default ids are taken to be sorted by frequency.
        div_value (float): Cluster k has n / div_value^k units, at least 1.
        head_bias (bool): Whether the head has a bias.
        projected (sequence of int): The units of each cluster, instead of `div_value`.

    Attributes:
        cutoffs (tuple of int): The ranks at which the clusters begin.
        ranks (int32 array): (V,), the rank of each word by frequency, from 0.

    Raises:
        rnnlm.errors.InputError: If an argument is out of range.

    Example:
        >>> output = AdaptiveSoftmax(64, 1000, cutoffs=[100, 300])
        >>> log_p = output(numpy.zeros((20, 64), dtype='f')).array
        >>> log_p.shape, bool(abs(numpy.exp(log_p).sum(axis=1) - 1).max() < 1e-5)
        ((20, 1000), True)

    References:
        Grave, Joulin, Cisse, Grangier and Jegou, "Efficient softmax approximation for
        GPUs" (2017), https://arxiv.org/abs/1609.04309
    """

    def __init__(self, in_size: int, n_vocab: int,
                 cutoffs: Optional[Iterable[int]] = None,
                 counts: Any = None, div_value: float = 4.0,
                 head_bias: bool = True,
                 projected: Optional[Sequence[int]] = None) -> None:
        require_count('in_size', in_size)
        require_count('n_vocab', n_vocab, least=2)
        require_divisor('div_value', div_value)
        found = checked_counts(counts, n_vocab)
        cutoffs = default_cutoffs(found) if cutoffs is None else (
            checked_cutoffs(cutoffs, n_vocab))
        if projected is None:
            projected = [_units(in_size, float(div_value), k)
                         for k in range(1, len(cutoffs) + 1)]
        require('projected', projected,
                f'a sequence of {len(cutoffs)} sizes, one for each cluster',
                lambda v: len(v) == len(cutoffs) and v[0])  # sets have no order
        for size in projected:
            require_count('projected', size)
        super().__init__()
        self.cutoffs, self.n_vocab = cutoffs, n_vocab
        with self.init_scope():
            self.head = L.Linear(in_size, cutoffs[0] + len(cutoffs),
                                 nobias=not head_bias)
            edges = zip(projected, cutoffs, (*cutoffs[1:], n_vocab))
            for k, (size, begin, end) in enumerate(edges, 1):
                setattr(self, f'project{k}', L.Linear(in_size, size, nobias=True))
                setattr(self, f'tail{k}', L.Linear(size, end - begin, nobias=True))
        self.ranks = numpy.empty(n_vocab, dtype='i')
        self.ranks[numpy.argsort(-found, kind='stable')] = numpy.arange(n_vocab)
        self.register_persistent('ranks')

    def forward(self, h: Any) -> chainer.Variable:
        """Computes the log probabilities (B, V) of all words from h (B, n)."""
        first = self.cutoffs[0]
        head = F.log_softmax(self.head(h))  # (B, first + clusters)
        by_rank = [head[:, :first]]
        for k, (project, tail) in enumerate(self.tails(), first):
            within = F.log_softmax(tail(project(h)))
            by_rank.append(F.broadcast_to(head[:, k:k + 1], within.shape) + within)
        return F.permutate(F.concat(by_rank), self.ranks, axis=1)

    def tails(self) -> Iterator[Tuple[chainer.Link, chainer.Link]]:
        """Yields the links (projection, matrix) of each cluster."""
        for k in range(1, len(self.cutoffs) + 1):
            yield self[f'project{k}'], self[f'tail{k}']

    def serialize(self, serializer: Any) -> None:
        """Saves or loads the parameters and the ranks.

        Raises:
            rnnlm.errors.InputError: If the loaded ranks are invalid.
        """
        super().serialize(serializer)
        if isinstance(serializer, chainer.Deserializer):
            reason = self.why_not_value('ranks', backend.CpuDevice().send(self.ranks))
            if reason:
                raise InputError(f'expected {reason}, found other numbers', 'ranks')

    def why_not_value(self, name: str, value: Optional[numpy.ndarray]) -> str:
        """Returns what is expected of a saved value that is invalid, or ''."""
        if value is not None and is_permutation(value):
            return ''
        return f'each number from 0 to {self.n_vocab - 1} once'


def default_cutoffs(counts: Any) -> Tuple[int, ...]:
    """Returns the cutoffs at which the most frequent words make up 80 and 95 %.

    Args:
        counts (sequence of numbers): Frequency of each word in the text, (V,), V >= 2,
            in any order.

    Returns:
        tuple of int: One or two ranks from 1 to V - 1, ascending.

    Raises:
        rnnlm.errors.InputError: If they are not such numbers.

    Example:
        >>> default_cutoffs(1000 / numpy.arange(1, 1001))
        (224, 688)
    """
    counts = checked_counts(counts)
    # By a power of two, so that the sum is finite.
    counts = numpy.ldexp(counts, -numpy.frexp(counts.max())[1])
    covered = numpy.cumsum(numpy.sort(counts)[::-1])
    if not covered[-1]:
        covered = numpy.arange(1.0, len(covered) + 1)
    ranks = numpy.searchsorted(covered, numpy.multiply(COVERED, covered[-1])) + 1
    return tuple(sorted({min(int(rank), len(covered) - 1) for rank in ranks}))


def _units(in_size: int, div_value: float, k: int) -> int:
    """The units of cluster k."""
    if k * math.log2(div_value) > 64:  # the power may be more than a float can be
        return 1
    return max(1, int(in_size // div_value ** k))


def is_permutation(ranks: numpy.ndarray) -> bool:
    """Returns whether an array (V,) holds each integer from 0 to V - 1 once."""
    if ranks.ndim != 1 or ranks.dtype.kind not in 'iu' or not len(ranks) or (
            ranks.min() < 0 or ranks.max() >= len(ranks)):
        return False
    found = numpy.zeros(len(ranks), dtype=bool)
    found[ranks] = True
    return bool(found.all())


def why_not_window(link: AdaptiveSoftmax) -> str:
    """Returns why a window may compute something else than a link's steps, or ''."""
    tails = list(link.tails())
    if any(type(inner) is not L.Linear for inner in (link.head, *sum(tails, ()))):
        return 'a link inside an AdaptiveSoftmax is not a Linear'
    if any(inner.W.array is None for inner in link.links() if inner is not link):
        return 'an AdaptiveSoftmax has uninitialised parameters'
    if any(inner.b is not None for tail in tails for inner in tail):
        return 'a cluster of an AdaptiveSoftmax has a bias'
    n, edges = link.head.W.shape[1], (*link.cutoffs, link.n_vocab)
    units = [project.W.shape[0] for project, _ in tails]
    sizes = [link.head.W.shape, *(tail.W.shape for _, tail in tails),
             *(project.W.shape for project, _ in tails), link.ranks.shape]
    expected = [(edges[0] + len(tails), n), *zip(numpy.diff(edges), units),
                *((m, n) for m in units), (link.n_vocab,)]
    if sizes != expected:
        return 'the parameters of an AdaptiveSoftmax do not have the sizes of its words'
    # Checked only on the CPU; on a GPU it would wait for the previous window.
    if isinstance(link.ranks, numpy.ndarray) and not is_permutation(link.ranks):
        return 'the ranks of an AdaptiveSoftmax are not a permutation'
    return ''


def checked_counts(counts: Any, n_vocab: Optional[int] = None) -> numpy.ndarray:
    """Returns counts as float64; if there are none, those of Zipf's law.

    Raises:
        rnnlm.errors.InputError: Unless they are finite numbers of at least 0, `n_vocab`
            of them if that is given, else at least 2.
    """
    if counts is None and n_vocab is not None:
        return 1 / numpy.arange(1.0, n_vocab + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # NumPy 1.23 only warns of ragged lists
            given = numpy.asarray(counts)
    except (TypeError, ValueError, Warning):  # ragged lists, or an array on a GPU
        given = numpy.array(None)
    problem = ''
    if given.ndim != 1 or given.dtype.kind not in 'iuf':
        problem = short_repr(counts)
    elif len(given) < 2 or n_vocab not in (None, len(given)):
        problem = f'{len(given)} of them'
    else:
        with numpy.errstate(over='ignore'):
            given = given.astype('d')
        bad = numpy.flatnonzero(~(numpy.isfinite(given) & (given >= 0)))
        if len(bad):
            problem = f'{given[bad[0]]} for word {bad[0]}'
    if problem:
        raise InputError(f'expected {n_vocab or "at least 2"} finite numbers of at '
                         f'least 0, one for each word, found {problem}', 'counts')
    return given
