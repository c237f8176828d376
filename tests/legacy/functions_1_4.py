"""Functions, gradients and parameters as scripts of 1.0 to 1.4 use them.

Prints their results as JSON, with true old releases too.
"""
import json

import chainer
from chainer import FunctionSet, optimizers, Variable
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


print(json.dumps([of_leaves(), of_calls()]))
