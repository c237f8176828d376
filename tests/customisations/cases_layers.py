"""Customisations: other links in the places of the model's own."""
import chainer
from chainer import functions as F
from chainer import links as L
import numpy

from tests.customisations.world import N_UNITS, V, custom


def replace(model, name, link):
    """Puts a link in another's place, as users of Chainer do."""
    delattr(model, name)
    with model.init_scope():
        setattr(model, name, link)


class OwnLSTM(L.LSTM):
    """A subclass that changes nothing."""


class CoupledLSTM(chainer.Chain):
    """A recurrent link of the user's own, on F.lstm."""

    def __init__(self, n):
        super().__init__()
        with self.init_scope():
            self.both = L.Linear(2 * n, 4 * n)
        self.n = n
        self.reset_state()

    def reset_state(self):
        self.c = self.h = None

    def forward(self, x):
        if self.h is None:
            self.h = chainer.Variable(numpy.zeros((len(x), self.n), x.dtype))
            self.c = chainer.Variable(numpy.zeros((len(x), self.n), x.dtype))
        self.c, self.h = F.lstm(self.c, self.both(F.concat([x, self.h])))
        return self.h


class Cell(chainer.Chain):
    """Elman's, whose state has a name of its own, and which does not reset it."""

    def __init__(self, n):
        super().__init__()
        with self.init_scope():
            self.x, self.y = L.Linear(n, n), L.Linear(n, n)
        self.memory = None

    def forward(self, x):
        h = self.x(x)
        if self.memory is not None:
            h += self.y(self.memory)
        self.memory = F.tanh(h)
        return self.memory


class OwnRNN(Cell):
    def reset_state(self):
        self.memory = None


class Residual(chainer.Chain):
    """A link around another, whose output is added to the input."""

    def __init__(self, link):
        super().__init__()
        with self.init_scope():
            self.link = link

    def reset_state(self):
        self.link.reset_state()

    def forward(self, x):
        return x + self.link(x)


class ArrayRNN(OwnRNN):
    """Keeps its state as an array, so that no gradient flows through it."""

    h = None

    def reset_state(self):
        self.h = None

    def forward(self, x):
        h = self.x(x)
        if self.h is not None:
            h += self.y(self.h)
        h = F.tanh(h)
        self.h = h.array
        return h


class Around(chainer.Chain):
    """A layer that resets the state of a cell in it."""

    def __init__(self, n):
        super().__init__()
        with self.init_scope():
            self.cell = Cell(n)

    def reset_state(self):
        self.cell.memory = None

    def forward(self, x):
        return self.cell(x)


class CosineOutput(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.W = chainer.Parameter(chainer.initializers.Normal(1), (V, N_UNITS))

    def forward(self, x):
        return 5 * F.matmul(F.normalize(x), F.normalize(self.W), transb=True)


class MixtureOfSoftmaxes(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.prior = L.Linear(N_UNITS, 2)
            self.latent = L.Linear(N_UNITS, 2 * N_UNITS)
            self.out = L.Linear(N_UNITS, V)

    def forward(self, x):
        prior = F.softmax(self.prior(x))
        latent = F.tanh(self.latent(x)).reshape(-1, N_UNITS)
        p = F.softmax(self.out(latent)).reshape(-1, 2, V)
        return F.log(F.sum(F.broadcast_to(prior[:, :, None], p.shape) * p, 1))


LAYERS = {
    'lstm_again': lambda: L.LSTM(N_UNITS, N_UNITS),
    'lazy_lstm': lambda: L.LSTM(N_UNITS),
    'lazy_lstm_none': lambda: L.LSTM(None, N_UNITS),
    'lstm_subclass': lambda: OwnLSTM(N_UNITS, N_UNITS),
    'lstm_with_forget_bias': lambda: L.LSTM(N_UNITS, N_UNITS, forget_bias_init=2),
    'gru': lambda: L.StatefulGRU(N_UNITS, N_UNITS),
    'peephole': lambda: L.StatefulPeepholeLSTM(N_UNITS, N_UNITS),
    'mgu': lambda: L.StatefulMGU(N_UNITS, N_UNITS),
    'zoneout': lambda: L.StatefulZoneoutLSTM(N_UNITS, N_UNITS, c_ratio=.2, h_ratio=.1),
    'own_lstm': lambda: CoupledLSTM(N_UNITS),
    'own_rnn': lambda: OwnRNN(N_UNITS),
    'residual_lstm': lambda: Residual(L.LSTM(N_UNITS, N_UNITS)),
}
STATELESS = {
    'linear': lambda: L.Linear(N_UNITS, N_UNITS),
    'highway': lambda: L.Highway(N_UNITS),
    'sequential': lambda: chainer.Sequential(L.Linear(N_UNITS, N_UNITS), F.tanh),
    'layer_normalization': lambda: L.LayerNormalization(N_UNITS),
    'batch_normalization': lambda: L.BatchNormalization(N_UNITS),
    'scale': lambda: L.Scale(1, (N_UNITS,)),
    'swish': lambda: L.Swish((N_UNITS,)),
}
OUTPUTS = {
    'linear_again': lambda: L.Linear(N_UNITS, V),
    'lazy_linear': lambda: L.Linear(V),
    'lazy_linear_none': lambda: L.Linear(None, V),
    'maxout': lambda: L.Maxout(N_UNITS, V, 2),
    'two_linears': lambda: chainer.Sequential(
        L.Linear(N_UNITS, 5), F.tanh, L.Linear(5, V)),
    'mlp': lambda: chainer.Sequential(
        L.Linear(N_UNITS, 7), F.relu, F.dropout, L.Linear(7, V)),
    'cosine': CosineOutput,
    'mixture_of_softmaxes': MixtureOfSoftmaxes,
    'more_words': lambda: L.Linear(N_UNITS, V + 3),
    'scaled': lambda: L.Linear(N_UNITS, V, initialW=chainer.initializers.Normal(.3)),
    'repeated': lambda: L.Linear(N_UNITS, V).repeat(1),
}
EMBEDDINGS = {
    'embedding_again': lambda: L.EmbedID(V, N_UNITS),
    'of_more_words': lambda: L.EmbedID(V + 4, N_UNITS),
    'then_linear': lambda: chainer.Sequential(
        L.EmbedID(V, 3), L.Linear(3, N_UNITS)),
    'then_linear_without_bias': lambda: chainer.Sequential(
        L.EmbedID(V, 3), L.Linear(3, N_UNITS, nobias=True), F.tanh),
    'one_hot': lambda: chainer.Sequential(
        lambda x: numpy.eye(V, dtype='f')[x], L.Linear(V, N_UNITS)),
}


def _reset_where_possible(w):
    """A layer without a state wants a model that leaves it alone, in any script."""
    class Mine(w.Model):
        def reset_state(self):
            for layer in self.l1, self.l2:
                if hasattr(layer, 'reset_state'):
                    layer.reset_state()
    w.Model = Mine


def _register(name, where, make):
    def apply(w):
        replace(w.model, where, make())
    apply.__name__ = f'{where}_{name}'
    custom('model')(apply)


def _register_stateless(name, make):
    def apply(w):
        _reset_where_possible(w)

        class Mine(w.Model):
            def __init__(self, *args):
                super().__init__(*args)
                replace(self, 'l2', make())
        w.Model = Mine
    apply.__name__ = f'l2_{name}'
    custom('classes')(apply)


for name, make in LAYERS.items():
    _register(name, 'l1', make)
    if name not in ('lazy_lstm_none', 'lstm_with_forget_bias'):
        _register(name, 'l2', make)
for name, make in STATELESS.items():
    _register_stateless(name, make)
for name, make in OUTPUTS.items():
    _register(name, 'l3', make)
for name, make in EMBEDDINGS.items():
    _register(name, 'embed', make)


@custom('model')
def layers_of_other_sizes(w):
    replace(w.model, 'embed', L.EmbedID(V, 4))
    replace(w.model, 'l1', L.LSTM(4, 7))
    replace(w.model, 'l2', L.LSTM(7, 5))
    replace(w.model, 'l3', L.Linear(5, V))


@custom('model')
def lazy_layers_of_other_sizes(w):
    replace(w.model, 'l1', L.LSTM(None, 8))
    replace(w.model, 'l2', L.LSTM(None, 5))
    replace(w.model, 'l3', L.Linear(None, V))


@custom('model')
def wider_embedding(w):
    replace(w.model, 'embed', L.EmbedID(V, 9))
    replace(w.model, 'l1', L.LSTM(9, N_UNITS))


@custom('model')
def output_set_outside_of_scope(w):
    w.model.l3 = L.Linear(N_UNITS, V)


@custom('model')
def layer_set_outside_of_scope(w):
    w.model.l2 = L.LSTM(N_UNITS, N_UNITS)


@custom('classes')
def layer_as_plain_function(w):
    """A function stands where a link stood."""
    _reset_where_possible(w)

    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            del self.l2
            self.l2 = F.tanh
    w.Model = Mine


@custom('model')
def output_as_plain_function(w):
    linear = w.model.l3
    del w.model.l3
    with w.model.init_scope():
        w.model.projection = linear
    w.model.l3 = lambda h: 2 * linear(h)


@custom('model')
def upward_as_own_link(w):
    class Squashed(L.Linear):
        def forward(self, x):
            return 3 * F.tanh(super().forward(x))
    w.model.l1.upward = Squashed(N_UNITS, 4 * N_UNITS)


@custom('model')
def lateral_as_own_link(w):
    class Doubled(L.Linear):
        def forward(self, x):
            return super().forward(2 * x)
    w.model.l2.lateral = Doubled(N_UNITS, 4 * N_UNITS, nobias=True)


@custom('model')
def layers_by_repeat(w):
    replace(w.model, 'l2', w.model.l1.copy(mode='init'))


@custom('model')
def copied_layer_shares_parameters(w):
    replace(w.model, 'l2', w.model.l1.copy())


@custom('model')
def wrapped_in_residual(w):
    layer = w.model.l2
    replace(w.model, 'l2', Residual(layer))


@custom('model')
def model_of_parallel_links(w):
    """The output is the mean of two links."""
    class Mean(chainer.ChainList):
        def forward(self, x):
            return sum(link(x) for link in self) / 2
    replace(w.model, 'l3', Mean(L.Linear(N_UNITS, V), L.Linear(N_UNITS, V)))


@custom('model')
def class_of_layer_changed(w):
    class Doubling(L.LSTM):
        def forward(self, x):
            return super().forward(2 * x)
    w.model.l1.__class__ = Doubling


@custom('model')
def class_of_output_changed(w):
    class Softer(L.Linear):
        def forward(self, x, n_batch_axes=1):
            return super().forward(x, n_batch_axes) / 2
    w.model.l3.__class__ = Softer


@custom('model')
def layer_with_an_array_as_state(w):
    replace(w.model, 'l1', ArrayRNN(N_UNITS))


@custom('model')
def layer_around_a_cell_with_the_state(w):
    replace(w.model, 'l2', Around(N_UNITS))
