"""Records Chainer files of models whose names differ from RNNForLM's.

    python make_chainer.py

with any Chainer since 1.11 makes chainer-<version>.tar.xz beside this file: models of
many forms, and expected.json, {file: what was computed or why it is refused}.
"""
import os
import tempfile
import warnings

warnings.simplefilter('ignore')

import chainer  # noqa: E402
from chainer import functions as F  # noqa: E402
from chainer import links as L  # noqa: E402
import numpy as np  # noqa: E402

import archive  # noqa: E402

V, M, N = 7, 3, 4
IDS = [[1, 3, 0, 6, 5, 2], [2, 2, 4, 1, 0, 6]]  # of two texts


class Steps(chainer.Chain):
    """Model that computes step by step."""

    def logits(self, ids):
        return np.array([self(np.array(step, 'i')).data for step in zip(*ids)])


class OtherNames(Steps):
    def __init__(self):
        super(OtherNames, self).__init__(
            W_x_hi=L.EmbedID(V, M), W_lstm=L.LSTM(M, N), W_hy=L.Linear(N, V))

    def __call__(self, x):
        return self.W_hy(self.W_lstm(self.W_x_hi(x)))


class Espnet(Steps):
    """ESPnet's RNNLM: a ChainList of layers of different sizes."""

    def __init__(self):
        super(Espnet, self).__init__(
            embed=L.EmbedID(V, M),
            rnn=chainer.ChainList(L.LSTM(M, 5), L.LSTM(5, N)), lo=L.Linear(N, V))

    def __call__(self, x):
        h = self.embed(x)
        for layer in self.rnn:
            h = layer(h)
        return self.lo(h)


class Old(Steps):
    """Chainer's example ptb before 1.5: two Linear for each layer, and F.lstm."""

    def __init__(self):
        super(Old, self).__init__(
            embed=L.EmbedID(V, M), l1_x=L.Linear(M, 4 * N), l1_h=L.Linear(N, 4 * N),
            l2_x=L.Linear(N, 4 * N), l2_h=L.Linear(N, 4 * N), l3=L.Linear(N, V))
        self.states = None

    def __call__(self, x):
        if self.states is None:
            self.states = [(np.zeros((len(x), N), 'f'),) * 2 for _ in range(2)]
        h = self.embed(x)
        for k, (c, before) in enumerate(self.states):
            one, other = ((self.l1_x, self.l1_h), (self.l2_x, self.l2_h))[k]
            c, h = F.lstm(chainer.Variable(c), one(h) + other(chainer.Variable(before)))
            self.states[k] = c.data, h.data
        return self.l3(h)


class NStep(chainer.Chain):
    def __init__(self):
        link = L.NStepLSTM(2, M, N, 0.)
        super(NStep, self).__init__(
            embed=L.EmbedID(V, M), lstm=link, output=L.Linear(N, V))

    def logits(self, ids):
        zeros = np.zeros((2, len(ids), N), 'f')
        xs = [self.embed(np.array(text, 'i')) for text in ids]
        try:
            ys = self.lstm(zeros, zeros, xs)[-1]
        except TypeError:
            ys = self.lstm(
                chainer.Variable(zeros), chainer.Variable(zeros), xs, train=False)[-1]
        return np.array([self.output(y).data for y in ys]).transpose(1, 0, 2)


class Official(Steps):
    """RNNForLM with additional links."""

    def __init__(self, **more):
        super(Official, self).__init__(
            embed=L.EmbedID(V, N), l1=L.LSTM(N, N), l2=L.LSTM(N, N),
            l3=L.Linear(N, V), **more)

    def __call__(self, x):
        return self.l3(self.l2(self.l1(self.embed(x))))


class Peephole(Steps):
    def __init__(self):
        super(Peephole, self).__init__(
            embed=L.EmbedID(V, M), l1=L.StatefulPeepholeLSTM(M, N), l2=L.Linear(N, V))


class Gru(Steps):
    def __init__(self):
        super(Gru, self).__init__(
            embed=L.EmbedID(V, M), l1=L.StatefulGRU(M, N), l2=L.Linear(N, V))


def draw(model):
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.data[...] = random.uniform(-1, 1, param.data.shape).astype('f2')
    return model


def main():
    folder, expected = tempfile.mkdtemp(), {}

    def save(name, model, saved=None, refused=None):
        path = os.path.join(folder, name)
        draw(model)
        chainer.serializers.save_npz(path, saved or model)
        entry = {'ids': np.array(IDS).T.tolist()}
        if refused:
            entry['refused'] = refused
        else:
            entry['output'] = model.logits(IDS).tolist()
        expected[name] = entry
        return path

    other = OtherNames()
    save('other_names.npz', other)
    espnet = Espnet()
    save('espnet.npz', espnet, L.Classifier(espnet))
    save('old.npz', Old())
    if hasattr(L, 'NStepLSTM'):
        save('nstep.npz', NStep())
    path = save('half.npz', OtherNames())
    with np.load(path) as f:
        half = {name: f[name].astype('f2') for name in f.files}
    np.savez(path, **half)
    save('norm.npz', Official(bn=L.BatchNormalization(N)), refused="found 'bn/")
    save('linear.npz', Official(l4=L.Linear(V, V)), refused="found 'l4/W', 'l4/b'")
    if hasattr(L, 'StatefulPeepholeLSTM'):
        save('peephole.npz', Peephole(), refused='found .*peep_f/W')
    save('gru.npz', Gru(), refused='GRU')
    if hasattr(L, 'NStepGRU'):
        model = NStep()
        del model.lstm
        model.add_link('lstm', L.NStepGRU(1, M, N, 0.))
        save('nstep_gru.npz', model, refused='NStepGRU')

    archive.write(folder, expected, 'chainer-%s' % chainer.__version__)


if __name__ == '__main__':
    main()
