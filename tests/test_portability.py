"""Nothing needs POSIX: tested without the features that Windows lacks."""
import ast
import os
import subprocess
import sys

import pytest

import without_posix

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What a module may ask for that is not installed.
OPTIONAL = {'cupy', 'cupyx', 'mpi4py', 'h5py', 'onnx', 'torch', 'matplotlib',
            'llvmlite'}

IMPORT_ALL = f'''
import importlib, pkgutil
import rnnlm
for module in pkgutil.walk_packages(rnnlm.__path__, 'rnnlm.'):
    if not module.name.endswith('.__main__'):
        try:
            importlib.import_module(module.name)
        except ImportError as e:
            if (e.name or '').partition('.')[0] not in {OPTIONAL}:
                raise
'''

# A run, one that goes on with it, one that Ctrl-C stops, and what uses its model.
TRAIN = '''
import os, signal
import numpy
import rnnlm.app.cli
from rnnlm import BPTTUpdater

with open('story.txt', 'w', encoding='utf-8', newline='\\n') as f:
    f.write('the cat sat on the mat .\\nthe dog saw the cat .\\n' * 40)

def rnnlm_(*args, status=0):
    assert rnnlm.app.cli.main(args) == status, args

def train(out, epochs, *args, status=0):
    rnnlm_('train', '--corpus', 'story.txt', '--unit', '8', '--batchsize', '4',
           '--bproplen', '5', '--epoch', str(epochs), '--out', out, *args,
           status=status)

train('one', 2)
train('two', 1)
train('two', 2, '--resume')
with numpy.load('one/model.npz') as a, numpy.load('two/model.npz') as b:
    for name in a.files:
        numpy.testing.assert_array_equal(a[name], b[name])

# In the background of a shell it would be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
update = BPTTUpdater.update
def interrupted(self):
    update(self)
    if self.iteration == 3:
        signal.raise_signal(signal.SIGINT)
BPTTUpdater.update = interrupted
train('three', 2, status=128 + signal.SIGINT)
BPTTUpdater.update = update
assert os.path.exists('three/snapshot_iter_3')
train('three', 2, '--resume')
train('three', 1, '--overwrite')
rnnlm_('evaluate', 'one')
rnnlm_('generate', 'one', '--length', '3')
rnnlm_('score', 'one', 'story.txt')
rnnlm_('inspect', 'one/model.npz')
rnnlm_('convert', 'one', 'model.safetensors')
'''


@pytest.mark.parametrize('source', [IMPORT_ALL, TRAIN], ids=['import', 'train'])
def test_without_posix(tmp_path, source):
    script = tmp_path / 'script.py'
    script.write_text(source, encoding='utf-8')
    result = subprocess.run(
        [sys.executable, without_posix.__file__, str(script)], cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True, encoding='utf-8',
        timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def sources():
    for folder in 'rnnlm', 'examples', 'benchmarks', 'docs':
        for where, _, files in os.walk(os.path.join(ROOT, folder)):
            for name in files:
                if name.endswith('.py'):
                    path = os.path.join(where, name)
                    with open(path, encoding='utf-8') as f:
                        yield os.path.relpath(path, ROOT), ast.parse(f.read())


def walk(node, above=()):
    """Every node of a tree, with those that it is in."""
    yield node, above
    for child in ast.iter_child_nodes(node):
        yield from walk(child, (*above, node))


def has_fallback(above):
    """Whether code stands below ``try`` or ``if hasattr(...)``."""
    return any(isinstance(node, ast.Try) or isinstance(node, ast.If)
               and 'hasattr' in ast.dump(node.test) for node in above)


def needs_posix(node):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        names = {'os': without_posix.OS, 'signal': without_posix.SIGNAL}
        return node.attr in names.get(node.value.id, ())
    if isinstance(node, ast.Import):
        return any(name.name in without_posix.MODULES for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in without_posix.MODULES
    return (isinstance(node, ast.Constant) and isinstance(node.value, str)
            and node.value.startswith('/proc/'))


def test_what_is_of_posix_has_a_fallback():
    found = [f'{path}:{node.lineno}' for path, tree in sources()
             for node, above in walk(tree) if needs_posix(node)
             and not has_fallback(above)]
    assert not found


def faults(node):
    """What a call that reads or writes text leaves to the system."""
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    name = getattr(node.func, 'id', getattr(node.func, 'attr', None))
    if isinstance(node.func, ast.Name) and name == 'open':
        mode = node.args[1] if len(node.args) > 1 else given.get('mode')
        if mode and not isinstance(mode, ast.Constant):
            return None  # as its caller says
        mode = mode.value if mode else 'r'
        if 'b' not in mode and 'encoding' not in given:
            return 'no encoding'
        thrown_away = 'devnull' in ast.dump(node.args[0])
        if not {'b', 'r'} & set(mode) and 'newline' not in given and not thrown_away:
            return 'no newline'
    if name in ('read_text', 'write_text') and isinstance(node.func, ast.Attribute):
        return None if 'encoding' in given else 'no encoding'
    if {'text', 'universal_newlines'} & set(given) and 'encoding' not in given and (
            name in ('run', 'Popen', 'check_output')):
        return 'no encoding'


def test_text_is_utf_8_with_line_ends_of_our_own():
    found = [f'{path}:{node.lineno}: {faults(node)}' for path, tree in sources()
             for node, _ in walk(tree) if isinstance(node, ast.Call) and faults(node)]
    assert not found
