"""`rnnlm info`: its output matches this machine."""
import json
import os
import subprocess
import sys

from helpers import ROOT
import numpy
import pytest
import threadpoolctl

from rnnlm import kernels
from rnnlm.app import cli, info

pytestmark = pytest.mark.slow

OPENBLAS = [library for library in threadpoolctl.threadpool_info()
            if library['internal_api'] == 'openblas']
needs_openblas = pytest.mark.skipif(not OPENBLAS, reason='NumPy has another BLAS')


def describe(before='', **variables):
    """What a new process finds with these variables and no others of the kind."""
    env = {name: value for name, value in os.environ.items()
           if name not in info.FIXING + info.THREADS + info.OTHERS}
    code = f'{before}\nfrom rnnlm.app import info\ninfo.main(True)'
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=dict(env, PYTHONPATH=ROOT, **variables), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == '', done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def free(monkeypatch):
    for name in info.FIXING + info.THREADS:
        monkeypatch.delenv(name, raising=False)


def test_versions_are_those_that_are_imported(monkeypatch):
    import chainer
    found = info.versions()
    assert found['NumPy'] == numpy.__version__
    assert found['Chainer'] == chainer.__version__
    monkeypatch.setattr(info, 'OPTIONAL', {
        'pytest': ('no-such-package', 'pytest'), 'nothing': ('no-such-package',)})
    found = info.versions()
    assert found['pytest'] == pytest.__version__ and found['nothing'] is None


@needs_openblas
def test_the_blas_is_numpy_s():
    found = info.blas()[0]
    assert found['library'] == 'openblas'
    assert found['kernel'] == OPENBLAS[0]['architecture']
    with threadpoolctl.threadpool_limits(1):
        assert info.blas()[0]['threads'] == 1


def test_a_blas_that_threadpoolctl_does_not_see(monkeypatch):
    monkeypatch.setattr(threadpoolctl, 'threadpool_info', lambda: [
        {'user_api': 'openmp', 'internal_api': 'openmp'}])
    found, = info.blas()
    assert found['threads'] is None and found['kernel'] is None
    assert isinstance(info.blas_line(found), str)
    assert not info.too_late()


@needs_openblas
def test_a_blas_held_back_is_noted():
    here = describe()['blas'][0]['kernel']
    other = next((name for name in ('Haswell', 'Sandybridge', 'Nehalem')
                  if name != here and describe(
                      OPENBLAS_CORETYPE=name)['blas'][0]['kernel'] == name), None)
    if other is None:
        pytest.skip('this OpenBLAS has one kernel')
    found = describe(OPENBLAS_CORETYPE=other)
    assert found['variables']['OPENBLAS_CORETYPE'] == other
    notes = ' '.join(found['notes'])
    assert f'OPENBLAS_CORETYPE={other} overrides' in notes
    assert f'its kernel for {here}, not for {other}' in notes
    assert not any('kernel' in note for note in describe()['notes'])


def test_few_threads_are_noted(monkeypatch):
    monkeypatch.setattr(info, 'cores', lambda: 3)
    for threads, noted in ((1, True), (3, False)):
        monkeypatch.setattr(info, 'blas', lambda: [
            {'threads': threads, 'kernel': 'A', 'thread timeout': None}])
        assert any('3 cores' in note for note in info.notes()) == noted


@needs_openblas
def test_numpy_before_rnnlm_is_too_late_for_the_time_out():
    if OPENBLAS[0].get('threading_layer') != 'pthreads' or (
            info.blas()[0]['thread timeout'] is None):
        pytest.skip('this OpenBLAS has no time-out')
    first = describe()
    assert first['blas'][0]['thread timeout'] == 16
    assert not any('too late' in note for note in first['notes'])
    late = describe('import numpy')
    assert late['blas'][0]['thread timeout'] == 0
    assert any('too late' in note for note in late['notes'])
    early = describe('import numpy', OPENBLAS_THREAD_TIMEOUT='20')
    assert early['blas'][0]['thread timeout'] == 20
    assert not any('too late' in note for note in early['notes'])


def test_variables_that_fix_a_kernel(free, monkeypatch):
    assert info.fixing() == {}
    monkeypatch.setenv('OPENBLAS_L2_SIZE', '262144')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('MKL_CBWR', '')  # as good as not set
    assert info.fixing() == {'OPENBLAS_L2_SIZE': '262144'}
    assert info.variables()['OMP_NUM_THREADS'] == '1'
    assert info.fixing({'RNNLM_FAST': '1', 'ATEN_CPU_CAPABILITY': 'default'}) == {
        'ATEN_CPU_CAPABILITY': 'default'}
    assert info.fixing({'RNNLM_FAST': '0'}) == {'RNNLM_FAST': '0'}


def test_compiled_kernels(monkeypatch):
    if kernels.enabled and kernels.compiled('recurrent', numpy, numpy.float32):
        found = info.compiled_kernels()
        assert found['on'] and 'llvmlite' in found['why']
    off = describe(RNNLM_FAST='0')
    assert off['kernels'] == {'on': False, 'why': 'switched off by RNNLM_FAST=0'}
    missing = describe('import sys; sys.modules["llvmlite"] = None')['kernels']
    assert not missing['on'] and "install 'chainer-rnnlm[fast]'" in missing['why']
    monkeypatch.setattr(kernels, 'enabled', False)
    monkeypatch.delenv('RNNLM_FAST', raising=False)
    assert info.compiled_kernels()['why'] == 'switched off by rnnlm.kernels.enabled'


def test_why_there_is_no_gpu():
    import chainer
    found = info.gpus()
    if chainer.backends.cuda.available:
        assert found['names'] and found['why none'] is None
    else:
        assert found['names'] == [] and 'no CuPy with a GPU' in found['why none']


@pytest.mark.gpu
def test_the_gpu_has_its_name():
    cupy = pytest.importorskip('cupy')
    found = info.gpus()
    assert found['why none'] is None
    assert len(found['names']) == cupy.cuda.runtime.getDeviceCount()
    assert all(found['names'])


def test_the_command(capsys, monkeypatch):
    monkeypatch.setenv('OMP_WAIT_POLICY', 'PASSIVE')
    assert cli.main(['info']) == 0
    printed = capsys.readouterr().out
    found = info.describe()
    for line in (f'cpu      {found["cpu"]}', f'blas     {found["blas"][0]["library"]}',
                 'set      OMP_WAIT_POLICY=PASSIVE', 'kernels  o', 'gpu      '):
        assert f'\n{line}' in printed, line
    assert f'NumPy {numpy.__version__}' in printed
    for note in found['notes']:
        assert f'\nnote     {note}' in printed
    assert cli.main(['info', '--json']) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found))
