"""Values of names in a script, as far as its source determines them.

There are three kinds of known values: names of Chainer, objects of Chainer's classes,
and what the script defines itself.  Anything else is None.
"""
import ast
import typing

from rnnlm.legacy import releases as table


class Name(typing.NamedTuple):
    """Module, class or function of Chainer, as {path: releases} and as written."""
    found: typing.Tuple[typing.Tuple[str, int], ...]
    text: str


class Instance(typing.NamedTuple):
    """Object of a class of Chainer."""
    found: typing.Tuple[typing.Tuple[str, int], ...]
    text: str


class Attributes:
    """Names and their values; lookups return the values of the previous pass."""

    def __init__(self) -> None:
        self.known: typing.Dict[str, 'Value'] = {}
        self.found: typing.Dict[str, 'Value'] = {}

    def join(self, name: str, value: 'Value') -> None:
        self.found[name] = (
            join(self.found[name], value) if name in self.found else value)

    def turn(self) -> None:
        """Starts the next pass."""
        self.known, self.found = {**self.found}, {}

    def __contains__(self, name: str) -> bool:
        return name in self.found or name in self.known

    def get(self, name: str) -> 'Value':
        return self.known.get(name, self.found.get(name))


class Module:
    """Module of the script's own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: typing.Dict[str, 'Value'] = {}
        self.stars: typing.List['Value'] = []  # of `from x import *`


class Function:
    """Function of the script's own."""

    def __init__(self, node: typing.Any, scope: typing.Any,
                 owner: typing.Optional['Class'] = None) -> None:
        self.node = node
        self.scope = scope
        self.owner = owner
        self.given = Attributes()     # values of its arguments, from its calls
        self.returned = Attributes()  # its return value, under the name ''


class Class:
    """Class of the script's own."""

    def __init__(self, name: str, bases: typing.Sequence['Value']) -> None:
        self.name = name
        self.bases = bases
        self.attributes = Attributes()
        self.defined: typing.Set[str] = set()  # names in the body of the class

    def line(self) -> typing.List['Class']:
        """Returns this class and its base classes within the script."""
        found: typing.List['Class'] = [self]
        for part in found:
            found += [base for base in part.bases
                      if isinstance(base, Class) and base not in found]
        return found

    def of_chainer(self) -> typing.List[Name]:
        """Returns the classes of Chainer that it is derived from."""
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
    """Object of a class of the script's own."""
    of: Class


Value = typing.Union[Name, Instance, Module, Function, Class, Object, None]


def join(one: Value, other: Value) -> Value:
    """Joins two alternative values; None unless they are the same or similar."""
    if one is other or one == other:
        return one
    if isinstance(one, Instance) and isinstance(other, Instance):
        found = dict(one.found)
        for path, releases in other.found:
            table.add(found, path, releases)
        return Instance(tuple(found.items()), one.text)
    return None


# Value of names imported from other packages.
FOREIGN = Name((), '')


def variable() -> Instance:
    """Returns the value of a Chainer function's result: a Variable."""
    return Instance((('chainer.Variable', table.load().all),), 'Variable')


def is_link(value: Value) -> bool:
    """Returns whether a value is a link, or an object of a class derived from one."""
    if isinstance(value, Object):
        return bool(value.of.of_chainer())
    return isinstance(value, Instance) and any(
        'chainer.links.' in path or path in (
            'chainer.Chain', 'chainer.Link', 'chainer.ChainList', 'chainer.FunctionSet',
            'chainer.Sequential') for path, _ in value.found) or (
        # Until 1.4 links were functions with parameters.
        isinstance(value, Instance)
        and any(path.startswith('chainer.functions.') for path, _ in value.found))


def given_by(node: ast.Call) -> table.Call:
    """Returns a call's arguments, without self in ``Chain.__init__(self, ...)``."""
    args = node.args
    if args and getattr(args[0], 'id', '') == 'self' and isinstance(
            node.func, ast.Attribute) and node.func.attr == '__init__':
        args = args[1:]
    return table.Call(
        sum(not isinstance(arg, ast.Starred) for arg in args),
        frozenset(keyword.arg for keyword in node.keywords if keyword.arg),
        any(isinstance(arg, ast.Starred) for arg in args),
        any(keyword.arg is None for keyword in node.keywords))
