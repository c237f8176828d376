"""The equations of awd-lstm-lm in PyTorch, on masks that are drawn as rnnlm draws them.

    python tests/awd_torch.py

with PyTorch writes awd_torch.json beside this file: what test_awd.py compares with
where there is no PyTorch.
"""
import json
import os

import awd_case as case
import numpy
import torch
from torch.func import functional_call

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'awd_torch.json')

# PyTorch's gates i, f, g, o among Chainer's a, i, f, o, which alternate.
ORDER = [1, 2, 0, 3]


def in_blocks(array):
    """Rows as PyTorch has them, of rows as Chainer has them."""
    n = len(array) // 4
    return array.reshape(n, 4, *array.shape[1:])[:, ORDER].swapaxes(0, 1).reshape(
        array.shape)


def alternating(array):
    """The way back."""
    n = len(array) // 4
    return array.reshape(4, n, *array.shape[1:])[numpy.argsort(ORDER)].swapaxes(
        0, 1).reshape(array.shape)


def mask(shape, ratio):
    return torch.tensor((numpy.random.rand(*shape) >= ratio) / (1 - ratio))


class Model:
    """Embedding and output of one matrix, and three LSTMs of PyTorch."""

    def __init__(self):
        given = case.parameters()
        self.embed = self._leaf(given['embed/W'])
        self.bias = self._leaf(given[f'l{len(case.SIZES)}/b'])
        self.lstms, self.layers = [], []
        for k, (m, n) in enumerate(zip(case.SIZES, case.SIZES[1:]), 1):
            self.lstms.append(torch.nn.LSTM(m, n).double())
            b = in_blocks(given[f'l{k}/upward/b'])
            self.layers.append({
                'weight_ih_l0': self._leaf(in_blocks(given[f'l{k}/upward/W'])),
                'weight_hh_l0': self._leaf(in_blocks(given[f'l{k}/lateral/W'])),
                'bias_ih_l0': self._leaf(b / 4), 'bias_hh_l0': self._leaf(3 * b / 4)})
        self.state = [None] * len(self.lstms)

    @staticmethod
    def _leaf(array):
        return torch.tensor(array, requires_grad=True)

    def parameters(self):
        return [self.embed, self.bias] + [
            param for layer in self.layers for param in layer.values()]

    def loss(self, x, t):
        """The loss of a window x, t (T, B), and its cross entropy."""
        o = case.OPTIONS
        rows = mask((case.V, 1), o['dropoute'])
        weights = [mask_of_weights(layer['weight_hh_l0'], o['wdrop'])
                   for layer in self.layers]
        h = torch.nn.functional.embedding(x, rows * self.embed)
        h = h * mask((1, case.B, h.shape[2]), o['dropouti'])
        for k, (lstm, layer, kept) in enumerate(zip(self.lstms, self.layers, weights)):
            dropped = dict(layer, weight_hh_l0=layer['weight_hh_l0'] * kept)
            state = self.state[k]
            raw, after = functional_call(lstm, dropped, (h, state) if state else (h,))
            self.state[k] = tuple(array.detach() for array in after)
            last = k + 1 == len(self.lstms)
            ratio = o['dropout'] if last else o['dropouth']
            h = raw * mask((1, case.B, raw.shape[2]), ratio)
        logits = torch.nn.functional.linear(h, self.embed, self.bias)
        entropy = torch.nn.functional.cross_entropy(
            logits.reshape(-1, case.V), t.reshape(-1))
        loss = entropy + o['alpha'] * h.pow(2).mean()
        loss = loss + o['beta'] * (raw[1:] - raw[:-1]).pow(2).mean()
        return loss, entropy


def mask_of_weights(W, ratio):
    """Drawn in Chainer's order of rows."""
    return torch.tensor(in_blocks(mask(W.shape, ratio).numpy()))


def windows():
    """Words of the text in streams, without end."""
    words, place = case.text(), 0
    starts = [b * len(words) // case.B for b in range(case.B)]
    while True:
        mean = case.BPTT if numpy.random.random() < .95 else case.BPTT / 2
        length = max(5, int(numpy.random.normal(mean, 5)))
        steps = numpy.arange(place, place + length + 1)[:, None] + starts
        yield torch.tensor(words[steps % len(words)].astype('l'))
        place += length


def run():
    """{name: numbers}: the losses of all windows, and the parameters after them."""
    torch.set_default_dtype(torch.float64)  # that of the factors of ASGD's means too
    try:
        return _run(case.OPTIONS, Model())
    finally:
        torch.set_default_dtype(torch.float32)


def _run(o, model):
    params = model.parameters()
    optimizer = torch.optim.SGD(params, lr=o['lr'], weight_decay=o['wdecay'])
    numpy.random.seed(7)
    losses = []
    for k, ids in zip(range(case.WINDOWS), windows()):
        if k == case.AVERAGED_FROM:
            optimizer = torch.optim.ASGD(
                params, lr=o['lr'], t0=0, lambd=0., weight_decay=o['wdecay'])
        loss, entropy = model.loss(ids[:-1], ids[1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, o['clip'])
        set_rate(optimizer, o['lr'] * (len(ids) - 1) / o['bptt'])
        optimizer.step()
        losses.append(entropy.item())
    return {'losses': losses, 'parameters': case.summary(as_chainer(model, lambda p: p)),
            'means': case.summary(
                as_chainer(model, lambda p: optimizer.state[p]['ax']))}


def set_rate(optimizer, rate):
    optimizer.param_groups[0]['lr'] = rate
    for state in optimizer.state.values():
        if 'eta' in state:  # else that of the window before
            state['eta'] = torch.tensor(rate, dtype=torch.float64)


def as_chainer(model, read):
    """{name: array} as `case.parameters`, of what `read` gives for each parameter."""
    def array(param):
        return read(param).detach().numpy()

    found = {'embed/W': array(model.embed), f'l{len(case.SIZES)}/b': array(model.bias)}
    for k, layer in enumerate(model.layers, 1):
        found[f'l{k}/upward/W'] = alternating(array(layer['weight_ih_l0']))
        found[f'l{k}/lateral/W'] = alternating(array(layer['weight_hh_l0']))
        found[f'l{k}/upward/b'] = alternating(
            array(layer['bias_ih_l0']) + array(layer['bias_hh_l0']))
    return found


if __name__ == '__main__':
    with open(FILE, 'w') as f:
        json.dump(run(), f, indent=1)
        f.write('\n')
