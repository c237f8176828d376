"""Whether anything was changed of the code that a window stands in for.

A window computes what certain methods and functions of Chainer and of this package
computed when they were imported.  Python lets anyone replace them later: in a class, in
a module, or on an instance.  Nothing announces it, so it is asked before each window.
"""
import functools
import types
from typing import Any, Collection, Dict, List, Tuple

import chainer
from chainer import functions as F
from chainer import links as L
from chainer.functions.connection import embed_id, linear
from chainer.functions.loss import softmax_cross_entropy
from chainer.functions.noise import dropout
from chainer.functions.rnn import lstm

# What a subclass may define without changing what is computed.
HARMLESS = frozenset([
    '__init__', '__module__', '__doc__', '__qualname__', '__dict__', '__weakref__',
    '__annotations__', '__annotate__', '__annotate_func__', '__firstlineno__',
    '__static_attributes__', '__abstractmethods__', '_abc_impl', '__repr__', '__str__'])

_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, property,
         classmethod, staticmethod, functools.partial)

# class -> (its code by name, how many attributes it had)
_classes: Dict[type, Tuple[Dict[str, Any], int]] = {}
_functions: List[Tuple[types.ModuleType, str, Any]] = []  # (module, name, function)


def record(cls: type) -> type:
    """Remembers the code of a class and of all its bases, as it is now.

    Returns:
        type: the class, so that this can be used as a decorator.
    """
    for base in cls.__mro__[:-1]:
        if base not in _classes:
            code = {name: value for name, value in vars(base).items()
                    if isinstance(value, _CODE)}
            _classes[base] = code, len(vars(base))
    return cls


def changed_code() -> str:
    """str: The first class or module whose code is not what it was; '' if none is."""
    for cls, (code, size) in _classes.items():
        now = cls.__dict__
        for name, value in code.items():
            if now.get(name) is not value:
                return f'{cls.__name__}.{name} has been replaced'
        if len(now) != size:
            for name, value in now.items():
                if name not in code and isinstance(value, _CODE):
                    return f'{cls.__name__}.{name} has been added'
    for module, name, function in _functions:
        if vars(module).get(name) is not function:
            return f'{module.__name__}.{name} has been replaced'
    return ''


def shadowed(*objects: Any) -> str:
    """str: The first attribute of an instance that hides a method; '' if none does."""
    for thing in objects:
        names = vars(thing)
        hidden = _code_names(thing.__class__).intersection(names)
        if hidden:
            name = next(iter(hidden))
            return f'{type(thing).__name__} has a {name} of its own'
    return ''


def overridden(cls: type, known: Collection[type]) -> str:
    """str: What a class redefines of the first of its bases that is in `known`; or ''.

    Args:
        cls (type): The class.
        known (collection of types): Those whose code is accounted for.
    """
    for k, base in enumerate(cls.__mro__):
        if base in known:
            for lower in cls.__mro__[:k]:
                for name in vars(lower):
                    if name not in HARMLESS and name in _code_names(base):
                        return f'{lower.__name__} has a {name} of its own'
            return ''
    return f'{cls.__name__} is not known'


@functools.lru_cache(maxsize=1000)
def _code_names(cls: Any) -> frozenset:
    """Names of the methods and properties of a class, inherited ones too."""
    return frozenset(name for base in cls.__mro__[:-1]
                     for name, value in vars(base).items() if isinstance(value, _CODE))


for _class in (
        L.Classifier, L.EmbedID, L.LSTM, L.Linear, chainer.Parameter,
        chainer.optimizers.SGD, chainer.optimizers.sgd.SGDRule,
        chainer.optimizer_hooks.GradientClipping, embed_id.EmbedIDFunction,
        linear.LinearFunction, lstm.LSTM, dropout.Dropout,
        softmax_cross_entropy.SoftmaxCrossEntropy):
    record(_class)

for _module, _name in (
        (F, 'dropout'), (dropout, 'dropout'), (lstm, 'lstm'), (F, 'lstm'),
        (linear, 'linear'), (F, 'linear'), (embed_id, 'embed_id'), (F, 'embed_id'),
        (softmax_cross_entropy, 'softmax_cross_entropy'),
        (F, 'softmax_cross_entropy'), (F, 'accuracy')):
    _functions.append((_module, _name, getattr(_module, _name)))
