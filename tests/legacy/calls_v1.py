"""Copies of Chainer's links, and checks of types, as scripts of 1.9 to 1.24 have them.

Prints their results as JSON, with true old releases too.
"""
import json

import chainer
from chainer import initializers, link
from chainer.functions.array.split_axis import split_axis
from chainer.functions.loss.softmax_cross_entropy import softmax_cross_entropy
from chainer.functions.math.matmul import matmul
from chainer.functions.noise import zoneout
from chainer.functions.noise.dropout import dropout
import chainer.functions.noise.dropout as noise
from chainer.utils import type_check
import numpy as np


class Half(chainer.Function):

    def check_type_forward(self, in_types):
        n = in_types.size()
        type_check.expect(1 <= n, type_check.Variable(2, 'n') == in_types[0].ndim)
        if n.eval() == 2:
            type_check.expect(in_types[1].dtype == in_types[0].dtype)

    def forward(self, inputs):
        return inputs[0] / 2,


class Linear(link.Link):
    """As in chainer/links/connection/linear.py of 1.24."""

    def __init__(self, in_size, out_size):
        super(Linear, self).__init__()
        self.add_param('W', (out_size, in_size), initializer=(
            initializers._get_initializer(np.ones((out_size, in_size), 'f'), 3)))
        self.add_param('V', (out_size, 400), initializer=(
            initializers._get_initializer(None, scale=3)))


def refused(*arrays):
    try:
        Half()(*map(chainer.Variable, arrays))
    except type_check.InvalidType:
        return True
    return False


np.random.seed(0)
made = Linear(3, 400)
x, t = np.arange(6).reshape(2, 3).astype('f'), np.array([0, -1], 'i')
print(json.dumps([
    float(softmax_cross_entropy(
        chainer.Variable(x), chainer.Variable(t), True, False).data),
    dropout(chainer.Variable(x), .5, False).data.tolist(),
    noise.dropout(chainer.Variable(x), .5, False).data.tolist(),
    zoneout.zoneout(chainer.Variable(x), chainer.Variable(x + 1), 1., False)
    .data.tolist(),
    isinstance(split_axis(chainer.Variable(x), 1, 1), chainer.Variable),
    matmul(chainer.Variable(x), chainer.Variable(x[0])).data.shape,
    Half()(chainer.Variable(x)).data.tolist(),
    refused(x[0]), refused(x, x), refused(x, t),
    float(made.W.data.sum()), bool(abs(made.V.data.std() - 3 / 20) < .002),
    made._device_id, made._cpu,
]))
