"""Methods of Chainer v1's optimizers that later became hooks."""
import math

from chainer import optimizer_hooks
from chainer import serializer as serializers

from rnnlm.legacy.update_one import take_rules


def zero_grads(original):
    def zero_grads(self):
        self.target.zerograds()
    return zero_grads


def compute_grads_norm(original):
    def compute_grads_norm(self):
        return math.sqrt(sum(
            float((param.grad.astype('d') ** 2).sum())
            for param in self.target.params() if param.grad is not None))
    return compute_grads_norm


def clip_grads(original):
    def clip_grads(self, maxnorm):
        optimizer_hooks.GradientClipping(maxnorm)(self)
    return clip_grads


def weight_decay(original):
    def weight_decay(self, decay):
        optimizer_hooks.WeightDecay(decay)(self)
    return weight_decay


def accumulate_grads(original):
    """Adds gradients (arrays, in the order of the parameters) to the target's."""
    def accumulate_grads(self, grads):
        for param, grad in zip(self.target.params(), grads):
            grad = param.device.send(grad)
            if param.grad is None:
                param.grad = grad.copy()
            else:
                param.grad += grad
    return accumulate_grads


def prepare(original):
    """Creates what is missing of the states of all parameters, as until 1.24."""
    def prepare(self):
        take_rules(self)
    return prepare


def hook_call(original):
    """``WeightDecay(rate)(optimizer)`` applies to all parameters, as until 2.0."""
    def __call__(self, rule, param=None):
        if param is not None:
            original(self, rule, param)
            return
        for param in rule.target.params():
            if param.grad is not None:
                original(self, param.update_rule, param)
    return __call__


def serialize(original):
    """Restores the update counts of parameters; until 2.0 only optimizers had one."""
    def serialize(self, serializer):
        take_rules(self)
        original(self, serializer)
        if isinstance(serializer, serializers.Deserializer):
            for rule in self._rules.values():
                rule.t = self.t
    return serialize
