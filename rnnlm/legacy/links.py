"""Links of Chainer v1: order of parameters, FunctionSet, GRU."""
import importlib

import chainer
from chainer import links as L
from chainer.backends import cuda

from rnnlm.legacy import release
from rnnlm.legacy.arguments import arguments


def _in_order(link, names):
    """Returns names in the order of registration; Chainer 7 sorts them."""
    # A __dict__ keeps the order in which attributes were set.
    return [name for name in vars(link) if name in names]


def _named_children(link):
    """Yields (name, child); a child that was replaced has lost its name."""
    if isinstance(link, chainer.ChainList):
        yield from ((str(k), child) for k, child in enumerate(link))
    elif isinstance(link, chainer.Chain):
        yield from ((name, vars(link)[name])
                    for name in _in_order(link, link._children))


def params(original):
    def params(self, include_uninit=False):
        for _, param in self.namedparams(include_uninit):
            yield param
    return params


def namedparams(original):
    """Yields parameters of the link itself first, then those of its children.

    Until 1.24 there were none whose shape is not known yet.
    """
    def namedparams(self, include_uninit=False):
        for name in _in_order(self, self._params):
            param = vars(self)[name]
            if include_uninit or param.is_initialized:
                yield '/' + name, param
        for name, child in _named_children(self):
            for path, param in child.namedparams(include_uninit):
                yield f'/{name}{path}', param
    return namedparams


def children(original):
    def children(self):
        for _, child in _named_children(self):
            yield child
    return children


def links(original):
    def links(self, skipself=False):
        for _, link in self.namedlinks(skipself):
            yield link
    return links


def namedlinks(original):
    def namedlinks(self, skipself=False):
        if not skipself:
            yield '/', self
        for name, child in _named_children(self):
            path = '/' + name
            yield path, child
            for below, link in child.namedlinks(skipself=True):
                yield path + below, link
    return namedlinks


def set_attribute(original):
    """``link.W = array``: until 1.5 a parameter was an array."""
    def __setattr__(self, name, value):
        if isinstance(value, chainer.get_array_types()) and (
                name in vars(self).get('_params', ())):
            vars(self)[name].array = value
        else:
            original(self, name, value)
    return __setattr__


def on_cpu(original):
    """``link._cpu``, in copies of Chainer's links."""
    return property(lambda self: self.xp is not cuda.cupy)


def gradient_of(name):
    """``link.gW`` and ``link.gb`` of parametric functions: gradient arrays."""
    def attribute(original):
        def set_(self, grad):
            getattr(self, name).grad = grad
        return property(lambda self: getattr(self, name).grad, set_)
    return attribute


def arrays_of(attribute):
    """``link.parameters`` and ``link.gradients``, tuples of arrays, until 1.4."""
    def serve(original):
        if not release.before(1, 5):
            return original

        def get(self):
            return tuple(getattr(param, attribute) for param in self.params())

        def set_(self, arrays):
            for param, array in zip(self.params(), arrays):
                setattr(param, attribute, array)
        return property(get, set_)
    return serve


def parameter_names(original):
    """``link.parameter_names``, until 1.4."""
    if not release.before(1, 5):
        return original
    return property(lambda self: tuple(_in_order(self, self._params)))


def init_subclass(original):
    """Refuses methods by which a class changed a function with parameters, until 1.4.

    Chainer calls none of them for a link.
    """
    if not release.before(1, 5):
        return original

    def __init_subclass__(cls, **kwargs):
        original(**kwargs)
        methods = [name for name in METHODS_OF_FUNCTIONS if name in vars(cls)]
        if methods and cls.__module__.split('.')[0] not in ('chainer', 'rnnlm') and (
                not issubclass(cls, (chainer.Chain, chainer.ChainList))
                and any(base.__module__.startswith('chainer.links.')
                        for base in cls.__mro__)):
            raise TypeError(
                f'{cls.__name__}: expected no method {methods[0]} in a subclass of the '
                f'function with parameters {cls.__base__.__name__}, which is not '
                'supported; write a chainer.Chain that calls functions on Variables')
    return classmethod(__init_subclass__)


METHODS_OF_FUNCTIONS = [way + device for way in ('forward', 'backward')
                        for device in ('', '_cpu', '_gpu')]


class FunctionSet(chainer.Chain):
    """Chain whose links are registered as attributes, as in Chainer 1.0 to 1.24."""

    def __init__(self, **links):
        super().__init__()
        for name, link in links.items():
            setattr(self, name, link)

    def __setattr__(self, name, value):
        if isinstance(value, chainer.Function) and getattr(
                value, 'parameter_names', ()):
            raise TypeError(
                f'{name}: expected a link of chainer.links, or a Function without '
                f'parameter_names, found {type(value).__name__}, a Function with '
                'parameters, which is not supported; write a chainer.Link with '
                'add_param')
        if not isinstance(value, chainer.Link):
            prop = getattr(type(self), name, None)
            if isinstance(prop, property) and prop.fset:
                prop.fset(self, value)
            else:
                super().__setattr__(name, value)
            return
        # Setting a link again replaces it, which init_scope alone would refuse.
        if name in vars(self).get('_children', ()):
            vars(self)[name].name = None
            vars(self)[name], value.name = value, name
            return
        with self.init_scope():
            super().__setattr__(name, value)

    def collect_parameters(self):
        return self

    def __iter__(self):
        """Yields two tuples of arrays: `collect_parameters` of 1.0 returned them."""
        yield self.parameters
        yield self.gradients

    def _sorted_params(self):
        return [param for _, param in sorted(self.namedparams())]

    @property
    def parameters(self):
        """tuple of arrays, sorted by the names of the links."""
        return tuple(param.array for param in self._sorted_params())

    @parameters.setter
    def parameters(self, arrays):
        for param, array in zip(self._sorted_params(), arrays):
            param.array = array

    @property
    def gradients(self):
        """tuple of arrays, in the order of `parameters`."""
        return tuple(param.grad for param in self._sorted_params())

    @gradients.setter
    def gradients(self, arrays):
        for param, array in zip(self._sorted_params(), arrays):
            param.grad = array

    def copy_parameters_from(self, arrays):
        for param, array in zip(self._sorted_params(), arrays):
            param.array[...] = param.device.send(array)


class GRU(L.StatelessGRU):
    """``L.GRU(n_units, n_inputs=None)``, which is stateless: ``gru(h, x)``."""

    def __init__(self, n_units, n_inputs=None, init=None, inner_init=None,
                 bias_init=0):
        super().__init__(n_inputs or n_units, n_units, init, inner_init, bias_init)


def add_uninitialized_param(original):
    """Declares a parameter whose shape ``add_param(name, shape)`` gives later."""
    def add_uninitialized_param(self, name):
        self.__dict__.setdefault('_awaited', set()).add(name)
    return add_uninitialized_param


def has_uninitialized_params(original):
    def get(self):
        awaited = vars(self).get('_awaited', set()) - set(vars(self))
        return bool(awaited) or any(
            not vars(self)[name].is_initialized for name in self._params)
    return property(get)


def zoneout_init(original):
    """``L.StatefulZoneoutLSTM(..., train=True)``, with a flag in the link."""
    def __init__(self, in_size, out_size, c_ratio=0.5, h_ratio=0.5, train=True):
        original(self, in_size, out_size, c_ratio, h_ratio)
        self.train = train
    return __init__


def zoneout_forward(original):
    def forward(self, x):
        with chainer.using_config('train', bool(self.train)):
            return original(self, x)
    return forward


def caffe():
    """`chainer.links.caffe`, imported only on use, because it needs an old protobuf."""
    module = importlib.import_module('chainer.links.caffe')
    kind = module.CaffeFunction
    # Imported twice, it must not be wrapped twice.
    if not hasattr(kind.forward, '__wrapped__'):
        kind.forward = arguments('self, inputs, outputs, disable=(), train=True')(
            kind.forward)
    return module


# Rows as in `table`: (name, since, instead, serve).
ROWS = (
    ('chainer.Link.parameters', '1.5', 'link.params()', arrays_of('array')),
    ('chainer.Link.gradients', '1.5', 'link.params()', arrays_of('grad')),
    ('chainer.Link.parameter_names', '1.5', 'link.namedparams()', parameter_names),
    ('chainer.Link.__init_subclass__', '1.5', 'a chainer.Chain', init_subclass),
)
