"""The patch table; each case runs in a fresh interpreter."""

import importlib.util
import os
import subprocess
import sys
import textwrap

from helpers import CHAINER_FIRST, ROOT
import numpy as np
import pytest

from rnnlm._compat import import_hook, patches

APPLY = 'from rnnlm._compat import patches; patches.apply()\n'
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= '2.0.0'


def run(code, *options, path=(), check=True):
    """Runs code in a fresh interpreter; returns its output and its stderr."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
        [str(p) for p in path] + [ROOT]), PYTHONDONTWRITEBYTECODE='1')
    environment.pop('PYTHONWARNINGS', None)
    result = subprocess.run(
        [sys.executable, *options, '-c', textwrap.dedent(code)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        timeout=120)
    if check:
        assert result.returncode == 0, result.stderr
    return result


# Importing --------------------------------------------------------------------

@pytest.mark.parametrize('options', [(), ('-W', 'error')])
def test_import_is_silent(options):
    result = run(APPLY + 'import chainer, chainer.testing, chainer.gradient_check\n'
                 'print(chainer.__version__)', *options)
    assert (result.stdout, result.stderr) == ('7.8.1\n', '')


def test_first_import_is_silent_without_bytecode(tmp_path):
    result = run("import sys; sys.pycache_prefix = {!r}\n".format(str(tmp_path))
                 + APPLY + 'import chainer.testing', '-W', 'error')
    assert result.stderr == ''


def test_numpy_and_python_look_as_before():
    run('''
        import sys, warnings
        import numpy, numpy as np
        names = ('sctypes', 'float', 'int', 'bool', 'object', 'distutils', 'in1d')

        def seen():
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                return [hasattr(np, name) for name in names]
        before, contents, filters = seen(), set(vars(np)), list(warnings.filters)
        from rnnlm._compat import patches
        patches.apply()
        assert warnings.filters == filters
        import chainer.functions.array.as_strided, chainer.testing
        assert seen() == before
        # What Chainer itself imports or NumPy loads on demand may have come.
        assert all(sys.modules.get('numpy.' + n) for n in set(vars(np)) - contents)
        assert 'numpy.distutils' not in sys.modules
        try:
            import numpy.distutils
            found = True
        except ImportError:
            found = False
        except Warning:
            found = True
        import importlib.util
        assert found == (importlib.util.find_spec('numpy.distutils') is not None)
    ''')


def test_pkg_resources_is_not_faked():
    run(APPLY + '''
import sys
import chainer.testing
from importlib.util import find_spec
found = sys.modules.get('pkg_resources')
assert found is None or found.__spec__.origin == find_spec('pkg_resources').origin
''')


BLOCK = '''
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('pkg_resources', 'setuptools', 'distutils'):
            raise ModuleNotFoundError('blocked: ' + name, name=name)
sys.meta_path.insert(0, Block())
import importlib.metadata as metadata
real = metadata.version
def version(name):
    if name == 'setuptools':
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
'''


def test_without_setuptools():
    run(BLOCK + APPLY + '''
from chainer import testing
from chainer.testing import doctest_helper
import unittest
def skipped(*requirements):
    case = testing.with_requires(*requirements)(type('Case', (unittest.TestCase,), {}))
    return getattr(case, '__unittest_skip__', False)
assert not skipped('numpy>=1.10')
assert not skipped('numpy>=1.10,<99', 'chainer==7.8.1', 'six!=1.0')
assert skipped('numpy>=99') and skipped('numpy<1.10') and skipped('chainer>7.8.1')
assert skipped('no-such-distribution') and skipped('numpy>=1.10', 'no-such>=1')
assert doctest_helper.skipif_requires_satisfied('numpy>=1.10')
assert not doctest_helper.skipif_requires_satisfied('numpy>=99')
''', '-W', 'error')


def test_applying_again_changes_nothing():
    run(APPLY + '''
import importlib, sys
import chainer, chainer.reporter
def functions():
    return [chainer.reporter.Summary.add, chainer.optimizer.Hyperparameter.__init__,
            chainer.reporter.Summary.add.__code__.co_code]
before, finders = functions(), len(sys.meta_path)
patches.apply()
importlib.reload(patches)
patches.apply()
assert functions() == before and len(sys.meta_path) == finders
import numpy as np, chainer.testing
s = chainer.reporter.Summary()
s.add(np.float32(0.1))
s.add(np.float32(0.2))
assert s.compute_mean() == (np.float64(np.float32(0.1)) + np.float32(0.2)) / 2
''')


def test_the_finder_knows_only_chainer_modules_of_the_table():
    names = {row.module for row in patches.ROWS}
    assert all(name.startswith(('chainer.', 'chainermn.')) for name in names)
    finder = import_hook._Finder()
    for name in ('numpy', 'chainer', 'chainer.functions', 'chainermn', 'pkg_resources'):
        assert finder.find_spec(name) is None


def test_every_line_of_the_table_is_in_chainer():
    """Each text is in Chainer's source, and the edited source compiles."""
    patches.apply()
    for module in {row.module for row in patches.ROWS}:
        with open(importlib.util.find_spec(module).origin,
                  encoding='utf-8') as file:
            source = file.read()
        lines = source.count('\n')
        for row in patches.ROWS:
            for old, new in row.edits if row.module == module else ():
                assert old in source, (module, old)
                source = source.replace(old, new)
        compile(source, module, 'exec')
        # Line numbers in tracebacks do not change, unless a method is added.
        assert source.count('\n') == lines or '__setattr__' in source


def test_report():
    patches.apply()
    report = dict(patches.report())
    assert len(report) == len(patches.ROWS)
    name = 'chainer.functions.array.as_strided: numpy.sctypes was removed'
    assert report[name] is NUMPY_2


# Refusals ---------------------------------------------------------------------

def fake_chainer(path, version, code=''):
    package = path / 'chainer'
    package.mkdir()
    (package / '__init__.py').write_text(code)
    info = path / 'chainer-{}.dist-info'.format(version)
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: chainer\nVersion: {}\n'.format(version))
    return path


@pytest.mark.parametrize('version', ['6.7.0', '1.24.0', '8.0.0'])
def test_another_version_is_refused(version, tmp_path):
    fake_chainer(tmp_path, version, 'raise SystemExit("imported")')
    result = run(APPLY, path=[tmp_path], check=False)
    assert 'ImportError: chainer: expected release 7.x' in result.stderr
    assert 'found ' + version in result.stderr and 'pip install' in result.stderr


def test_another_version_imported_already_is_refused(tmp_path):
    fake_chainer(tmp_path, '7.8.1', '__version__ = "6.7.0"')
    result = run('import chainer\n' + APPLY, path=[tmp_path], check=False)
    assert 'found 6.7.0' in result.stderr


def test_no_chainer_is_refused():
    result = run('''
        import importlib.metadata as metadata
        def version(name):
            raise metadata.PackageNotFoundError(name)
        metadata.version = version
        try:
            import rnnlm._compat.patches
            rnnlm._compat.patches.apply()
        except ImportError as error:
            assert error.name == 'chainer' and error.__suppress_context__
            print(error)
    ''')
    assert 'found none installed' in result.stdout
    assert '--no-build-isolation chainer==7.8.1' in result.stdout


def test_chainer_that_failed_to_import_first_is_refused():
    result = run('''
        import sys, types
        try:
            import chainer            # on today's NumPy and Python this fails
        except Exception:
            pass
        else:                         # on older ones leave what a failure leaves
            del sys.modules['chainer']
        assert 'chainer' not in sys.modules
        from rnnlm._compat import patches
        patches.apply()
    ''', '-W', 'ignore', check=False)
    assert 'ImportError: chainer: an earlier import of it failed' in result.stderr
    assert 'import rnnlm before chainer' in result.stderr


def test_chainer_imported_first_is_patched_in_place():
    run(CHAINER_FIRST + '''
from chainer.reporter import Summary
from chainer.dataset.convert import _concat_arrays_with_padding as pad
from chainer.optimizer import Hyperparameter
add = Summary.add
''' + APPLY + '''
warnings.simplefilter('error')
import numpy as np, chainer.functions as F, chainer.links as L
assert chainer.reporter.Summary is Summary and Summary.add is add
summary = Summary()
for _ in range(10):
    summary.add(np.float32(0.1))
assert summary.compute_mean() == sum([np.float64(np.float32(0.1))] * 10) / 10
assert pad([np.zeros(2), np.zeros(3)], 0).shape == (2, 3)
assert F.resize_images(np.ones((1, 1, 2, 2), np.float32), (3, 3)).shape[2:] == (3, 3)
hyperparam = Hyperparameter()
hyperparam.lr = np.float64(0.1)
assert hyperparam.lr * np.float32(1) == 0.1 * np.float32(1)
F.softmax_cross_entropy(chainer.Variable(np.zeros((2, 3), np.float32)),
                        np.array([0, 1])).backward()
''')


# CuPy -------------------------------------------------------------------------

CUPY = '''
__version__ = '{}'
class ndarray: pass
def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return lambda *args, **kwargs: lambda function: function
'''


@pytest.fixture
def fake_cupy(tmp_path):
    """Writes a stand-in for CuPy that Chainer can import; returns its path."""
    def write(version, **modules):
        for name, text in [
                ('cupy/__init__.py', CUPY.format(version)),
                ('cupy/_util.py', 'class PerformanceWarning(Warning): pass\n'),
                ('cupy/cuda/__init__.py',
                 'class Device: pass\nclass Event: pass\nclass Stream: null = None\n'
                 + ''.join(f'from cupy.cuda import {name}\n' for name in modules
                           if name == 'nvtx')),
                ('cupy/cuda/cublas.py', ''), ('cupyx/__init__.py', ''),
                ('cupyx/scipy/__init__.py', ''), ('cupyx/scipy/linalg.py', ''),
                ('cupyx/scipy/special.py', ''),
                *((f'cupy/cuda/{name}.py', text) for name, text in modules.items())]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path
    return write


@pytest.mark.parametrize('version, warns', [
    ('8.6.0', True), ('13.4.0', False), ('14.0.1', False)])
def test_cupy_without_cudnn(version, warns, fake_cupy):
    """Reinstalling CuPy does not help since 9, because its wheels have no cuDNN."""
    cudnn = 'import warnings\nwarnings.warn("no cuDNN")\n'
    result = run(APPLY + '''
from chainer.backends import cuda
assert cuda.available and not cuda.cudnn_enabled
cuda.check_cuda_available()
''', path=[fake_cupy(version, cudnn=cudnn)])
    assert ('cuDNN is not enabled' in result.stderr) == warns
    assert ('no cuDNN' in result.stderr) == warns


@pytest.mark.parametrize('available', [True, False])
def test_cupy_without_nccl(available, fake_cupy):
    nccl = f'import warnings\navailable = {available}\nwarnings.warn("no NCCL")\n'
    result = run(APPLY + f'''
from chainer.training.updaters import MultiprocessParallelUpdater
assert MultiprocessParallelUpdater.available() is {available}
''', '-W', 'error', path=[fake_cupy('14.0.1', nccl=nccl)])
    assert result.stderr == ''


def test_the_profile_hook_asks_for_a_name_that_cupy_keeps(fake_cupy):
    run(APPLY + '''
from chainer.function_hooks import CUDAProfileHook
CUDAProfileHook()
''', '-W', 'error', path=[fake_cupy('14.0.1', nvtx='available = True\n')])
