"""Abstract interpretation of a script, statement by statement."""
import ast
import os
import typing

from rnnlm.legacy import project
from rnnlm.legacy.expressions import Expressions, Scope
from rnnlm.legacy.values import (
    FOREIGN, Class, Function, Module, Name, Object, Value, join, variable)

GUARDS = {'ImportError', 'ModuleNotFoundError', 'AttributeError', 'NameError',
          'TypeError'}


class Statements(Expressions):
    """Reader of statements; `Reader` interprets the names of Chainer."""

    def read_all(self, path: str) -> None:
        """Reads the script, what it imports, then every function, in one pass."""
        self.modules.clear()
        self.module(path)
        while self.waiting:
            self.run_function(self.waiting.pop(0))
        for function in self.functions.values():
            function.given.turn()
            function.returned.turn()
        for made in self.classes.values():
            made.attributes.turn()

    # Implemented by `Reader`.

    def tree_of(self, path: str) -> typing.Optional[ast.Module]:
        raise NotImplementedError

    def chainer_module(self, name: str, node: ast.AST) -> Value:
        raise NotImplementedError

    def overrides(self, made: Class, name: str, node: typing.Any) -> None:
        raise NotImplementedError

    # Modules.

    def module(self, path: str) -> Module:
        """Returns one of the script's own modules, reading it on first import."""
        if path in self.modules:
            return self.modules[path]
        made = self.modules[path] = Module(path)
        tree = self.tree_of(path) if path.endswith('.py') else None
        if tree:
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(
                        node.ctx, ast.Store) and not (
                        isinstance(node.value, ast.Name) and node.value.id == 'self'):
                    self.stored.add(node.attr)
            before = getattr(self, 'scope', None)
            self.scope = Scope(made, made.names)
            guards, self.guards = self.guards, 0
            self.body(tree.body)
            self.guards = guards
            if before:
                self.scope = before
        return made

    def of_module(self, module: Module, name: str) -> Value:
        if name in module.names:
            return module.names[name]
        for star in module.stars:
            found = self.attribute(star, name, ast.Constant(0, lineno=1), name)
            if found is not None:
                return found
        if os.path.basename(module.path) == '__init__.py' or os.path.isdir(module.path):
            folder = project.relative_to(module.path, int(not os.path.isdir(
                module.path)))
            path = self.project.find(name, folder)
            return self.module(path) if path else None
        return None

    def import_name(self, name: str, node: ast.AST, folder: typing.Optional[str] = None
                    ) -> typing.Tuple[Value, Value]:
        """Returns the values of a dotted name and of its first part."""
        first, *rest = name.split('.')
        # A module in the script's folder takes precedence over an installed one.
        path = self.project.find(first, folder)
        if first == 'chainer' and path and os.path.dirname(
                path).rstrip('/') not in (self.project.folders[0],
                                          os.path.join(self.project.folders[0], first)):
            path = None
        if path is None or first == 'rnnlm':
            if first != 'chainer':
                return FOREIGN, FOREIGN
            top = self.chainer_module(first, node)
            return (self.chainer_module(name, node) if rest else top), top
        top = self.module(path)
        value: Value = top
        for part in rest:
            value = self.of_module(value, part) if isinstance(value, Module) else None
        return value, top

    def statement_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            value, top = self.import_name(alias.name, node)
            if alias.asname:
                self.scope.names[alias.asname] = value
            else:
                self.scope.names[alias.name.split('.')[0]] = top

    def statement_ImportFrom(self, node: ast.ImportFrom) -> None:
        folder = None
        if node.level:
            folder = project.relative_to(self.scope.module.path, node.level)
        if node.module:
            value, _ = self.import_name(node.module, node, folder)
        else:
            value = Module(os.path.join(folder or '', '__init__.py'))
        for alias in node.names:
            if alias.name == '*':
                if isinstance(value, Module):
                    self.scope.names.update(value.names)
                    self.scope.module.stars += value.stars
                elif value is not None:
                    self.scope.module.stars.append(value)
                continue
            found = (FOREIGN if value is FOREIGN else None if value is None else
                     self.attribute(value, alias.name, node,
                                    f'{node.module}.{alias.name}'))
            if isinstance(found, Name) and isinstance(value, Name):
                found = Name(found.found, alias.name)
            self.scope.names[alias.asname or alias.name] = found

    # Statements.

    def body(self, statements: typing.Sequence[ast.stmt]) -> bool:
        """Reads statements; returns whether the code after them is unreachable."""
        for node in statements:
            method = getattr(self, f'statement_{type(node).__name__}', None)
            state = self.scope, self.guards, self.recording
            try:
                (method or self.children)(node)
            except RecursionError:  # expression nested too deeply
                self.scope, self.guards, self.recording = state
            if isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break)):
                return True
        return False

    def children(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            elif isinstance(child, ast.stmt):
                self.body([child])
            else:
                self.children(child)

    def statement_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        nothing = isinstance(node.value, ast.Constant) and node.value.value is None
        if self.is_guard(node.value):
            self.guarding.update(
                target.id for target in node.targets if isinstance(target, ast.Name))
        for target in node.targets:
            if isinstance(target, (ast.Tuple, ast.List)) and isinstance(
                    node.value, (ast.Tuple, ast.List)) and len(target.elts) == len(
                    node.value.elts):
                for one, given in zip(target.elts, node.value.elts):
                    self.assign(one, self.value(given))
            else:
                self.assign(target, value, nothing)

    def statement_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.assign(node.target, self.value(node.value) if node.value else None)

    def statement_AugAssign(self, node: ast.AugAssign) -> None:
        value = self.value(node.value)
        if isinstance(node.target, ast.Name):
            before = self.scope.get(node.target.id)[1]
            self.scope.names[node.target.id] = (
                variable() if variable() in (before, value) else None)
        else:
            self.children(node.target)

    def statement_If(self, node: ast.If) -> None:
        guard = self.is_guard(node.test)
        self.guards += guard
        self.value(node.test)
        self.branches([node.body, node.orelse])
        self.guards -= guard

    def branches(self, bodies: typing.Sequence[typing.Sequence[ast.stmt]]) -> None:
        """Reads alternative branches, and joins the values of names after them."""
        before = dict(self.scope.names)
        ends = []
        for body in bodies:
            self.replace_names(before)
            if not self.body(body):
                ends.append(dict(self.scope.names))
        merged = ends[0] if ends else before
        for other in ends[1:]:
            for name, value in other.items():
                merged[name] = join(merged[name], value) if name in merged else value
        self.replace_names(merged)

    def replace_names(self, names: typing.Dict[str, Value]) -> None:
        kept = dict(names)
        self.scope.names.clear()
        self.scope.names.update(kept)

    def statement_Try(self, node: ast.Try) -> None:
        caught = {part.id for handler in node.handlers
                  for part in ast.walk(handler.type or ast.Name('TypeError'))
                  if isinstance(part, ast.Name)}
        # Names used below `try: ... except ImportError` may be missing, so they are no
        # evidence.
        guard = bool(caught & GUARDS) or ('Exception' in caught and len(node.body) < 4)
        self.guards += guard
        self.branches([node.body + node.orelse, *(
            handler.body for handler in node.handlers)])
        self.guards -= guard
        self.body(node.finalbody)

    def statement_For(self, node: ast.For) -> None:
        self.assign(node.target, self.element(node.iter))
        self.branches([node.body, []])
        self.body(node.orelse)

    def statement_While(self, node: ast.While) -> None:
        self.value(node.test)
        self.branches([node.body, []])
        self.body(node.orelse)

    def statement_With(self, node: ast.With) -> None:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars:
                self.assign(item.optional_vars, value)
        self.body(node.body)

    def statement_Return(self, node: ast.Return) -> None:
        if node.value and not isinstance(node.value, ast.Constant):
            value = self.value(node.value)
            if isinstance(self.scope.of, Function):
                self.scope.of.returned.join('', value)

    # Functions and classes.

    def statement_FunctionDef(self, node: typing.Any) -> None:
        for part in (*node.decorator_list, *node.args.defaults,
                     *filter(None, node.args.kw_defaults)):
            self.value(part)
        if any(arg.arg == 'use_cudnn' for arg in node.args.args):
            self.hint(node, 'an argument use_cudnn', self.old())
        owner = self.scope.of if isinstance(self.scope.of, Class) else None
        function = self.functions.setdefault(id(node), Function(node, None, owner))
        function.scope = self.scope
        self.waiting.append(function)
        is_value = any(isinstance(part, ast.Name) and part.id == 'property'
                       for part in node.decorator_list)
        self.scope.names[node.name] = None if is_value else function

    statement_AsyncFunctionDef = statement_FunctionDef

    def statement_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [self.value(base) for base in node.bases]
        made = self.classes.setdefault(id(node), Class(node.name, bases))
        # A class can be its own base if names are rebound; this avoids infinite loops.
        made.bases = [base for base in bases if base is not made]
        if any(path in ('chainer.Chain', 'chainer.ChainList', 'chainer.Link')
               for base in made.of_chainer() for path, _ in base.found):
            self.hint(node, 'a chain without init_scope', self.old())
        before = self.scope
        self.scope = Scope(before.module, {}, before, made)
        self.body(node.body)
        made.defined.update(self.scope.names)
        for name, value in self.scope.names.items():
            made.attributes.join(name, value)
            if isinstance(value, Function):
                self.overrides(made, name, value.node)
        self.scope = before
        self.scope.names[node.name] = made

    def run_function(self, function: Function) -> None:
        before = self.scope
        node = function.node
        names: typing.Dict[str, Value] = {}
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for arg in arguments:
            names[arg.arg] = function.given.known.get(arg.arg)
        for arg in (node.args.vararg, node.args.kwarg):
            if arg:
                names[arg.arg] = None
        if function.owner and arguments:
            names[arguments[0].arg] = Object(function.owner)
        self.scope = Scope(function.scope.module, names, function.scope, function)
        self.body(node.body)
        self.scope = before

    def give(self, function: Function, given: typing.List[Value],
             named: typing.Dict[str, Value]) -> None:
        """Records the values that a call passes to a function's arguments."""
        names = [arg.arg for arg in function.node.args.args]
        if function.owner and not function.node.decorator_list:
            names = names[1:]
        for name, value in (*zip(names, given), *named.items()):
            function.given.join(name, value)
