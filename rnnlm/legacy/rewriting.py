"""Rewriting of old scripts for today's Python: small changes of their syntax tree.

Applied to a script and to the modules in its own folders, but not to libraries:

- in a generator, StopIteration ends it, as until Python 3.6 (PEP 479);
- `float(x)`, `int(x)`, functions of `math` and `'%f' % x` accept an array of one
  element, as until NumPy 2.3;
- methods removed from arrays (`x.ptp()`) are found;
- functions imported from the module of Chainer that defines them are those of
  `chainer.functions`, which have the arguments of the script's release.

Everything else, including line numbers, stays the same.
"""
import ast
import builtins
import functools
import importlib.machinery
import math
import os
import site
import sys
import sysconfig
import types

import numpy

from rnnlm.legacy import numpy_1, python_3

HELPERS = '__rnnlm_legacy__'  # name of this module among the builtins
METHODS = {*numpy_1.METHODS, *(name for names in python_3.METHODS.values()
                               for name in names)}
OURS = {'rnnlm', 'chainer', 'chainermn', 'cupy', 'cupyx'}
FUNCTIONS = 'chainer.functions'
NUMBERS = {'float', 'int', 'complex', 'long'}  # functions that take numbers
ONE_ELEMENT_IS_NO_NUMBER = tuple(map(int, numpy.__version__.split('.')[:2])) >= (1, 25)


# Functions called by the rewritten code ---------------------------------------------

def number(function, *args):
    """Calls a function of numbers, converting arrays of one element to numbers."""
    return function(*map(_single, args))


def _single(value):
    if isinstance(value, numpy.ndarray) and value.ndim and value.size == 1:
        return value.reshape(())[()]
    return value


def percent(text, values):
    """Computes ``text % values``, where arrays of one element are also numbers."""
    if isinstance(values, tuple):
        return text % tuple(map(_printed, values))
    if type(values) is dict:
        return text % {name: _printed(value) for name, value in values.items()}
    return text % _printed(values)


def _printed(value):
    if isinstance(value, numpy.ndarray) and value.ndim and value.size == 1:
        return _Printed(value)
    return value


class _Printed:
    """Array of one element that is a number to %f and an array to %s."""

    def __init__(self, array):
        self._array = array

    def __float__(self):
        return float(_single(self._array))

    def __int__(self):
        return int(_single(self._array))

    def __str__(self):
        return str(self._array)

    def __repr__(self):
        return repr(self._array)


def attribute(owner, name):
    """Returns ``owner.name``, also for a method that its type no longer has."""
    try:
        return getattr(owner, name)
    except AttributeError:
        if isinstance(owner, (numpy.ndarray, numpy.generic)):
            methods = numpy_1.METHODS
        else:
            methods = python_3.METHODS.get(type(owner), {})
        if name not in methods:
            raise
    return functools.partial(methods[name], owner)


def generator(values):
    """Yields from a generator expression, which StopIteration ends."""
    try:
        yield from values
    except RuntimeError as e:
        if not isinstance(e.__cause__, StopIteration):
            raise


def served(value):
    """Returns the function of `chainer.functions` for the one that defines it.

    For a module of such functions, returns a module with them.  Chainer itself uses
    the functions as they are.
    """
    functions = sys.modules[FUNCTIONS]
    if isinstance(value, types.ModuleType):
        names = {name: served(given) for name, given in vars(value).items()
                 if isinstance(given, types.FunctionType)
                 and given.__module__ == value.__name__}
        if all(vars(value)[name] is given for name, given in names.items()):
            return value
        found = types.ModuleType(value.__name__, value.__doc__)
        vars(found).update(vars(value), **names)
        return found
    if isinstance(value, types.FunctionType):
        return vars(functions).get(value.__name__, value)
    return value


# The syntax tree -------------------------------------------------------------------

def rewrite(tree):
    """Rewrites the tree of a module in place, and returns it."""
    # Such a module asked for PEP 479, so its generators must not be changed.
    if any(isinstance(node, ast.ImportFrom) and node.module == '__future__'
           and any(alias.name == 'generator_stop' for alias in node.names)
           for node in tree.body):
        return tree
    setattr(builtins, HELPERS, sys.modules[__name__])
    return ast.fix_missing_locations(_Rewriter(*_of_numbers(tree)).visit(tree))


def _of_numbers(tree):
    """Returns what takes numbers: names, and {name of a module: attributes, or None}.

    None stands for all attributes.
    """
    names, modules = set(NUMBERS), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in ('math', 'numpy'):
                    modules[alias.asname or alias.name] = (
                        None if alias.name == 'math' else NUMBERS)  # numpy.float
        elif isinstance(node, ast.ImportFrom) and node.module == 'math':
            for alias in node.names:
                names.update(dir(math) if alias.name == '*'
                             else [alias.asname or alias.name])
    return names, modules


class _Rewriter(ast.NodeTransformer):

    def __init__(self, names, modules):
        self._names, self._modules = names, modules

    def visit_Import(self, node):
        return self._served(node, [alias.asname for alias in node.names if alias.asname
                                   and alias.name.startswith(FUNCTIONS + '.')])

    def visit_ImportFrom(self, node):
        below = not node.level and (node.module or '').startswith(FUNCTIONS + '.')
        return self._served(node, [alias.asname or alias.name for alias in node.names
                                   if below and alias.name != '*'])

    def _served(self, node, names):
        """Returns an import, and assignments that pass its names to `served`."""
        return [node, *(ast.copy_location(ast.Assign(
            [ast.copy_location(ast.Name(name, ast.Store()), node)],
            _call('served', node, ast.Name(name, ast.Load()))), node)
            for name in names)]

    def visit_FunctionDef(self, node):
        own = list(_own_nodes(node))
        self.generic_visit(node)
        manages = any('contextmanager' in ast.dump(decorator)
                      for decorator in node.decorator_list)
        if not manages and any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in own):
            _end_at_stop(node)
        return node

    def visit_GeneratorExp(self, node):
        self.generic_visit(node)
        if any(isinstance(n, ast.Call) and getattr(
                n.func, 'id', getattr(n.func, 'attr', '')) in ('next', '__next__')
                for n in ast.walk(node)):
            return _call('generator', node, node)
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        if ONE_ELEMENT_IS_NO_NUMBER and self._takes_numbers(node.func) and (
                not node.keywords and not all(
                    isinstance(arg, ast.Constant) for arg in node.args)):
            return _call('number', node, node.func, *node.args)
        return node

    def _takes_numbers(self, function):
        """Returns whether a called expression is a function of numbers by its name."""
        if isinstance(function, ast.Name):
            return function.id in self._names
        owner = getattr(getattr(function, 'value', None), 'id', None)
        return isinstance(function, ast.Attribute) and owner in self._modules and (
            self._modules[owner] is None or function.attr in self._modules[owner])

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load) and node.attr in METHODS:
            return _call('attribute', node, node.value, ast.Constant(node.attr))
        return node

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if ONE_ELEMENT_IS_NO_NUMBER and isinstance(node.op, ast.Mod) and isinstance(
                getattr(node.left, 'value', None), str):
            return _call('percent', node, node.left, node.right)
        return node


def _own_nodes(function):
    """Yields the nodes of a function's body, except those of inner functions."""
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda,
                                 ast.ClassDef, ast.GeneratorExp)):
            waiting.extend(ast.iter_child_nodes(node))


def _end_at_stop(function):
    """Wraps a generator's body in `try: ... except StopIteration: return`."""
    body = function.body
    start = 1 if ast.get_docstring(function, clean=False) is not None else 0
    if not body[start:]:
        return
    stop = '__rnnlm_stop__'
    # Parsed from text, which is shorter than building the nodes.
    caught = ast.parse(f'try: pass\nexcept StopIteration as {stop}: '
                       f'return {stop}.value').body[0]
    for node in ast.walk(caught):
        if hasattr(node, 'lineno'):
            ast.copy_location(node, body[start])
    caught.body = body[start:]
    function.body = [*body[:start], caught]


def _call(helper, place, *args):
    """Returns a node that calls a function of this module."""
    function = ast.Attribute(ast.Name(HELPERS, ast.Load()), helper, ast.Load())
    call = ast.copy_location(ast.Call(function, list(args), []), place)
    for node in (function, function.value, *args):
        if not hasattr(node, 'lineno'):
            ast.copy_location(node, place)
    return call


# The script's own modules ---------------------------------------------------------

class Finder:
    """Import finder for the user's modules, but not for libraries."""

    def __init__(self):
        libraries = [sysconfig.get_path(name) for name in
                     ('stdlib', 'platstdlib', 'purelib', 'platlib')]
        libraries += [site.getusersitepackages()]
        self._libraries = tuple(os.path.realpath(path) + os.sep for path in libraries)

    def is_users(self, module, path):
        """Returns whether a module is the user's own."""
        return module.split('.')[0] not in OURS and os.path.isfile(path) and (
            not os.path.realpath(path).startswith(self._libraries))

    def find_spec(self, fullname, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec and type(spec.loader) is importlib.machinery.SourceFileLoader and (
                self.is_users(fullname, spec.origin)):
            spec.loader = _Loader(fullname, spec.loader.path)
            return spec
        return None


class _Loader(importlib.machinery.SourceFileLoader):
    """Loader that runs rewritten source; the file and its .pyc are not changed."""

    def get_code(self, fullname):
        tree = ast.parse(self.get_data(self.path), self.path)
        return compile(rewrite(tree), self.path, 'exec', dont_inherit=True)


def install():
    """Makes the modules that a script imports be rewritten."""
    sys.meta_path.insert(0, Finder())
