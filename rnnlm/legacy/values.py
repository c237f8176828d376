"""What a name in a script stands for, as far as its source tells.

Three kinds of values are known: a name of Chainer, an object of a class of Chainer, and
what the script defines itself.  None is any other.
"""
import ast
import typing

from rnnlm.legacy import releases as table


class Name(typing.NamedTuple):
    """A module, class or function of Chainer: {path: releases}, as it is written."""
    found: typing.Tuple[typing.Tuple[str, int], ...]
    text: str


class Instance(typing.NamedTuple):
    """An object of a class of Chainer."""
    found: typing.Tuple[typing.Tuple[str, int], ...]
    text: str


class Attributes:
    """Names and the values that they get; what is read is of the reading before."""

    def __init__(self) -> None:
        self.known: typing.Dict[str, 'Value'] = {}
        self.found: typing.Dict[str, 'Value'] = {}

    def join(self, name: str, value: 'Value') -> None:
        self.found[name] = (
            join(self.found[name], value) if name in self.found else value)

    def turn(self) -> None:
        """Begins the next reading."""
        self.known, self.found = {**self.found}, {}

    def __contains__(self, name: str) -> bool:
        return name in self.found or name in self.known

    def get(self, name: str) -> 'Value':
        return self.known.get(name, self.found.get(name))


class Module:
    """A module of the script's own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: typing.Dict[str, 'Value'] = {}
        self.stars: typing.List['Value'] = []  # of `from x import *`


class Function:
    """A function of the script's own."""

    def __init__(self, node: typing.Any, scope: typing.Any,
                 owner: typing.Optional['Class'] = None) -> None:
        self.node = node
        self.scope = scope
        self.owner = owner
        self.given = Attributes()     # to its arguments, by its calls
        self.returned = Attributes()  # under ''


class Class:
    """A class of the script's own."""

    def __init__(self, name: str, bases: typing.Sequence['Value']) -> None:
        self.name = name
        self.bases = bases
        self.attributes = Attributes()

    def line(self) -> typing.List['Class']:
        """This class, and those of the script that it is derived from."""
        found: typing.List['Class'] = [self]
        for part in found:
            found += [base for base in part.bases
                      if isinstance(base, Class) and base not in found]
        return found

    def of_chainer(self) -> typing.List[Name]:
        """The classes of Chainer that it is derived from."""
        return [base for part in self.line() for base in part.bases
                if isinstance(base, Name)]

    def own(self, name: str) -> bool:
        return any(name in part.attributes for part in self.line())

    def get(self, name: str) -> 'Value':
        for part in self.line():
            if name in part.attributes:
                return part.attributes.get(name)
        return None


class Object(typing.NamedTuple):
    """An object of a class of the script's own."""
    of: Class


Value = typing.Union[Name, Instance, Module, Function, Class, Object, None]


def join(one: Value, other: Value) -> Value:
    """What is one or the other; None unless that is of use."""
    if one is other or one == other:
        return one
    if isinstance(one, Instance) and isinstance(other, Instance):
        found = dict(one.found)
        for path, releases in other.found:
            table.add(found, path, releases)
        return Instance(tuple(found.items()), one.text)
    return None


# What is imported from elsewhere.
FOREIGN = Name((), '')


def variable() -> Instance:
    """A variable, which every function of Chainer gives."""
    return Instance((('chainer.Variable', table.load().all),), 'Variable')


def is_link(value: Value) -> bool:
    """Whether a value is a link, or an object of a class made from one."""
    if isinstance(value, Object):
        return bool(value.of.of_chainer())
    return isinstance(value, Instance) and any(
        'chainer.links.' in path or path in (
            'chainer.Chain', 'chainer.Link', 'chainer.ChainList', 'chainer.FunctionSet',
            'chainer.Sequential') for path, _ in value.found) or (
        # Until 1.4 they were functions with parameters.
        isinstance(value, Instance)
        and any(path.startswith('chainer.functions.') for path, _ in value.found))


def given_by(node: ast.Call) -> table.Call:
    """The arguments of a call; without self, as in ``Chain.__init__(self, ...)``."""
    args = node.args
    if args and getattr(args[0], 'id', '') == 'self' and isinstance(
            node.func, ast.Attribute) and node.func.attr == '__init__':
        args = args[1:]
    return table.Call(
        sum(not isinstance(arg, ast.Starred) for arg in args),
        frozenset(keyword.arg for keyword in node.keywords if keyword.arg),
        any(isinstance(arg, ast.Starred) for arg in args),
        any(keyword.arg is None for keyword in node.keywords))
