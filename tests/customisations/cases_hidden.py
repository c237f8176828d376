"""Customisations that are hard to detect: proxies, descriptors, similar names."""
import functools
import types

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.functions.connection import linear
from chainer.functions.rnn import lstm
import numpy

from tests.customisations.world import V, custom


@custom('trainer')
def iterator_proxy(w):
    class Proxy:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __next__(self):
            return [(x, (t + 1) % V) for x, t in next(self.inner)]
    w.updater._iterators['main'] = Proxy(w.iterator)


@custom('classes')
def iterator_with_a_property(w):
    class Iterator(w.Iterator):
        @property
        def dataset(self):
            odd = self.__dict__.get('epoch', 0) % 2
            return self.words[::-1].copy() if odd else self.words

        @dataset.setter
        def dataset(self, words):
            self.words = words
    w.Iterator = Iterator


@custom('classes')
def iterator_that_sees_its_epoch_set(w):
    class Iterator(w.Iterator):
        def __setattr__(self, name, value):
            if name == 'epoch' and value:
                self.dataset[:] = self.dataset[::-1].copy()
            super().__setattr__(name, value)
    w.Iterator = Iterator


@custom('classes')
def iterator_with_getattribute(w):
    class Iterator(w.Iterator):
        def __getattribute__(self, name):
            value = super().__getattribute__(name)
            return [(k + 1) % 5 for k in value] if name == 'offsets' else value
    w.Iterator = Iterator


@custom('classes')
def iterator_with_a_reset_of_its_own(w):
    class Iterator(w.Iterator):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.resets = 0

        def reset(self):
            self.resets = getattr(self, 'resets', 0) + 1
            super().reset()
    w.Iterator = Iterator


@custom('classes')
def text_of_objects(w):
    w.text = w.text.astype(object)


@custom('classes')
def text_of_bytes(w):
    w.text = bytes(w.text.tolist())


@custom('classes')
def random_rand_replaced(w):
    mask = numpy.random.RandomState(5)
    w.patch(numpy.random, 'rand', lambda *shape: mask.random_sample(shape[::-1]).T)


@custom('classes')
def tanh_replaced(w):
    tanh = numpy.tanh
    w.patch(numpy, 'tanh', lambda x, *args, **kwargs: tanh(
        x, *args, **kwargs) * numpy.float32(0.9))


@custom('classes')
def gates_of_chainer_made_hard(w):
    w.patch(lstm, '_sigmoid', lambda x, xp=numpy: xp.clip(
        x * numpy.float32(0.2) + numpy.float32(0.5), 0, 1))


@custom('classes')
def gradient_of_linear_halved(w):
    forward = linear.LinearGradWeight.forward
    w.patch(linear.LinearGradWeight, 'forward', lambda self, inputs: tuple(
        g * numpy.float32(0.5) for g in forward(self, inputs)))


@custom('classes')
def code_of_lstm_swapped(w):
    before = lstm.lstm.__code__
    w._stack.callback(lambda: setattr(lstm.lstm, '__code__', before))
    twin = types.FunctionType(before, lstm.lstm.__globals__)
    lstm.lstm.__globals__['_twin_of_lstm'] = twin
    w._stack.callback(lambda: lstm.lstm.__globals__.pop('_twin_of_lstm'))

    def lstm_of_half(c_prev, x):
        c, h = _twin_of_lstm(c_prev, x)  # noqa: F821
        return c, 0.5 * h
    lstm.lstm.__code__ = lstm_of_half.__code__


@custom('classes')
def descriptor_on_lstm(w):
    class Halved:
        def __get__(self, link, cls=None):
            h = self if link is None else link.__dict__.get('h')
            return h if h is None or link is None else h * numpy.float32(0.5)

        def __set__(self, link, h):
            link.__dict__['h'] = h
    w.patch(L.LSTM, 'h', Halved())


@custom('classes')
def reporter_report_replaced(w):
    report = chainer.reporter.report
    w.patch(chainer.reporter, 'report', lambda values, observer=None: report(
        {name: 2 * value for name, value in values.items()}, observer))


@custom('classes')
def chainer_report_replaced(w):
    report = chainer.report
    w.patch(chainer, 'report', lambda values, observer=None: report(
        {name: 2 * value for name, value in values.items()}, observer))


@custom('classes')
def partial_of_its_own(w):
    class Partial(functools.partial):
        def __call__(self, y, t):
            return super().__call__(y, t) * float(numpy.random.rand())
    w.classifier['lossfun'] = Partial(F.softmax_cross_entropy)


@custom('trainer')
def state_is_an_array(w):
    def unwrap():
        w.model.l1.c = w.model.l1.c.array
    w.every(unwrap)


@custom('model')
def bias_is_an_array(w):
    bias = w.model.l3.b.array
    w.model.l3._params.discard('b')
    w.model.l3.b = bias


@custom('classes')
def model_without_l2(w):
    class Model(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            del self.l2

        def reset_state(self):
            self.l1.reset_state()

        def forward(self, x):
            return self.l3(F.dropout(self.l1(F.dropout(self.embed(x)))))
    w.Model = Model


@custom('classes')
def model_with_names_of_its_own(w):
    class Model(w.Model):
        def __init__(self, *args):
            super().__init__(*args)
            self.n_layers, self.n_vocab, self.layers, self.output = 5, 3, None, None
            self.check_ids = self.widths = self.loss = None
    w.Model = Model


@custom('classes')
def model_with_methods_of_its_own(w):
    class Model(w.Model):
        layers = property(lambda self: [self.l1])
        output = property(lambda self: self.l1)

        def loss(self):
            return 0

        def check_ids(self):
            return 0

        def logits(self):
            return 0
    w.Model = Model


@custom('classes')
def model_draws_when_it_is_reset(w):
    class Model(w.Model):
        def reset_state(self):
            super().reset_state()
            for layer in self.l1, self.l2:
                layer.set_state(*(chainer.Variable(numpy.random.uniform(
                    -1, 1, (1, 6)).astype('f')) for _ in 'ch'))
    w.Model = Model


@custom('classes')
def sqrt_replaced(w):
    sqrt = numpy.sqrt
    w.patch(numpy, 'sqrt', lambda x, *args, **kwargs: 2 * sqrt(x, *args, **kwargs))
