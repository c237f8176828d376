"""`RNNForLM`: Chainer's recurrent language model, one step or a window at a time."""
from __future__ import annotations

import logging
from typing import Any, Iterator, Optional, Sequence, Union

import chainer
from chainer import functions as F
from chainer import links as L
import numpy

from rnnlm import functions, parts, unaltered
from rnnlm.errors import InputError, require, require_count, require_ratio


logger = logging.getLogger(__name__)

# Ids of words, an int array or a Variable of one.
Words = Union[chainer.Variable, numpy.ndarray]

# More of them is a mistake in a file or an option.
MOST_LAYERS = 1000


class RNNForLM(chainer.Chain):
    """Recurrent language model: EmbedID, `n_layers` LSTM layers, Linear.

    Dropout stands on the embedding, between the layers and before the output,
    and works while ``chainer.config.train`` is true.  With two layers the children
    have the names of Chainer's examples/ptb (``embed``, ``l1``, ``l2``, ``l3``),
    so that snapshots load both ways, and ``numpy.random.seed(s)`` gives the same
    parameters and the same dropout masks as there.

    Args:
        n_vocab (int): Size V of the vocabulary.
        n_units (int): Size n of the embedding and of every layer.
        n_layers (int): Number of LSTM layers.
        dropout (float): Ratio of elements dropped, in [0, 1).
        init_scale (float): Parameters are drawn uniformly from
            [-init_scale, init_scale].
        n_embed (int): Size of the embedding, if not n.
        tied (bool): If true, the output layer has the embedding's matrix for its own
            (Press and Wolf 2017), and n_embed must be n.

    Attributes:
        per_step (bool): If true, windows are computed one step at a time with
            Chainer's own links: slow, and the reference for the fused way.
        row_gradient (rnnlm.functions.RowGradient): If set, where the gradient of
            the embedding is kept; for those who know that no one else changes it.

    Raises:
        rnnlm.errors.InputError: if an argument is out of its range.

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
        require_ratio('dropout', dropout)
        require('init_scale', init_scale, 'a finite number of at least 0',
                lambda v: 0 <= float(v) < numpy.inf)
        require('tied', tied, 'True or False', lambda v: v in (True, False))
        n_embed = n_units if n_embed is None else n_embed
        require_count('n_embed', n_embed)
        if tied:
            require('n_embed', n_embed, f'n_units, {n_units}, to tie the output layer '
                    'to the embedding', lambda v: v == n_units)
        super().__init__()
        self.n_vocab, self.n_units, self.n_layers = n_vocab, n_units, n_layers
        self.n_embed, self.tied = n_embed, bool(tied)
        self.dropout = dropout
        self.per_step = False
        self.row_gradient = None
        self._told: set[str] = set()  # reasons that a warning has given
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_embed)
            for k in range(1, n_layers + 1):
                setattr(self, f'l{k}', L.LSTM(n_embed if k == 1 else n_units, n_units))
            setattr(self, f'l{n_layers + 1}',
                    parts.OutputBias(n_vocab) if tied else L.Linear(n_units, n_vocab))
        for param in self._params_as_drawn():
            param.array[...] = numpy.random.uniform(
                -init_scale, init_scale, param.shape)

    def _params_as_drawn(self) -> Iterator[chainer.Parameter]:
        """The parameters in the order in which their values are drawn."""
        return self.params()

    @property
    def layers(self) -> list[chainer.Link]:
        """list of LSTM links: the layers from the bottom up."""
        return [self[f'l{k}'] for k in range(1, self.n_layers + 1)]

    @property
    def output(self) -> chainer.Link:
        """The link that makes the logits: Linear, or `OutputBias` if tied."""
        return self[f'l{self.n_layers + 1}']

    def forward(self, x: Words) -> chainer.Variable:
        """Logits of the next word, for one step or for a window.

        The recurrent state goes on from the last call; see `reset_state`.

        Args:
            x: Variable or int array of word ids: (B,) or (B, 1), one step, as in
                Chainer; or (T, B) with B > 1, a window.  `logits` takes windows of one
                stream too.

        Returns:
            Variable: (B, V) for a step, (T, B, V) for a window.
        """
        ids = x.array if isinstance(x, chainer.Variable) else x
        self.check_ids(ids)
        if ids.ndim == 1 or ids.shape[1] == 1:
            return self._logits_of_step(self._step(x))
        return self.logits(x)

    def logits(self, x: Words) -> chainer.Variable:
        """Logits of the next words of a window, of one stream or more.

        Args:
            x: Variable or int array of word ids (T, B).

        Returns:
            Variable: (T, B, V).
        """
        ids = self._window_of(x)
        return self._logits(ids, self.why_steps(ids.shape[1]))

    def _logits(self, ids, why_steps):
        h = self._features(ids, why_steps)
        if why_steps:
            return F.stack([self._logits_of_step(h_t) for h_t in F.separate(h)])
        if self.tied:
            return self.output(h, self.embed.W, n_batch_axes=2)
        return parts.TABLE[type(self.output)].window(self.output, h)

    def _logits_of_step(self, h):
        return self.output(h, self.embed.W) if self.tied else self.output(h)

    def features(self, x: Words) -> chainer.Variable:
        """What the output layer sees: the last layer after its dropout.

        Args:
            x: Variable or int array of word ids, (B,) or (T, B).

        Returns:
            Variable: (B, n) or (T, B, n).
        """
        ids = x.array if isinstance(x, chainer.Variable) else x
        self.check_ids(ids)
        if ids.ndim == 1:
            return self._step(x)
        return self._features(ids, self.why_steps(ids.shape[1]))

    def _features(self, ids, why_steps):
        """`features` of a window (T, B), as a whole if there is no reason not to."""
        if not why_steps:
            return self._window(ids)
        self._tell(why_steps)
        return F.stack([self._step(step) for step in ids])

    def _window_of(self, x):
        ids = x.array if isinstance(x, chainer.Variable) else x
        self.check_ids(ids)
        if ids.ndim != 2:
            raise InputError(f'ids: expected a window (T, B), found {ids.shape}')
        return ids

    def loss(self, x: Words, t: Words) -> chainer.Variable:
        """Loss of a window: the sum over its steps of the mean over the batch.

        The output layer, the softmax and the cross entropy are one function, whose
        logits never stand in memory twice.  `BPTTUpdater` calls it for windows of an
        `RNNForLM` that nothing was changed about; a subclass that overrides it, or any
        other method, is called step by step, through its Classifier.

        Args:
            x: Variable or int array (T, B), the words.
            t: Variable or int array (T, B), the words to predict; -1 is left out.

        Returns:
            Variable: a scalar.
        """
        ids = self._window_of(x)
        return self._loss(ids, t, self.why_steps(ids.shape[1]))

    def _loss(self, ids, t, why_steps):
        t = t.array if isinstance(t, chainer.Variable) else t
        h = self._features(ids, why_steps)
        if why_steps:
            return sum(
                F.softmax_cross_entropy(self._logits_of_step(h_t), t_t)
                for h_t, t_t in zip(F.separate(h), t))
        return self._loss_of_features(h, t)

    def _loss_of_features(self, h, t, last=None):
        self.check_ids(t, least=-1)
        W = self.embed.W if self.tied else self.output.W
        return functions.linear_softmax_cross_entropy(h, W, self.output.b, t, last)

    def _step(self, x):
        """One step as in Chainer's examples/ptb; the reference of `_window`."""
        h = self.embed(x)
        for layer in self.layers:
            h = layer(self._drop(h))
        return self._drop(h)

    def _drop(self, h):
        return F.dropout(h, self.dropout) if self.dropout else h

    def _window(self, ids):
        """All steps (T, B) at once: the same numbers as `_step` T times."""
        T, B = ids.shape
        rows = None if self.tied else self.row_gradient
        h = parts.TABLE[type(self.embed)].window(self.embed, ids, rows)
        drop = self._window_dropout(T, B)
        for k, layer in enumerate(self.layers):
            h = parts.TABLE[type(layer)].window(layer, drop(k, h))
        return drop(self.n_layers, h)

    def _window_dropout(self, T, B):
        """Function of (k, h) that is the k-th dropout of a window, h (T, B, n)."""
        if not (self.dropout and chainer.config.train):
            return lambda k, h: h
        with chainer.using_device(self.device):  # where the key will be read
            return functions.WindowDropout(self.xp, T, B, self.widths, self.dropout,
                                           self.embed.W.dtype)

    @property
    def widths(self) -> list[int]:
        """list of int: units of the embedding and of each layer."""
        return [self.embed.W.shape[1]] + [layer.state_size for layer in self.layers]

    def why_steps(self, n_streams: Optional[int] = None,
                  forget: bool = False) -> str:
        """Why windows are computed step by step, by the links themselves.

        Args:
            n_streams (int): Streams of the window, B; None for those of the states.
            forget (bool): Whether the states are forgotten before the window.

        Returns:
            str: the reason; '' if windows are computed as a whole.
        """
        if self.per_step:
            return 'per_step is set'
        links = [self.embed, *self.layers, self.output]
        for link in links:
            if type(link) not in parts.TABLE:
                return f'{type(link).__name__} has no window function'
        if type(self.embed) is not L.EmbedID or any(
                parts.TABLE[type(layer)].state != ('c', 'h') for layer in self.layers):
            return 'a link stands in the place of another kind'
        return (unaltered.overridden(type(self), KNOWN)
                or parts.why_not(self, links, self.embed.W.dtype)
                or ('' if forget else parts.why_not_states(links, n_streams))
                or self._why_not_sizes())

    def _why_not_sizes(self):
        """str: Whether a link takes other inputs than the one below gives; or ''."""
        widths = self.widths
        inputs = [layer.upward.W.shape[1] for layer in self.layers]
        last = self.embed.W if self.tied else self.output.W
        if inputs + [last.shape[1]] != widths:
            return (f'the layers give {widths} units, and the ones above take '
                    f'{inputs + [last.shape[1]]}')
        if self.tied != isinstance(self.output, parts.OutputBias) or (
                last.shape[0] != len(self.output.b.array)):
            return 'the output layer is not that of the model'
        return ''

    def _tell(self, reason):
        """Says once for each reason that a window goes step by step."""
        if reason not in self._told and not self.per_step:
            logger.warning('RNNForLM is computed step by step, which takes several '
                           'times as long: %s', reason)
            self._told.add(reason)

    def check_ids(self, ids: Any, least: int = 0) -> None:
        """Refuses what are no word ids; of ids on a GPU only the type and the shape.

        Args:
            ids: int array (B,) or (T, B).
            least (int): The smallest that is allowed.

        Raises:
            rnnlm.errors.InputError: if they are none.
        """
        ignored = getattr(self.embed, 'ignore_label', None)
        if ignored is not None:
            least = min(least, ignored)
        if not hasattr(ids, 'dtype'):
            raise InputError(
                f'ids: expected an array or a Variable, found {type(ids).__name__}')
        if ids.dtype.kind != 'i' or ids.ndim not in (1, 2) or not ids.size:
            raise InputError(
                'ids: expected signed integers of shape (B,) or (T, B), found '
                f'{ids.dtype} of shape {ids.shape}')
        # On a GPU the answer would have to be waited for.
        if isinstance(ids, numpy.ndarray):
            low, high = ids.min(), ids.max()
            if low < least or high >= self.n_vocab:
                raise InputError(
                    f'ids: expected {least} to {self.n_vocab - 1} (n_vocab - 1), found '
                    f'{low} to {high}')

    def reset_state(self) -> None:
        """Forgets the words seen so far: c and h of every layer are zeros again.

        Of the layers alone, as in Chainer's example, not of a subclass's own links.
        """
        for layer in self.layers:
            if hasattr(layer, 'reset_state'):
                layer.reset_state()

    def get_state(self) -> Optional[list[tuple[Any, Any]]]:
        """The recurrent state of the layers.

        Returns:
            list of (c, h), arrays (B, n), for each layer from the bottom up; ``None``
            after `reset_state`, and while any layer has none.
        """
        if any(getattr(layer, name, None) is None
               for layer in self.layers for name in 'ch'):
            return None
        return [(layer.c.array.copy(), layer.h.array.copy()) for layer in self.layers]

    def set_state(self, state: Optional[Sequence[tuple[Any, Any]]]) -> None:
        """Sets the recurrent state to what `get_state` gave.

        Args:
            state: list of (c, h), arrays or Variables (B, n), for each layer; or
                ``None`` for the state after `reset_state`.

        Raises:
            rnnlm.errors.InputError: if the number of layers or a shape differs.
        """
        if state is None:
            self.reset_state()
            return
        shapes = [tuple(array.shape for array in pair) for pair in state]
        batch = shapes[0][0][:1] if shapes and shapes[0] and shapes[0][0] else ('B',)
        expected = [(batch + (layer.state_size,),) * 2 for layer in self.layers]
        if shapes != expected:
            raise InputError(
                f'state: expected {self.n_layers} pairs (c, h) of arrays '
                f'{expected[0][0]}, found shapes {shapes}')
        dtype = self.embed.W.dtype
        for layer, pair in zip(self.layers, state):
            layer.set_state(*(
                chainer.Variable(self.device.send(
                    getattr(array, 'array', array)).astype(dtype)) for array in pair))


# Classes whose code is that of Chainer's example, and a window's.
KNOWN = {unaltered.record(RNNForLM)}


def language_model(target: Any) -> Optional[RNNForLM]:
    """The `RNNForLM` in `target`, itself or a Classifier's predictor, or None."""
    model = getattr(target, 'predictor', target)
    return model if isinstance(model, RNNForLM) else None


def model_shapes(n_vocab: int, n_embed: int, n_units: int, n_layers: int,
                 tied: bool = False) -> dict[str, tuple[int, ...]]:
    """dict: the names of a model's parameters, at least one layer's, and their shapes.
    """
    shapes: dict[str, tuple[int, ...]] = {'embed/W': (n_vocab, n_embed)}
    n_in = n_embed
    for k in range(1, max(1, n_layers) + 1):
        shapes.update((f'l{k}/{name}', shape)
                      for name, shape in layer_shapes(n_in, n_units).items())
        n_in = n_units
    if not tied:
        shapes[f'l{n_layers + 1}/W'] = n_vocab, n_units
    shapes[f'l{n_layers + 1}/b'] = n_vocab,
    return shapes


def layer_shapes(n_in: int, n: int) -> dict[str, tuple[int, ...]]:
    """dict: the names of an LSTM layer's parameters and their shapes."""
    return {'upward/W': (4 * n, n_in), 'upward/b': (4 * n,), 'lateral/W': (4 * n, n)}
