"""What `import rnnlm` gives: the public names, documented and annotated, no others."""
import ast
import dataclasses
import glob
import inspect
import os
import subprocess
import sys
import types
import typing

from helpers import ROOT
import pytest

import rnnlm


def public():
    return {name: getattr(rnnlm, name) for name in rnnlm.__all__}


def code():
    """The functions and classes among the public names."""
    return {name: thing for name, thing in public().items() if callable(thing)}


def functions_of(thing):
    """What of a function or a class a caller calls: {name: function}."""
    if not isinstance(thing, type):
        return {thing.__name__: thing}
    found = {}
    for name, member in vars(thing).items():
        member = getattr(member, '__func__', getattr(member, 'fget', member))
        if isinstance(member, types.FunctionType) and (
                not name.startswith('_') or name in ('__init__', '__call__')):
            found[name] = member
    if dataclasses.is_dataclass(thing):
        for made in '__init__', '__repr__', '__setattr__':
            found.pop(made, None)
    return found


def unannotated(function):
    """The arguments without a type, and 'return'."""
    given = typing.get_type_hints(function)
    wanted = list(inspect.signature(function).parameters)
    if wanted[:1] in (['self'], ['cls']):
        del wanted[0]
    return [name for name in [*wanted, 'return'] if name not in given]


def test_dir_is_all():
    assert rnnlm.__all__ == sorted(rnnlm.__all__)
    shown = {name for name in dir(rnnlm) if not name.startswith('__')}
    assert shown == set(rnnlm.__all__)
    assert {'__version__', '__doc__', '__all__'} <= set(dir(rnnlm))


def test_nothing_else_is_there_but_packages():
    # By itself: other tests import more of it.
    found = subprocess.run(
        [sys.executable, '-c', 'import rnnlm, types\n'
         'for name, value in vars(rnnlm).items():\n'
         '    inner = isinstance(value, types.ModuleType) and (\n'
         '        value.__name__ == "rnnlm." + name)\n'
         '    if not name.startswith("_") and name not in rnnlm.__all__:\n'
         '        print(name, "package" if inner else "leaks")'],
        env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True, text=True,
        check=True).stdout
    assert 'training package' in found and 'leaks' not in found, found


def test_packages_are_not_hidden_by_functions():
    for name in os.listdir(os.path.join(ROOT, 'rnnlm')):
        module = name.removesuffix('.py')
        if not name.startswith('_') and ('.' not in name or module != name):
            assert module not in rnnlm.__all__ or isinstance(
                getattr(rnnlm, module), types.ModuleType), module


@pytest.mark.parametrize('name', rnnlm.__all__)
def test_is_documented(name):
    thing = getattr(rnnlm, name)
    if name == 'PRESETS':  # an object of a type with a docstring of its own
        assert all(isinstance(one, rnnlm.Recipe) for one in thing.values())
        return
    lines = thing.__doc__.splitlines()
    assert lines[0].strip().endswith('.') and len(lines[0]) < 90
    assert len(lines) == 1 or not lines[1].strip()


@pytest.mark.parametrize('name', code())
def test_is_annotated(name):
    missing = {inner: unannotated(function)
               for inner, function in functions_of(getattr(rnnlm, name)).items()}
    assert not any(missing.values()), missing


@pytest.mark.parametrize('name', code())
def test_public_methods_are_documented(name):
    for inner, function in functions_of(getattr(rnnlm, name)).items():
        if not inner.startswith('_') and inner not in INHERITED:
            assert function.__doc__, inner


# Methods that Chainer documents where it calls them.
INHERITED = {'serialize', 'initialize', 'finalize', 'evaluate', 'update_core',
             'get_training_length'}


@pytest.mark.parametrize('name', code())
def test_arguments_are_described(name):
    """Each argument of a function or class stands in its docstring, by its name."""
    thing = getattr(rnnlm, name)
    if dataclasses.is_dataclass(thing):
        names = [field.name for field in dataclasses.fields(thing)]
    elif isinstance(thing, type) and '__init__' not in vars(thing):
        return
    else:
        names = [p.name for p in inspect.signature(thing).parameters.values()
                 if p.name not in ('args', 'kwargs')]
    doc = inspect.getdoc(thing)
    assert [n for n in names if f'{n}:' not in doc and f'{n} (' not in doc
            and f'{n},' not in doc and f', {n}' not in doc] == []


@pytest.mark.parametrize('path', sorted(glob.glob(
    os.path.join(ROOT, 'examples', '*', '*.py'))))
def test_examples_use_public_names_alone(path):
    with open(path, encoding='utf-8') as f:
        tree = ast.parse(f.read())
    packages = {name for name, thing in public().items()
                if isinstance(thing, types.ModuleType)}
    inner = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            inner += [alias.name for alias in node.names
                      if alias.name.startswith('rnnlm.')]
        elif isinstance(node, ast.ImportFrom) and node.module.split('.')[0] == 'rnnlm':
            owner = node.module.partition('.')[2]
            assert not owner or owner in packages, node.module
            names = getattr(rnnlm, owner).__all__ if owner else rnnlm.__all__
            inner += [alias.name for alias in node.names if alias.name not in names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == 'rnnlm' and node.attr not in rnnlm.__all__:
                inner.append(node.attr)
            if node.value.id in packages and node.attr not in getattr(
                    rnnlm, node.value.id).__all__:
                inner.append(f'{node.value.id}.{node.attr}')
    assert inner == []
