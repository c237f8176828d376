"""Evaluation of the expressions of a script, without running it."""
import ast
import typing

from rnnlm.legacy import project
from rnnlm.legacy.values import (
    Class, Function, Module, Object, Value, is_link, join, variable)


class Scope:
    """Names and values in a module, a class or a function."""

    def __init__(self, module: Module, names: typing.Dict[str, Value],
                 outer: typing.Optional['Scope'] = None,
                 of: typing.Union[Class, Function, None] = None) -> None:
        self.module = module
        self.names = names
        self.outer = outer
        self.of = of

    def get(self, name: str) -> typing.Tuple[bool, Value]:
        """Returns (whether the name exists, its value)."""
        scope: typing.Optional[Scope] = self
        while scope:
            if name in scope.names and (scope is self or not isinstance(
                    scope.of, Class)):
                return True, scope.names[name]
            scope = scope.outer
        return False, None

    def owner(self) -> typing.Optional[Class]:
        """Returns the class whose method contains this scope, or None."""
        scope: typing.Optional[Scope] = self
        while scope:
            if isinstance(scope.of, Function) and scope.of.owner:
                return scope.of.owner
            scope = scope.outer
        return None


class Expressions:
    """Evaluator of expressions; `Reader` interprets the names of Chainer.

    Args:
        of (Project): Finds the script's own modules.
    """

    scope: Scope        # of the statement being read
    recording = False   # true only in the last pass

    def __init__(self, of: project.Project) -> None:
        self.project = of
        self.modules: typing.Dict[str, Module] = {}
        self.functions: typing.Dict[int, Function] = {}
        self.classes: typing.Dict[int, Class] = {}
        self.waiting: typing.List[Function] = []
        self.stored: typing.Set[str] = set()
        self.guards = 0
        self.guarding: typing.Set[str] = set()
        self.calls_forward = False

    # Implemented by `Reader`.

    def attribute(self, value: Value, name: str, node: ast.AST, text: str) -> Value:
        raise NotImplementedError

    def call(self, value: Value, node: ast.Call, text: str,
             given: typing.List[Value], named: typing.Dict[str, Value]) -> Value:
        raise NotImplementedError

    def hint(self, node: ast.AST, text: str, preferred: int) -> None:
        raise NotImplementedError

    def sets(self, owner: Object, target: ast.Attribute) -> None:
        raise NotImplementedError

    def old(self) -> int:
        """Returns the releases of Chainer v1."""
        raise NotImplementedError

    # Implemented by `Statements`.

    def children(self, node: ast.AST) -> None:
        raise NotImplementedError

    # Expressions.

    def value(self, node: ast.expr) -> Value:
        """Returns the value of an expression; None if it is unknown."""
        method = getattr(self, f'expression_{type(node).__name__}', None)
        if method:
            return method(node)
        self.children(node)
        return None

    def expression_Name(self, node: ast.Name) -> Value:
        known, value = self.scope.get(node.id)
        if known:
            return value
        for star in self.scope.module.stars:
            found = self.attribute(star, node.id, node, node.id)
            if found is not None:
                return found
        return None

    def expression_Attribute(self, node: ast.Attribute) -> Value:
        owner = self.value(node.value)
        return self.attribute(owner, node.attr, node, ast.unparse(node))

    def expression_Call(self, node: ast.Call) -> Value:
        folder = project.added_folder(node, self.scope.module.path)
        if folder is not None:
            self.project.add_folder(folder)
        if isinstance(node.func, ast.Name) and node.func.id == 'super':
            owner = self.scope.owner()
            if not node.args:
                self.hint(node, 'super() without arguments', 0)
            return Object(Class('super', owner.bases)) if owner else None
        called = self.value(node.func)
        given = [self.value(arg) for arg in node.args]
        named = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg:
                named[keyword.arg] = value
        self.links_of(node, named)
        return self.call(called, node, ast.unparse(node.func), given, named)

    def links_of(self, node: ast.Call, named: typing.Dict[str, Value]) -> None:
        """Registers children that a call adds, as ``super().__init__(l1=...)`` does."""
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in (
                '__init__', 'add_link', 'add_param', 'add_persistent'):
            return
        owner = self.quietly(node.func.value)
        made = owner.of if isinstance(owner, Object) else None
        if node.func.attr == '__init__':
            inside = self.scope.owner()
            if inside and any(is_link(value) for value in named.values()):
                for name, value in named.items():
                    inside.attributes.join(name, value)
                self.hint(node, 'links as arguments of __init__', self.old())
        elif made and node.args and isinstance(node.args[0], ast.Constant):
            value = self.quietly(node.args[1]) if node.args[1:] else None
            made.attributes.join(str(node.args[0].value), value)

    def expression_Subscript(self, node: ast.Subscript) -> Value:
        value = self.value(node.value)
        self.children(node.slice)
        return value if value == variable() else None

    def expression_BinOp(self, node: ast.BinOp) -> Value:
        sides = self.value(node.left), self.value(node.right)
        return variable() if variable() in sides else None

    def expression_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        return value if value == variable() else None

    def expression_IfExp(self, node: ast.IfExp) -> Value:
        guard = self.is_guard(node.test)
        self.guards += guard
        self.value(node.test)
        value = join(self.value(node.body), self.value(node.orelse))
        self.guards -= guard
        return value

    def expression_BoolOp(self, node: ast.BoolOp) -> Value:
        guard = self.is_guard(node)
        self.guards += guard
        for part in node.values:
            self.value(part)
        self.guards -= guard
        return None

    def expression_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        self.assign(node.target, value)
        return value

    def expression_Lambda(self, node: ast.Lambda) -> Value:
        arguments = node.args
        names: typing.Dict[str, Value] = {
            arg.arg: None for arg in (*arguments.posonlyargs, *arguments.args,
                                      *arguments.kwonlyargs,
                                      *filter(None, (arguments.vararg,
                                                     arguments.kwarg)))}
        before = self.scope
        self.scope = Scope(before.module, names, before)
        self.value(node.body)
        self.scope = before
        return None

    def expression_ListComp(self, node: typing.Any) -> Value:
        before = self.scope
        self.scope = Scope(before.module, {}, before)
        for part in node.generators:
            self.assign(part.target, self.element(part.iter))
            for condition in part.ifs:
                self.value(condition)
        for part in ([node.key, node.value] if isinstance(node, ast.DictComp)
                     else [node.elt]):
            self.value(part)
        self.scope = before
        return None

    def expression_JoinedStr(self, node: ast.JoinedStr) -> Value:
        self.hint(node, 'an f-string', 0)
        self.children(node)
        return None

    expression_SetComp = expression_GeneratorExp = expression_ListComp
    expression_DictComp = expression_ListComp

    def assign(self, target: ast.AST, value: Value, nothing: bool = False) -> None:
        if isinstance(target, ast.Name):
            self.scope.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            part = value if value == variable() else None
            for one in target.elts:
                self.assign(one, part)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, None)
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value)
            if isinstance(owner, Object):
                self.sets(owner, target)
                if not nothing:
                    owner.of.attributes.join(target.attr, value)
            else:
                self.attribute(owner, target.attr, target, ast.unparse(target))
        else:
            self.children(target)

    def is_guard(self, test: ast.AST) -> bool:
        """Returns whether a condition checks the version of Chainer."""
        for node in ast.walk(test):
            if isinstance(node, ast.Attribute) and node.attr == '__version__' and (
                    'chainer' in ast.unparse(node)):
                return True
            if isinstance(node, ast.Name) and node.id in self.guarding | {'hasattr'}:
                return True
        return False

    def element(self, node: ast.expr) -> Value:
        """Returns the value that a loop over an expression iterates over."""
        value = self.value(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and (
                node.func.attr == 'params' and is_link(self.quietly(node.func.value))):
            return variable()
        return value if value == variable() else None

    def quietly(self, node: ast.expr) -> Value:
        """Returns a value without recording it, because it was recorded before."""
        recording, self.recording = self.recording, False
        value = self.value(node)
        self.recording = recording
        return value
