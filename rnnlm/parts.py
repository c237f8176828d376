"""Table of links that have a window function.

A `LanguageModel` is computed by windows if the exact type of each link is in `TABLE`,
and nothing that the window functions replace was changed.  Otherwise its links are
called step by step.

To add a link, write its `forward` for one step with Chainer's functions, and a function
for a window, and call `add`.
"""
from typing import Callable, NamedTuple, Optional, Tuple

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.backends import cuda
import numpy

from rnnlm import functions, unaltered
from rnnlm.errors import require
from rnnlm.functions.adaptive_softmax import tails_without_words
from rnnlm.functions.gates import SLOPES
from rnnlm.links import adaptive_softmax
from rnnlm.links import (
    AdaptiveSoftmax, DroppedLinear, HardSigmoidLSTM, LockedDropout, OutputBias,
    WeightDropLSTM)

__all__ = ['Part', 'TABLE', 'adaptive_window', 'add', 'embedding_window',
           'linear_window', 'locked_dropout_window', 'lstm_window', 'tied_window',
           'weight_drop_lstm_window']

FLOATS = (numpy.float16, numpy.float32, numpy.float64)


class Part(NamedTuple):
    """Entry of the table: the functions for a type of link.

    The functions of `OutputBias` have the embedding's W as an additional last argument.

    Attributes:
        window: Function (link, inputs) that computes all steps (T, ...) and sets the
            link's recurrent state to the final one.
        role: Role in a `rnnlm.chain.LanguageModel`: 'embed', 'layer', 'dropout' or
            'output'.
        state: Names of the attributes that hold the recurrent state.
        sizes: Function (link) that returns the sizes of inputs and outputs; the input
            size of an embedding is that of the vocabulary.  Not used for dropout.
        why_not: Function (link) that returns why `window` may compute something else
            than the link's steps, or ''.
        loss: For an output, function (link, h (T, B, n), t (T, B), last) that computes
            the sum over the steps of the mean cross entropy.  It appends the logits of
            the last step to the list `last`, if it computes them.
        log_probs: For an output, function (link, h (M, n), t (M,)) that computes the
            log probabilities of the words t, float64 (M,), on NumPy.
        rows: Whether `loss` has an argument `rows`, a `functions.RowGradient` that
            records which gradients are zeros.
        unused: For an output, function (link, int ids) that returns the parameters
            whose gradients are zeros in a window with these targets.
    """
    window: Callable
    role: str
    state: Tuple[str, ...]
    sizes: Callable[..., Tuple[int, int]]
    why_not: Callable[[chainer.Link], str] = lambda link: ''
    loss: Optional[Callable] = None
    log_probs: Optional[Callable] = None
    rows: bool = False
    unused: Callable = lambda link, targets: []


def embedding_window(link, ids, row_gradient=None):
    """Computes an `L.EmbedID`: ids (T, B) -> (T, B, n)."""
    return functions.embedding(ids, link.W, row_gradient)


def lstm_window(link, x):
    """Computes an `L.LSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.W)
    link.set_state(c, h)
    return hs


def hard_sigmoid_lstm_window(link, x):
    """Computes a `HardSigmoidLSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.W,
        gate=_GATE_OF_SLOPE[link.slope])
    link.set_state(c, h)
    return hs


def weight_drop_lstm_window(link, x):
    """Computes a `WeightDropLSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.dropped())
    link.set_state(c, h)
    link._has_begun = False  # so that a call of the link starts another window
    return hs


def locked_dropout_window(link, h):
    """Computes a `LockedDropout`: h (T, B, n) -> (T, B, n)."""
    if not link.drops():
        return h
    link.draw(h.shape[1:], h.dtype)
    return F.dropout(h, link.ratio, mask=link.mask)


def linear_window(link, h):
    """Computes the logits of an `L.Linear`: h (T, B, n) -> (T, B, V)."""
    return link(h, n_batch_axes=2)


def linear_loss(link, h, t, last):
    """Computes the loss of an `L.Linear`: h (T, B, n), t (T, B) -> scalar."""
    return functions.linear_softmax_cross_entropy(h, link.W, link.b, t, last)


def linear_log_probs(link, h, t):
    """Computes log probabilities of an `L.Linear`: h (M, n), t (M,) -> (M,)."""
    return functions.linear_log_probabilities(h, link.W.array, link.b.array, t)


def tied_window(link, h, W):
    """Computes the logits of an `OutputBias`: h (T, B, n), W (V, n) -> (T, B, V)."""
    return link(h, W, n_batch_axes=2)


def tied_loss(link, h, t, last, W):
    """Computes the loss of an `OutputBias`: h (T, B, n), t (T, B), W -> scalar."""
    return functions.linear_softmax_cross_entropy(h, W, link.b, t, last)


def tied_log_probs(link, h, t, W):
    """Computes log probabilities of an `OutputBias`: h (M, n), t (M,), W -> (M,)."""
    return functions.linear_log_probabilities(h, W.array, link.b.array, t)


def adaptive_window(link, h):
    """Computes all log probabilities of an `AdaptiveSoftmax`: (T, B, n) -> (T, B, V).
    """
    T, B, n = h.shape
    return link(h.reshape(T * B, n)).reshape(T, B, -1)


def adaptive_loss(link, h, t, last, rows=None):
    """Computes the loss of an `AdaptiveSoftmax`: h (T, B, n), t (T, B) -> scalar.

    Nothing is appended to `last`: the log probabilities of all words in the last step
    would take as long as everything else.
    """
    matrices = [inner.W for tail in link.tails() for inner in tail]
    return functions.adaptive_softmax_cross_entropy(
        h, link.head.W, link.head.b, matrices, link.ranks, t, rows)


def adaptive_log_probs(link, h, t):
    """Computes log probabilities of an `AdaptiveSoftmax`: h (M, n), t (M,) -> (M,)."""
    b = None if link.head.b is None else link.head.b.array
    matrices = [inner.W.array for tail in link.tails() for inner in tail]
    return functions.adaptive_log_probabilities(
        h, link.head.W.array, b, matrices, link.ranks, t)


def adaptive_unused(link, targets):
    """Returns the parameters of an `AdaptiveSoftmax`'s clusters without targets."""
    tails = list(link.tails())
    return [inner.W for k in tails_without_words(
        link.ranks, (*link.cutoffs, link.n_vocab), targets) for inner in tails[k]]


def _why_not_parameters(links):
    """Returns which parameter is not exactly a `chainer.Parameter` (str), or ''."""
    for inner in links:
        for name in ('W', 'b'):
            found = getattr(inner, name, None)
            if found is not None and type(found) is not chainer.Parameter:
                return (f'{name} of a {type(inner).__name__} is a '
                        f'{type(found).__name__}')
    return ''


def _why_not_lstm(link, lateral=L.Linear):
    n = link.state_size
    if type(link.upward) is not L.Linear or type(link.lateral) is not lateral:
        return 'a link inside an LSTM layer is not a Linear'
    if link.upward.b is None or link.lateral.b is not None:
        return 'an LSTM layer has other biases than a new L.LSTM'
    if link.upward.W.array is None:
        return 'an LSTM layer has uninitialised parameters'
    if link.upward.W.shape[0] != 4 * n or link.lateral.W.shape != (4 * n, n) or (
            link.upward.b.shape != (4 * n,)):
        return 'the parameters of an LSTM layer do not have the sizes of its units'
    return ''


def _why_not_hard_sigmoid_lstm(link):
    if link.slope not in _GATE_OF_SLOPE:
        return f'the gates have a slope of {link.slope}'
    return _why_not_lstm(link)


def _why_not_linear(link):
    if link.W.array is None:
        return 'a Linear has uninitialised parameters'
    if link.b is None:
        return 'the output layer has no bias'
    return '' if link.b.shape == link.W.shape[:1] else (
        'the bias of the output layer does not have the size of its W')


def _why_not_tied(link):
    return '' if link.b is not None else 'the output layer has no bias'


def _sizes_of_matrix(link):
    n_out, n_in = link.W.shape
    return n_in, n_out


def _sizes_of_lstm(link):
    return link.upward.W.shape[1], link.state_size


TABLE = {
    L.EmbedID: Part(embedding_window, 'embed', (), lambda link: link.W.shape,
                    lambda link: '' if link.ignore_label is None else (
                        'EmbedID has an ignore_label')),
    L.LSTM: Part(lstm_window, 'layer', ('c', 'h'), _sizes_of_lstm, _why_not_lstm),
    HardSigmoidLSTM: Part(hard_sigmoid_lstm_window, 'layer', ('c', 'h'),
                          _sizes_of_lstm, _why_not_hard_sigmoid_lstm),
    WeightDropLSTM: Part(weight_drop_lstm_window, 'layer', ('c', 'h'), _sizes_of_lstm,
                         lambda link: _why_not_lstm(link, DroppedLinear)),
    LockedDropout: Part(locked_dropout_window, 'dropout', (), lambda link: (0, 0)),
    L.Linear: Part(linear_window, 'output', (), _sizes_of_matrix, _why_not_linear,
                   linear_loss, linear_log_probs),
    OutputBias: Part(tied_window, 'output', (),
                     lambda link, W: (W.shape[1], len(link.b.array)), _why_not_tied,
                     tied_loss, tied_log_probs),
    AdaptiveSoftmax: Part(adaptive_window, 'output', (),
                          lambda link: (link.head.W.shape[1], link.n_vocab),
                          adaptive_softmax.why_not_window, adaptive_loss,
                          adaptive_log_probs, rows=True, unused=adaptive_unused),
}
for _link in (AdaptiveSoftmax, DroppedLinear, HardSigmoidLSTM, LockedDropout,
              OutputBias, WeightDropLSTM):
    unaltered.record_link(_link, one_step=_link in (LockedDropout, OutputBias))

_GATE_OF_SLOPE = {slope: gate for gate, slope in SLOPES.items() if slope}

# Values of chainer.config under which a window computes the same as its steps.
CONFIG = {'debug': False, 'keep_graph_on_report': False, 'lazy_grad_sum': False,
          'schedule_func': None}


def add(link, window, state=('c', 'h'), sizes=_sizes_of_lstm,
        why_not=lambda link: '', role='layer'):
    """Adds a type of link to the table, by default a recurrent layer.

    Args:
        link (type): The link, whose `forward` computes one step.
        window, state, sizes, why_not, role: See `Part`; the defaults are those of an
            `L.LSTM`.  The window of an embedding has two arguments in addition to the
            link: ids (T, B), and a `rnnlm.functions.RowGradient` or None; an embedding
            has its weights (V, m) in a parameter `W`.

    Raises:
        rnnlm.errors.InputError: If the role is not 'embed', 'layer' or 'dropout'; for
            outputs the table cannot be extended.
    """
    require('role', role, "'embed', 'layer' or 'dropout'",
            lambda v: v in ('embed', 'layer', 'dropout'))
    unaltered.record_link(link)
    TABLE[link] = Part(window, role, state, sizes, why_not)


def why_not(chain, links, code=unaltered.EVERYTHING):
    """Returns why links of a chain must be called step by step, or ''.

    Args:
        chain: The chain.
        links (list of links): The links that window functions would replace, the
            embedding first.
        code (rnnlm.unaltered.Code): The code that must not have been replaced.
    """
    reason = (code.changed() or why_not_config() or why_not_watched(chain)
              or unaltered.shadowed(chain))
    if reason:
        return reason
    params = []
    for link in links:
        part = TABLE.get(type(link))
        if part is None:
            return f'{type(link).__name__} has no window function'
        inside = list(link.links())
        reason = _why_not_parameters(inside) or part.why_not(link) or (
            why_not_watched(*inside) or unaltered.shadowed(*inside))
        if reason:
            return reason
        params += [vars(inner)[name] for inner in inside for name in inner._params]
    if not isinstance(getattr(links[0], 'W', None), chainer.Parameter):
        return f'{type(links[0]).__name__} has no W'
    if links[0].W.dtype not in FLOATS:
        return f'the parameters are {links[0].W.dtype}'
    if len(set(map(id, links))) < len(links):
        return 'a link is used twice'
    return why_not_distinct_params(params)


def why_not_roles(embed, layers, output, dropouts=()):
    """Returns which link is not in the table or has another role (str), or ''."""
    links = [embed, *layers, output, *dropouts]
    for link in links:
        if type(link) not in TABLE:
            return f'{type(link).__name__} has no window function'
    roles = ['embed', *['layer'] * len(layers), 'output', *['dropout'] * len(dropouts)]
    return '' if roles == [TABLE[type(link)].role for link in links] else (
        'a link is used in another role than its own')


def why_not_config():
    """Returns which configuration value or global hook prevents windows, or ''."""
    for name, value in CONFIG.items():
        if getattr(chainer.config, name) != value:
            return f'chainer.config.{name} is {getattr(chainer.config, name)!r}'
    if chainer._get_link_hooks() or chainer.get_function_hooks():
        return 'a hook is called at every step'
    return ''


def why_not_watched(*links):
    """Returns which of the links has hooks (str), or ''."""
    for link in links:
        if link._local_link_hooks:  # None before the first hook
            return 'a link hook is called at every step'
    return ''


def why_not_distinct_params(params):
    """Returns why parameters are not distinct arrays of one type (str), or ''."""
    if len(set(map(id, params))) < len(params):
        return 'a parameter is used twice'
    arrays = [param.array for param in params]
    if any(array is None for array in arrays):
        return 'a parameter is uninitialised'
    if len({(type(array), array.dtype) for array in arrays}) > 1:
        return 'the parameters have several dtypes or devices'
    if type(arrays[0]) is numpy.ndarray:
        begins = sorted((array.__array_interface__['data'][0], array.nbytes)
                        for array in arrays)
        if any(begin + size > after for (begin, size), (after, _) in zip(
                begins, begins[1:])):
            return 'two parameters share memory'
    elif not isinstance(arrays[0], cuda.ndarray):
        return f'the parameters are of type {type(arrays[0]).__name__}'
    elif len({array.data.ptr for array in arrays}) < len(arrays):
        return 'two parameters share memory'
    return ''


def why_not_sizes(links, shared=()):
    """Returns which link's input size is not the output size below (str), or ''.

    Args:
        links (list of links): Embedding, layers and output.
        shared (tuple): Additional arguments of the output's functions; see `Part`.
    """
    sizes = [TABLE[type(link)].sizes(link) for link in links[:-1]]
    sizes.append(TABLE[type(links[-1])].sizes(links[-1], *shared))
    for k, ((_, given), (taken, _)) in enumerate(zip(sizes, sizes[1:])):
        if given != taken:
            return (f'{"embed" if not k else f"l{k}"} has {given} outputs, and '
                    f'l{k + 1} has {taken} inputs')
    if shared and sizes[-1][1] != sizes[0][0]:
        return 'the bias of the output layer does not have the size of the embedding'
    return ''


def why_not_states(links, n_streams=None):
    """Returns why the recurrent states do not fit each other or the window, or ''."""
    batches = set()
    for link in links:
        for name in TABLE[type(link)].state:
            state = getattr(link, name)
            if state is not None and type(state) is not chainer.Variable:
                return f'the state {name} is a {type(state).__name__}'
            batches.add(None if state is None else len(state.array))
            expected = TABLE[type(link)].sizes(link)[1], links[0].W.dtype
            if state is not None and (state.shape[1:], state.dtype) != (
                    expected[:1], expected[1]):
                return (f'the state {name} has the shape {state.shape} and the dtype '
                        f'{state.dtype}')
    if batches <= {None} or batches == {n_streams} or (
            n_streams is None and len(batches) == 1):
        return ''
    if None in batches:
        return 'only some of the layers have a state'
    return (f'the states have {" or ".join(map(str, sorted(batches)))} streams, the '
            f'window {n_streams}')
