"""Records files of PyTorch, and what their models compute.

    python make_pytorch.py

with any PyTorch since 0.4 makes pytorch-<version>.tar.xz beside this file: models of
many forms, and expected.json, {file: what was computed or why it is refused}.
"""
import argparse
import collections
import os
import tempfile

import torch
from torch import nn

import archive

V, M, N = 7, 3, 4
WORDS = ['a', 'b', 'c', ' ', '\n', u'\xe4', 'the']


class RNNModel(nn.Module):
    """Model of PyTorch's example word_language_model."""

    def __init__(self, kind='LSTM', tied=False, bidirectional=False):
        super(RNNModel, self).__init__()
        m = N if tied else M
        self.drop = nn.Dropout(0.5)
        self.encoder = nn.Embedding(V, m)
        self.rnn = getattr(nn, kind)(m, N, 2, dropout=0.5, bidirectional=bidirectional)
        self.decoder = nn.Linear(2 * N if bidirectional else N, V)
        if tied:
            self.decoder.weight = self.encoder.weight
        self.rnn_type, self.nhid, self.nlayers = kind, N, 2
        self.device = torch.device('cpu')
        self.counts = collections.Counter('abc')
        self.seen = {1, 2}

    def forward(self, x):
        return self.decoder(self.rnn(self.encoder(x))[0])


class OneHot(nn.Module):
    """Character model of Udacity's course, without an embedding."""

    def __init__(self):
        super(OneHot, self).__init__()
        self.chars = tuple(WORDS)
        self.int2char = dict(enumerate(WORDS))
        self.lstm = nn.LSTM(V, N, 2, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(N, V)

    def forward(self, x):
        hot = torch.eye(V)[x].transpose(0, 1)
        return self.fc(self.lstm(hot)[0]).transpose(0, 1)


class Sizes(nn.Module):
    """LSTMs of different sizes, one without a bias; a zero state; a mask."""

    def __init__(self):
        super(Sizes, self).__init__()
        self.embed = nn.Embedding(V, M)
        self.lstm1, self.lstm2 = nn.LSTM(M, 5), nn.LSTM(5, N, bias=False)
        self.out = nn.Linear(N, V, bias=False)
        self.register_buffer('h0', torch.zeros(1, 1, 5))
        self.register_buffer('mask', torch.ones(3, 3).byte())

    def forward(self, x):
        return self.out(self.lstm2(self.lstm1(self.embed(x))[0])[0])


class Cells(nn.Module):
    """Model of nn.LSTMCell, as in ESPnet's language model."""

    def __init__(self):
        super(Cells, self).__init__()
        self.embed = nn.Embedding(V, M)
        self.rnn = nn.ModuleList([nn.LSTMCell(M, N), nn.LSTMCell(N, N)])
        self.lo = nn.Linear(N, V)

    def forward(self, x):
        found = []
        states = [(torch.zeros(x.shape[1], N),) * 2 for _ in self.rnn]
        for step in x:
            h = self.embed(step)
            for k, cell in enumerate(self.rnn):
                states[k] = cell(h, states[k])
                h = states[k][0]
            found.append(self.lo(h))
        return torch.stack(found)


class WeightDrop(nn.Module):
    """awd-lstm-lm's wrapper: weights without dropout are in weight_hh_l0_raw."""

    def __init__(self, module):
        super(WeightDrop, self).__init__()
        self.module = module
        raw = module.weight_hh_l0
        del module._parameters['weight_hh_l0']
        module.register_parameter('weight_hh_l0_raw', nn.Parameter(raw.data))

    def forward(self, x):
        lstm = nn.LSTM(self.module.input_size, self.module.hidden_size)
        for name, value in self.module.named_parameters():
            getattr(lstm, name.replace('_raw', '')).data.copy_(value.data)
        return lstm(x)


class Awd(nn.Module):
    """awd-lstm-lm's RNNModel."""

    def __init__(self):
        super(Awd, self).__init__()
        self.encoder = nn.Embedding(V, M)
        self.rnns = nn.ModuleList(
            [WeightDrop(nn.LSTM(M, 5)), WeightDrop(nn.LSTM(5, M))])
        self.decoder = nn.Linear(M, V)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        h = self.encoder(x)
        for rnn in self.rnns:
            h = rnn(h)[0]
        return self.decoder(h)


class Wrong(nn.Module):
    """Model with something between the LSTM and the output layer."""

    def __init__(self, between, n=N):
        super(Wrong, self).__init__()
        self.embed, self.lstm = nn.Embedding(V, M), nn.LSTM(M, N)
        self.between, self.out = between, nn.Linear(n, V)

    def forward(self, x):
        return self.out(self.between(self.lstm(self.embed(x))[0]))


def main():
    torch.manual_seed(1)
    version = torch.__version__.split('+')[0]
    new = tuple(map(int, version.split('.')[:2])) >= (1, 6)
    folder, expected = tempfile.mkdtemp(), {}
    ids = torch.tensor([[1, 3, 0, 6, 5, 2], [2, 2, 4, 1, 0, 6]]).t()

    def draw(model):
        for parameter in model.parameters():
            parameter.data.uniform_(-1, 1)
        return model.eval()

    def save(name, value, model=None, refused=None, tokens=None, **options):
        torch.save(value, os.path.join(folder, name), **options)
        entry = {'ids': ids.tolist()}
        if refused:
            entry['refused'] = refused
        else:
            with torch.no_grad():
                entry['output'] = model(ids).tolist()
            entry['tokens'] = tokens
        expected[name] = entry

    forms = [('', {})]
    if new:
        forms += [('_old', {'_use_new_zipfile_serialization': False})]
        forms += [('_p%d' % p, {'pickle_protocol': p}) for p in (3, 4, 5)]
        forms += [('_old_p4', {'_use_new_zipfile_serialization': False,
                               'pickle_protocol': 4})]
    words = draw(RNNModel())
    for form, options in forms:
        save('whole%s.pt' % form, words, words, **options)
    tied, hot, sizes, cells, awd = map(draw, (
        RNNModel(tied=True), OneHot(), Sizes(), Cells(), Awd()))
    save('tied.pt', tied, tied)
    optimizer = torch.optim.Adam(words.parameters())
    sum(p.sum() for p in words.parameters()).backward()
    for group in optimizer.param_groups:
        group['lr'] = 0.
    optimizer.step()
    words.zero_grad()
    for form, options in forms[:2]:
        save('checkpoint%s.pth' % form, {
            'epoch': 3, 'net': words.state_dict(), 'optimizer': optimizer.state_dict(),
            'args': argparse.Namespace(lr=0.5, cuda=True, size=torch.Size([1, 2])),
            'seen': {'a', 'b'}, 'dtype': torch.float32, 'bytes': b'abc',
            'vocab': {word: k for k, word in enumerate(WORDS)}, ('a', 1): None,
        }, words, tokens=WORDS, **options)
    parallel = nn.DataParallel(words)
    save('parallel.pt', parallel.state_dict(), words)
    save('parallel_whole.pt', parallel, words)
    save('hot.net', {'n_hidden': N, 'n_layers': 2, 'state_dict': hot.state_dict(),
                     'tokens': hot.chars}, hot, tokens=WORDS)
    save('hot_whole.pt', hot, hot, tokens=WORDS)
    save('sizes.pt', sizes.state_dict(), sizes)
    save('sizes_whole.pt', sizes, sizes)
    save('cells.pt', {'model_state': cells.state_dict()}, cells)
    save('awd.pt', [awd, nn.CrossEntropyLoss(), optimizer], awd)
    save('awd_state.pt', awd.state_dict(), awd)
    raw = awd.state_dict()
    for k in range(2):  # fastai's names
        dropped = raw.pop('rnns.%d.module.weight_hh_l0_raw' % k)
        raw['rnns.%d.weight_hh_l0_raw' % k] = dropped
        raw['rnns.%d.module.weight_hh_l0' % k] = dropped * 2
    raw['encoder_dp.emb.weight'] = raw['encoder.weight']
    save('fastai.pth', {'model': collections.OrderedDict(
        (('1.' if name.startswith('decoder') else '0.') + name, value)
        for name, value in raw.items())}, awd)
    half = {name: value.half() for name, value in words.state_dict().items()}
    for name, value in half.items():
        words.state_dict()[name].copy_(value)
    save('half.pt', half, words)

    save('gru.pt', draw(RNNModel('GRU')).state_dict(), refused='a GRU')
    save('gru_whole.pt', draw(RNNModel('GRU')), refused='found GRU')
    save('rnn.pt', draw(RNNModel('RNN')).state_dict(), refused='an RNN of one matrix')
    save('both_ways.pt', draw(RNNModel(bidirectional=True)).state_dict(),
         refused='bidirectional')
    save('relu.pt', draw(Wrong(nn.ReLU())), refused='between: .* found ReLU')
    save('norm.pt', draw(Wrong(nn.LayerNorm(N))).state_dict(),
         refused='between.weight: .* normalisation')
    save('second.pt', draw(Wrong(nn.Linear(N, 5), 5)).state_dict(),
         refused='found 2: between, out')
    moving = sizes.state_dict()
    moving['h0'] = moving['h0'] + 1
    save('state.pt', moving, refused='h0: expected no tensor')
    if new:
        projected = nn.LSTM(M, N, proj_size=2)
        save('projected.pt', {'embed.weight': torch.ones(V, M), **{
            'lstm.' + name: value for name, value in projected.state_dict().items()},
            'out.weight': torch.ones(V, 2), 'out.bias': torch.ones(V)},
            refused='proj_size')

    archive.write(folder, expected, 'pytorch-%s' % version)


if __name__ == '__main__':
    main()
