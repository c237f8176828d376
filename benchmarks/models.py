"""Implementations of the language model of the benchmark.

Each class is made from the same weights.  For a window of ids (T + 1, B) it has
`loss_and_gradients(ids)`, without dropout and update, for the comparison, and
`train(ids)`, a complete update, to be timed.  State is carried from window to window.
"""
import contextlib
import importlib.util

import rnnlm
from rnnlm import kernels

import chainer
from chainer import functions as F
from chainer import links as L
import numpy

SIZES = {  # Zaremba et al. 2014: units, dropout, steps, init, clip
    'small': dict(n=200, dropout=0.0, T=20, scale=0.1, clip=5),
    'medium': dict(n=650, dropout=0.5, T=35, scale=0.05, clip=5),
    'large': dict(n=1500, dropout=0.65, T=35, scale=0.04, clip=10),
}
LAYERS = 2
END = 0  # the word between sentences


def flops_per_word(n, V):
    """Returns the operations of the matrix products, forward and backward."""
    return 3 * 2 * (LAYERS * 8 * n * n + n * V)


class OfficialNet(chainer.Chain):
    """The model of Chainer's examples/ptb, with any dropout ratio."""

    def __init__(self, V, n, dropout):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(V, n)
            self.l1 = L.LSTM(n, n)
            self.l2 = L.LSTM(n, n)
            self.l3 = L.Linear(n, V)
        self.dropout = dropout

    def forward(self, x):
        def drop(h):
            return F.dropout(h, self.dropout) if self.dropout else h

        h = self.l1(drop(self.embed(x)))
        h = self.l2(drop(h))
        return self.l3(drop(h))

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()


class Chainers:
    """Base class of the implementations in Chainer: SGD with clipping."""

    def __init__(self, weights, n, dropout, clip, V, **_):
        self.model = L.Classifier(self.make(V, n, dropout))
        self.model.compute_accuracy = False
        for name, param in self.model.predictor.namedparams():
            param.array[...] = weights[name]
        self.optimizer = chainer.optimizers.SGD(lr=1.0).setup(self.model)
        self.optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))

    def reset(self):
        self.model.predictor.reset_state()

    def evaluate(self, ids):
        """Returns the mean loss of a text (T + 1, 1)."""
        self.reset()
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            return float(self.loss(ids).array) / (len(ids) - 1)

    def loss_and_gradients(self, ids):
        self.reset()
        with chainer.using_config('train', False):
            loss = self.loss(ids)
        self.model.cleargrads()
        loss.backward()
        loss.unchain_backward()
        return float(loss.array), {
            name: p.grad.copy() for name, p in self.model.predictor.namedparams()}


class Official(Chainers):
    """Chainer's links and optimizer, step by step."""

    def make(self, V, n, dropout):
        return OfficialNet(V, n, dropout)

    def loss(self, ids):
        loss = 0
        for x, t in zip(ids[:-1], ids[1:]):
            loss += self.model(x, t)
        return loss

    def train(self, ids):
        loss = self.loss(ids)
        self.model.cleargrads()
        loss.backward()
        loss.unchain_backward()
        self.optimizer.update()
        return float(loss.array)


class PerStep(Chainers):
    """rnnlm.RNNForLM and its updater with per_step=True."""

    per_step = True

    def make(self, V, n, dropout):
        return rnnlm.RNNForLM(V, n, LAYERS, dropout)

    def __init__(self, weights, **sizes):
        super().__init__(weights, **sizes)
        self.model.predictor.per_step = self.per_step
        self.windows = Windows()
        self.updater = rnnlm.BPTTUpdater(
            self.windows, self.optimizer, 1, per_step=self.per_step)

    def loss(self, ids):
        return self.model.predictor.loss(ids[:-1], ids[1:])

    def train(self, ids):
        self.windows.ids = iter(ids)
        self.windows.window = ids
        self.updater.bprop_len = len(ids) - 1
        self.updater.update_core()


class ByWindow(PerStep):
    """rnnlm.RNNForLM and its updater, fused, with NumPy only."""

    per_step = False
    kernels = False

    def loss(self, ids):
        with self.with_kernels():
            return super().loss(ids)

    def train(self, ids):
        with self.with_kernels():
            super().train(ids)

    def loss_and_gradients(self, ids):
        with self.with_kernels():
            return super().loss_and_gradients(ids)

    def evaluate(self, ids):
        with self.with_kernels():
            return super().evaluate(ids)

    def score(self, sentences):
        """Returns the sum of the log probabilities of sentences and their ends."""
        with self.with_kernels():
            return float(sum(scores.sum() for scores in rnnlm.score_sentences(
                self.model.predictor, sentences, END)))

    def generate(self, length):
        with self.with_kernels():
            return len(list(rnnlm.generate(self.model.predictor, [END], length)))

    @contextlib.contextmanager
    def with_kernels(self):
        before, kernels.enabled = kernels.enabled, self.kernels
        try:
            yield
        finally:
            kernels.enabled = before


class Fast(ByWindow):
    """The same with the compiled kernels of the extra ``fast``."""

    kernels = True

    def pieces(self, method, arguments):
        """Returns the mean seconds of the parts of a call of a method."""
        import pieces  # which imports this
        return pieces.of_calls(getattr(self, method), arguments)


class Windows(chainer.dataset.Iterator):
    """Iterator that gives the updater the window chosen by the benchmark."""

    def next_window(self, length):
        return self.window

    def __next__(self):
        self.at = getattr(self, 'at', 0) % (len(self.window) - 1)
        pair = list(zip(self.window[self.at], self.window[self.at + 1]))
        self.at += 1
        return pair


class Torch:
    """PyTorch: Embedding, LSTM and Linear, with the same clipping and update."""

    def __init__(self, weights, n, dropout, clip, V, **_):
        import torch
        self.torch, self.clip, self.state, self.dropout = torch, clip, None, dropout
        nn = torch.nn
        self.embed = nn.Embedding(V, n)
        self.lstm = nn.LSTM(n, n, LAYERS, dropout=dropout)
        self.out = nn.Linear(n, V)
        self.drop = nn.Dropout(dropout)
        self.modules = nn.ModuleList([self.embed, self.lstm, self.out, self.drop])
        self.params = list(self.modules.parameters())
        with torch.no_grad():
            for name, param in self.named():
                param.copy_(torch.from_numpy(self.to_torch(name, weights[name])))
            for k in range(LAYERS):  # the second bias, which Chainer lacks
                getattr(self.lstm, f'bias_hh_l{k}').zero_()

    def named(self):
        yield '/embed/W', self.embed.weight
        for k in range(LAYERS):
            for name, ours in (('weight_ih', 'upward/W'), ('weight_hh', 'lateral/W'),
                               ('bias_ih', 'upward/b')):
                yield f'/l{k + 1}/{ours}', getattr(self.lstm, f'{name}_l{k}')
        yield f'/l{LAYERS + 1}/W', self.out.weight
        yield f'/l{LAYERS + 1}/b', self.out.bias

    @staticmethod
    def to_torch(name, array):
        """Converts Chainer's a, i, f, o of each unit to blocks i, f, g, o."""
        if '/upward/' not in name and '/lateral/' not in name:
            return array
        a, i, f, o = (array[g::4] for g in range(4))
        return numpy.concatenate([i, f, a, o])

    @staticmethod
    def to_chainer(name, array):
        if '/upward/' not in name and '/lateral/' not in name:
            return array
        i, f, a, o = numpy.split(array, 4)
        return numpy.stack([a, i, f, o], axis=1).reshape(array.shape)

    def send(self, ids):
        return self.torch.from_numpy(ids.astype('l'))

    def loss(self, ids):
        mean, state = self.forward(self.send(ids), self.state)
        self.state = tuple(s.detach() for s in state)
        return mean * (len(ids) - 1)

    def forward(self, ids, state):
        h, state = self.lstm(self.drop(self.embed(ids[:-1])), state)
        y = self.out(self.drop(h))
        return self.torch.nn.functional.cross_entropy(
            y.reshape(-1, y.shape[2]), ids[1:].reshape(-1)), state

    def reset(self):
        self.state = None

    def evaluate(self, ids):
        self.reset()
        self.modules.eval()
        with self.torch.no_grad():
            loss = float(self.loss(ids)) / (len(ids) - 1)
        self.modules.train()
        return loss

    def score(self, sentences, batch=32, alike=False):
        """Scores in padded batches, optionally of sentences of similar length."""
        torch, total = self.torch, 0.0
        if alike:
            sentences = sorted(sentences, key=len)
        self.modules.eval()
        with torch.no_grad():
            for start in range(0, len(sentences), batch):
                part = sentences[start:start + batch]
                longest = max(map(len, part))
                ids = numpy.full((longest + 2, len(part)), END)
                targets = numpy.full((longest + 1, len(part)), -100)
                for column, sentence in enumerate(part):
                    end = len(sentence) + 1
                    ids[1:end, column] = sentence
                    targets[:end, column] = ids[1:end + 1, column]
                h, _ = self.lstm(self.embed(self.send(ids[:-1])))
                y = self.out(h)
                total -= float(torch.nn.functional.cross_entropy(
                    y.reshape(-1, y.shape[2]), self.send(targets).reshape(-1),
                    ignore_index=-100, reduction='sum'))
        self.modules.train()
        return total

    def score_alike(self, sentences):
        return self.score(sentences, alike=True)

    def generate(self, length):
        """Samples words one by one."""
        torch, words, state = self.torch, [END], None
        self.modules.eval()
        with torch.no_grad():
            for _ in range(length):
                h, state = self.lstm(self.embed(torch.tensor([words[-1:]])), state)
                p = torch.softmax(self.out(h[0, 0]), 0)
                words.append(int(torch.multinomial(p, 1)))
        self.modules.train()
        return len(words) - 1

    def loss_and_gradients(self, ids):
        self.reset()
        self.modules.eval()
        loss = self.loss(ids)
        self.modules.zero_grad()
        loss.backward()
        self.modules.train()
        return float(loss.detach()), {
            name: self.to_chainer(name, p.grad.numpy()).copy()
            for name, p in self.named()}

    def train(self, ids):
        torch = self.torch
        loss = self.loss(ids)
        for p in self.params:
            p.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, self.clip)
        with torch.no_grad():
            for p in self.params:
                p.sub_(p.grad)
        return float(loss.detach())


class TorchBfloat16(Torch):
    """The same with autocast: bfloat16 products, float32 weights and loss."""

    def forward(self, ids, state):
        with self.torch.autocast('cpu', dtype=self.torch.bfloat16):
            return super().forward(ids, state)


class TorchCompiled(Torch):
    """The same with torch.compile, with an experimental option for LSTMs.

    Without this option nothing is compiled: see `compiled_by_default`.
    """

    def __init__(self, weights, **sizes):
        super().__init__(weights, **sizes)
        import torch._dynamo
        torch._dynamo.config.allow_rnn = True
        self.compiled = torch.compile(super().forward, fullgraph=True)

    def forward(self, ids, state):
        if state is None:  # or there would be a graph for that too
            layer = self.lstm
            zeros = self.torch.zeros(LAYERS, ids.shape[1], layer.hidden_size)
            state = zeros, zeros.clone()
        return self.compiled(ids, state)

    def compiled_by_default(self):
        """Returns the parts compiled without the option, and why it stops."""
        import torch._dynamo
        pieces = []

        def count(graph, example_inputs):
            pieces.append(graph)
            return graph.forward

        with torch._dynamo.config.patch(allow_rnn=False):
            ids = self.torch.zeros(3, 2, dtype=self.torch.int64)
            self.torch.compile(super().forward, backend=count)(ids, None)
            reasons = list(torch._dynamo.utils.counters['graph_break'])
        torch._dynamo.reset()
        lines = reasons[0].splitlines() if reasons else ['']
        explained = [line.split(':', 1)[1].strip() for line in lines
                     if line.strip().startswith('Explanation:')]
        return len(pieces), (explained or lines)[0]


WAYS = {'official': Official, 'per step': PerStep, 'window': ByWindow, 'fast': Fast,
        'torch': Torch, 'torch bfloat16': TorchBfloat16,
        'torch compiled': TorchCompiled}


def available():
    """Returns the names of the implementations that can run here."""
    there = {name: importlib.util.find_spec(name) for name in ('llvmlite', 'torch')}
    return [name for name in WAYS
            if there.get({'fast': 'llvmlite'}.get(name, name.split()[0]), True)]


def make_weights(V, n, scale, seed=0, **_):
    random = numpy.random.RandomState(seed)
    model = OfficialNet(V, n, 0)
    return {name: random.uniform(-scale, scale, p.shape).astype('f')
            for name, p in model.namedparams()}
