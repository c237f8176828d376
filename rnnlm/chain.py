"""`LanguageModel`: embedding, recurrent layers and output of any links."""
from __future__ import annotations

import logging
from typing import Any, Optional, Sequence, Union

import chainer
from chainer import functions as F
import numpy

from rnnlm import functions, parts, states, unaltered
from rnnlm.errors import (
    InputError, require, require_count, require_ratio, require_words)
from rnnlm.links import OutputBias, masks


logger = logging.getLogger(__name__)

# Ids of words, an int array or a Variable of one.
Words = Union[chainer.Variable, numpy.ndarray]


class LanguageModel(states.StatefulChain):
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
        dropout (float or sequence of Links): Ratio of elements dropped, in [0, 1), on
            the embedding, between the layers and before the output, while
            ``chainer.config.train`` is true.  Or a link for each of these places, for
            example `rnnlm.links.LockedDropout`, one more than there are layers.
        n_vocab (int): Size V of the vocabulary, if not that of `embed`.

    A link with a method `begin_window`, as that one and `rnnlm.links.WeightDropLSTM`,
    is told when a window begins.  That is at each window (T, B); of single steps at
    those whose recurrent state was forgotten, replaced, or cut off from its graph by
    `unchain_backward`.

    Attributes:
        dropouts (list of Links): Those given as `dropout`.
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
                 output: chainer.Link,
                 dropout: Union[float, Sequence[chainer.Link]] = 0.5,
                 n_vocab: Optional[int] = None) -> None:
        dropouts = list(dropout) if isinstance(dropout, (list, tuple)) else []
        if not dropouts:
            require_ratio('dropout', dropout)
        if n_vocab is None:
            n_vocab = getattr(getattr(embed, 'W', None), 'shape', (0,))[0]
        require_count('n_vocab', n_vocab)
        require('layers', layers, 'at least one link', lambda v: len(v) > 0)
        if dropouts:
            require('dropout', dropouts, f'{len(layers) + 1} links, one more than '
                    'layers', lambda v: len(v) == len(layers) + 1 and all(
                        isinstance(link, chainer.Link) for link in v))
        super().__init__()
        # A subclass may have attributes of these names: nothing here reads them.
        self.n_vocab, self.n_layers = n_vocab, len(layers)
        self._n_vocab, self._n_layers = n_vocab, len(layers)
        self.tied = isinstance(output, OutputBias)
        self.dropout = 0.0 if dropouts else dropout
        self._n_dropouts = len(dropouts)
        self._seen: masks.Seen = ()  # of the last step of the window
        self.per_step = False
        self.row_gradient = None
        self._told: set[tuple] = set()  # warnings that were logged
        with self.init_scope():
            self.embed = embed
            for k, link in enumerate([*layers, output], 1):
                setattr(self, f'l{k}', link)
            for k, link in enumerate(dropouts):
                setattr(self, f'dropout{k}', link)

    @unaltered.Shown
    def layers(self) -> list[chainer.Link]:
        """list of links: the layers from the bottom up."""
        return self._layers()

    @unaltered.Shown
    def output(self) -> chainer.Link:
        """The link that makes the logits: Linear, or `OutputBias` if tied."""
        return self._output()

    @unaltered.Shown
    def dropouts(self) -> list[chainer.Link]:
        """list of links: those of dropout, [] if it is a ratio."""
        return self._dropouts()

    def _dropouts(self) -> list[chainer.Link]:
        return [self[f'dropout{k}'] for k in range(self._n_dropouts)]

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
        self._end_window()
        if why_steps:
            self._tell(why_steps)
            h = F.stack([self._step(step) for step in ids])
        else:
            self._begin_window()
            h = self._window(ids)
        self._end_window()
        return h

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
        masked = masks.keepers(self)
        if masked and not masks.goes_on(self._seen, self._states()):
            self._begin_window()
        h = self.embed(x)
        for k, layer in enumerate(self._layers()):
            h = layer(self._drop(k, h))
        if masked:
            self._seen = masks.seen(self._states())
        return self._drop(self._n_layers, h)

    def _states(self):
        """The recurrent states of the first layer that has some, or a link in it."""
        for layer in self._layers():
            found = [getattr(link, name) for link in layer.links()
                     for name in states.names(link)]
            if found:
                return found
        return []

    def _begin_window(self):
        """Lets the links that keep a mask for a window draw new ones."""
        for link in masks.keepers(self):
            link.begin_window()

    def _end_window(self):
        """Lets the next step begin a window."""
        if chainer.config.train:  # evaluation may come between two steps of one
            self._seen = ()

    def _drop(self, k, h):
        if self._n_dropouts:
            return self[f'dropout{k}'](h)
        return F.dropout(h, self.dropout) if self.dropout else h

    def _window(self, ids):
        """All steps (T, B) at once: the same numbers as `_step` T times."""
        T, B = ids.shape
        if isinstance(ids, numpy.ndarray) and ids.min() < 0:
            ids = ids % self._vocabulary_size()  # as NumPy reads them, from the end
        rows = None if self.tied else self.row_gradient
        h = parts.TABLE[type(self.embed)].window(self.embed, ids, rows)
        drop = self._window_dropout(T, B)
        for k, layer in enumerate(self._layers()):
            h = parts.TABLE[type(layer)].window(layer, drop(k, h))
        return drop(self._n_layers, h)

    def _window_dropout(self, T, B):
        """Function of (k, h) that is the k-th dropout of a window, h (T, B, n)."""
        links = self._dropouts()
        if links:
            return lambda k, h: parts.TABLE[type(links[k])].window(links[k], h)
        if not (self.dropout and chainer.config.train):
            return lambda k, h: h
        with chainer.using_device(self.device):  # where the key will be read
            return functions.WindowDropout(self.xp, T, B, self.widths, self.dropout,
                                           self.embed.W.dtype)

    @unaltered.Shown
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
        layers, output, dropouts = self._layers(), self._output(), self._dropouts()
        reason = parts.why_not_roles(self.embed, layers, output, dropouts)
        if reason:
            return reason
        if self.tied != isinstance(output, OutputBias):
            return 'the output layer is not that of the model'
        links = [self.embed, *layers, output]
        return (parts.why_not(self, links + dropouts)
                or ('' if forget else parts.why_not_states(links, n_streams))
                or parts.why_not_sizes(links, self._shared()))

    def _tell(self, reason):
        """Says once for each reason that a window goes step by step."""
        if not self.per_step:
            self._warn('the model is computed step by step, which takes several times '
                       'as long: %s', reason)

    def _warn(self, text, *args):
        """Logs a warning once."""
        if (text, *args) not in self._told:
            logger.warning(text, *args)
            self._told.add((text, *args))

    def check_ids(self, ids: Any, least: Optional[int] = None) -> None:
        """Refuses arrays that do not hold word ids.

        Ids below 0 count from the end of the vocabulary, as in NumPy and so in Chainer;
        a warning is logged.  Of ids on a GPU only the type and the shape are checked.

        Args:
            ids: int array (B,) or (T, B).
            least (int): The smallest that is allowed; by default the negative of the
                vocabulary's size.

        Raises:
            rnnlm.errors.InputError: if they do not.
        """
        self._check_ids(ids, least)

    def _check_ids(self, ids, least=None):
        n_vocab = self._vocabulary_size()
        low = require_words('ids', ids, n_vocab, least,
                            getattr(self.embed, 'ignore_label', None))
        if low < 0 and least is None:
            self._warn('an id of %d counts from the end of the vocabulary, as in NumPy',
                       low)

    def _vocabulary_size(self):
        """That of the embedding, which may have been replaced."""
        W = getattr(self.embed, 'W', None)
        return self._n_vocab if getattr(W, 'shape', None) is None else W.shape[0]


# Classes whose code a window accounts for.
KNOWN = {unaltered.record(LanguageModel)}


def language_model(target: Any) -> Optional[LanguageModel]:
    """The `LanguageModel` in `target`, itself or a Classifier's predictor, or None."""
    model = getattr(target, 'predictor', target)
    return model if isinstance(model, LanguageModel) else None
