"""Customisations: classes and modules of Chainer patched for everybody, and hooks."""
import chainer
from chainer import function_hooks, link_hooks, optimizer_hooks
from chainer import functions as F
from chainer import links as L
import numpy

from tests.customisations.world import custom


@custom('classes')
def patch_lstm_forward(w):
    forward = L.LSTM.forward
    w.patch(L.LSTM, 'forward', lambda self, x: 2 * forward(self, x))


@custom('classes')
def patch_lstm_call(w):
    call = L.LSTM.__call__
    w.patch(L.LSTM, '__call__', lambda self, x: 2 * call(self, x))


@custom('classes')
def patch_linear_forward(w):
    forward = L.Linear.forward
    w.patch(L.Linear, 'forward',
            lambda self, x, n_batch_axes=1: 2 * forward(self, x, n_batch_axes))


@custom('classes')
def patch_embed_forward(w):
    forward = L.EmbedID.forward
    w.patch(L.EmbedID, 'forward', lambda self, x: 2 * forward(self, x))


@custom('classes')
def patch_link_call(w):
    call = chainer.Link.__call__

    def doubled(self, *args, **kwargs):
        y = call(self, *args, **kwargs)
        return 2 * y if isinstance(self, L.EmbedID) else y
    w.patch(chainer.Link, '__call__', doubled)


@custom('classes')
def patch_lstm_reset_state(w):
    def reset_state(self):
        self.c = self.h = None
        self.resets = getattr(self, 'resets', 0) + 1
    w.patch(L.LSTM, 'reset_state', reset_state)


@custom('classes')
def patch_classifier_forward(w):
    forward = L.Classifier.forward
    w.patch(L.Classifier, 'forward', lambda self, x, t: 3 * forward(self, x, t))


@custom('classes')
def patch_model_forward(w):
    forward = w.Model.forward
    w.patch(w.Model, 'forward', lambda self, x: 3 * forward(self, x))


@custom('classes')
def patch_model_reset_state(w):
    w.patch(w.Model, 'reset_state', lambda self: self.l2.reset_state())


@custom('classes')
def patch_dropout(w):
    dropout = F.dropout
    w.patch(F, 'dropout', lambda x, ratio=.5, **kwargs: dropout(x, .2, **kwargs))


@custom('classes')
def patch_dropout_away(w):
    w.patch(F, 'dropout', lambda x, *args, **kwargs: x)


@custom('classes')
def patch_dropout_by_gaussian(w):
    w.patch(F, 'dropout', lambda x, ratio=.5, **kwargs: x * numpy.random.normal(
        1, ratio, x.shape).astype(x.dtype))


@custom('classes')
def patch_softmax_cross_entropy(w):
    loss = F.softmax_cross_entropy
    w.patch(F, 'softmax_cross_entropy', lambda x, t, **kwargs: 2 * loss(x, t))


@custom('classes')
def patch_lstm_function(w):
    lstm = F.lstm
    w.patch(chainer.functions.rnn.lstm, 'lstm', lambda c, x: lstm(c, 2 * x))


@custom('classes')
def patch_linear_function(w):
    linear = F.linear
    w.patch(chainer.functions, 'linear', lambda *args, **kwargs: 2 * linear(
        *args, **kwargs))
    w.patch(chainer.functions.connection.linear, 'linear',
            lambda *args, **kwargs: 2 * linear(*args, **kwargs))


@custom('classes')
def patch_embed_id_function(w):
    embed_id = F.embed_id
    w.patch(chainer.functions.connection.embed_id, 'embed_id',
            lambda *args, **kwargs: 2 * embed_id(*args, **kwargs))


@custom('classes')
def patch_lstm_node_backward(w):
    from chainer.functions.rnn.lstm import LSTM
    backward = LSTM.backward
    w.patch(LSTM, 'backward', lambda self, indexes, grads: tuple(
        None if g is None else F.clip(g, -.01, .01)
        for g in backward(self, indexes, grads)))


@custom('classes')
def patch_embed_backward(w):
    from chainer.functions.connection.embed_id import EmbedIDFunction
    backward = EmbedIDFunction.backward

    def halved(self, indexes, grads):
        none, gW = backward(self, indexes, grads)
        return none, gW / 2
    w.patch(EmbedIDFunction, 'backward', halved)


@custom('classes')
def patch_sgd_rule(w):
    rule = chainer.optimizers.sgd.SGDRule
    update = rule.update_core_cpu

    def with_decay(self, param):
        param.grad += .01 * param.array
        update(self, param)
    w.patch(rule, 'update_core_cpu', with_decay)


@custom('classes')
def patch_update_rule_update(w):
    rule = chainer.optimizer.UpdateRule
    update = rule.update

    def without_bias(self, param):
        if param.ndim > 1:
            update(self, param)
    w.patch(rule, 'update', without_bias)


@custom('classes')
def patch_sgd_update(w):
    update = chainer.optimizer.GradientMethod.update

    def twice(self, *args, **kwargs):
        update(self, *args, **kwargs)
        update(self, *args, **kwargs)
    w.patch(chainer.optimizer.GradientMethod, 'update', twice)


@custom('classes')
def patch_parameter_update(w):
    update = chainer.Parameter.update

    def halved(self):
        self.grad = self.grad / 2
        update(self)
    w.patch(chainer.Parameter, 'update', halved)


@custom('classes')
def patch_gradient_clipping(w):
    def by_value(self, optimizer):
        for p in optimizer.target.params():
            numpy.clip(p.grad, -.01, .01, out=p.grad)
    w.patch(optimizer_hooks.GradientClipping, '__call__', by_value)


@custom('classes')
def patch_variable_backward(w):
    backward = chainer.Variable.backward

    def scaled(self, *args, **kwargs):
        self.grad = numpy.full(self.shape, .5, self.dtype)
        backward(self, *args, **kwargs)
    w.patch(chainer.Variable, 'backward', scaled)


@custom('classes')
def patch_unchain_backward(w):
    w.patch(chainer.Variable, 'unchain_backward', lambda self: None)


@custom('classes')
def patch_link_cleargrads(w):
    cleargrads = chainer.Link.cleargrads

    def logged(self):
        cleargrads(self)
        w.log('cleargrads', 1)
    w.patch(chainer.Link, 'cleargrads', logged)


@custom('classes')
def patch_concat_examples(w):
    from chainer.dataset import convert
    concat = convert.concat_examples

    def reversed_pairs(batch, device=None, padding=None):
        x, t = concat(batch, device, padding)
        return t, x
    w.patch(convert, 'concat_examples', reversed_pairs)


@custom('classes')
def patch_iterator_next(w):
    following = w.Iterator.__next__
    w.patch(w.Iterator, '__next__', lambda self: [(t, x) for x, t in following(self)])


# Link hooks and function hooks

class Halving(chainer.LinkHook):
    """Changes the output of some links, in place."""

    name = 'Halving'

    def __init__(self, kind):
        self.kind = kind

    def forward_postprocess(self, args):
        if type(args.link) is self.kind:
            args.out.array[...] /= 2


class SeeingNorm(chainer.LinkHook):
    name = 'SeeingNorm'

    def __init__(self, w):
        self.w = w

    def forward_postprocess(self, args):
        if chainer.config.train:
            self.w.log('norm', numpy.linalg.norm(args.out.array))


@custom('optimizer')
def link_hook_global(w):
    w.enter(Halving(L.Linear))


@custom('optimizer')
def link_hook_global_on_lstm(w):
    w.enter(Halving(L.LSTM))


@custom('optimizer')
def link_hook_on_layer(w):
    w.model.l1.add_hook(Halving(L.LSTM))


@custom('optimizer')
def link_hook_on_upward(w):
    w.model.l2.upward.add_hook(Halving(L.Linear))


@custom('optimizer')
def link_hook_on_lateral(w):
    w.model.l2.lateral.add_hook(Halving(L.Linear))


@custom('optimizer')
def link_hook_on_output(w):
    w.model.l3.add_hook(Halving(L.Linear))


@custom('optimizer')
def link_hook_on_embedding(w):
    w.model.embed.add_hook(Halving(L.EmbedID))


@custom('optimizer')
def link_hook_on_model(w):
    w.model.add_hook(Halving(type(w.model)))


@custom('optimizer')
def link_hook_sees_model(w):
    w.model.add_hook(SeeingNorm(w))


@custom('optimizer')
def link_hook_sees_target(w):
    w.target.add_hook(SeeingNorm(w))


@custom('optimizer')
def link_hook_sees_layer(w):
    w.model.l2.add_hook(SeeingNorm(w))


@custom('optimizer')
def link_hook_timer(w):
    w.enter(link_hooks.TimerHook())


@custom('model')
def link_hook_spectral_normalization(w):
    w.model.l3.add_hook(link_hooks.SpectralNormalization())


@custom('model')
def link_hook_spectral_normalization_of_embedding(w):
    w.model.embed.add_hook(link_hooks.SpectralNormalization())


@custom('model')
def link_hook_weight_standardization(w):
    w.model.l1.upward.add_hook(link_hooks.WeightStandardization())


class ClippingGradients(chainer.FunctionHook):
    """Clips the gradients of some function's inputs, as Graves did."""

    name = 'ClippingGradients'

    def __init__(self, label):
        self.label = label

    def backward_preprocess(self, function, in_data, out_grad):
        if function.label == self.label:
            for g in out_grad:
                if g is not None:
                    numpy.clip(g, -.01, .01, out=g)


class Shrinking(chainer.FunctionHook):
    name = 'Shrinking'

    def forward_preprocess(self, function, in_data):
        if function.label in ('LSTM', 'lstm'):
            in_data[1][...] /= 2


@custom('optimizer')
def function_hook_clips_lstm_gradients(w):
    w.enter(ClippingGradients('LSTM'))


@custom('optimizer')
def function_hook_clips_linear_gradients(w):
    w.enter(ClippingGradients('LinearFunction'))


@custom('optimizer')
def function_hook_shrinks(w):
    w.enter(Shrinking())


@custom('optimizer')
def function_hook_timer(w):
    w.enter(function_hooks.TimerHook())


@custom('target')
def function_hook_on_state(w):
    """A hook on the function that made the state."""
    forward = w.model.forward

    def with_hook(x):
        with Shrinking():
            return forward(x)
    w.model.forward = with_hook
