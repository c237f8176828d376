"""Detection of replaced code, which fused functions would not call.

Fused functions replace methods and functions of Chainer and of this package, as they
were when they were imported.  Python allows to replace those later, in a class, in a
module, or on an instance.  There is no notification, so this is checked before each
window: the recorded attributes and code objects are compared with the present ones.
"""
import functools
import operator
import types
from typing import Any, Callable, Collection, Dict, Iterator, List, Set, Tuple

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.functions.connection import embed_id, linear
from chainer.functions.loss import softmax_cross_entropy
from chainer.functions.math import basic_math
from chainer.functions.noise import dropout
from chainer.functions.rnn import lstm
import numpy

# Names that a subclass can define without changing what is computed.
HARMLESS = frozenset([
    '__init__', '__module__', '__doc__', '__qualname__', '__dict__', '__weakref__',
    '__annotations__', '__annotate__', '__annotate_func__', '__firstlineno__',
    '__static_attributes__', '__abstractmethods__', '_abc_impl', '__repr__', '__str__'])

# Methods that intercept every access to an attribute.
_SEE_ALL = frozenset(['__getattr__', '__getattribute__', '__setattr__', '__delattr__'])

_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, property,
         classmethod, staticmethod, functools.partial)

# Packages whose functions are followed to the functions that they call.
_FOLLOWED = ('chainer.functions.', 'chainer.links.', 'chainer.optimizers.',
             'chainer.optimizer_hooks.')

_bases_of = operator.attrgetter('__bases__')
_code_of = operator.attrgetter('__code__')
_defaults_of = operator.attrgetter('__defaults__')


class Code:
    """The code of some classes, and of the functions that they call, when recorded."""

    def __init__(self) -> None:
        # Classes with their attributes, and functions with their code.
        self.classes: Dict[type, Dict[str, Any]] = {}
        self._bases: Dict[type, Tuple[type, ...]] = {}
        self.functions: Dict[types.FunctionType, types.CodeType] = {}
        # Those with defaults.  Defaults given to others change no call that works.
        self._defaults: Dict[types.FunctionType, Any] = {}
        # Name k of the namespace k refers to the value k.
        self._spaces: List[Dict[str, Any]] = []
        self._names: List[str] = []
        self._values: List[Any] = []
        self._recorded: Set[Tuple[int, str]] = set()  # id of a namespace, name

    def record(self, cls: type) -> type:
        """Records the current code of a class and of all its bases.

        Returns:
            type: The class, so that this can be used as a decorator.
        """
        for base in cls.__mro__[:-1]:
            if base not in self.classes:
                self.classes[base] = dict(vars(base))
                self._bases[base] = base.__bases__
                for value in self.classes[base].values():
                    self._record_function(_function_of(value))
        return cls

    def record_link(self, cls: type) -> type:
        """Records a link as `record` does, and what its methods call.

        Functions of Chainer that its methods call are recorded too, because a window
        function replaces them as well.

        Returns:
            type: The link.
        """
        self.record(cls)
        for base in cls.__mro__[:-1]:
            if not base.__module__.startswith('chainer.'):
                for value in vars(base).values():
                    self._record_function(
                        _function_of(value), _FOLLOWED + (base.__module__,))
        return cls

    def _record_function(self, function: Any,
                         followed: Tuple[str, ...] = _FOLLOWED) -> None:
        """Records a function of the packages in `followed`, and what it calls.

        These are the objects its names refer to: in its module, in Chainer modules that
        it names, and in NumPy, because the function may call `xp.tanh`.
        """
        if not isinstance(function, types.FunctionType) or (
                function in self.functions
                or not function.__module__.startswith(followed)):
            return
        self.functions[function] = function.__code__
        if function.__defaults__ is not None:
            self._defaults[function] = function.__defaults__
        names = frozenset(_names_in(function.__code__))
        for space in [*_spaces_of(function.__globals__, names), vars(numpy),
                      vars(numpy.random)]:
            for name in names.intersection(space):
                self.record_name(space, name)

    def record_name(self, space: Dict[str, Any], name: str) -> None:
        """Records what a name of a module refers to."""
        value = space[name]
        if not callable(value) or (id(space), name) in self._recorded:
            return
        self._recorded.add((id(space), name))
        self._spaces.append(space)
        self._names.append(name)
        self._values.append(value)
        if str(getattr(value, '__module__', '')).startswith(_FOLLOWED):
            if isinstance(value, type):
                self.record(value)
            else:
                self._record_function(value)

    def changed(self) -> str:
        """Returns the first class or function whose code was replaced (str), or ''."""
        # This runs before every window, so loops over names and functions stay in C.
        # `is_` asks no object whether it equals another.
        for cls, before in self.classes.items():
            if cls.__dict__ != before:
                reason = _changed_class(cls, before)
                if reason:
                    return reason
        if not all(map(operator.is_, map(_bases_of, self._bases),
                       self._bases.values())):
            return next(f'the base classes of {cls.__name__} have been replaced'
                        for cls, bases in self._bases.items()
                        if cls.__bases__ is not bases)
        if not all(map(operator.is_, map(dict.get, self._spaces, self._names),
                       self._values)):
            return next(
                f'{space["__name__"]}.{name} has been replaced' for space, name, value
                in zip(self._spaces, self._names, self._values)
                if space.get(name) is not value)
        if not (all(map(operator.is_, map(_code_of, self.functions),
                        self.functions.values()))
                and all(map(operator.is_, map(_defaults_of, self._defaults),
                            self._defaults.values()))):
            return self._changed_function()
        return ''

    def _changed_function(self) -> str:
        return next(
            f'the code of {function.__qualname__} has been replaced'
            for function, code in self.functions.items()
            if function.__code__ is not code or function in self._defaults
            and function.__defaults__ is not self._defaults[function])


# All code that window functions replace; and that of one step of an LSTM, which is
# checked before each word in generation.
EVERYTHING, ONE_STEP = Code(), Code()


def record(cls: type, one_step: bool = False) -> type:
    """Records the current code of a class and of all its bases.

    Args:
        cls (type): The class.
        one_step: Whether it takes part in one step without dropout.

    Returns:
        type: The class, so that this can be used as a decorator.
    """
    return (ONE_STEP if one_step else EVERYTHING).record(EVERYTHING.record(cls))


def record_link(cls: type, one_step: bool = False) -> type:
    """Records a link as `record` does, and what its methods call."""
    return (ONE_STEP if one_step else EVERYTHING).record_link(
        EVERYTHING.record_link(cls))


def _is_code(value: Any) -> bool:
    """Returns whether a class attribute runs code when it is read or called."""
    return isinstance(value, _CODE) or hasattr(type(value), '__get__')


def _function_of(value: Any) -> Any:
    """Returns the function behind a class attribute, or else the attribute."""
    return getattr(value, '__func__', None) or getattr(value, 'fget', None) or value


def _spaces_of(space: Dict[str, Any], names: Collection[str]
               ) -> List[Dict[str, Any]]:
    """Returns a namespace and those of the Chainer modules that names lead to from it.

    For example, `functions` leads from `chainer` to `chainer.functions`.
    """
    found = [space]
    for here in found:
        for name, value in here.items():
            if name in names and isinstance(value, types.ModuleType) and (
                    value.__name__.partition('.')[0] == 'chainer') and not any(
                        vars(value) is other for other in found):
                found.append(vars(value))
    return found


def _names_in(code: types.CodeType) -> Iterator[str]:
    """Yields the names that a function mentions, including its inner functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _changed_class(cls: type, before: Dict[str, Any]) -> str:
    for name, value in cls.__dict__.items():
        if name not in before:
            if _is_code(value):
                return f'{cls.__name__}.{name} has been added'
        elif value is not before[name] and (
                _is_code(value) or _is_code(before[name])):
            return f'{cls.__name__}.{name} has been replaced'
    for name, value in before.items():
        if name not in cls.__dict__ and _is_code(value):
            return f'{cls.__name__}.{name} has been deleted'
    return ''


def shadowed(*objects: Any) -> str:
    """Returns the first instance attribute that hides a method (str), or ''."""
    for thing in objects:
        code = _code_names(thing.__class__)
        if not code.isdisjoint(vars(thing)):
            name = next(iter(code.intersection(vars(thing))))
            return f'an instance attribute hides {type(thing).__name__}.{name}'
    return ''


def overridden(cls: type, known: Collection[type]) -> str:
    """Returns what a class redefines of its first base in `known`, or ''.

    That is a method or property of that base, or a property in place of an attribute
    that the base's code uses.

    Args:
        cls (type): The class.
        known (collection of types): Types whose code is already checked.
    """
    for k, base in enumerate(cls.__mro__):
        if base in known:
            for lower in cls.__mro__[:k]:
                for name, value in vars(lower).items():
                    if name in _SEE_ALL or name not in HARMLESS and (
                            name in _code_names(base)
                            or not isinstance(value, types.FunctionType)
                            and _is_code(value) and name in _mentioned(base)):
                        return f'{lower.__name__} defines its own {name}'
            return ''
    return f'{cls.__name__} has no base class that is supported'


@functools.lru_cache(maxsize=1000)
def _mentioned(cls: type) -> frozenset:
    """Returns the names that the code of a class and of its bases mentions."""
    names: Set[str] = set()
    for base in cls.__mro__[:-1]:
        for value in vars(base).values():
            for function in (value, getattr(value, '__func__', None),
                             getattr(value, 'fget', None),
                             getattr(value, '_read', None)):
                if isinstance(function, types.FunctionType):
                    names.update(_names_in(function.__code__))
    return frozenset(names)


@functools.lru_cache(maxsize=1000)
def _code_names(cls: Any) -> frozenset:
    """Returns the names of a class's methods and properties, inherited ones too."""
    return frozenset(name for base in cls.__mro__[:-1]
                     for name, value in vars(base).items() if _is_code(value))


class Shown:
    """Property that can be set on an instance, by subclasses that use its name.

    Args:
        read: Function that maps the object to the value.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, thing: Any, cls: Any = None) -> Any:
        return self if thing is None else self._read(thing)


for _class in (
        L.Classifier, chainer.Parameter, chainer.optimizers.SGD,
        chainer.optimizers.sgd.SGDRule, chainer.optimizer_hooks.GradientClipping,
        softmax_cross_entropy.SoftmaxCrossEntropy):
    record(_class)
for _class in (
        L.EmbedID, L.LSTM, L.Linear, embed_id.EmbedIDFunction, linear.LinearFunction,
        lstm.LSTM, dropout.Dropout, basic_math.Add):
    record(_class, one_step=True)
# A step uses one operator of Variable; `record` would follow all of them.
ONE_STEP.classes[chainer.Variable] = dict(vars(chainer.Variable))

for _module, _name in (
        (softmax_cross_entropy, 'softmax_cross_entropy'),
        (F, 'softmax_cross_entropy'), (F, 'accuracy')):
    EVERYTHING.record_name(vars(_module), _name)
for _module, _name in (
        (lstm, 'lstm'), (F, 'lstm'), (linear, 'linear'), (F, 'linear'),
        (embed_id, 'embed_id'), (F, 'embed_id'), (dropout, 'dropout'), (F, 'dropout'),
        (basic_math, 'add')):
    for _code in EVERYTHING, ONE_STEP:
        _code.record_name(vars(_module), _name)
