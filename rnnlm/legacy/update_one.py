"""Support for a script's own optimizers with ``update_one``, as until Chainer 1.24.

Since 2.0 each parameter has an update rule instead.  The rule made here calls the
script's method: ``update_one(param, state)`` or its variants for CPU and GPU; until 1.4
``update_one(param, grad, state)`` with arrays.
"""
import gc

import chainer
from chainer.backends import cuda
import numpy

from rnnlm.legacy import release
from rnnlm.legacy.arrays import array_of


def setup(original):
    def setup(self, link):
        if 'hyperparam' not in vars(self):  # until 1.24 there was no base __init__
            chainer.GradientMethod.__init__(self)
        if isinstance(link, tuple):
            link = _link_of(link[0])
        original(self, link)
        self._rules = {}
        for param in link.params():
            param.update_rule = None
        take_rules(self, new=True)
        return self
    return setup


def _link_of(arrays):
    """Returns a link with the parameters that have the given arrays.

    Until 1.4 the target could be a tuple of parameters and one of gradients.
    """
    owners = {id(param.array): param for param in gc.get_objects()
              if issubclass(type(param), chainer.Parameter)}
    link = chainer.Link()
    for k, array in enumerate(map(array_of, arrays)):
        if id(array) not in owners:
            raise TypeError(
                'optimizer.setup: expected arrays of the parameters of links, such as '
                f'model.parameters, found an array of shape {numpy.shape(array)} that '
                'is none of them')
        name = f'{k:04}'
        link._params.add(name)
        vars(link)[name] = owners[id(array)]
    return link


def take_rules(optimizer, new=None):
    """Gives the target's parameters the rules of this optimizer.

    Until 1.24 each optimizer had states of its own, so a model could have several, and
    since 1.5 an update made those of parameters that were added after the setup.
    """
    rules, names = vars(optimizer).setdefault('_rules', {}), {}
    for path, param in optimizer.target.namedparams():
        rule = param.update_rule
        if path not in rules and rule is not None and rule not in rules.values() and (
                rule.hyperparam.parent is optimizer.hyperparam):
            rules[path] = rule  # of an optimizer that was unpickled
        elif path not in rules and (new or not release.before(1, 5)):
            rules[path] = optimizer.create_update_rule()
            if _own(optimizer, 'update_one'):
                rules[path] = Rule(optimizer, rules[path])
        names.setdefault(id(param), []).append(path)
        param.update_rule = rules.get(path, rule)
        if len(names[id(param)]) > 1:
            param.update_rule = TiedRule([rules[name] for name in names[id(param)]])


def create_update_rule(original):
    def create_update_rule(self):
        return chainer.UpdateRule() if _own(self, 'update_one') else original(self)
    return create_update_rule


def update(original):
    """Until 1.24 each update called ``prepare()`` first."""
    def update(self, lossfun=None, *args, **kwds):
        def prepare():
            if _own(self, 'prepare'):
                self.prepare()
            take_rules(self)

        def loss(*args, **kwds):  # it may add parameters
            found = lossfun(*args, **kwds)
            prepare()
            return found

        if lossfun is not None:
            return original(self, loss, *args, **kwds)
        prepare()
        return original(self)
    return update


class TiedRule(chainer.UpdateRule):
    """The rules of a parameter with several names, each with a state of its own.

    What is done for all names takes them in turn.
    """

    def __init__(self, rules):
        super().__init__()
        self._rules = rules

    def _next(self):
        self._rules.append(self._rules.pop(0))
        return self._rules[-1]

    def update(self, param):
        self._next().update(param)

    def serialize(self, serializer):
        self._next().serialize(serializer)


def tuples(original):
    """Until 1.4 ``optimizer.tuples`` was a list of (param, grad, state), arrays."""
    def get(self):
        chainer.GradientMethod.reallocate_cleared_grads(self)
        return [(param.array, param.grad, param.update_rule.state)
                for param in self.target.params() if param.is_initialized]
    return property(get)


def base(original):
    """Until 1.4 `Optimizer` had the features of today's `GradientMethod`."""
    return chainer.GradientMethod if release.before(1, 5) else original


def _own(optimizer, name):
    """Returns the methods that the script defines for a name, by their full names."""
    found = {}
    for full in (name, name + '_cpu', name + '_gpu'):
        owner = next((part for part in type(optimizer).__mro__ if full in vars(part)),
                     object)
        if owner.__module__.split('.')[0] not in ('chainer', 'builtins'):
            found[full] = getattr(optimizer, full)
    return found


class Rule(chainer.UpdateRule):
    """Update rule that calls the script's optimizer for a parameter.

    Args:
        optimizer: The script's optimizer.
        inherited: The rule of its base class, which creates the state unless the
            optimizer does.
    """

    def __init__(self, optimizer, inherited):
        super().__init__(optimizer.hyperparam)
        self._optimizer = optimizer
        self._inherited = inherited

    def _call(self, name, param, *args):
        """Calls the script's method; returns None if it has none for this device."""
        own = _own(self._optimizer, name)
        device = '_gpu' if isinstance(param.array, cuda.ndarray) else '_cpu'
        method = own.get(name) or own.get(name + device)
        return method(*args) if method else None

    def init_state(self, param):
        # The base class's rule creates its state in our dict.
        self._inherited._state = self.state
        self._inherited.init_state(param)
        if release.before(1, 5):
            value = self._call('init_state', param, param.array, param.grad)
            if value is not None:
                self.state['state'] = value
        else:
            self._call('init_state', param, param, self.state)

    def update_core(self, param):
        if release.before(1, 5):
            state = self.state.get('state', next(iter(self.state.values()), None))
            self._call('update_one', param, param.array, param.grad, state)
        else:
            self._call('update_one', param, param, self.state)
