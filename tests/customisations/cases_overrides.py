"""Customisations: subclasses of the model, and attributes of instances."""
import chainer
from chainer import functions as F
from chainer import links as L
import numpy

from tests.customisations.world import N_UNITS, V, custom


@custom('classes')
def model_subclass_of_nothing(w):
    class Mine(w.Model):
        pass
    w.Model = Mine


@custom('classes')
def forward_calls_super(w):
    class Mine(w.Model):
        def forward(self, x):
            return 1.5 * super().forward(x)
    w.Model = Mine


@custom('classes')
def forward_without_dropout(w):
    class Mine(w.Model):
        def forward(self, x):
            return self.l3(self.l2(self.l1(self.embed(x))))
    w.Model = Mine


@custom('classes')
def forward_with_other_dropout(w):
    class Mine(w.Model):
        ratio = .3

        def forward(self, x):
            h = F.dropout(self.embed(x), self.ratio)
            h = F.dropout(self.l1(h), self.ratio)
            return self.l3(F.dropout(self.l2(h), self.ratio))
    w.Model = Mine


@custom('classes')
def forward_with_skip(w):
    class Mine(w.Model):
        def forward(self, x):
            h = self.embed(x)
            return self.l3(F.dropout(self.l2(F.dropout(self.l1(h))) + h))
    w.Model = Mine


@custom('classes')
def forward_with_same_mask(w):
    """Gal's dropout: a mask for a sequence."""
    class Mine(w.Model):
        mask = None

        def reset_state(self):
            super().reset_state()
            self.mask = None

        def forward(self, x):
            h = self.embed(x)
            if chainer.config.train:
                if self.mask is None or len(self.mask) != len(h):
                    self.mask = (numpy.random.rand(*h.shape) > .5).astype('f') * 2
                h = h * self.mask
            return self.l3(self.l2(self.l1(h)))
    w.Model = Mine


@custom('classes')
def forward_with_word_dropout(w):
    class Mine(w.Model):
        def forward(self, x):
            if chainer.config.train:
                x = numpy.where(numpy.random.rand(*x.shape) < .2, 0, x).astype(x.dtype)
            return super().forward(x)
    w.Model = Mine


@custom('classes')
def forward_counts(w):
    class Mine(w.Model):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) * (1 + .01 * self.calls)
    w.Model = Mine


@custom('classes')
def forward_of_two_arguments(w):
    class Mine(w.Model):
        def forward(self, x, scale=2):
            return scale * super().forward(x)
    w.Model = Mine


@custom('classes')
def call_overridden(w):
    class Mine(w.Model):
        def __call__(self, x):
            return 2 * super().__call__(x)
    w.Model = Mine


@custom('classes')
def call_overridden_without_super(w):
    class Mine(w.Model):
        def __call__(self, x):
            return self.l3(self.l2(F.dropout(self.l1(self.embed(x)))))
    w.Model = Mine


@custom('classes')
def reset_state_overridden(w):
    class Mine(w.Model):
        def reset_state(self):
            super().reset_state()
            for layer in self.l1, self.l2:
                ones = numpy.full((1, N_UNITS), .5, 'f')
                layer.set_state(chainer.Variable(ones), chainer.Variable(ones.copy()))
    w.Model = Mine


@custom('classes')
def reset_state_of_one_layer(w):
    class Mine(w.Model):
        def reset_state(self):
            self.l1.reset_state()
    w.Model = Mine


@custom('classes')
def init_with_further_link(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.extra = L.Linear(N_UNITS, V)
    w.Model = Mine


@custom('classes')
def init_with_further_link_in_use(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.extra = L.Linear(V, V)

        def forward(self, x):
            return self.extra(super().forward(x))
    w.Model = Mine


@custom('classes')
def further_recurrent_link(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.aux = L.LSTM(N_UNITS, V)

        def reset_state(self):
            super().reset_state()
            self.aux.reset_state()

        def forward(self, x):
            return super().forward(x) + self.aux(self.embed(x))
    w.Model = Mine


@custom('classes')
def further_recurrent_link_never_reset(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.aux = L.StatefulGRU(N_UNITS, V)

        def forward(self, x):
            try:
                return super().forward(x) + self.aux(self.embed(x))
            except chainer.utils.type_check.InvalidType:
                self.aux.reset_state()
                return super().forward(x)
    w.Model = Mine


@custom('classes')
def third_layer(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.top = L.LSTM(N_UNITS, N_UNITS)

        def reset_state(self):
            super().reset_state()
            self.top.reset_state()

        def forward(self, x):
            h = self.l2(F.dropout(self.l1(F.dropout(self.embed(x)))))
            return self.l3(F.dropout(self.top(F.dropout(h))))
    w.Model = Mine


@custom('classes')
def batch_normalization_inside(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            with self.init_scope():
                self.norm = L.BatchNormalization(N_UNITS)

        def forward(self, x):
            h = self.l2(F.dropout(self.l1(F.dropout(self.embed(x)))))
            return self.l3(self.norm(h))
    w.Model = Mine


@custom('classes')
def own_init_of_values(w):
    class Mine(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            for p in self.params():
                p.array[...] = numpy.random.normal(0, .2, p.shape)
    w.Model = Mine


@custom('classes')
def adaptive_input_feature(w):
    """The frequency of the word goes in, too."""
    class Mine(w.Model):
        def forward(self, x):
            h = self.embed(x)
            h = F.concat([h[:, 1:], (x[:, None] / V).astype('f')])
            return self.l3(F.dropout(self.l2(F.dropout(self.l1(h)))))
    w.Model = Mine


@custom('classes')
def forward_unchains_each_step(w):
    class Mine(w.Model):
        def forward(self, x):
            y = super().forward(x)
            self.l1.h.unchain_backward()
            return y
    w.Model = Mine


@custom('classes')
def forward_clips_cells(w):
    class Mine(w.Model):
        def forward(self, x):
            y = super().forward(x)
            for layer in self.l1, self.l2:
                layer.c = F.clip(layer.c, -.02, .02)
            return y
    w.Model = Mine


@custom('classes')
def embed_is_a_method(w):
    class Mine(w.Model):
        def forward(self, x):
            return self.read_out(self.look_up(x))

        def look_up(self, x):
            return F.tanh(self.embed(x))

        def read_out(self, h):
            return self.l3(self.l2(self.l1(h)))
    w.Model = Mine


@custom('classes')
def params_overridden(w):
    """The embedding is out of what an optimizer sees."""
    class Mine(w.Model):
        def namedparams(self, include_uninit=True):
            for name, p in super().namedparams(include_uninit):
                if 'embed' not in name:
                    yield name, p

        def params(self, include_uninit=True):
            for p in super().params(include_uninit):
                if p.name != 'W' or p.shape != (V, N_UNITS):
                    yield p
    w.Model = Mine


@custom('classes')
def cleargrads_overridden(w):
    class Mine(w.Model):
        def cleargrads(self):
            super().cleargrads()
            self.embed.W.grad = numpy.full(self.embed.W.shape, .01, 'f')
    w.Model = Mine


@custom('classes')
def serialize_overridden(w):
    class Mine(w.Model):
        def serialize(self, serializer):
            super().serialize(serializer)
            self.version = serializer('version', 3)
    w.Model = Mine
