"""`RNNForLM`: the recurrent language model of Chainer's examples/ptb.

Here are the links and their initialisation; `rnnlm.chain` computes with them.
"""
from __future__ import annotations

import math
from typing import Any, Iterator, Optional, Sequence

import chainer
from chainer import links as L
import numpy

from rnnlm import chain, unaltered
from rnnlm.errors import is_real, require, require_count
from rnnlm.links import AdaptiveSoftmax, OutputBias

# Maximum number of float64 numbers drawn at a time, to save memory.
DRAWN = 2 ** 22

# Maximum number of layers; a larger number is a mistake.
MOST_LAYERS = 1000


class RNNForLM(chain.LanguageModel):
    """Recurrent language model: EmbedID, `n_layers` LSTM layers, Linear.

    Dropout is applied to the embedding, between the layers and before the output,
    while ``chainer.config.train`` is true.  With two layers the children have the
    names of Chainer's examples/ptb (``embed``, ``l1``, ``l2``, ``l3``), so snapshots
    load in both directions, and ``numpy.random.seed(s)`` gives the same parameters and
    the same dropout masks.

    Args:
        n_vocab (int): Size V of the vocabulary.
        n_units (int): Size n of the embedding and of every layer.
        n_layers (int): Number of LSTM layers.
        dropout (float): Ratio of elements dropped, in [0, 1).
        init_scale (float): Parameters are drawn uniformly from
            [-init_scale, init_scale].
        n_embed (int): Size of the embedding; n by default.
        tied (bool): If true, the output layer uses the embedding's matrix (Press and
            Wolf 2017), and n_embed must be n.

    Attributes:
        per_step (bool): If true, windows are computed one step at a time with
            Chainer's own links.  This is slow, and the reference for the fused
            functions.

    Raises:
        rnnlm.errors.InputError: If an argument is out of range.

    Example:
        >>> model = RNNForLM(n_vocab=10000, n_units=650)
        >>> ids = numpy.zeros((35, 20), dtype=numpy.int32)
        >>> model(ids).shape       # a window (T, B): logits (T, B, V)
        (35, 20, 10000)
        >>> model(ids[0]).shape    # one step (B,): logits (B, V)
        (20, 10000)

    References:
        Zaremba, Sutskever and Vinyals, "Recurrent Neural Network
        Regularization" (2014), https://arxiv.org/abs/1409.2329
        Press and Wolf, "Using the Output Embedding to Improve Language Models"
        (2017), https://arxiv.org/abs/1608.05859
    """

    def __init__(self, n_vocab: int, n_units: int, n_layers: int = 2,
                 dropout: float = 0.5, init_scale: float = 0.1,
                 n_embed: Optional[int] = None, tied: bool = False) -> None:
        require_count('n_vocab', n_vocab)
        require_count('n_units', n_units)
        require_count('n_layers', n_layers, most=MOST_LAYERS)
        _require_scale(init_scale)
        require('tied', tied, 'True or False', lambda v: v in (True, False))
        n_embed = n_units if n_embed is None else n_embed
        require_count('n_embed', n_embed)
        if tied:
            require('n_embed', n_embed, f'n_units, {n_units}, to tie the output layer '
                    'to the embedding', lambda v: v == n_units)
        super().__init__(
            L.EmbedID(n_vocab, n_embed),
            [L.LSTM(n_units if k else n_embed, n_units) for k in range(n_layers)],
            OutputBias(n_vocab) if tied else L.Linear(n_units, n_vocab), dropout)
        self.n_units, self.n_embed = n_units, n_embed
        for param in self._params_as_drawn():
            _draw(param.array, init_scale)

    def _params_as_drawn(self) -> Iterator[chainer.Parameter]:
        """Returns the parameters in the order in which they are initialised."""
        return self.params()


# Same code as its base class, except for the initialisation.
chain.KNOWN.add(unaltered.record(RNNForLM, one_step=True))


def adaptive_model(n_vocab: int, n_units: int, n_layers: int = 2, dropout: float = 0.5,
                   init_scale: float = 0.1, n_embed: Optional[int] = None,
                   cutoffs: Optional[Sequence[int]] = None,
                   counts: Any = None) -> chain.LanguageModel:
    """Makes a model like `RNNForLM` with an adaptive softmax, for large vocabularies.

    Args:
        n_vocab, n_units, n_layers, dropout, init_scale, n_embed: As for `RNNForLM`.
        cutoffs (sequence of int): The ranks by frequency at which the clusters start;
            by default those at which words make up 80 and 95 % of the text.
        counts (sequence of int): Frequency of each word in the training text, (V,); by
            default ids are assumed to be sorted by frequency.

    Returns:
        rnnlm.LanguageModel: Embedding, `n_layers` LSTM layers, and a
        `rnnlm.links.AdaptiveSoftmax`.

    Raises:
        rnnlm.errors.InputError: If an argument is out of range.

    Example:
        >>> words = numpy.array([5, 3, 3, 1, 3, 0, 1, 2, 4, 3])
        >>> model = adaptive_model(6, 16, counts=numpy.bincount(words, minlength=6))
        >>> model.output.cutoffs, model.output.ranks.tolist()
        ((4, 5), [2, 1, 3, 0, 4, 5])
        >>> model(words[:4].astype('i')).shape
        (4, 6)
    """
    require_count('n_vocab', n_vocab, least=2)
    require_count('n_units', n_units)
    require_count('n_layers', n_layers, most=MOST_LAYERS)
    _require_scale(init_scale)
    n_embed = n_units if n_embed is None else n_embed
    require_count('n_embed', n_embed)
    output = AdaptiveSoftmax(n_units, n_vocab, cutoffs, counts)
    model = chain.LanguageModel(
        make_embedding(n_vocab, n_embed),
        [L.LSTM(n_units if k else n_embed, n_units) for k in range(n_layers)],
        output, dropout)
    for param in model.params():
        _draw(param.array, init_scale)
        param.cleargrad()
    return model


def make_embedding(n_vocab: int, n_embed: int) -> L.EmbedID:
    """Makes an `L.EmbedID` of zeros.

    The constructor of `L.EmbedID` needs four times the memory, because it draws float64
    numbers and fills a gradient with NaN.
    """
    embed = L.EmbedID(1, n_embed)
    initializer = embed.W.initializer  # for ``embed.copy('init')``
    with embed.init_scope():
        embed.W = chainer.Parameter(numpy.zeros((n_vocab, n_embed), embed.W.dtype))
        embed.W.initializer = initializer
    return embed


def _require_scale(init_scale: float) -> None:
    require('init_scale', init_scale, 'a finite number of at least 0',
            lambda v: is_real(v) and v >= 0 and math.isfinite(v))


def _draw(array: Any, scale: float) -> None:
    """Draws an array uniformly from [-scale, scale], in parts to save memory."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, DRAWN):
        part = flat[start:start + DRAWN]
        part[...] = numpy.random.uniform(-scale, scale, part.size)
