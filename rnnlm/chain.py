"""`LanguageModel`: a recurrent language model of any links.

A window (T, B) is computed in one of two ways; `why_steps` decides:

- fused: `_window` calls each link's window function once (`rnnlm.parts`), which calls a
  function of `rnnlm.functions`, which calls `rnnlm.kernels`.
- step by step: `_step` calls the links, T times, with Chainer's functions.

To follow a training window: `loss`, `_features`, `_window` for the embedding and the
layers; then `_loss_of_features` for output layer and loss.
"""
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

# Word ids: int array, or a Variable of one.
Words = Union[chainer.Variable, numpy.ndarray]


class LanguageModel(states.StatefulChain):
    """Recurrent language model of any links: embedding, layers, output and dropout.

    .. math::
        h^0 &= \\mathrm{embed}(x) \\\\
        h^k &= \\mathrm{layer}_k(\\mathrm{dropout}(h^{k-1})), \\quad k = 1 .. N \\\\
        y &= \\mathrm{output}(\\mathrm{dropout}(h^N))

    `RNNForLM` is the model of Chainer's examples/ptb.  Windows are computed by fused
    functions if each link is in `rnnlm.parts.TABLE`, and step by step otherwise.

    If a link has a method `begin_window`, such as `rnnlm.links.WeightDropLSTM`, it is
    called at the start of each window.  Single steps start a window where the recurrent
    state was reset, replaced, or cut off from its graph by `unchain_backward`.

    Args:
        embed (Link): Maps word ids (B,) to (B, m).
        layers (sequence of Links): Recurrent layers from the bottom up.  Each maps the
            output of the one below to (B, n), and has a method `reset_state`.
        output (Link): Maps (B, n) to logits or log probabilities (B, V): a Linear,
            `rnnlm.links.AdaptiveSoftmax`, or `rnnlm.links.OutputBias`, which uses the
            embedding's weights.
        dropout (float or sequence of Links): Ratio of elements dropped, in [0, 1),
            after the embedding, between the layers and before the output, while
            ``chainer.config.train`` is true.  Or a link for each of these, such as
            `rnnlm.links.LockedDropout`, one more than there are layers.
        n_vocab (int): Size V of the vocabulary; by default that of `embed`.

    Attributes:
        dropouts (list of Links): The links given as `dropout`.
        per_step (bool): If true, windows are computed step by step with Chainer's own
            links.  This is slow, and the reference for the fused functions.
        row_gradient (rnnlm.functions.RowGradient): Internal; records which rows of
            gradients are not zero.

    Raises:
        rnnlm.errors.InputError: If an argument is out of range.

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
        # Copies with an underscore, because a subclass may redefine these names.
        self.n_vocab = self._n_vocab = n_vocab
        self.n_layers = self._n_layers = len(layers)
        self.tied = isinstance(output, OutputBias)
        self.dropout = 0.0 if dropouts else dropout
        self._n_dropouts = len(dropouts)
        self._last_states: masks.Fingerprint = ()  # after the last step of the window
        self.per_step = False
        self.row_gradient = None
        self._warnings_logged: set[tuple] = set()  # warnings that were logged
        with self.init_scope():
            self.embed = embed
            for k, link in enumerate([*layers, output], 1):
                setattr(self, f'l{k}', link)
            for k, link in enumerate(dropouts):
                setattr(self, f'dropout{k}', link)

    @unaltered.Shown
    def layers(self) -> list[chainer.Link]:
        """list of links: The recurrent layers from the bottom up."""
        return self._layers()

    @unaltered.Shown
    def output(self) -> chainer.Link:
        """Link: The output layer: Linear, `OutputBias` if tied, or another one."""
        return self._output()

    @unaltered.Shown
    def dropouts(self) -> list[chainer.Link]:
        """list of links: The dropout links; [] if dropout is a ratio."""
        return self._dropouts()

    def _dropouts(self) -> list[chainer.Link]:
        return [getattr(self, f'dropout{k}') for k in range(self._n_dropouts)]

    def _layers(self) -> list[chainer.Link]:
        return [getattr(self, f'l{k}') for k in range(1, self._n_layers + 1)]

    def _output(self) -> chainer.Link:
        return getattr(self, f'l{self._n_layers + 1}')

    def forward(self, x: Words) -> chainer.Variable:
        """Computes the logits of the next word, for one step or for a window.

        The recurrent state continues from the last call; see `reset_state`.

        Args:
            x: Variable or int array of word ids: (B,) or (B, 1) for one step, as in
                Chainer, or (T, B) with B > 1 for a window.  For windows of one stream
                use `logits`.

        Returns:
            Variable: (B, V) for a step, (T, B, V) for a window.
        """
        ids = x.array if isinstance(x, chainer.Variable) else x
        self._check_ids(ids)
        if ids.ndim == 1 or ids.shape[1] == 1:
            return self._logits_of_step(self._step(x))
        return self.logits(x)

    def logits(self, x: Words) -> chainer.Variable:
        """Computes the logits of the next words in a window of one or more streams.

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
        """Returns additional arguments of the output layer: (embed.W,) if tied."""
        return (self.embed.W,) if self.tied else ()

    def features(self, x: Words) -> chainer.Variable:
        """Computes the input of the output layer: the last layer after its dropout.

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
        """Computes `features` of a window (T, B), step by step if there is a reason."""
        self._end_window()
        if why_steps:
            self._warn_step_by_step(why_steps)
            h = F.stack([self._step(step) for step in ids])
        else:
            self._begin_window()
            h = self._window(ids)
        self._end_window()
        return h

    def _window_of(self, x):
        """Returns the ids of a window as an array, after checking them."""
        ids = x.array if isinstance(x, chainer.Variable) else x
        self._check_ids(ids)
        if ids.ndim != 2:
            raise InputError(f'ids: expected a window (T, B), found {ids.shape}')
        return ids

    def loss(self, x: Words, t: Words) -> chainer.Variable:
        """Computes the loss of a window: the sum over steps of the mean over the batch.

        Output layer, softmax and cross entropy are one fused function, which holds the
        logits once and in chunks.  If a subclass overrides this or another method,
        `BPTTUpdater` calls the Classifier step by step.

        Args:
            x: Variable or int array (T, B), the words.
            t: Variable or int array (T, B), the words to predict; -1 is ignored.

        Returns:
            Variable: The loss, a scalar.  Do not change parameters before its
            `backward`: the gradients of the output layer are computed here.
        """
        ids = self._window_of(x)
        t = t.array if isinstance(t, chainer.Variable) else t
        require('t', t, f'an array of the shape of x, {ids.shape}',
                lambda v: getattr(v, 'shape', None) == ids.shape)
        require_words('t', t, self._vocabulary_size(), -1)
        why_steps = self.why_steps(ids.shape[1])
        h = self._features(ids, why_steps)
        if why_steps:
            return sum(
                F.softmax_cross_entropy(self._logits_of_step(h_t), t_t)
                for h_t, t_t in zip(F.separate(h), t))
        return self._loss_of_features(h, t)

    def _loss_of_features(self, h, t, last=None):
        require_words('t', t, self._vocabulary_size(), -1)
        part, last = parts.TABLE[type(self._output())], [] if last is None else last
        rows = {'rows': self.row_gradient} if part.rows else {}
        return part.loss(self._output(), h, t, last, *self._shared(), **rows)

    def _step(self, x):
        """Computes a step as in Chainer's examples/ptb; the reference of `_window`."""
        masked = masks.masked_links(self)
        if masked and not masks.is_same_window(self._last_states,
                                               states.first(self._layers())):
            self._begin_window()
        h = self.embed(x)
        for k, layer in enumerate(self._layers()):
            h = layer(self._drop(k, h))
        if masked:
            self._last_states = masks.fingerprint(states.first(self._layers()))
        return self._drop(self._n_layers, h)

    def _is_training(self):
        """Returns whether dropout is applied; `rnnlm.v1` decides it by a flag."""
        return bool(chainer.config.train)

    def _begin_window(self):
        """Starts a window: links with a mask for a window draw a new one."""
        for link in masks.masked_links(self):
            link.begin_window()

    def _end_window(self):
        """Ends a window, so that the next step starts one."""
        if chainer.config.train:  # evaluation may come between two training steps
            self._last_states = ()

    def _drop(self, k, h):
        """Applies dropout layer k to one step h (B, n)."""
        if self._n_dropouts:
            return self[f'dropout{k}'](h)
        return F.dropout(h, self.dropout) if self.dropout else h

    def _window(self, ids):
        """Computes T steps by window functions: h (T, B, n), as T calls of `_step`."""
        T, B = ids.shape
        if isinstance(ids, numpy.ndarray) and ids.min() < 0:
            # Negative ids, as in NumPy.  The size may not fit into their type.
            ids = numpy.mod(ids, self._vocabulary_size(), dtype=numpy.int64)
        rows = None if self.tied else self.row_gradient
        h = parts.TABLE[type(self.embed)].window(self.embed, ids, rows)
        drop = self._window_dropout(T, B)
        for k, layer in enumerate(self._layers()):
            h = parts.TABLE[type(layer)].window(layer, drop(k, h))
        return drop(self._n_layers, h)

    def _window_dropout(self, T, B):
        """Returns the function (k, h) that applies dropout layer k to h (T, B, n)."""
        links = self._dropouts()
        if links:
            return lambda k, h: parts.TABLE[type(links[k])].window(links[k], h)
        if not (self.dropout and self._is_training()):
            return lambda k, h: h
        require_ratio('dropout', self.dropout)  # it may have been set
        with chainer.using_device(self.device):  # where the masks are computed
            return functions.WindowDropout(self.xp, T, B, self.widths, self.dropout,
                                           self.embed.W.dtype)

    @unaltered.Shown
    def widths(self) -> list[int]:
        """list of int: The output sizes of the embedding and of each layer.

        Raises:
            rnnlm.errors.InputError: If a link is not in `rnnlm.parts.TABLE`.
        """
        links = (self.embed, *self._layers())
        for link in links:
            if type(link) not in parts.TABLE:
                raise InputError(
                    'the sizes of the layers: expected links of rnnlm.parts.TABLE, '
                    f'found a {type(link).__name__}')
        return [parts.TABLE[type(link)].sizes(link)[1] for link in links]

    def why_steps(self, n_streams: Optional[int] = None, forget: bool = False,
                  code: unaltered.Code = unaltered.EVERYTHING) -> str:
        """Returns why windows are computed step by step, or ''.

        Args:
            n_streams (int): Number of streams B; None for that of the states.
            forget (bool): Whether the states are reset before the window.
            code: The code that must not have been replaced.

        Returns:
            str: The reason; '' if windows are fused.
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
            return 'the output layer was replaced'
        links = [self.embed, *layers, output]
        return (parts.why_not(self, links + dropouts, code)
                or ('' if forget else parts.why_not_states(links, n_streams))
                or parts.why_not_sizes(links, self._shared()))

    def _warn_step_by_step(self, reason):
        """Logs once per reason that windows are computed step by step."""
        if not self.per_step:
            self._warn('the model is computed step by step, which takes several times '
                       'as long: %s', reason)

    def _warn(self, text, *args):
        """Logs a warning, once per model."""
        if (text, *args) not in self._warnings_logged:
            logger.warning(text, *args)
            self._warnings_logged.add((text, *args))

    def check_ids(self, ids: Any, least: Optional[int] = None) -> None:
        """Raises InputError unless an array holds word ids.

        Negative ids count from the end of the vocabulary, as in NumPy and Chainer, with
        a warning.  On a GPU only the type and the shape are checked.

        Args:
            ids: int array (B,) or (T, B).
            least (int): Smallest valid id; by default -V.

        Raises:
            rnnlm.errors.InputError: If the array or an id is invalid.
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
        """Returns the size of the embedding, which may have been replaced."""
        W = getattr(self.embed, 'W', None)
        return self._n_vocab if getattr(W, 'shape', None) is None else W.shape[0]


# Classes whose methods the fused functions replace; subclasses are checked against it.
KNOWN = {unaltered.record(LanguageModel, one_step=True)}


def language_model(target: Any) -> Optional[LanguageModel]:
    """Returns the `LanguageModel` in a target: itself, its predictor, or None."""
    model = getattr(target, 'predictor', target)
    return model if isinstance(model, LanguageModel) else None
