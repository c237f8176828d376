"""`LanguageModel`: embedding, recurrent layers and output of any links."""
from __future__ import annotations

import logging
from typing import Any, Callable, Optional, Sequence, Union

import chainer
from chainer import functions as F
import numpy

from rnnlm import functions, parts, states, unaltered
from rnnlm.errors import InputError, require, require_count, require_ratio
from rnnlm.links import OutputBias


logger = logging.getLogger(__name__)

# Ids of words, an int array or a Variable of one.
Words = Union[chainer.Variable, numpy.ndarray]


class _Shown:
    """A property that an attribute of the instance may hide: a subclass has its own.

    Args:
        read: Function of the object to the value.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, thing: Any, cls: Any = None) -> Any:
        return self if thing is None else self._read(thing)


class LanguageModel(chainer.Chain):
    """Recurrent language model of any links: embedding, layers, output, dropout.

    .. math::
        h^0 &= \\mathrm{embed}(x) \\\\
        h^k &= \\mathrm{layer}_k(\\mathrm{dropout}(h^{k-1})), \\quad k = 1 .. N \\\\
        y &= \\mathrm{output}(\\mathrm{dropout}(h^N))

    `RNNForLM` is the one of Chainer's examples/ptb.  Windows are computed as a whole if
    each link is in `rnnlm.parts.TABLE`, and step by step by the links otherwise.

    Args:
        embed (Link): Makes (B, m) of word ids (B,).
        layers (sequence of Links): From the bottom up; each makes (B, n) of what the
            one below gives, and keeps a state that `reset_state` forgets.
        output (Link): Makes the logits (B, V) of (B, n), `rnnlm.links.AdaptiveSoftmax`
            say; or `rnnlm.links.OutputBias`, whose weights are those of the embedding.
        dropout (float): Ratio of elements dropped, in [0, 1), on the embedding,
            between the layers and before the output, while ``chainer.config.train`` is
            true.
        n_vocab (int): Size V of the vocabulary, if not that of `embed`.

    Attributes:
        per_step (bool): If true, windows are computed one step at a time with
            Chainer's own links: slow, and the reference for the fused way.
        row_gradient (rnnlm.functions.RowGradient): Internal; what knows which gradients
            are zero but for some rows.

    Raises:
        rnnlm.errors.InputError: if an argument is out of its range.

    Example:
        >>> links = chainer.links
        >>> model = LanguageModel(
        ...     links.EmbedID(1000, 40), [links.LSTM(40, 150), links.LSTM(150, 100)],
        ...     links.Linear(100, 1000))
        >>> model(numpy.zeros((35, 20), dtype=numpy.int32)).shape
        (35, 20, 1000)
    """

    def __init__(self, embed: chainer.Link, layers: Sequence[chainer.Link],
                 output: chainer.Link, dropout: float = 0.5,
                 n_vocab: Optional[int] = None) -> None:
        require_ratio('dropout', dropout)
        if n_vocab is None:
            n_vocab = getattr(getattr(embed, 'W', None), 'shape', (0,))[0]
        require_count('n_vocab', n_vocab)
        require('layers', layers, 'at least one link', lambda v: len(v) > 0)
        super().__init__()
        # A subclass may have attributes of these names: nothing here reads them.
        self.n_vocab, self.n_layers = n_vocab, len(layers)
        self._n_vocab, self._n_layers = n_vocab, len(layers)
        self.tied = isinstance(output, OutputBias)
        self.dropout = dropout
        self.per_step = False
        self.row_gradient = None
        self._told: set[str] = set()  # reasons that a warning has given
        with self.init_scope():
            self.embed = embed
            for k, link in enumerate([*layers, output], 1):
                setattr(self, f'l{k}', link)

    @_Shown
    def layers(self) -> list[chainer.Link]:
        """list of links: the layers from the bottom up."""
        return self._layers()

    @_Shown
    def output(self) -> chainer.Link:
        """The link that makes the logits: Linear, or `OutputBias` if tied."""
        return self._output()

    def _layers(self) -> list[chainer.Link]:
        return [self[f'l{k}'] for k in range(1, self._n_layers + 1)]

    def _output(self) -> chainer.Link:
        return self[f'l{self._n_layers + 1}']

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
        self._check_ids(ids)
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
        output = self._output()
        return parts.TABLE[type(output)].window(output, h, *self._shared())

    def _logits_of_step(self, h):
        return self._output()(h, *self._shared())

    def _shared(self):
        """The embedding's W, if the output layer has no other; as arguments."""
        return (self.embed.W,) if self.tied else ()

    def features(self, x: Words) -> chainer.Variable:
        """What the output layer sees: the last layer after its dropout.

        Args:
            x: Variable or int array of word ids, (B,) or (T, B).

        Returns:
            Variable: (B, n) or (T, B, n).
        """
        ids = x.array if isinstance(x, chainer.Variable) else x
        self._check_ids(ids)
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
        self._check_ids(ids)
        if ids.ndim != 2:
            raise InputError(f'ids: expected a window (T, B), found {ids.shape}')
        return ids

    def loss(self, x: Words, t: Words) -> chainer.Variable:
        """Loss of a window: the sum over its steps of the mean over the batch.

        The output layer, the softmax and the cross entropy are one function, whose
        logits never stand in memory twice.  `BPTTUpdater` calls it for windows of an
        model that nothing was changed about; a subclass that overrides it, or any
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
        self._check_ids(t, least=-1)
        last = [] if last is None else last
        part = parts.TABLE[type(self._output())]
        rows = {'rows': self.row_gradient} if part.rows else {}
        return part.loss(self._output(), h, t, last, *self._shared(), **rows)

    def _step(self, x):
        """One step as in Chainer's examples/ptb; the reference of `_window`."""
        h = self.embed(x)
        for layer in self._layers():
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
        for k, layer in enumerate(self._layers()):
            h = parts.TABLE[type(layer)].window(layer, drop(k, h))
        return drop(self._n_layers, h)

    def _window_dropout(self, T, B):
        """Function of (k, h) that is the k-th dropout of a window, h (T, B, n)."""
        if not (self.dropout and chainer.config.train):
            return lambda k, h: h
        with chainer.using_device(self.device):  # where the key will be read
            return functions.WindowDropout(self.xp, T, B, self.widths, self.dropout,
                                           self.embed.W.dtype)

    @_Shown
    def widths(self) -> list[int]:
        """list of int: units of the embedding and of each layer.

        Raises:
            rnnlm.errors.InputError: if that of one is not known.
        """
        links = (self.embed, *self._layers())
        for link in links:
            if type(link) not in parts.TABLE:
                raise InputError(
                    'the sizes of the layers: expected links of rnnlm.parts.TABLE, '
                    f'found a {type(link).__name__}')
        return [parts.TABLE[type(link)].sizes(link)[1] for link in links]

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
        reason = unaltered.overridden(type(self), KNOWN)
        if reason:
            return reason
        links = [self.embed, *self._layers(), self._output()]
        for link in links:
            if type(link) not in parts.TABLE:
                return f'{type(link).__name__} has no window function'
        if self.tied != isinstance(links[-1], OutputBias):
            return 'the output layer is not that of the model'
        roles = ['embed', *('layer' for _ in self._layers()), 'output']
        if [parts.TABLE[type(link)].role for link in links] != roles:
            return 'a link stands in the place of another kind'
        return (parts.why_not(self, links)
                or ('' if forget else parts.why_not_states(links, n_streams))
                or parts.why_not_sizes(links, self._shared()))

    def _tell(self, reason):
        """Says once for each reason that a window goes step by step."""
        if reason not in self._told and not self.per_step:
            logger.warning('the model is computed step by step, which takes several '
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
        self._check_ids(ids, least)

    def _check_ids(self, ids, least=0):
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
            n_vocab, low, high = self._vocabulary_size(), ids.min(), ids.max()
            if low < least or high >= n_vocab:
                raise InputError(
                    f'ids: expected {least} to {n_vocab - 1} (n_vocab - 1), found '
                    f'{low} to {high}')

    def _vocabulary_size(self):
        """That of the embedding, which may have been replaced."""
        W = getattr(self.embed, 'W', None)
        return self._n_vocab if getattr(W, 'shape', None) is None else W.shape[0]

    def reset_state(self) -> None:
        """Forgets the words seen so far: c and h of every layer are zeros again.

        Of the layers alone, as in Chainer's example, not of a subclass's own links.
        """
        for layer in self._layers():
            if hasattr(layer, 'reset_state'):
                layer.reset_state()

    def get_state(self) -> Optional[list[tuple[Any, ...]]]:
        """The recurrent state of the layers.

        Returns:
            list of tuples of arrays (B, n) for each layer from the bottom up, of an
            LSTM (c, h); ``None`` after `reset_state`, and while any layer has none.
        """
        found: list[tuple[Any, ...]] = [
            tuple(getattr(layer, name, None) for name in states.names(layer))
            for layer in self._layers()]
        if any(variable is None for state in found for variable in state):
            return None
        return [tuple(chainer.as_variable(variable).array.copy() for variable in state)
                for state in found]

    def set_state(self, state: Optional[Sequence[tuple[Any, ...]]]) -> None:
        """Sets the recurrent state to what `get_state` gave.

        Args:
            state: list of tuples of arrays or Variables (B, n) for each layer, of an
                LSTM (c, h); or ``None`` for the state after `reset_state`.

        Raises:
            rnnlm.errors.InputError: if the number of layers or a shape differs.
        """
        if state is None:
            self.reset_state()
            return
        shapes = [tuple(array.shape for array in arrays) for arrays in state]
        batch = shapes[0][0][:1] if shapes and shapes[0] and shapes[0][0] else ('B',)
        expected = [(batch + (n,),) * len(states.names(layer))
                    for layer, n in zip(self._layers(), self.widths[1:])]
        if shapes != expected:
            raise InputError(
                f'state: expected for {self._n_layers} layers arrays of the shapes '
                f'{expected}, found {shapes}')
        dtype = self.embed.W.dtype
        for layer, arrays in zip(self._layers(), state):
            for name, array in zip(states.names(layer), arrays):
                setattr(layer, name, chainer.Variable(self.device.send(
                    getattr(array, 'array', array)).astype(dtype)))


# Classes whose code a window accounts for.
KNOWN = {unaltered.record(LanguageModel)}


def language_model(target: Any) -> Optional[LanguageModel]:
    """The `LanguageModel` in `target`, itself or a Classifier's predictor, or None."""
    model = getattr(target, 'predictor', target)
    return model if isinstance(model, LanguageModel) else None
