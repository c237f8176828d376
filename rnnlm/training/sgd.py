"""SGD with gradient clipping in as few passes over memory as it needs, on NumPy.

Chainer's SGD and GradientClipping read and write every gradient and parameter
several times, and make a temporary array for each.  Here the norm is one pass and
the update another, block by block in the processor's cache; and of an embedding or an
adaptive softmax only the rows that the window has touched.
"""
import math

import chainer
import numpy

from rnnlm import parts, unaltered
from rnnlm.kernels import threads

# Elements of a block: its parameters, gradients and scratch fit into a core's
# cache together.  Summing squares block by block in float64 also keeps the norm
# exact, where one float32 sum over millions of elements is 1e-4 too small.
BLOCK = 2 ** 15


def why_not_blocks(optimizer):
    """Why `update` cannot stand in for ``optimizer.update()``; '' if it can.

    It can for plain SGD on contiguous NumPy arrays.
    """
    params = list(optimizer.target.namedparams())
    for name, param in params:
        if type(param.array) is not numpy.ndarray or (
                not param.array.flags.c_contiguous):
            return f'{name} is not a contiguous NumPy array'
    return why_not_plain_sgd(optimizer)


def why_not_plain_sgd(optimizer):
    """Why an optimizer is not plain SGD; '' if it is.

    That is the arithmetic of Chainer's own SGD, with at most its own GradientClipping
    as hook.
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
    for name, param in optimizer.target.namedparams():
        rule = param.update_rule
        if type(rule) is not chainer.optimizers.sgd.SGDRule or not rule.enabled or (
                rule._hookable._pre_update_hooks
                or rule._hookable._post_update_hooks
                or param.dtype == numpy.float16):  # it may have a copy in float32
            return f'the update rule of {name} is not plain SGD'
        reason = unaltered.shadowed(param, rule)
        if type(param) is not chainer.Parameter or reason:
            return reason or f'{name} is a {type(param).__name__}'
    return parts.why_not_distinct_params(list(optimizer.target.params()))


def update(optimizer, rows, check=None):
    """Does what ``optimizer.update()`` does.

    Args:
        optimizer: one for which `why_not_blocks` knows no reason.
        rows (rnnlm.functions.RowGradient): the parameters whose gradients it knows are
            touched in their rows alone.
        check: called with the L2 norm of the gradient before anything changes; what
            it raises ends the update.
    """
    optimizer.reallocate_cleared_grads()
    params = list(optimizer.target.params())
    parts = [_flat(param, rows) for param in params]
    hooks = optimizer._hookable._pre_update_hooks.values()
    rate = 1.0
    if hooks or check:
        norm = math.sqrt(sum(sum_of_squares(g) for _, g, _ in parts))
        if check:
            check(norm)
        for hook in hooks:
            rate = hook.threshold / norm if norm else 1.0
    optimizer.t += 1
    for param, (p, g, ids) in zip(params, parts):
        param.update_rule.t += 1
        _step(p, g, rate, param.update_rule.hyperparam.lr)
        if ids is not None and len(ids):
            param.array[ids] = p.reshape(len(ids), -1)
            param.grad[ids] = g.reshape(len(ids), -1)


def _flat(param, rows):
    """Flat parameter and gradient; copies of some rows, and which, or views."""
    ids = rows.of(param.grad)
    if ids is not None:
        return param.array[ids].ravel(), param.grad[ids].ravel(), ids
    if not param.grad.flags.c_contiguous:
        param.grad = numpy.ascontiguousarray(param.grad)
    return param.array.reshape(-1), param.grad.reshape(-1), None


def sum_of_squares(g):
    """float: Sum of the squares of a flat NumPy array, exact to its last digits."""
    sums = []

    def work(start, stop):
        for k in range(start, stop, BLOCK):
            block = g[k:min(k + BLOCK, stop)]
            if block.dtype == numpy.float16:  # its squares overflow
                block = block.astype(numpy.float32)
            sums.append(float(numpy.dot(block, block)))

    threads.split(work, len(g), grain=8 * BLOCK)
    return math.fsum(sums)  # in whatever order the threads came


def _step(p, g, rate, lr):
    """Clips g and subtracts lr g from p, in place."""

    def work(start, stop):
        scratch = numpy.empty(BLOCK, p.dtype)
        for k in range(start, stop, BLOCK):
            end = min(k + BLOCK, stop)
            block, step = g[k:end], scratch[:end - k]
            if not rate >= 1:  # a norm of NaN clips too, as in Chainer
                block *= rate
            numpy.multiply(block, lr, out=step)
            p[k:end] -= step

    threads.split(work, len(p), grain=8 * BLOCK)
