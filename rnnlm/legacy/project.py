"""The script's own modules: the files that its imports lead to."""
import ast
import os
import typing

Module = typing.Tuple[str, typing.Optional[str]]  # dotted name, file if it has one


class Project:
    """Finder of the modules that a script imports from its own folders.

    Args:
        path (str): The script.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        folder = os.path.dirname(self.path)
        self.folders = [folder]
        for name in os.environ.get('PYTHONPATH', '').split(os.pathsep):
            self.add_folder(name)

    def add_folder(self, name: str) -> None:
        """Adds a folder, as ``sys.path.append(name)`` does.

        A relative name is looked up in the working directory and the script's folder.
        """
        for start in os.getcwd(), os.path.dirname(self.path):
            folder = os.path.normpath(os.path.join(start, name))
            if name and os.path.isdir(folder) and folder not in self.folders:
                self.folders.append(folder)

    def find(self, name: str, at: typing.Optional[str] = None) -> typing.Optional[str]:
        """Returns the file of a module, or a package's folder; None if not found.

        Args:
            name: Dotted name.
            at: Folder to search instead of those of ``sys.path``.
        """
        for folder in [at] if at else self.folders:
            path = os.path.join(folder, *name.split('.'))
            if os.path.isfile(path + '.py'):
                return path + '.py'
            if os.path.isfile(os.path.join(path, '__init__.py')):
                return os.path.join(path, '__init__.py')
            if os.path.isdir(path) and any(
                    entry.endswith('.py') or os.path.isdir(os.path.join(path, entry))
                    for entry in os.listdir(path)):
                return path
        return None


def relative_to(path: str, level: int) -> str:
    """Returns the folder that `level` dots in a relative import refer to."""
    for _ in range(level):
        path = os.path.dirname(path)
    return path


def added_folder(node: ast.Call, path: str) -> typing.Optional[str]:
    """Returns the folder added by ``sys.path.append(...)`` or ``insert``, or None."""
    called = ast.unparse(node.func)
    if called in ('sys.path.append', 'sys.path.insert', 'site.addsitedir',
                  'path.append', 'path.insert') and node.args:
        try:
            return _text(node.args[-1], path)
        except ValueError:
            return None
    return None


def _text(node: ast.AST, path: str) -> str:
    """Evaluates an expression of constants, ``os.path`` and ``__file__``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name) and node.id == '__file__':
        return path
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
        left, right = _text(node.left, path), _text(node.right, path)
        return left + right if isinstance(node.op, ast.Add) else os.path.join(
            left, right)
    if isinstance(node, ast.Attribute):
        if node.attr == 'parent':
            return os.path.dirname(_text(node.value, path))
        named = {'pardir': os.pardir, 'curdir': os.curdir, 'sep': os.sep}
        if node.attr in named:
            return named[node.attr]
    if isinstance(node, ast.Call):
        name = (node.func.attr if isinstance(node.func, ast.Attribute)
                else getattr(node.func, 'id', ''))
        if name == 'getcwd':
            return os.getcwd()
        if name == 'resolve' and isinstance(node.func, ast.Attribute):
            return _text(node.func.value, path)
        values = [_text(arg, path) for arg in node.args]
        if name in ('join', 'dirname', 'abspath', 'realpath', 'normpath', 'expanduser',
                    'split') and values:
            if name == 'split':
                return os.path.split(values[0])[0]
            return getattr(os.path, name)(*values)
        if name in ('str', 'Path') and values:
            return values[0]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
        return _text(node.value, path)  # os.path.split(...)[0]
    raise ValueError('not a constant')
