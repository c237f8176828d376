"""Search for what a script uses of Chainer, where, and in which releases it exists.

The source is interpreted three times.  Each pass uses what the previous one found out
about objects and their attributes.  Names count only if they certainly are Chainer's.
"""
import ast
import os
import tokenize
import typing

from rnnlm.errors import InputError
from rnnlm.legacy import project, releases as table
from rnnlm.legacy.statements import Statements
from rnnlm.legacy.values import (
    Class, Function, Instance, Module, Name, Object, Value, given_by, is_link, variable)

READINGS = 3

# Files that may say which Chainer is needed, and how many characters of each to read.
STATEMENTS = ('requirements.txt', 'README.md', 'README.rst', 'README.txt', 'README',
              'setup.py', 'environment.yml')
LONGEST = 100000

# Methods of an optimizer that Chainer calls, and a script may define.
OVERRIDDEN = {'update_one', 'update_one_cpu', 'update_one_gpu', 'create_update_rule'}

# Attributes that a script's own class could set, and the release since which they are
# properties.
READ_ONLY = {
    **dict.fromkeys(('Link', 'Chain', 'ChainList'), table.PROPERTIES_OF_LINKS),
    'StandardUpdater': {'device': '6.0'},
    'SerialIterator': dict.fromkeys(
        ('current_position', 'epoch', 'is_new_epoch'), '6.0')}


class Use(typing.NamedTuple):
    """Use of a name or argument of Chainer."""
    path: str
    line: int
    text: str        # as written in the script
    releases: int    # in which it works
    name: str        # path in the table, or ''
    argument: str    # of a call, or '' for the name itself
    guarded: bool    # the script checks first, or catches the failure
    preferred: int   # releases in which this was the recommended way


class Reader(Statements):
    """Reader of a script and of its own modules.

    Args:
        path (str): The script.
        tree (ast.Module): Its syntax tree.
        parse (callable): Function that parses another file.

    Attributes:
        uses (list of Use): The uses, in the order of reading.
        hints (list of Use): Signs of a script's age that work in any release.
    """

    def __init__(self, path: str, tree: ast.Module,
                 parse: typing.Callable[[str], ast.Module]) -> None:
        super().__init__(project.Project(path))
        self.table = table.load()
        self.trees: typing.Dict[str, typing.Optional[ast.Module]] = {
            os.path.abspath(path): tree}
        self.parse = parse
        self.uses: typing.List[Use] = []
        self.hints: typing.List[Use] = []
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(self.path)
        for k in range(READINGS):
            self.recording = k == READINGS - 1
            self.read_all(self.path)

    def tree_of(self, path: str) -> typing.Optional[ast.Module]:
        """Returns the syntax tree of a file; None if it has a syntax error.

        Raises:
            rnnlm.errors.InputError: If it is for Python 2, and needed.
        """
        if path not in self.trees:
            try:
                self.trees[path] = self.parse(path)
            except SyntaxError:  # reported when the script imports it
                self.trees[path] = None
            except InputError:
                if not self.guards:
                    raise
                return None
        return self.trees[path]

    def record(self, node: ast.AST, text: str, releases: int, name: str = '',
               argument: str = '', preferred: typing.Optional[int] = None) -> None:
        if self.recording and releases:
            self.uses.append(self._use(
                node, text, releases, name, argument,
                releases if preferred is None else preferred))

    def hint(self, node: ast.AST, text: str, preferred: int) -> None:
        if self.recording:
            self.hints.append(
                self._use(node, text, self.table.all, '', '', preferred))

    def _use(self, node: typing.Any, text: str, releases: int, name: str,
             argument: str, preferred: int) -> Use:
        path = os.path.relpath(self.scope.module.path, self.folder)
        return Use(path, node.lineno, text, releases, name, argument,
                   bool(self.guards), preferred)

    def remarks(self) -> typing.Iterator[typing.Tuple[str, str]]:
        """Yields (name, text) of the script's comments, and of files in its folder or
        the parent folder that may say which Chainer it needs.
        """
        with tokenize.open(self.path) as f:
            text = f.read()
        yield os.path.basename(self.path), '\n'.join(
            line for line in text.splitlines() if line.lstrip().startswith('#'))
        for folder in '', os.pardir:
            for name in STATEMENTS:
                path = os.path.join(self.folder, folder, name)
                if os.path.isfile(path):
                    with open(path, encoding='utf-8', errors='replace') as f:
                        yield os.path.join(folder, name), f.read(LONGEST)

    def old(self) -> int:
        return self.table.until('2.0')

    # Modules of Chainer.

    def chainer_module(self, name: str, node: ast.AST) -> Value:
        found: table.Found = {}
        for entry in self.table.entries.get(name, ()):
            if entry.what == 'M':
                table.add(found, name, entry.releases)
            elif entry.what.startswith('='):
                for path, those in self.table.resolve(entry.what[1:]).items():
                    table.add(found, path, those & entry.releases)
        if not found:
            return None
        self.record(node, f'import {name}', table.union(found), name)
        return Name(tuple(found.items()), name)

    # Attributes.

    def attribute(self, value: Value, name: str, node: ast.AST, text: str) -> Value:
        if isinstance(value, Module):
            return self.of_module(value, name)
        if isinstance(value, (Name, Instance)):
            return self._member(value.found, name, node, text)
        if isinstance(value, Object):
            if value.of.own(name):
                return value.of.get(name)
            if name in self.stored:  # assigned elsewhere, so it may be anything
                return None
            return self._member(
                [pair for base in value.of.of_chainer() for pair in base.found],
                name, node, text)
        if isinstance(value, Class):
            return value.get(name)
        if value is None and name in ('array', 'volatile', 'zerograds'):
            self.hint(node, '.' + name, {
                'array': self.table.since('3.0'), 'volatile': self.table.until('2.0'),
                'zerograds': self.table.until('2.0')}[name])
        return None

    def _member(self, owners: typing.Iterable[typing.Tuple[str, int]], name: str,
                node: ast.AST, text: str) -> Value:
        found: table.Found = {}
        for owner, releases in owners:
            if owner:
                for path, those in self.table.member(owner, name, releases).items():
                    table.add(found, path, those)
        beyond = found.pop('', 0)  # releases whose base class is unknown
        if not found:
            return None
        if name == '__init__':  # every class has one
            return Name(tuple(found.items()), text)
        releases = table.union(found) | beyond
        # Releases in which a name was deprecated are less likely; see `preferred`.
        deprecated = 0
        for path in found:
            deprecated |= self.table.is_deprecated(path)
        self.record(node, text, releases, max(found, key=lambda p: found[p]), '',
                    releases & ~deprecated)
        if name in ('W', 'b', 'gamma', 'beta') and all(
                path.startswith('chainer.links.') for path in found):
            return variable()
        return Name(tuple(found.items()), text)

    def sets(self, owner: Object, target: ast.Attribute) -> None:
        """Records an attribute of the script's own class that is a property now."""
        if any(target.attr in part.defined for part in owner.of.line()):
            return
        for base in owner.of.of_chainer():
            for path, _ in base.found:
                name = ('Link' if path.startswith('chainer.links.')
                        else path.rpartition('.')[2])
                names = READ_ONLY.get(name, {})
                if target.attr in names:
                    self.record(target, f'{ast.unparse(target)} = ...',
                                self.table.until(names[target.attr]), path, '=')

    def overrides(self, made: Class, name: str, node: typing.Any) -> None:
        """Records a method called by Chainer that the script's optimizer defines."""
        optimizers = ('chainer.Optimizer', 'chainer.GradientMethod')
        if name not in OVERRIDDEN or not any(
                path.rpartition('.')[0] in optimizers
                for base in made.of_chainer() for owner, releases in base.found
                for path in self.table.member(owner, 't', releases)):
            return
        given = table.Call(len(node.args.args) - 1, frozenset())
        accepted = 0
        for owner in optimizers:
            for entry in self.table.entries.get(f'{owner}.{name}', ()):
                accepted |= entry.releases * table.takes(entry.what, given)
        self.record(node, f'{made.name}.{name}', accepted, f'chainer.Optimizer.{name}')

    # Calls.

    def call(self, value: Value, node: ast.Call, text: str,
             given: typing.List[Value], named: typing.Dict[str, Value]) -> Value:
        if isinstance(value, Function):
            self.give(value, given, named)
            return value.returned.known.get('')
        if isinstance(value, Class):
            init = value.get('__init__')
            if isinstance(init, Function):
                self.give(init, given, named)
            return Object(value)
        if isinstance(value, Object):
            return self._call_object(value, node, text, given, named)
        if isinstance(value, Instance):
            return self._call_instance(value, node, text)
        if isinstance(value, Name):
            return self._call_name(value, node, text, named)
        return None

    def _call_object(self, value: Object, node: ast.Call, text: str,
                     given: typing.List[Value], named: typing.Dict[str, Value]
                     ) -> Value:
        method = value.of.get('__call__')
        if isinstance(method, Function):
            self.give(method, given, named)
            return method.returned.known.get('')
        forward = value.of.get('forward')
        if isinstance(forward, Function) and is_link(value):
            self._member([pair for base in value.of.of_chainer()
                          for pair in base.found], '__call__', node,
                         f'{text}(...), which has forward and no __call__')
            self.give(forward, given, named)
            return forward.returned.known.get('')
        return None

    def _call_instance(self, value: Instance, node: ast.Call, text: str) -> Value:
        called: table.Found = {}
        for owner, releases in value.found:
            for path, those in self.table.member(owner, '__call__', releases).items():
                if path == 'chainer.Link.__call__':  # it calls forward
                    for forward, when in self.table.member(
                            owner, 'forward', those).items():
                        table.add(called, forward, when)
                else:
                    table.add(called, path, those)
        self._check_arguments(called, node, text)
        self._flags('BatchNormalization', 'test', called, node)
        return variable() if is_link(value) else None

    def _call_name(self, value: Name, node: ast.Call, text: str,
                   named: typing.Dict[str, Value]) -> Value:
        called: table.Found = {}
        classes: table.Found = {}
        function = False
        for path, releases in value.found:
            for entry in self.table.entries.get(path, ()):
                those = entry.releases & releases
                if entry.what.startswith('(') and those:
                    table.add(called, path, those)
                    function |= self._gives_variable(path)
                elif entry.what.startswith('C') and those:
                    table.add(classes, path, those)
                    for init, when in self.table.member(
                            path, '__init__', those).items():
                        table.add(called, init, when)
        self._check_arguments(called, node, text)
        self._flags('dropout', 'train', called, node)
        if [path for path, _ in value.found] == ['chainer.using_config'] and (
                node.args and isinstance(node.args[0], ast.Constant)):
            key = str(node.args[0].value)
            self._member([('chainer.config', self.table.all)], key, node,
                         f"using_config('{key}', ...)")
        if classes and not function:
            if any(is_link(part) for part in named.values()):
                return Object(self.class_with(value, named))
            return Instance(tuple(classes.items()), text)
        return variable() if function else None

    def _flags(self, name: str, flag: str, called: table.Found, node: ast.Call) -> None:
        """Records a call without a flag that scripts for v1 would have passed."""
        if any(name in path.split('.')[2:3] for path in called) and (
                len(node.args) < 3 and flag not in given_by(node).names):
            self.hint(node, f'{name} without {flag}', self.table.since('2.0'))

    def class_with(self, base: Name, named: typing.Dict[str, Value]) -> Class:
        """Returns a class for ``chainer.Chain(l1=...)``, whose attributes are known."""
        made = Class(base.text, [base])
        for name, value in named.items():
            made.attributes.join(name, value)
        return made

    def _gives_variable(self, path: str) -> bool:
        """Returns whether this is a function of `chainer.functions`, not a method."""
        return path.startswith('chainer.functions.') and not any(
            entry.what.startswith('C')
            for entry in self.table.entries.get(path.rpartition('.')[0], ()))

    def _accepting(self, called: table.Found, node: ast.Call) -> int:
        accepted = 0
        for path, releases in called.items():
            for entry in self.table.entries[path]:
                if not entry.what.startswith('(') or table.takes(
                        entry.what, given_by(node)):
                    accepted |= entry.releases & releases
        return accepted

    def _check_arguments(self, called: table.Found, node: ast.Call, text: str) -> None:
        beyond = called.pop('', 0)  # releases whose arguments are unknown
        accepted = self._accepting(called, node) | beyond
        available = table.union(called) | beyond
        if not accepted & ~beyond or accepted == available:
            return
        # First each keyword alone; if that does not explain it, the number of
        # arguments.
        by_name = available
        for name in sorted(given_by(node).names):
            having, where = beyond, ''
            for path, releases in called.items():
                for entry in self.table.entries[path]:
                    if entry.what.startswith('(') and table.takes_name(
                            entry.what, name) and entry.releases & releases:
                        having |= entry.releases & releases
                        where = path
            if where and having != available:
                self.record(node, f'{text}({name}=...)', having, where, name)
                by_name &= having
        if by_name & ~accepted:
            self.record(
                node, f'{text} called with {describe_arguments(node)}', accepted,
                max(called, key=lambda p: called[p]), '()')


def describe_arguments(node: ast.Call) -> str:
    n = len(node.args)
    count = f'{n} argument{"s" * (n != 1)} in order'
    names = [keyword.arg for keyword in node.keywords if keyword.arg]
    return count + (f' and {", ".join(names)}' if names else '')
