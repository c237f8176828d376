#!/usr/bin/env python
"""Fits four numbers with 100 memory cells: the smallest task.

    python examples/tasks/toy.py

This is the example of a tutorial that implements an LSTM in plain NumPy: Nicolas
Jimenez, "Simple LSTM" (2014), https://github.com/nicodjimenez/lstm.  There are four
random inputs of 50 numbers from 0 to 1, the same in every iteration.  The first cell
should output -0.5, 0.2, 0.1 and -0.5, and the loss is the sum of the squared
differences.  It is trained by 100 iterations of gradient descent at rate 0.1, with
initial weights and biases from -0.05 to 0.05.  The tutorial's cell outputs o c, ours
o tanh(c).

There is no model and no trainer, only `rnnlm.functions.lstm_window` and its gradients.
"""
from rnnlm.functions import lstm_window  # first: rnnlm makes Chainer importable

import chainer
import numpy

import options

WANTED = numpy.array([-0.5, 0.2, 0.1, -0.5], 'f')


def train(iterations=100, cells=100, inputs=50, rate=0.1):
    """Returns the losses before each iteration and after the last, and the outputs."""
    options.require_count('iterations', iterations)
    x = numpy.random.uniform(0, 1, (len(WANTED), 1, inputs)).astype('f')  # (T, B, in)
    upward_W, upward_b, lateral_W = params = [
        chainer.Parameter(numpy.random.uniform(-0.05, 0.05, shape).astype('f'))
        for shape in ((4 * cells, inputs), (4 * cells,), (4 * cells, cells))]
    losses = []
    while True:
        hs, _, _ = lstm_window(x, None, None, upward_W, upward_b, lateral_W)
        outputs = hs[:, 0, 0]
        loss = chainer.functions.sum((outputs - WANTED) ** 2)
        losses.append(float(loss.array))
        if len(losses) > iterations:
            return losses, outputs.array
        for param in params:
            param.cleargrad()
        loss.backward()
        for param in params:
            param.array -= rate * param.grad


def main(argv=None):
    parser = options.parser(__doc__)
    parser.add_argument('--iterations', type=int, default=100,
                        help='steps of gradient descent (default: 100)')
    args = options.parse(parser, argv)
    losses, outputs = train(args.iterations)
    for k in range(0, len(losses), max(1, args.iterations // 10)):
        print(f'iteration {k:4}  loss {losses[k]:.2e}')
    print('wanted ', *(f'{value:8.4f}' for value in WANTED))
    print('learned', *(f'{value:8.4f}' for value in outputs))


if __name__ == '__main__':
    options.run(main)
