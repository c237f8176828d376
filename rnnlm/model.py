"""`RNNForLM`: Chainer's recurrent language model."""
from __future__ import annotations

from typing import Iterator, Optional

import chainer
from chainer import links as L
import numpy

from rnnlm import chain, unaltered
from rnnlm.errors import require, require_count
from rnnlm.links import OutputBias

# A larger number is a mistake in a file or an option.
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
        require('init_scale', init_scale, 'a finite number of at least 0',
                lambda v: 0 <= float(v) < numpy.inf)
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
            param.array[...] = numpy.random.uniform(
                -init_scale, init_scale, param.shape)

    def _params_as_drawn(self) -> Iterator[chainer.Parameter]:
        """Returns the parameters in the order in which they are initialised."""
        return self.params()


# Same code as its base class, except for the initialisation.
chain.KNOWN.add(unaltered.record(RNNForLM))
