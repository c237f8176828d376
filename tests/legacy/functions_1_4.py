"""Functions, gradients and parameters as scripts of 1.0 to 1.4 use them.

Prints their results as JSON, with true old releases too.
"""
import json

import chainer
from chainer import cuda, FunctionSet, optimizers, Variable
from chainer import functions as F
import numpy as np


class HardTanh(chainer.Function):
    """Keeps a mask for each call."""

    def forward_cpu(self, inputs):
        self.mask = abs(inputs[0]) < 1
        return np.clip(inputs[0], -1, 1),

    def backward_cpu(self, inputs, grads):
        return grads[0] * self.mask,


def of_leaves():
    """Gradient ascent on an input, which is the same variable in each step."""
    np.random.seed(0)
    f, x, found = F.Linear(3, 2), Variable(np.ones((1, 3), 'f')), []
    for _ in range(3):
        y = F.tanh(f(x))
        y.grad = np.ones((1, 2), 'f')
        y.backward()
        x.data += .1 * x.grad
        found.append(float(abs(x.grad).sum()))
    return found


def of_calls():
    """One function object for all steps of a recurrent network."""
    np.random.seed(0)
    activation = HardTanh()
    model = FunctionSet(e=F.EmbedID(5, 4), h=F.Linear(4, 4), o=F.Linear(4, 5))
    optimizer, found = optimizers.SGD(.1), []
    optimizer.setup(model)
    for _ in range(2):
        h, loss = Variable(np.zeros((2, 4), 'f')), 0
        for i in range(3):
            x, t = (Variable(np.array(ids, 'i')) for ids in ([i, i + 1], [i + 1, i]))
            h = activation(model.e(x) + model.h(h))
            loss += F.softmax_cross_entropy(model.o(h), t)
        optimizer.zero_grads()
        loss.backward()
        optimizer.update()
        found.append(float(loss.data))
    return found


def of_arrays():
    """Parameters are arrays."""
    np.random.seed(0)
    f, other = F.Linear(3, 2), F.Linear(2, 3)
    W, b = f.W, f.b
    V = np.array(np.asarray(W))
    b += 1
    b *= 6
    b -= 2
    b /= 4
    f.b **= 2
    f.W /= np.sqrt((f.W ** 2).sum(1)).reshape(-1, 1)
    other.W[...] = W.T
    copied = F.Linear(2, 3, initialW=f.W.T)
    on_cpu = cuda.to_cpu(f.W)
    arrays = [
        W * W, W / W, W - W.mean(), W // 1, W % 2, W.T.dot(W), W.dot(W.T),
        np.dot(np.ones(3), W.T), W.reshape(-1), W.transpose(1, 0),
        on_cpu.dot(on_cpu[0]), other.W[0], copied.W[0], Variable(f.W).data]
    assert all(isinstance(array, np.ndarray) for array in arrays)
    found = [float((array.ravel() * np.cos(np.arange(array.size))).sum())
             for array in arrays]
    x = Variable(np.ones((1, 3), 'f'))
    return found + [
        np.allclose(W, V / np.sqrt((V ** 2).sum(1))[:, None]), str(W) == str(on_cpu),
        (W == 0).sum(), (W != W).any(), np.asarray(b).tolist(), W.item(1),
        np.sum(W * W), np.mean(W), f(x).data.tolist(),
        F.linear(x, Variable(W)).data.tolist()]


def of_tuples(target):
    """Optimizers of arrays."""
    np.random.seed(0)
    model, other = (FunctionSet(a=F.Linear(3, 3), b=F.Linear(3, 2)) for _ in '12')
    before = np.array(np.asarray(model.a.W))
    optimizer = optimizers.MomentumSGD(.1)
    optimizer.setup(target(model, other))
    x, t = Variable(np.ones((2, 3), 'f')), Variable(np.zeros((2, 2), 'f'))
    found = []
    for _ in range(3):
        optimizer.zero_grads()
        model.a.gW.fill(0)
        model.a.gb.fill(0)
        y = model.b(F.tanh(model.a(x))) + other.b(F.tanh(other.a(x)))
        loss = F.mean_squared_error(y, t)
        loss.backward()
        optimizer.clip_grads(5)
        optimizer.update()
        found.append(float(loss.data))
    return found + [bool((before == model.a.W).all())]


TARGETS = [
    lambda model, other: (model.parameters + other.parameters,
                          model.gradients + other.gradients),
    lambda model, other: ((model.b.W, model.b.b), (model.b.gW, model.b.gb)),
    lambda model, other: (model.b.parameters, model.b.gradients),
    lambda model, other: model.b]

print(json.dumps([of_leaves(), of_calls(), of_arrays(), list(map(of_tuples, TARGETS))],
                 default=float))
