"""Customisations: optimizers, their hooks and rules, and what is frozen."""
import chainer
from chainer import optimizer_hooks, optimizers
import numpy

from tests.customisations.world import custom


def _optimizer(name, make):
    def apply(w):
        w.make_optimizer = make
    apply.__name__ = name
    custom('classes')(apply)


for _name, _make in {
        'momentum_sgd': lambda: optimizers.MomentumSGD(.1),
        'corrected_momentum_sgd': lambda: optimizers.CorrectedMomentumSGD(.1),
        'nesterov_ag': lambda: optimizers.NesterovAG(.1),
        'adam': lambda: optimizers.Adam(.01, eps=1e-4),
        'adam_amsgrad': lambda: optimizers.Adam(.01, eps=1e-4, amsgrad=True),
        'adamw': lambda: optimizers.Adam(.01, eps=1e-4, weight_decay_rate=.1),
        'adabound': lambda: optimizers.Adam(.01, eps=1e-4, adabound=True),
        'ada_grad': lambda: optimizers.AdaGrad(.05, eps=1e-3),
        'ada_delta': lambda: optimizers.AdaDelta(eps=1e-3),
        'rmsprop': lambda: optimizers.RMSprop(.01, eps=1e-3),
        'rmsprop_graves': lambda: optimizers.RMSpropGraves(1e-3, eps=1e-3),
        'smorms3': lambda: optimizers.SMORMS3(.01),
        'msvag': lambda: optimizers.MSVAG(.1),
        'sgd_of_small_rate': lambda: optimizers.SGD(.01)}.items():
    _optimizer(_name, _make)


@custom('classes')
def sgd_subclass(w):
    class Mine(optimizers.SGD):
        def update(self, *args, **kwargs):
            self.lr *= .9
            super().update(*args, **kwargs)
    w.make_optimizer = lambda: Mine(1.0)


@custom('classes')
def sgd_subclass_with_own_rule(w):
    class Rule(optimizers.sgd.SGDRule):
        def update_core_cpu(self, param):
            param.array -= .1 * numpy.sign(param.grad)

    class Mine(optimizers.SGD):
        def create_update_rule(self):
            return Rule(self.hyperparam)
    w.make_optimizer = Mine


@custom('classes')
def no_clipping(w):
    w.clip = None


@custom('classes')
def hard_clipping_norm(w):
    w.clip = .1


def _hook(name, hook, **kwargs):
    def apply(w):
        w.optimizer.add_hook(hook(), name, **kwargs)
    apply.__name__ = f'hook_{name}'
    custom('optimizer')(apply)


def add_decay(optimizer):
    for p in optimizer.target.params():
        p.grad = p.grad + .01 * p.array


def clip_rows(optimizer):
    for p in optimizer.target.params():
        if p.ndim == 2:
            norm = numpy.sqrt((p.array ** 2).sum(1, keepdims=True))
            p.array /= numpy.maximum(1, norm)


def scale_gradients(optimizer):
    for p in optimizer.target.params():
        p.grad *= .5


_hook('second_clipping', lambda: optimizer_hooks.GradientClipping(.5))
_hook('weight_decay', lambda: optimizer_hooks.WeightDecay(.01))
_hook('lasso', lambda: optimizer_hooks.Lasso(.001))
_hook('gradient_noise', lambda: optimizer_hooks.GradientNoise(.01))
_hook('hard_clipping', lambda: optimizer_hooks.GradientHardClipping(-.02, .02))
_hook('lars', lambda: optimizer_hooks.GradientLARS())
_hook('own_pre', lambda: add_decay)
_hook('own_scale', lambda: scale_gradients)
_hook('own_post', lambda: clip_rows, timing='post')


@custom('optimizer')
def hook_clipping_subclass(w):
    class Mine(optimizer_hooks.GradientClipping):
        def __call__(self, optimizer):
            super().__call__(optimizer)
            optimizer.target.predictor.l3.b.grad[...] = 0
    w.optimizer.add_hook(Mine(1), 'mine')


@custom('optimizer')
def hook_clipping_replaced(w):
    if w.clip:
        w.optimizer.remove_hook('GradientClipping')
    w.optimizer.add_hook(optimizer_hooks.GradientClipping(.3))


@custom('optimizer')
def hook_clipping_after(w):
    w.optimizer.add_hook(optimizer_hooks.GradientClipping(.3), 'after', timing='post')


@custom('optimizer')
def hook_clipping_threshold_changes(w):
    hook = optimizer_hooks.GradientClipping(1.)
    w.optimizer.add_hook(hook, 'changing')

    def fall(optimizer):
        hook.threshold /= 2
    w.optimizer.add_hook(fall, timing='post')


@custom('optimizer')
def hook_on_parameter(w):
    w.model.l3.W.update_rule.add_hook(optimizer_hooks.WeightDecay(.1))


@custom('optimizer')
def hook_on_parameter_after(w):
    def unit(rule, param):
        param.array /= numpy.linalg.norm(param.array, axis=1, keepdims=True)
    w.model.embed.W.update_rule.add_hook(unit, 'unit', 'post')


@custom('optimizer')
def hook_on_every_parameter(w):
    for p in w.target.params():
        p.update_rule.add_hook(optimizer_hooks.GradientHardClipping(-.02, .02))


@custom('optimizer')
def hook_logs_norms(w):
    def norms(optimizer):
        w.log('norms', [numpy.linalg.norm(p.grad) for p in optimizer.target.params()])
    w.optimizer.add_hook(norms)


@custom('optimizer')
def hook_zeroes_embedding(w):
    def zero(optimizer):
        w.model.embed.W.grad[0] = 0
    w.optimizer.add_hook(zero)


@custom('optimizer')
def frozen_embedding(w):
    w.model.embed.disable_update()


@custom('optimizer')
def frozen_layer(w):
    w.model.l1.disable_update()


@custom('optimizer')
def frozen_all_but_output(w):
    w.model.disable_update()
    w.model.l3.enable_update()


@custom('optimizer')
def frozen_rule(w):
    w.model.l2.lateral.W.update_rule.enabled = False


@custom('optimizer')
def frozen_rate(w):
    w.model.embed.W.update_rule.hyperparam.lr = 0


@custom('optimizer')
def frozen_without_rule(w):
    w.model.embed.W.update_rule = None


@custom('trainer')
def frozen_mid_run(w):
    w.at(2, w.model.embed.disable_update)
    w.at(4, w.model.embed.enable_update)


@custom('optimizer')
def rate_per_parameter(w):
    for k, p in enumerate(w.target.params()):
        p.update_rule.hyperparam.lr = .1 * (k + 1)


@custom('trainer')
def rate_falls(w):
    def fall():
        w.optimizer.lr *= .7
    w.every(fall)


@custom('trainer')
def rate_by_exponential_shift(w):
    w.trainer.extend(chainer.training.extensions.ExponentialShift('lr', .8),
                     trigger=(1, 'iteration'))


@custom('optimizer')
def rate_negative(w):
    w.optimizer.hyperparam.lr = -.05


@custom('optimizer')
def rate_as_numpy_float64(w):
    w.optimizer.hyperparam.lr = numpy.float64(.3)


@custom('optimizer')
def loss_scaling(w):
    w.optimizer.loss_scaling(16.)


@custom('optimizer')
def loss_scaling_dynamic(w):
    w.optimizer.loss_scaling()


@custom('optimizer')
def fp32_update(w):
    w.optimizer.use_fp32_update()


@custom('optimizer')
def update_of_optimizer_wrapped(w):
    update = w.optimizer.update

    def wrapped(*args, **kwargs):
        for p in w.target.params():
            p.grad *= .5
        update(*args, **kwargs)
    w.optimizer.update = wrapped


@custom('optimizer')
def update_only_each_second_window(w):
    """Gradients of two windows are one step: accumulation."""
    update, kept = w.optimizer.update, []

    def wrapped(*args, **kwargs):
        kept.append([p.grad.copy() for p in w.target.params()])
        if len(kept) == 2:
            for p, *grads in zip(w.target.params(), *kept):
                p.grad[...] = sum(grads)
            kept.clear()
            update(*args, **kwargs)
    w.optimizer.update = wrapped


@custom('optimizer')
def update_core_of_rule_wrapped(w):
    rule = w.model.l3.W.update_rule
    update = rule.update_core

    def wrapped(param):
        param.grad *= .5
        update(param)
    rule.update_core = wrapped


@custom('optimizer')
def update_core_cpu_of_rule_wrapped(w):
    rule = w.model.embed.W.update_rule
    update = rule.update_core_cpu
    rule.update_core_cpu = lambda param: (update(param), update(param))


@custom('optimizer')
def update_of_rule_wrapped(w):
    rule = w.model.embed.W.update_rule
    update = rule.update
    rule.update = lambda param: (update(param), update(param))


@custom('optimizer')
def update_of_parameter_wrapped(w):
    param = w.model.l1.upward.W
    update = param.update

    def rounded():
        update()
        param.array[...] = numpy.clip(param.array, -.2, .2)
    param.update = rounded


@custom('optimizer')
def call_hooks_wrapped(w):
    call, W = w.optimizer.call_hooks, w.model.embed.W

    def wrapped(timing='pre'):
        call(timing)
        if timing == 'pre':
            W.grad *= .5
    w.optimizer.call_hooks = wrapped


@custom('optimizer')
def reallocate_wrapped(w):
    reallocate = w.optimizer.reallocate_cleared_grads

    def wrapped():
        reallocate()
        w.model.l3.b.grad += .01
    w.optimizer.reallocate_cleared_grads = wrapped


@custom('optimizer')
def rule_of_another_kind(w):
    """The embedding by Adam, the rest by whatever it was."""
    adam = optimizers.Adam(.01, eps=1e-4)
    adam.setup(chainer.Link())
    rule = adam.create_update_rule()
    w.model.embed.W.update_rule = rule


@custom('optimizer')
def second_setup(w):
    w.optimizer.setup(w.target)


@custom('trainer')
def optimizer_replaced_mid_run(w):
    def replace():
        optimizer = optimizers.SGD(.1)
        optimizer.setup(w.target)
        w.updater._optimizers['main'] = optimizer
    w.at(2, replace)


@custom('optimizer')
def setup_with_model_alone(w):
    """The optimizer's target stays, its rules are the model's."""
    for name, p in w.target.namedparams():
        if '/l3/' in name:
            p.update_rule.hyperparam.lr = .05


@custom('trainer')
def new_epoch_called(w):
    w.updater.auto_new_epoch = w.optimizer.use_auto_new_epoch = False
    w.every(lambda: w.optimizer.new_epoch(), 2)


@custom('classes')
def optimizer_in_a_wrapper(w):
    """As Lookahead is often written."""
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def update(self, *args):
            self.optimizer.update(*args)
            for p in self.target.params():
                p.array *= .99

        def __getattr__(self, name):
            return getattr(vars(self)['optimizer'], name)
    make = w.make_optimizer
    w.make_optimizer = lambda: Wrapper(make())


@custom('optimizer')
def a_rate_for_each_row(w):
    rates = numpy.linspace(.1, 1, w.model.embed.W.shape[0], dtype='f')
    w.model.embed.W.update_rule.hyperparam.lr = w.model.xp.asarray(rates[:, None])


@custom('trainer')
def values_kept_in_the_state_of_a_rule(w):
    def keep():
        state = w.model.l1.upward.W.update_rule.state
        state['largest'] = max(state.get('largest', 0), float(
            abs(w.model.l1.upward.W.grad).max()))
        w.log('largest', state['largest'])
    w.every(keep)
