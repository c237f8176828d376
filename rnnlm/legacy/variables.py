"""The volatile flag of Chainer v1: variables that are ON do not build a graph."""
import copy

import chainer
from chainer.utils import type_check

from rnnlm.legacy import release


class Flag:
    """Flag ON, OFF or AUTO; ``Flag('on') is Flag(True) is ON``, and so on."""

    _made: dict = {}

    def __new__(cls, value):
        if isinstance(value, str):
            value = {'on': True, 'off': False, 'auto': None}[value.lower()]
        if isinstance(value, Flag):
            return value
        value = None if value is None else bool(value)
        if value not in cls._made:
            cls._made[value] = super().__new__(cls)
            cls._made[value].value = value
        return cls._made[value]

    def __bool__(self):
        if self.value is None:
            raise ValueError('Flag AUTO cannot be converted to boolean')
        return self.value

    def __eq__(self, other):
        try:
            return self is Flag(other)
        except (KeyError, TypeError):
            return False

    def __hash__(self):
        return hash(self.value)

    def __reduce__(self):
        return Flag, (self.value,)

    def __repr__(self):
        return {True: 'ON', False: 'OFF', None: 'AUTO'}[self.value]


ON, OFF, AUTO = Flag('on'), Flag('off'), Flag('auto')


def aggregate_flags(flags):
    """Returns the flag of a result computed from variables with these flags.

    Raises:
        ValueError: If they include both ON and OFF.
    """
    flags = {Flag(flag) for flag in flags}
    if ON in flags and OFF in flags:
        raise ValueError('ON and OFF flags cannot be mixed.')
    return ON if ON in flags else OFF if OFF in flags else AUTO


def variable(original):
    """``Variable(data, volatile=OFF, name=None, grad=None)``."""
    def __init__(self, data=None, volatile=None, name=None, grad=None, **kwargs):
        original(self, data, name=name, grad=grad, **kwargs)
        if volatile is not None:
            self._volatile = Flag(volatile)
    return __init__


def volatile(original):
    """``variable.volatile``."""
    def get(self):
        # Variables made without a flag, as by Chainer itself, mix with both.
        default = AUTO if isinstance(self, chainer.Parameter) else OFF
        return getattr(self, '_volatile', default)

    def set_(self, flag):
        self._volatile = Flag(flag)

    return property(get, set_)


def apply(original):
    """Wraps functions: builds no graph from ON, and passes flags on to results."""
    def apply(self, inputs):
        flags = [x._volatile for x in inputs if hasattr(x, '_volatile')]
        if not flags:
            return original(self, inputs)
        # As in v1: ON inputs turn off the graph, OFF ones turn it on, AUTO follows the
        # others.
        flag = aggregate_flags(flags)
        if flag is AUTO:
            outputs = original(self, inputs)
        else:
            with chainer.using_config('enable_backprop', flag is OFF):
                outputs = original(self, inputs)
        for y in outputs:
            y._volatile = flag
        return outputs
    return apply


def parameter_forward(original):
    """``F.Parameter(array)()`` is a variable, though `W` is an array until 1.5."""
    def forward(self, volatile='off'):
        variable = chainer.functions.identity(self.W)
        variable._volatile = Flag(volatile)
        return variable
    return forward


def backward(original):
    """``y.backward()`` keeps the gradient of y itself, as until 5.4."""
    def backward(self, *args, **kwargs):
        grad = self.grad
        if grad is None and self.size == 1:
            grad = self.xp.ones_like(self.array)
        if release.before(1, 5):
            _clear_leaves(self.node)
        original(self, *args, **kwargs)
        if self.grad is None:
            self.grad = grad
    return backward


def _clear_leaves(node):
    """Clears the gradients of the variables that a graph starts from.

    Until 1.4 `backward` replaced them; only parameters accumulated gradients.
    """
    seen, waiting = set(), [node] if node.creator_node is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.creator_node is not None:
            waiting.extend(node.creator_node.inputs)
            continue
        variable = node.get_variable_or_none()
        if variable is not None and not isinstance(variable, chainer.Parameter):
            variable.cleargrad()


def call_copy(original):
    """``function(x)``: until 1.4 a call copied the function, for use at each step."""
    if not release.before(1, 5):
        return original

    def __call__(self, *inputs):
        self = copy.copy(self)
        self._node = self._owned_node = None
        return original(self, *inputs)
    return __call__


def check_type_forward(original):
    """``in_types.size().eval()``: until 1.24 there were only expressions."""
    def check_type_forward(self, in_types):
        of_script = not type(self.function).__module__.startswith('chainer.')
        if of_script and type_check.in_light_mode():
            # Chainer repeats a check that fails, with expressions.
            raise type_check.InvalidType('', '')
        original(self, in_types)
    return check_type_forward


def hashed(original):
    """``{variable: ...}``: until 2.1 a variable could be a key."""
    return object.__hash__
