"""Customisations: losses, accuracies and targets of the user's own."""
import functools

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import reporter
import numpy

from tests.customisations.world import V, custom

WEIGHTS = numpy.linspace(.5, 1.5, V).astype('f')


def _loss(name, function):
    def apply(w):
        w.classifier['lossfun'] = function
    apply.__name__ = f'loss_{name}'
    custom('classes')(apply)


def _partial(**kwargs):
    return functools.partial(F.softmax_cross_entropy, **kwargs)


def masked(y, t):
    losses = F.softmax_cross_entropy(y, t, reduce='no')
    return F.sum(losses * (t != 0)) / max(1, int((t != 0).sum()))


def on_one_hot(y, t):
    return -F.sum(F.log_softmax(y) * numpy.eye(V, dtype='f')[t]) / len(t)


def smoothed(y, t):
    return .9 * F.softmax_cross_entropy(y, t) - .1 * F.mean(F.log_softmax(y))


def focal(y, t):
    log_p = F.select_item(F.log_softmax(y), t)
    return -F.mean((1 - F.exp(log_p)) ** 2 * log_p)


def of_arrays(y, t):
    """What a user of arrays may do: methods and indexing of NumPy."""
    t = t.copy()
    t[t == 2] = -1
    return F.softmax_cross_entropy(y, t.astype(numpy.int32))


def flat_margin(y, t):
    return F.hinge(y, t)


for _name, _function in {
        'as_lambda': lambda y, t: F.softmax_cross_entropy(y, t),
        'class_weight': _partial(class_weight=WEIGHTS),
        'ignore_label': _partial(ignore_label=3),
        'ignore_label_zero': _partial(ignore_label=0),
        'normalize_false': _partial(normalize=False),
        'normalize_false_and_ignore_label': _partial(normalize=False, ignore_label=3),
        'reduce_mean': _partial(reduce='mean'),
        'cache_score_false': _partial(cache_score=False),
        'double_backprop': _partial(enable_double_backprop=True),
        'partial_of_nothing': _partial(),
        'masked': masked,
        'one_hot': on_one_hot,
        'smoothed': smoothed,
        'focal': focal,
        'of_arrays': of_arrays,
        'hinge': flat_margin,
        'of_shape_1': lambda y, t: F.reshape(F.softmax_cross_entropy(y, t), (1,)),
        'sum': lambda y, t: F.sum(F.softmax_cross_entropy(y, t, reduce='no')),
        'with_dropout': lambda y, t: F.softmax_cross_entropy(F.dropout(y, .2), t),
        'with_temperature': lambda y, t: F.softmax_cross_entropy(y / 2, t),
        'entropy_regularised': lambda y, t: F.softmax_cross_entropy(y, t) + .1 * F.mean(
            F.sum(F.softmax(y) * F.log_softmax(y), axis=1)),
        'squared_logits': lambda y, t: F.softmax_cross_entropy(y, t) + 1e-2 * F.mean(
            y ** 2),
        'to_list': lambda y, t: F.softmax_cross_entropy(
            y, numpy.array([w for w in t.tolist()], 'i'))}.items():
    _loss(_name, _function)


@custom('target')
def loss_set_later(w):
    w.target.lossfun = smoothed


@custom('trainer')
def loss_changed_mid_run(w):
    w.at(2, lambda: setattr(w.target, 'lossfun', smoothed))


@custom('classes')
def loss_overridden_in_classifier(w):
    class Mine(L.Classifier):
        def lossfun(self, y, t):
            return 2 * F.softmax_cross_entropy(y, t)

        @classmethod
        def make(cls, model):
            target = cls(model)
            target.compute_accuracy = False
            del target.lossfun
            return target
    w.make_target = Mine.make


@custom('classes')
def accuracy(w):
    w.compute_accuracy = True


@custom('classes')
def accuracy_with_ignore_label(w):
    w.compute_accuracy = True
    w.classifier['accfun'] = functools.partial(F.accuracy, ignore_label=0)


@custom('classes')
def accuracy_of_own(w):
    w.compute_accuracy = True
    w.classifier['accfun'] = lambda y, t: (y.array.argsort(1)[:, -3:]
                                           == t[:, None]).any(1).mean()


@custom('trainer')
def accuracy_switched_on(w):
    w.at(2, lambda: setattr(w.target, 'compute_accuracy', True))


@custom('classes')
def label_key_first(w):
    w.classifier['label_key'] = 0


@custom('classes')
def label_key_one(w):
    w.classifier['label_key'] = 1


@custom('classes')
def classifier_subclass_of_nothing(w):
    class Mine(L.Classifier):
        compute_accuracy = False
    w.make_target = Mine


@custom('classes')
def classifier_with_regulariser(w):
    class Mine(L.Classifier):
        def forward(self, x, t):
            loss = super().forward(x, t)
            return loss + .01 * F.sum(self.predictor.l3.W ** 2)
    w.make_target = Mine


@custom('classes')
def classifier_with_activation_regulariser(w):
    class Mine(L.Classifier):
        def forward(self, x, t):
            loss = super().forward(x, t)
            return loss + .1 * F.mean(self.predictor.l2.h ** 2)
    w.make_target = Mine


@custom('classes')
def classifier_with_temporal_regulariser(w):
    """The state shall change slowly; the last step's is kept."""
    class Mine(L.Classifier):
        before = None

        def forward(self, x, t):
            loss, h = super().forward(x, t), self.predictor.l2.h
            if self.before is not None and self.before.shape == h.shape:
                loss += .1 * F.mean((h - self.before.array) ** 2)
            self.before = h
            return loss
    w.make_target = Mine


@custom('classes')
def classifier_call_overridden(w):
    class Mine(L.Classifier):
        def __call__(self, x, t):
            return 2 * super().__call__(x, t)
    w.make_target = Mine


@custom('classes')
def classifier_with_mixed_targets(w):
    class Mine(L.Classifier):
        def forward(self, x, t):
            t = numpy.where(numpy.random.rand(*t.shape) < .1, 0, t).astype(t.dtype)
            return super().forward(x, t)
    w.make_target = Mine


class Target(chainer.Chain):
    """A user's own target, with nothing of Classifier's."""

    def __init__(self, predictor):
        super().__init__()
        with self.init_scope():
            self.predictor = predictor

    def forward(self, x, t):
        loss = F.softmax_cross_entropy(self.predictor(x), t)
        reporter.report({'loss': loss}, self)
        return loss


@custom('classes')
def own_target(w):
    w.make_target = Target


@custom('classes')
def own_target_reports_others(w):
    class Mine(Target):
        def forward(self, x, t):
            y = self.predictor(x)
            loss = F.softmax_cross_entropy(y, t)
            reporter.report({'loss': loss, 'perplexity': numpy.exp(loss.array),
                             'hits': float((y.array.argmax(1) == t).mean())}, self)
            return loss
    w.make_target = Mine


@custom('classes')
def own_target_that_skips_words(w):
    class Mine(Target):
        def forward(self, x, t):
            if (t == 0).any():
                y = self.predictor(x)
                return 0 * F.sum(y)
            return super().forward(x, t)
    w.make_target = Mine


@custom('classes')
def own_target_with_parameters(w):
    class Mine(Target):
        def __init__(self, predictor):
            super().__init__(predictor)
            with self.init_scope():
                self.temperature = chainer.Parameter(numpy.ones((), 'f'))

        def forward(self, x, t):
            y = self.predictor(x)
            y = y * F.broadcast_to(self.temperature, y.shape)
            loss = F.softmax_cross_entropy(y, t)
            reporter.report({'loss': loss}, self)
            return loss
    w.make_target = Mine


@custom('classes')
def own_target_with_call(w):
    class Mine(Target):
        def __call__(self, x, t):
            loss = F.softmax_cross_entropy(self.predictor(x), t) * 2
            reporter.report({'loss': loss}, self)
            return loss
    w.make_target = Mine


@custom('classes')
def own_target_with_sampled_labels(w):
    """Scheduled sampling: now and then the model reads its own guess."""
    class Mine(Target):
        guess = None

        def forward(self, x, t):
            if (self.guess is not None and self.guess.shape == x.shape
                    and chainer.config.train and numpy.random.rand() < .3):
                x = self.guess
            y = self.predictor(x)
            self.guess = y.array.argmax(1).astype(x.dtype)
            loss = F.softmax_cross_entropy(y, t)
            reporter.report({'loss': loss}, self)
            return loss
    w.make_target = Mine


@custom('classes')
def own_target_of_two_models(w):
    class Mine(Target):
        def __init__(self, predictor):
            super().__init__(predictor)
            with self.init_scope():
                self.second = L.Linear(V, V)

        def forward(self, x, t):
            y = self.predictor(x)
            loss = (F.softmax_cross_entropy(y, t)
                    + F.softmax_cross_entropy(self.second(y), x))
            reporter.report({'loss': loss}, self)
            return loss
    w.make_target = Mine


@custom('classes')
def model_is_its_own_target(w):
    class Mine(w.Model):
        def forward(self, x, t=None):
            y = super().forward(x)
            if t is None:
                return y
            loss = F.softmax_cross_entropy(y, t)
            reporter.report({'loss': loss}, self)
            return loss

        @property
        def predictor(self):
            return self
    w.Model = Mine
    w.make_target = lambda model: model


class Wrapper(chainer.Chain):
    def __init__(self, model):
        super().__init__()
        with self.init_scope():
            self.model = model

    def reset_state(self):
        self.model.reset_state()

    def forward(self, x):
        return self.model(x)


@custom('classes')
def predictor_wrapped(w):
    def make(model):
        target = L.Classifier(Wrapper(model))
        target.compute_accuracy = False
        return target
    w.make_target = make


@custom('classes')
def predictor_wrapped_in_more(w):
    class Double(Wrapper):
        def forward(self, x):
            return 2 * self.model(x)

    def make(model):
        target = L.Classifier(Double(model))
        target.compute_accuracy = False
        return target
    w.make_target = make


@custom('target')
def predictor_replaced(w):
    """By a model of another size, after the target was made."""
    del w.target.predictor
    with w.target.init_scope():
        w.target.predictor = w.model = w.Model(V, 4)


@custom('target')
def predictor_attribute_rebound(w):
    w.target.predictor = w.model = w.Model(V, 5)
