"""What char-rnn's and torch-rnn's Lua compute, in plain NumPy, and their numbers' form.
"""
import struct

import numpy


class Binary:
    """Numbers and texts in a binary file of Torch7."""
    mode = 'binary'

    def int(self, *values):
        return struct.pack(f'<{len(values)}i', *values)

    def longs(self, *values):
        return struct.pack(f'<{len(values)}q', *values)

    def double(self, value):
        return struct.pack('<d', value)

    def text(self, text):
        return self.int(len(text)) + text

    def floats(self, values):
        return struct.pack(f'<{len(values)}f', *values)


def sigmoid(z):
    return 1 / (1 + numpy.exp(-z))


def char_rnn_logits(linears, ids):
    """model/LSTM.lua: the sum of i2h and h2h in blocks i, f, o, g; one-hot input."""
    *layers, (W, b) = [(w.astype('f8'), b.astype('f8')) for w, b in linears]
    n = W.shape[1]
    states = [(numpy.zeros(n), numpy.zeros(n)) for _ in layers[::2]]
    found = []
    for i in ids:
        x = numpy.eye(len(W))[i]
        for k, (c, h) in enumerate(states):
            (W_i, b_i), (W_h, b_h) = layers[2 * k:2 * k + 2]
            z = W_i @ x + b_i + W_h @ h + b_h
            i_, f, o = (sigmoid(z[g * n:(g + 1) * n]) for g in range(3))
            c = f * c + i_ * numpy.tanh(z[3 * n:])
            x = o * numpy.tanh(c)
            states[k] = c, x
        found.append(W @ x + b)
    return numpy.array(found)


def torch_rnn_logits(layers, embed, output, ids):
    """LSTM.lua: x Wx + h Wh + b, with i, f, o, g in blocks of columns."""
    W, b = output
    n = W.shape[1]
    states = [(numpy.zeros(n), numpy.zeros(n)) for _ in layers]
    found = []
    for i in ids:
        x = embed[i].astype('f8')
        for k, (c, h) in enumerate(states):
            weight, bias = layers[k]
            z = x @ weight[:len(x)] + h @ weight[len(x):] + bias
            i_, f, o = (sigmoid(z[g * n:(g + 1) * n]) for g in range(3))
            c = f * c + i_ * numpy.tanh(z[3 * n:])
            x = o * numpy.tanh(c)
            states[k] = c, x
        found.append(W @ x + b)
    return numpy.array(found)
