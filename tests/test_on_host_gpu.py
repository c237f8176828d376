"""The tests that need a GPU, on a stand-in for CuPy."""
import os
import re
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

pytestmark = pytest.mark.skipif(
    shutil.which('g++') is None, reason='kernels are compiled for the host by g++')


def python(*args, status=0):
    """Runs Python where `cupy` is the stand-in; its output."""
    done = subprocess.run(
        [sys.executable, *args], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=dict(os.environ, MPLBACKEND='agg', PYTHONPATH=os.pathsep.join(
            [os.path.join(HERE, 'cupy_on_host'), ROOT])))
    assert done.returncode == status, (done.stdout + done.stderr)[-5000:]
    return done.stdout


@pytest.mark.slow
def test_what_needs_a_gpu():
    out = python('-m', 'pytest', '-m', 'gpu', '-rs', '-p', 'no:cacheprovider', 'tests')
    assert 'needs a CUDA device' not in out
    assert int(re.search(r'(\d+) passed', out).group(1)) > 200


def test_chainer_takes_it_for_cupy():
    out = python('-W', 'error', '-c', '''
import rnnlm, chainer
from chainer.training.updaters import MultiprocessParallelUpdater
cuda = chainer.backends.cuda
assert cuda.available and not cuda.cudnn_enabled
assert not MultiprocessParallelUpdater.available()  # there is no NCCL
chainer.function_hooks.CUDAProfileHook()
print(chainer.get_device('@cupy:0').xp.__file__)
''')
    assert 'cupy_on_host' in out


def test_a_second_gpu_is_missing():
    out = python('-c', '''
import rnnlm
from rnnlm import devices, errors
try:
    devices.get_device(1)
except errors.InputError as error:
    print(error)
''')
    assert '1 GPU(s) (cudaErrorInvalidDevice' in out
