"""The CUDA sources compile for each supported generation of GPUs."""
import ctypes
import ctypes.util
import glob
import os
import shutil
import subprocess
import sys

import pytest

from rnnlm.kernels.cuda import launch, plans

# Sizes whose persistent kernels are compiled: units, rows, multiprocessors, bytes.
PLANS = [(200, 20, 132, 227 * 1024), (650, 20, 132, 227 * 1024),
         (650, 64, 132, 227 * 1024), (13, 3, 40, 64 * 1024),
         (1500, 20, 132, 227 * 1024)]  # streams a part of the weights


def sources():
    """Yields name, text and definitions of each source."""
    common = launch.source(*launch.HEADERS, *launch.SOURCES)
    yield 'float', common, ('REAL=float',)
    yield 'double', common, ('REAL=double',)
    for size in PLANS:
        for way in 'forward', 'backward':
            plan = getattr(plans, way)(*size)
            text = launch.source(
                *launch.HEADERS, 'persistent.cuh', f'persistent_{way}.cu')
            yield f'{way}-{size[0]}-{size[1]}', text, ('REAL=float', *plan.defines)


def nvrtc():
    """Returns NVIDIA's run-time compiler, which needs no GPU, or None."""
    folders = [os.path.join(path, 'nvidia') for path in sys.path if path]
    found = [file for folder in folders for pattern in ('*/lib', 'cu1?/lib')
             for file in glob.glob(os.path.join(folder, pattern, 'libnvrtc.so.*'))]
    found += glob.glob('/usr/local/cuda*/lib*/libnvrtc.so.*')
    for name in [*found, ctypes.util.find_library('nvrtc')]:
        try:
            return ctypes.CDLL(name) if name else None
        except OSError:
            pass
    return None


def by_nvrtc(text, defines, architecture):
    """Compiles by NVRTC; returns its errors, or ''."""
    library = nvrtc()
    if library is None:
        pytest.skip('NVRTC was not found: pip install nvidia-cuda-nvrtc')
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert not library.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b'kernels.cu', 0, None, None)
    options = [f'--gpu-architecture={architecture}', '--std=c++17',
               *(f'-D{d}' for d in defines)]
    status = library.nvrtcCompileProgram(program, len(options), (
        ctypes.c_char_p * len(options))(*(o.encode() for o in options)))
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    return log.value.decode() if status else ''


def by_nvcc(text, defines, architecture):
    """Compiles by nvcc; returns its errors, or ''."""
    nvcc = shutil.which('nvcc')
    if nvcc is None:
        pytest.skip('nvcc was not found')
    done = subprocess.run(
        [nvcc, '-std=c++17', f'-arch={architecture}', '-cubin', '-o', os.devnull,
         *(f'-D{d}' for d in defines), '-x', 'cu', '-'],
        input=text, text=True, capture_output=True)
    return done.stderr if done.returncode else ''


COMPILERS = [by_nvrtc, by_nvcc]
SOURCES = {name: (text, defines) for name, text, defines in sources()}


# CUDA 13 supports none older than sm_75.
@pytest.mark.parametrize('compiler', COMPILERS)
@pytest.mark.parametrize('name,architecture', [
    (name, architecture) for name in SOURCES
    for architecture in ('sm_75', 'sm_80', 'sm_90')])
def test_compiles(name, architecture, compiler):
    assert compiler(*SOURCES[name], architecture) == ''


@pytest.mark.parametrize('architecture', ['sm_75', 'sm_90'])
@pytest.mark.parametrize('name', [name for name in SOURCES if '-' in name])
def test_barriers_are_not_full_fences(name, architecture, tmp_path):
    """A block arrives by one release and waits by acquiring; no register spills."""
    if shutil.which('nvcc') is None or shutil.which('ptxas') is None:
        pytest.skip('nvcc was not found')
    text, defines = SOURCES[name]
    subprocess.run(
        ['nvcc', '-std=c++17', f'-arch={architecture}', '-ptx', '-w', '-o',
         str(tmp_path / 'k.ptx'), *(f'-D{d}' for d in defines), '-x', 'cu', '-'],
        input=text, text=True, check=True)
    ptx = (tmp_path / 'k.ptx').read_text()
    barriers = 2 if name.startswith('backward') else 1
    assert ptx.count('red.release.gpu') == ptx.count('ld.acquire.gpu') == barriers
    assert 'membar' not in ptx and 'fence' not in ptx
    assert ('cp.async.cg' in ptx) == (architecture != 'sm_75')
    told = subprocess.run(
        ['ptxas', '-v', f'-arch={architecture}', '-o', os.devnull,
         str(tmp_path / 'k.ptx')], text=True, check=True, capture_output=True).stderr
    assert ' 0 bytes spill stores, 0 bytes spill loads' in told


@pytest.mark.parametrize('compiler', COMPILERS)
def test_an_error_is_an_error(compiler):
    """Checks that the tests above can fail."""
    text = launch.source(*launch.HEADERS) + '__global__ void k() { none(); }'
    assert 'none' in compiler(text, ('REAL=float',), 'sm_90')


def test_each_kernel_is_found():
    """Checks that all declarations are parsed."""
    for text, _ in SOURCES.values():
        assert text.count('__global__ void') == len(launch.parameters(text))
    common, _ = SOURCES['float']
    assert launch.parameters(common)['clip'] == [
        ('int', False), ('int', False), ('double', False), ('double', True),
        ('double', True)]
