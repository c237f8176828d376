"""docs/architecture.md is true: packages, levels, and who imports whom."""
import ast
import collections
import os
import re
import subprocess
import sys

from helpers import ROOT, TESTS
import pytest

DOCUMENT = os.path.join(ROOT, 'docs', 'architecture.md')


def levels():
    """{package: level} of the table, in its order."""
    with open(DOCUMENT, encoding='utf-8') as f:
        rows = re.findall(r'^\| (\d+) \| `(\w+)(?:/|\.py)` \|', f.read(), re.M)
    return {name: int(level) for level, name in rows}


def modules():
    """{module: path} of the whole package."""
    found = {}
    for folder, _, files in os.walk(os.path.join(ROOT, 'rnnlm')):
        for name in files:
            if name.endswith('.py'):
                path = os.path.join(folder, name)
                module = os.path.relpath(path, ROOT)[:-len('.py')].replace(os.sep, '.')
                found[module.removesuffix('.__init__')] = path
    return found


def imports(path, known):
    """The modules of this package that a file imports, wherever in it."""
    with open(path, encoding='utf-8') as f:
        tree = ast.parse(f.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f'{node.module}.{alias.name}'
                yield inner if inner in known else node.module


def package_of(module):
    return module.split('.')[1] if '.' in module else '__init__'


def test_every_package_is_in_the_table():
    here = os.listdir(os.path.join(ROOT, 'rnnlm'))
    assert set(levels()) == {
        name.removesuffix('.py') for name in here
        if not name.startswith('__') and (name.endswith('.py') or '.' not in name)
    } | {'__init__'}


def test_a_package_imports_only_from_lower_levels():
    level, known = levels(), modules()
    level['__main__'] = level['__init__']
    upward = [
        (module, other) for module, path in known.items()
        for other in imports(path, known)
        if package_of(other) != package_of(module)
        and level[package_of(other)] >= level[package_of(module)]]
    assert upward == []


def test_modules_import_each_other_in_one_direction():
    known = modules()
    # A package's own __init__ collects what its modules define.
    arrows = {module: {other for other in imports(path, known) if other != module}
              for module, path in known.items()}
    done, on_the_way = set(), []

    def visit(module):
        if module in on_the_way:
            pytest.fail(' -> '.join([*on_the_way, module]))
        if module not in done:
            on_the_way.append(module)
            for other in sorted(arrows[module]):
                visit(other)
            on_the_way.pop()
            done.add(module)

    for module in sorted(known):
        visit(module)


def test_a_run_on_the_cpu_imports_nothing_for_a_gpu(tmp_path):
    """Of CuPy only what Chainer itself looks for, whether it is installed."""
    script = '''
import sys
from helpers import extend, make_trainer, small, text
trainer = extend(make_trainer(small(), text(), sys.argv[1], stop=(2, 'iteration')))
trainer.run()
print([name for name in sys.modules if name.startswith('rnnlm.kernels.cuda')])
'''
    done = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path)], capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, TESTS])))
    assert done.stdout == '[]\n', done.stderr


@pytest.mark.parametrize('path', modules().values(), ids=modules())
def test_a_file_is_short(path):
    with open(path, encoding='utf-8') as f:
        assert len(f.readlines()) <= 400


@pytest.mark.parametrize('document', [
    'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md',
    'docs/architecture.md', 'docs/customising.md', 'docs/gpu.md', 'docs/layouts.md',
    'docs/legacy.md', 'docs/reliability.md', 'docs/scaling.md', 'docs/scoring.md',
    'docs/texts.md', 'docs/training.md',
    'benchmarks/RESULTS.md', 'examples/awd/README.md'])
def test_local_links_lead_somewhere(document):
    path = os.path.join(ROOT, document)
    with open(path, encoding='utf-8') as f:
        for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', f.read()):
            if not target.startswith('http'):
                assert os.path.exists(
                    os.path.join(os.path.dirname(path), target)), target


def test_files_of_tests_have_names_of_their_own():
    """Folders of tests are not packages: pytest cannot import two of one name."""
    names = collections.Counter(
        name for _, _, names in os.walk(TESTS) for name in names
        if name.startswith('test_') and name.endswith('.py'))
    assert max(names.values()) == 1, names.most_common(1)
