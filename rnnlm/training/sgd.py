"""SGD with gradient clipping in two passes over memory, on NumPy.

Chainer's SGD and GradientClipping read and write every gradient and parameter several
times, and create a temporary array for each.  Here the norm takes one pass and the
update another, in blocks that fit into the processor's cache.  Of an embedding or an
adaptive softmax, only the rows used in the window are read.
"""
import math

import chainer
import numpy

from rnnlm import kernels, parts, unaltered
from rnnlm.kernels import threads

# Elements of a block: its parameters, gradients and scratch memory fit into a core's
# cache together.  Summing squares by block in float64 also keeps the norm accurate;
# one float32 sum over millions of elements is 1e-4 too small.
BLOCK = 2 ** 15

# Elements of a piece for the compiled kernels, and minimum number of pieces per thread.
UNIT, WORTH_A_THREAD = 2 ** 16, 2
FIRST = numpy.zeros(1, numpy.int64)  # index of the only row of a flat array


def why_not_blocks(optimizer):
    """Returns why `update` cannot replace ``optimizer.update()``, or ''.

    It can for plain SGD on contiguous NumPy arrays.
    """
    params = list(optimizer.target.namedparams())
    for name, param in params:
        array = param.array
        if type(array) is not numpy.ndarray or not (
                array.flags.c_contiguous and array.flags.writeable):
            return f'{name} is not a contiguous NumPy array that can be written'
    return why_not_plain_sgd(optimizer, params)


def why_not_plain_sgd(optimizer, params=None):
    """Returns why an optimizer is not plain SGD, or ''.

    Plain SGD is Chainer's own SGD, optionally with its GradientClipping as a hook.

    Args:
        optimizer: A Chainer optimizer.
        params: List of (path, parameter) of its target, if the caller has it already.
    """
    if type(optimizer) is not chainer.optimizers.SGD:
        return 'the optimizer is not SGD'
    if optimizer._loss_scale is not None:
        return 'the loss is scaled'
    hooks = optimizer._hookable
    clipping = list(hooks._pre_update_hooks.values())
    if hooks._post_update_hooks or len(clipping) > 1 or any(
            type(hook) is not chainer.optimizer_hooks.GradientClipping
            for hook in clipping):
        return 'there are hooks other than GradientClipping'
    reason = unaltered.shadowed(optimizer, *clipping)
    if reason:
        return reason
    if params is None:
        params = list(optimizer.target.namedparams())
    for name, param in params:
        rule = param.update_rule
        if type(rule) is not chainer.optimizers.sgd.SGDRule or not rule.enabled or (
                rule._hookable._pre_update_hooks
                or rule._hookable._post_update_hooks
                or param.dtype == numpy.float16):  # it may have a copy in float32
            return f'the update rule of {name} is not plain SGD'
        reason = unaltered.shadowed(param, rule)
        if type(param) is not chainer.Parameter or reason:
            return reason or f'{name} is a {type(param).__name__}'
        if numpy.ndim(rule.hyperparam.lr):
            return f'the learning rate of {name} is an array'
    return parts.why_not_distinct_params([param for _, param in params])


def update(optimizer, rows, check=None):
    """Updates the parameters like ``optimizer.update()``.

    Args:
        optimizer: An optimizer for which `why_not_blocks` returns ''.
        rows (rnnlm.functions.RowGradient): Rows of gradients that are not zero; of
            these parameters only those rows are updated.
        check: Function called with the L2 norm of the gradient before anything changes;
            it may raise an error.
    """
    optimizer.reallocate_cleared_grads()
    params = list(optimizer.target.params())
    plain, compiled = [], []
    for param in params:
        ids = rows.of(param.grad)
        units = _units(param, ids)
        if units is None:
            plain.append((param, ids, *_flat(param, ids)))
        else:
            compiled += units
    hooks = optimizer._hookable._pre_update_hooks.values()
    rate = 1.0
    if hooks or check:
        norm = norm_of([g for *_, g in plain], _sum_of_units(compiled))
        if compiled and not math.isfinite(norm):
            norm = norm_of([_flat(param, rows.of(param.grad))[1] for param in params])
        if check:
            check(norm)
        for hook in hooks:
            rate = hook.threshold / norm if norm else 1.0
    optimizer.t += 1
    for param in params:
        count_update(param)
    _step_units(compiled, float(rate))
    for param, ids, p, g in plain:
        _step(p, g, rate, param.update_rule.hyperparam.lr)
        if ids is not None and len(ids):
            param.array[ids] = p.reshape(len(ids), -1)
            param.grad[ids] = g.reshape(len(ids), -1)


def count_update(param):
    """Counts an update in a parameter's update rule, and creates its empty state."""
    rule = param.update_rule
    rule.t += 1
    if rule.state is None:
        rule._init_states(param)


def _flat(param, ids):
    """Returns flat parameter and gradient: copies of some rows, or views."""
    if ids is not None:
        return param.array[ids].ravel(), param.grad[ids].ravel()
    if not param.grad.flags.c_contiguous:
        param.grad = numpy.ascontiguousarray(param.grad)
    return param.array.reshape(-1), param.grad.reshape(-1)


# Compiled --------------------------------------------------------------------------

def _units(param, ids):
    """Returns the pieces of a parameter for `kernels.sgd`; None if not supported.

    Returns:
        list of tuples: Indices of rows, elements of a row, the addresses of gradient
        and parameter, the learning rate; and the arrays, to keep them alive.
    """
    compiled = kernels.compiled('sgd', numpy, param.dtype)
    p, g, lr = param.array, param.grad, param.update_rule.hyperparam.lr
    n = p.size if ids is None else p[0].size
    if not compiled or not compiled.fits(n) or type(lr) not in (float, int) or not (
            type(g) is numpy.ndarray and g.dtype == p.dtype and g.shape == p.shape
            and g.flags.c_contiguous and g.flags.writeable):
        return None
    at_g, at_p = g.ctypes.data, p.ctypes.data
    if ids is not None:
        ids, step = numpy.ascontiguousarray(ids, numpy.int64), max(1, UNIT // n)
        return [(ids[k:k + step], n, at_g, at_p, lr, g, p)
                for k in range(0, len(ids), step)]
    edges = [n * k // max(1, n // UNIT) for k in range(max(1, n // UNIT) + 1)]
    return [(FIRST, end - start, at_g + p.itemsize * start, at_p + p.itemsize * start,
             lr, g, p) for start, end in zip(edges, edges[1:])]


def _sum_of_units(units):
    """Returns the sum of squares (float), independent of the number of threads."""
    found = [0.0] * len(units)

    def work(start, stop):
        for k in range(start, stop):
            ids, n, g, *_ = units[k]
            found[k] = compiled.sum_of_squares(ids, n, g)

    if units:
        compiled = kernels.compiled('sgd', numpy, numpy.float32)
        threads.split(work, len(units), grain=WORTH_A_THREAD)
    return math.fsum(found)


def _step_units(units, rate):
    def work(start, stop):
        for ids, n, g, p, lr, *_ in units[start:stop]:
            # Clips for a norm of NaN too, as in Chainer.
            compiled.step(ids, n, g, p, None if rate >= 1 else rate, lr)

    if units:
        compiled = kernels.compiled('sgd', numpy, numpy.float32)
        threads.split(work, len(units), grain=WORTH_A_THREAD)


# On NumPy alone --------------------------------------------------------------------

def norm_of(grads, squares=0.0):
    """Returns the L2 norm of flat NumPy arrays, a float.

    Args:
        grads: The arrays.
        squares (float): The sum of the squares of others.
    """
    total = math.fsum([squares, *map(sum_of_squares, grads)])
    if not math.isfinite(total):  # the squares of finite float32 may overflow
        total = math.fsum([squares, *(
            sum_of_squares(g, numpy.float64) for g in grads)])
    return math.sqrt(total)


def sum_of_squares(g, dtype=None):
    """Returns the sum of the squares of a flat NumPy array, a float."""
    sums = []

    def work(start, stop):
        for k in range(start, stop, BLOCK):
            block = g[k:min(k + BLOCK, stop)]
            if dtype or block.dtype == numpy.float16:  # whose squares would overflow
                block = block.astype(dtype or numpy.float32)
            with numpy.errstate(over='ignore'):
                sums.append(float(numpy.dot(block, block)))

    threads.split(work, len(g), grain=8 * BLOCK)
    return math.fsum(sums)  # independent of the order of the threads


def _step(p, g, rate, lr):
    """Clips g and subtracts lr g from p, in place."""

    def work(start, stop):
        scratch = numpy.empty(BLOCK, p.dtype)
        for k in range(start, stop, BLOCK):
            end = min(k + BLOCK, stop)
            block, step = g[k:end], scratch[:end - k]
            if not rate >= 1:  # clips for a norm of NaN too, as in Chainer
                block *= rate
            numpy.multiply(block, lr, out=step)
            p[k:end] -= step

    threads.split(work, len(p), grain=8 * BLOCK)
