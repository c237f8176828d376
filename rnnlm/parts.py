"""The table of parts: the links that can be computed a window at a time.

A chain of links is computed a window at a time only if each link is in `TABLE` under
its exact type, and nothing was changed about it.  Everything else goes step by step,
by the links themselves, which is Chainer's own arithmetic.

To add a variant, write a link whose `forward` is one step in plain Chainer functions,
a function of its whole window, and a row of the table.
"""
from typing import Callable, NamedTuple, Optional, Tuple

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.backends import cuda
import numpy

from rnnlm import functions, unaltered
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
    """What is known of a type of link.

    Attributes:
        window: Function of the link and its inputs, which computes all steps (T, ...)
            and leaves the state after the last one in the link.
        role: Where in a `rnnlm.chain.LanguageModel` it may stand: 'embed', 'layer',
            'dropout' or 'output'.
        state: Names of the attributes that hold its recurrent state.
        sizes: Function of the link: the sizes of its inputs (of an embedding, of the
            vocabulary) and of its outputs.  Of a dropout nobody asks.
        why_not: Function of the link; why its window would compute something else than
            its steps, or ''.
        loss: Of an output, function of the link, h (T, B, n), t (T, B) and a list that
            the last step's logits are appended to, if they are made at all: the sum
            over the steps of the mean cross entropy.
        rows: Whether `loss` takes the argument `rows`, a `functions.RowGradient` which
            it tells what gradients are zeros.
        unused: Of an output, function of the link and int ids: the parameters whose
            gradients are zeros in a window with these targets.
        log_probs: Of an output, function of the link, h (M, n) and t (M,), arrays on
            NumPy: the log probabilities of the words t, float64 (M,).

    The functions of `OutputBias`, whose weights are the embedding's W, take that too,
    as their last argument.
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
    """`L.EmbedID`: ids (T, B) -> (T, B, n)."""
    return functions.embedding(ids, link.W, row_gradient)


def lstm_window(link, x):
    """`L.LSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.W)
    link.set_state(c, h)
    return hs


def hard_sigmoid_lstm_window(link, x):
    """`HardSigmoidLSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.W,
        gate=_GATE_OF_SLOPE[link.slope])
    link.set_state(c, h)
    return hs


def weight_drop_lstm_window(link, x):
    """`WeightDropLSTM`: x (T, B, m) -> h of each step (T, B, n)."""
    hs, c, h = functions.lstm_window(
        x, link.c, link.h, link.upward.W, link.upward.b, link.lateral.dropped())
    link.set_state(c, h)
    link._begun = False  # so that a call of the link itself begins another window
    return hs


def locked_dropout_window(link, h):
    """`LockedDropout`: h (T, B, n) -> (T, B, n)."""
    if not link.drops():
        return h
    link.draw(h.shape[1:], h.dtype)
    return F.dropout(h, link.ratio, mask=link.mask)


def linear_window(link, h):
    """`L.Linear`: h (T, B, n) -> logits (T, B, V)."""
    return link(h, n_batch_axes=2)


def linear_loss(link, h, t, last):
    """`L.Linear` and the cross entropy: h (T, B, n), t (T, B) -> scalar."""
    return functions.linear_softmax_cross_entropy(h, link.W, link.b, t, last)


def linear_log_probs(link, h, t):
    """`L.Linear`: h (M, n), t (M,) -> log probabilities (M,)."""
    return functions.linear_log_probabilities(h, link.W.array, link.b.array, t)


def tied_window(link, h, W):
    """`OutputBias`: h (T, B, n), the embedding's W (V, n) -> logits (T, B, V)."""
    return link(h, W, n_batch_axes=2)


def tied_loss(link, h, t, last, W):
    """`OutputBias` and the cross entropy: h (T, B, n), t (T, B), W (V, n) -> scalar."""
    return functions.linear_softmax_cross_entropy(h, W, link.b, t, last)


def tied_log_probs(link, h, t, W):
    """`OutputBias`: h (M, n), t (M,), the embedding's W -> log probabilities (M,)."""
    return functions.linear_log_probabilities(h, W.array, link.b.array, t)


def adaptive_window(link, h):
    """`AdaptiveSoftmax`: h (T, B, n) -> log probabilities (T, B, V)."""
    T, B, n = h.shape
    return link(h.reshape(T * B, n)).reshape(T, B, -1)


def adaptive_loss(link, h, t, last, rows=None):
    """`AdaptiveSoftmax` and the cross entropy: h (T, B, n), t (T, B) -> scalar.

    The log probabilities of the last step, which cost as much as all else, are not
    made.
    """
    matrices = [inner.W for tail in link.tails() for inner in tail]
    return functions.adaptive_softmax_cross_entropy(
        h, link.head.W, link.head.b, matrices, link.ranks, t, rows)


def adaptive_log_probs(link, h, t):
    """`AdaptiveSoftmax`: h (M, n), t (M,) -> log probabilities (M,)."""
    b = None if link.head.b is None else link.head.b.array
    matrices = [inner.W.array for tail in link.tails() for inner in tail]
    return functions.adaptive_log_probabilities(
        h, link.head.W.array, b, matrices, link.ranks, t)


def adaptive_unused(link, targets):
    """`AdaptiveSoftmax`: the parameters of clusters that none of the targets is in."""
    tails = list(link.tails())
    return [inner.W for k in tails_without_words(
        link.ranks, (*link.cutoffs, link.n_vocab), targets) for inner in tails[k]]


def _why_not_parameters(link):
    """str: Whether an array stands in the place of a parameter, or a kind of it."""
    for inner in link.links():
        for name in ('W', 'b'):
            found = getattr(inner, name, None)
            if found is not None and type(found) is not chainer.Parameter:
                return (f'{name} of a {type(inner).__name__} is a '
                        f'{type(found).__name__}')
    return ''


def _why_not_embedding(link):
    return '' if link.ignore_label is None else 'EmbedID has an ignore_label'


def _why_not_lstm(link, lateral=L.Linear):
    n = link.state_size
    if type(link.upward) is not L.Linear or type(link.lateral) is not lateral:
        return 'a link inside an LSTM layer is not a Linear'
    if link.upward.b is None or link.lateral.b is not None:
        return 'an LSTM layer has other biases than Chainer gives it'
    if link.upward.W.array is None:
        return 'an LSTM layer has no parameters yet'
    if link.upward.W.shape[0] != 4 * n or link.lateral.W.shape != (4 * n, n) or (
            link.upward.b.shape != (4 * n,)):
        return 'the parameters of an LSTM layer are not of the sizes of its units'
    return ''


def _why_not_hard_sigmoid_lstm(link):
    if link.slope not in _GATE_OF_SLOPE:
        return f'the gates have a slope of {link.slope}'
    return _why_not_lstm(link)


def _why_not_weight_drop_lstm(link):
    return _why_not_lstm(link, DroppedLinear)


def _why_not_linear(link):
    if link.W.array is None:
        return 'a Linear has no parameters yet'
    if link.b is None:
        return 'the output layer has no bias'
    return '' if link.b.shape == link.W.shape[:1] else (
        'the bias of the output layer is not of the size of its W')


def _why_not_tied(link):
    return '' if link.b is not None else 'the output layer has no bias'


def _sizes_of_adaptive(link):
    return link.head.W.shape[1], link.n_vocab


def _sizes_of_matrix(link):
    n_out, n_in = link.W.shape
    return n_in, n_out


def _sizes_of_lstm(link):
    return link.upward.W.shape[1], link.state_size


TABLE = {
    L.EmbedID: Part(embedding_window, 'embed', (), lambda link: link.W.shape,
                    _why_not_embedding),
    L.LSTM: Part(lstm_window, 'layer', ('c', 'h'), _sizes_of_lstm, _why_not_lstm),
    HardSigmoidLSTM: Part(hard_sigmoid_lstm_window, 'layer', ('c', 'h'),
                          _sizes_of_lstm, _why_not_hard_sigmoid_lstm),
    WeightDropLSTM: Part(weight_drop_lstm_window, 'layer', ('c', 'h'), _sizes_of_lstm,
                         _why_not_weight_drop_lstm),
    LockedDropout: Part(locked_dropout_window, 'dropout', (), lambda link: (0, 0)),
    L.Linear: Part(linear_window, 'output', (), _sizes_of_matrix, _why_not_linear,
                   linear_loss, linear_log_probs),
    OutputBias: Part(tied_window, 'output', (),
                     lambda link, W: (W.shape[1], len(link.b.array)), _why_not_tied,
                     tied_loss, tied_log_probs),
    AdaptiveSoftmax: Part(adaptive_window, 'output', (), _sizes_of_adaptive,
                          adaptive_softmax.why_not_window, adaptive_loss,
                          adaptive_log_probs, rows=True, unused=adaptive_unused),
}
for _link in (AdaptiveSoftmax, DroppedLinear, HardSigmoidLSTM, LockedDropout,
              OutputBias, WeightDropLSTM):
    unaltered.record_link(_link)

_GATE_OF_SLOPE = {slope: gate for gate, slope in SLOPES.items() if slope}

# Values of chainer.config under which a window does what its steps would.
CONFIG = {'debug': False, 'keep_graph_on_report': False, 'lazy_grad_sum': False,
          'schedule_func': None}


def add(link, window, state=('c', 'h'), sizes=_sizes_of_lstm,
        why_not=lambda link: '', role='layer'):
    """Adds a type of link to the table, a recurrent layer if nothing else is said.

    Args:
        link (type): The link, whose `forward` is one step.
        window, state, sizes, why_not, role: See `Part`; by default those of an
            `L.LSTM`.  An embedding's window takes the ids (T, B) and, as the window of
            an `L.EmbedID` does, a `rnnlm.functions.RowGradient` or None.
    """
    unaltered.record_link(link)
    TABLE[link] = Part(window, role, state, sizes, why_not)


def why_not(chain, links):
    """Why some links of a chain must be called step by step; '' if they need not.

    Args:
        chain: The link that has them all.
        links (list of links): Those that a window would stand in for, the embedding
            first.

    Returns:
        str: the reason.
    """
    reason = (unaltered.changed_code() or why_not_config() or why_not_watched(chain)
              or unaltered.shadowed(chain))
    if reason:
        return reason
    for link in links:
        part = TABLE.get(type(link))
        if part is None:
            return f'{type(link).__name__} has no window function'
        reason = _why_not_parameters(link) or part.why_not(link) or (
            why_not_watched(link))
        if reason:
            return reason
        for inner in link.links():
            reason = unaltered.shadowed(inner) or (
                inner is not link and why_not_watched(inner))
            if reason:
                return reason
    if links[0].W.dtype not in FLOATS:
        return f'the parameters are {links[0].W.dtype}'
    return why_not_distinct(links)


def why_not_roles(embed, layers, output, dropouts=()):
    """str: Whether a link has no window function, or stands in another's place; or ''.
    """
    roles = [('embed', [embed]), ('layer', layers), ('output', [output]),
             ('dropout', dropouts)]
    links = [(role, link) for role, some in roles for link in some]
    for _, link in links:
        if type(link) not in TABLE:
            return f'{type(link).__name__} has no window function'
    if any(TABLE[type(link)].role != role for role, link in links):
        return 'a link stands in the place of another kind'
    return ''


def why_not_config():
    """str: The first value of Chainer's configuration that is in the way; or ''."""
    for name, value in CONFIG.items():
        if getattr(chainer.config, name) != value:
            return f'chainer.config.{name} is {getattr(chainer.config, name)!r}'
    if chainer._get_link_hooks() or chainer.get_function_hooks():
        return 'a hook wants to see every call'
    return ''


def why_not_watched(link):
    """str: Whether a hook hangs on this link."""
    return 'a link hook wants to see every call' if link.local_link_hooks else ''


def why_not_distinct(links):
    """str: Whether a link, a parameter or an array comes twice; or ''."""
    if len(set(map(id, links))) < len(links):
        return 'a link comes twice'
    params = [param for link in links for param in link.params()]
    return why_not_distinct_params(params)


def why_not_distinct_params(params):
    """str: Whether two parameters are one, or share memory, or have another dtype."""
    if len(set(map(id, params))) < len(params):
        return 'a parameter comes twice'
    arrays = [param.array for param in params]
    if any(array is None for array in arrays):
        return 'a parameter has no array yet'
    if len({(type(array), array.dtype) for array in arrays}) > 1:
        return 'the parameters are of several dtypes or devices'
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
    """str: Whether a link takes other inputs than the one below gives; or ''.

    Args:
        links (list of links): Embedding, layers and output.
        shared (tuple): Further arguments of the output's functions, see `Part`.
    """
    sizes = [TABLE[type(link)].sizes(link) for link in links[:-1]]
    sizes.append(TABLE[type(links[-1])].sizes(links[-1], *shared))
    for k, ((_, given), (taken, _)) in enumerate(zip(sizes, sizes[1:])):
        if given != taken:
            return (f'{"embed" if not k else f"l{k}"} gives {given} units, and '
                    f'l{k + 1} takes {taken}')
    if shared and sizes[-1][1] != sizes[0][0]:
        return 'the bias of the output layer is not of the size of the embedding'
    return ''


def why_not_states(links, n_streams=None):
    """str: Whether the recurrent states do not fit together or the window; or ''."""
    batches = set()
    for link in links:
        for name in TABLE[type(link)].state:
            state = getattr(link, name)
            if state is not None and type(state) is not chainer.Variable:
                return f'the state {name} is a {type(state).__name__}'
            batches.add(None if state is None else len(state.array))
    if batches <= {None} or batches == {n_streams} or (
            n_streams is None and len(batches) == 1):
        return ''
    if None in batches:
        return 'only some of the layers have a state'
    return (f'the states have {" or ".join(map(str, sorted(batches)))} streams, the '
            f'window {n_streams}')
