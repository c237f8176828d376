"""The command starts quickly, and no change by a user is taken for Chainer's code."""
import os
import subprocess
import sys

from helpers import CHAINER_FIRST, ROOT
import pytest

# As pip writes it.
CONSOLE_SCRIPT = '''
import sys
from rnnlm_command import main
if __name__ == '__main__':
    sys.exit(main())
'''

# What takes long to import; with NumPy and Chainer comes all the rest.
HEAVY = {'chainer', 'numpy', 'llvmlite', 'matplotlib', 'tqdm', 'rnnlm.model'}

COMMANDS = ('train', 'evaluate', 'generate', 'score', 'interpolate', 'run', 'inspect',
            'convert', 'info')

# Prints what has been replaced since `import rnnlm`, if that is known.
CHANGED = ('from rnnlm import unaltered; '
           'print(unaltered.EVERYTHING.changed() or "nothing")\n')
PATCH = 'from chainer import functions as F; F.dropout = lambda x, **kwargs: x\n'

# The same with a change in NumPy; then what is left when it is undone, in turn.
PATCH_BOTH = '''
import numpy
from chainer import functions as F
dropout, tanh = F.dropout, numpy.tanh
F.dropout, numpy.tanh = (lambda x, **kwargs: x), abs
'''
CHANGED_BOTH = f'''
{CHANGED}
numpy.tanh = tanh
{CHANGED}
F.dropout = dropout
{CHANGED}
'''

pytestmark = pytest.mark.slow


def python(folder, *args, status=0):
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=folder, capture_output=True, text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), ROOT])))
    assert done.returncode == status, done.stderr
    return done


def program(folder, text, name='program.py'):
    """What a program prints."""
    path = folder / name
    path.write_text(text)
    return python(folder, path).stdout.strip()


def imported(done):
    """The names that -X importtime shows."""
    return {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()
            if line.startswith('import time:')}


@pytest.fixture
def start(tmp_path):
    """The two ways to start the command: the arguments of Python."""
    (tmp_path / 'rnnlm').write_text(CONSOLE_SCRIPT)
    return {'script': [tmp_path / 'rnnlm'], 'module': ['-m', 'rnnlm']}


@pytest.mark.parametrize('args, status', [
    (['--version'], 0), (['--help'], 0), ([], 2), (['bogus'], 2), (['--bogus'], 2),
    (['train', '--unit', 'x'], 2), (['train', '--cutoffs', '20,3'], 2),
    (['train', '--cutoffs', '3,20', '--seed', '-1'], 2), (['score', '--lm-weight'], 2),
    *(([name, '--help'], 0) for name in COMMANDS),
    *(([name, '--bogus'], 2) for name in COMMANDS if name != 'run')])
def test_what_needs_no_chainer_does_not_import_it(tmp_path, start, args, status):
    done = python(tmp_path, '-X', 'importtime', *start['script'], *args, status=status)
    assert 'rnnlm.app.cli' in imported(done)
    assert not imported(done) & HEAVY
    assert done.stdout if status == 0 else 'rnnlm' in done.stderr


@pytest.mark.parametrize('way', ['script', 'module'])
def test_the_command_runs(tmp_path, start, way):
    done = python(tmp_path, *start[way], 'score', 'nowhere', status=2)
    assert done.stderr.startswith('rnnlm score: error: nowhere')
    assert python(tmp_path, *start[way], 'info').stdout.startswith('versions')


def test_the_command_ends_with_all_that_an_import_gives(tmp_path):
    found = program(tmp_path, '''
import sys, rnnlm_command
rnnlm_command.running = True
import rnnlm
assert 'chainer' not in sys.modules and not hasattr(rnnlm, 'RNNForLM')
from rnnlm import _starting
_starting.load()
assert all(hasattr(rnnlm, name) for name in rnnlm.__all__)
import chainer.functions
assert chainer.reporter._patches
''' + CHANGED)
    assert found == 'nothing'


IMPORTS = [
    'import rnnlm\n', 'import rnnlm, chainer\n', 'import numpy, rnnlm\n',
    CHAINER_FIRST + 'import rnnlm\n', 'import rnnlm_command, rnnlm\n',
    'from rnnlm import RNNForLM\n',
    'import rnnlm.training.updater\n', 'import rnnlm.app.recipes\n',
    'from rnnlm.app.cli import main\n']


@pytest.mark.parametrize('name, imports', [
    *(('program.py', imports) for imports in IMPORTS),
    ('rnnlm', IMPORTS[0]), ('rnnlm', IMPORTS[8]), ('rnnlm-script.py', IMPORTS[1])])
def test_a_change_after_the_import_is_seen(tmp_path, name, imports):
    """Whatever is imported first, and whatever the program is called."""
    found = program(tmp_path, imports + PATCH_BOTH + CHANGED_BOTH, name).splitlines()
    assert 'tanh has been replaced' in found[0]
    assert 'dropout has been replaced' in found[1]
    assert found[2:] == ['nothing']


def test_a_change_by_what_python_runs_at_its_start_is_seen(tmp_path):
    """Also if the command follows."""
    (tmp_path / 'sitecustomize.py').write_text('import rnnlm\n' + PATCH + CHANGED)
    assert 'dropout has been replaced' in python(
        tmp_path, '-m', 'rnnlm', '--version').stdout


def test_without_chainer_the_version_is_shown(tmp_path, start):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys; sys.modules["chainer"] = sys.modules["numpy"] = None')
    assert python(tmp_path, *start['script'], '--version').stdout[:1].isdigit()
    assert 'numpy' in python(tmp_path, *start['script'], 'info', status=1).stderr
