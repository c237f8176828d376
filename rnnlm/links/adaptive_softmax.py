"""An output layer whose frequent words cost more than its rare ones."""
from __future__ import annotations

from typing import Any, Iterator, Optional, Sequence, Tuple

import chainer
from chainer import backend
from chainer import functions as F
from chainer import links as L
import numpy

from rnnlm.errors import InputError, checked_cutoffs, require, require_count

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
                 cutoffs: Optional[Sequence[int]] = None,
                 counts: Any = None, div_value: float = 4.0,
                 head_bias: bool = True,
                 projected: Optional[Sequence[int]] = None) -> None:
        require_count('in_size', in_size)
        require_count('n_vocab', n_vocab, least=2)
        require('div_value', div_value, 'a finite number of at least 1',
                lambda v: 1 <= float(v) < numpy.inf)
        found = _checked_counts(counts, n_vocab)
        if cutoffs is None:
            cutoffs = default_cutoffs(found)
        cutoffs = checked_cutoffs(cutoffs, n_vocab)
        if projected is None:
            projected = [max(1, int(in_size // float(div_value) ** k))
                         for k in range(1, len(cutoffs) + 1)]
        require('projected', projected, f'{len(cutoffs)} sizes, one for each cluster',
                lambda v: len(v) == len(cutoffs))
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

    Example:
        >>> default_cutoffs(1000 / numpy.arange(1, 1001))
        (224, 688)
    """
    covered = numpy.cumsum(numpy.sort(numpy.asarray(counts, dtype='d'))[::-1])
    if not covered[-1]:
        covered = numpy.arange(1.0, len(covered) + 1)
    ranks = numpy.searchsorted(covered, numpy.multiply(COVERED, covered[-1])) + 1
    return tuple(sorted({min(int(rank), len(covered) - 1) for rank in ranks}))


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


def _checked_counts(counts: Any, n_vocab: int) -> numpy.ndarray:
    """Counts as float64; by Zipf's law if there are none."""
    if counts is None:
        return 1 / numpy.arange(1.0, n_vocab + 1)
    found = numpy.asarray(counts)
    if found.shape != (n_vocab,) or found.dtype.kind not in 'iuf' or not (
            numpy.isfinite(found).all() and (found >= 0).all()):
        raise InputError(
            f'expected {n_vocab} numbers of at least 0, one for each word, found '
            f'{found.dtype} of shape {found.shape}', 'counts')
    return found.astype('d')
