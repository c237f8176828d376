"""An output layer whose frequent words cost more than its rare ones."""
from __future__ import annotations

import math
from typing import Any, Iterable, Iterator, Optional, Sequence, Tuple

import chainer
from chainer import backend
from chainer import functions as F
from chainer import links as L
import numpy

from rnnlm.errors import (
    InputError, checked_cutoffs, require, require_count, require_divisor, short_repr)

# Where the clusters end unless cutoffs are given: the most frequent words that make up
# these parts of the text.
COVERED = 0.8, 0.95


class AdaptiveSoftmax(chainer.Chain):
    """An output layer that is small for frequent words: an adaptive softmax.

    The words are sorted by frequency and cut into a short list and clusters.  The head
    gives the probabilities of the words in the short list and of the clusters; the tail
    of a cluster those of its words, of fewer units the rarer they are:

    .. math::
        p(w) &= \\mathrm{softmax}(W_0 h + b_0)_w
            & \\quad w \\in \\mathrm{short\\ list} \\\\
        p(w) &= \\mathrm{softmax}(W_0 h + b_0)_{c_k}
            \\mathrm{softmax}(W_k P_k h)_w & \\quad w \\in \\mathrm{cluster}\\ k

    In training only the tails of the clusters in the window are computed.  The numbers
    are those of :class:`torch.nn.AdaptiveLogSoftmaxWithLoss`, but a word keeps its id:
    the layer has a table of ranks, which is saved with its parameters.

    Args:
        in_size (int): Size n of the inputs.
        n_vocab (int): Size V of the vocabulary, at least 2.
        cutoffs (sequence of int): The ranks at which the clusters begin, going up from
            at least 1 to at most V - 1.  By default as `default_cutoffs` says.
        counts (sequence of numbers): How often each word is in the training text, (V,).
            By default the ids are in the order of the frequencies.
        div_value (float): Cluster k has n / div_value^k units, at least 1.
        head_bias (bool): Whether the head has a bias.
        projected (sequence of int): The units of each cluster, if not by `div_value`.

    Attributes:
        cutoffs (tuple of int): The ranks at which the clusters begin.
        ranks (int32 array): (V,), the rank of each word by frequency, from 0.

    Raises:
        rnnlm.errors.InputError: if an argument is out of its range.

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
        """Log probabilities (B, V) of the words after features h (B, n)."""
        first = self.cutoffs[0]
        head = F.log_softmax(self.head(h))  # (B, first + clusters)
        by_rank = [head[:, :first]]
        for k, (project, tail) in enumerate(self.tails(), first):
            within = F.log_softmax(tail(project(h)))
            by_rank.append(F.broadcast_to(head[:, k:k + 1], within.shape) + within)
        return F.permutate(F.concat(by_rank), self.ranks, axis=1)

    def tails(self) -> Iterator[Tuple[chainer.Link, chainer.Link]]:
        """The links of each cluster: its projection and its matrix."""
        for k in range(1, len(self.cutoffs) + 1):
            yield self[f'project{k}'], self[f'tail{k}']

    def serialize(self, serializer: Any) -> None:
        """Saves or loads the parameters and the ranks.

        Raises:
            rnnlm.errors.InputError: if the ranks that were loaded are none.
        """
        super().serialize(serializer)
        if isinstance(serializer, chainer.Deserializer):
            reason = self.why_not_value('ranks', backend.CpuDevice().send(self.ranks))
            if reason:
                raise InputError(f'expected {reason}, found other numbers', 'ranks')

    def why_not_value(self, name: str, value: Optional[numpy.ndarray]) -> str:
        """What a value saved under a name is not; '' if it is one for this link."""
        if value is not None and is_permutation(value):
            return ''
        return f'each number from 0 to {self.n_vocab - 1} once'


def default_cutoffs(counts: Any) -> Tuple[int, ...]:
    """The cutoffs of a text: where its most frequent words make up 80 and 95 %.

    Args:
        counts (sequence of numbers): How often each word is in the text, (V,), V >= 2,
            in any order.

    Returns:
        One or two ranks from 1 to V - 1, going up.

    Raises:
        rnnlm.errors.InputError: if they are not such numbers.

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
    """Whether an array has each of its indexes once."""
    if ranks.ndim != 1 or ranks.dtype.kind not in 'iu' or not len(ranks) or (
            ranks.min() < 0 or ranks.max() >= len(ranks)):
        return False
    found = numpy.zeros(len(ranks), dtype=bool)
    found[ranks] = True
    return bool(found.all())


def why_not_window(link: AdaptiveSoftmax) -> str:
    """Why a window would compute something else than the steps of a link; or ''."""
    tails = list(link.tails())
    if any(type(inner) is not L.Linear for inner in (link.head, *sum(tails, ()))):
        return 'a link inside an AdaptiveSoftmax is not a Linear'
    if any(inner.W.array is None for inner in link.links() if inner is not link):
        return 'an AdaptiveSoftmax has no parameters yet'
    if any(inner.b is not None for tail in tails for inner in tail):
        return 'a cluster of an AdaptiveSoftmax has a bias'
    n, edges = link.head.W.shape[1], (*link.cutoffs, link.n_vocab)
    units = [project.W.shape[0] for project, _ in tails]
    sizes = [link.head.W.shape, *(tail.W.shape for _, tail in tails),
             *(project.W.shape for project, _ in tails), link.ranks.shape]
    expected = [(edges[0] + len(tails), n), *zip(numpy.diff(edges), units),
                *((m, n) for m in units), (link.n_vocab,)]
    if sizes != expected:
        return 'the parameters of an AdaptiveSoftmax are not of the sizes of its words'
    # Checked on the host alone: on a GPU it would have to wait for the last window.
    if isinstance(link.ranks, numpy.ndarray) and not is_permutation(link.ranks):
        return 'the ranks of an AdaptiveSoftmax are not each number once'
    return ''


def checked_counts(counts: Any, n_vocab: Optional[int] = None) -> numpy.ndarray:
    """Counts as float64; by Zipf's law if there are none.

    Raises:
        rnnlm.errors.InputError: unless they are finite numbers of at least 0, `n_vocab`
            of them if that is given, else at least 2.
    """
    if counts is None and n_vocab is not None:
        return 1 / numpy.arange(1.0, n_vocab + 1)
    try:
        given = numpy.asarray(counts)
    except (TypeError, ValueError):  # lists of several lengths, or on a GPU
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
