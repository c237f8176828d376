"""The command `info`: versions, BLAS, compiled kernels and GPUs.

The speed of training depends mostly on the BLAS.  Environment variables can change its
kernel and number of threads, so a measured speed should be reported with them.
"""
import ctypes
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Optional, Union

import chainer
import numpy

from rnnlm import kernels
from rnnlm.kernels import threads
from rnnlm._version import __version__
from rnnlm.devices import get_device
from rnnlm.errors import InputError
from rnnlm.functions import lateral

# Variables that override a library's choice of kernels, instructions, block sizes or
# precision.  Without them a library chooses what is best for the processor.
FIXING = (
    'OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OPENBLAS_BLOCK_FACTOR',
    'MKL_ENABLE_INSTRUCTIONS', 'MKL_CBWR', 'MKL_DEBUG_CPU_TYPE',
    'BLIS_ARCH_TYPE', 'BLIS_MODEL_TYPE', 'AOCL_ENABLE_INSTRUCTIONS',
    'NPY_DISABLE_CPU_FEATURES', 'NPY_ENABLE_CPU_FEATURES',
    'ATEN_CPU_CAPABILITY', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA',
    'ONEDNN_DEFAULT_FPMATH_MODE', 'DNNL_DEFAULT_FPMATH_MODE', 'RNNLM_FAST',
    'RNNLM_CUDA')

# Variables that set the number of threads.
THREADS = (
    'OPENBLAS_NUM_THREADS', 'OPENBLAS_DEFAULT_NUM_THREADS', 'GOTO_NUM_THREADS',
    'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'BLIS_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS')

# Other variables that affect the speed of threads.
OTHERS = (
    'OPENBLAS_THREAD_TIMEOUT', 'OPENBLAS_MAIN_FREE', 'OMP_DYNAMIC', 'OMP_WAIT_POLICY',
    'OMP_PROC_BIND', 'OMP_PLACES', 'OMP_THREAD_LIMIT', 'GOMP_CPU_AFFINITY',
    'GOMP_SPINCOUNT', 'KMP_AFFINITY', 'KMP_BLOCKTIME', 'MKL_DYNAMIC',
    'MKL_THREADING_LAYER')

TIMEOUT = 'OPENBLAS_THREAD_TIMEOUT'

# Optional dependency -> the distributions that provide it.
OPTIONAL = {
    'llvmlite': ('llvmlite',), 'CuPy': ('cupy', 'cupy-cuda12x', 'cupy-cuda13x'),
    'matplotlib': ('matplotlib',), 'h5py': ('h5py',), 'mpi4py': ('mpi4py',)}


def describe() -> Dict[str, Any]:
    """Returns versions, processor, BLAS, compiled kernels and GPUs, for JSON."""
    return {'versions': versions(), 'platform': platform.platform(), 'cpu': cpu(),
            'cores': cores(), 'blas': blas(), 'variables': variables(),
            'kernels': compiled_kernels(), 'gpu': gpus(), 'notes': notes()}


def versions() -> Dict[str, Optional[str]]:
    """Returns versions by name, None for packages that are not installed."""
    found: Dict[str, Optional[str]] = {
        'Python': platform.python_version(), 'rnnlm': __version__,
        'Chainer': chainer.__version__, 'NumPy': numpy.__version__}
    for name, distributions in OPTIONAL.items():
        found[name] = next(filter(None, map(_version, distributions)), None)
    return found


def _version(distribution: str) -> Optional[str]:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu() -> str:
    """Returns the name of the processor."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as f:
            for line in f:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def blas() -> List[Dict[str, Any]]:
    """Returns the BLAS libraries loaded in this process, including NumPy's.

    Returns:
        list of dict: 'library', 'version', 'kernel' (the processor it is optimised
        for), 'threads', 'threading' and 'thread timeout' (the exponent that OpenBLAS
        read when it was loaded, 0 for its default), each None if unknown.
    """
    found = [{'library': library['internal_api'], 'version': library['version'],
              'kernel': library.get('architecture'), 'threads': library['num_threads'],
              'threading': library.get('threading_layer'),
              'thread timeout': _thread_timeout(library['filepath'])}
             for library in lateral.loaded_libraries()
             if library['user_api'] == 'blas']
    return found or [_as_built()]


def _thread_timeout(path: str) -> Optional[int]:
    """Returns the time-out that OpenBLAS uses, or None if unknown."""
    try:
        return int(ctypes.CDLL(path).openblas_thread_timeout())
    except (OSError, AttributeError):  # another library, or a build without threads
        return None


def _as_built() -> Dict[str, Any]:
    """Returns NumPy's build information on its BLAS, if threadpoolctl finds none."""
    try:
        built: Dict[str, Any] = dict(
            numpy.show_config('dicts')['Build Dependencies']['blas'])
    except (TypeError, KeyError):  # an older NumPy
        built = {}
    return {'library': built.get('name'), 'version': built.get('version'),
            'kernel': None, 'threads': None, 'threading': None, 'thread timeout': None}


def variables() -> Dict[str, str]:
    """Returns the environment variables that are set and affect the speed."""
    return {name: os.environ[name] for name in FIXING + THREADS + OTHERS
            if os.environ.get(name)}


def fixing(found: Optional[Dict[str, str]] = None) -> Dict[str, str]:
    """Returns the environment variables that force a kernel.

    Args:
        found: The result of `variables`; by default that of this process.
    """
    found = variables() if found is None else found
    return {name: found[name] for name in FIXING if name in found
            and (name != 'RNNLM_FAST' or found[name] == '0')}


def compiled_kernels() -> Dict[str, Any]:
    """Returns whether compiled kernels are used ('on'), and 'why'."""
    if not kernels.enabled:
        return {'on': False, 'why': 'switched off by ' + (
            'RNNLM_FAST=0' if os.environ.get('RNNLM_FAST') == '0'
            else 'rnnlm.kernels.enabled')}
    try:
        recurrent = importlib.import_module('rnnlm.kernels.recurrent')
        lanes = recurrent.machine().lanes
    except (ImportError, RuntimeError, OSError) as e:  # as in rnnlm.kernels
        return {'on': False, 'why': f"{e}; install 'chainer-rnnlm[fast]'"
                if isinstance(e, ImportError) else str(e)}
    most = threads.count()
    of_size = {n: recurrent.best_threads(most, 20, n, lanes) for n in (200, 650, 1500)}
    return {'on': True, 'why': (
        f'compiled by llvmlite, vectors of {lanes} float32; threads for a layer with '
        'batch size 20: ' + ', '.join(f'{k} for {n} units' for n, k in of_size.items())
        + f', of {most}'), 'threads': most}


def gpus() -> Dict[str, Any]:
    """Returns the 'names' of the GPUs that CuPy can use, and 'why none' or None."""
    try:
        get_device(0)
    except InputError as e:
        return {'names': [], 'why none': str(e)}
    runtime = chainer.backends.cuda.cupy.cuda.runtime
    return {'names': [_text(runtime.getDeviceProperties(k)['name'])
                      for k in range(runtime.getDeviceCount())], 'why none': None}


def _text(name: Union[bytes, str]) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def notes() -> List[str]:
    """Returns what makes this process slower than necessary."""
    found = [f'{name}={value} overrides the choice of a library'
             for name, value in fixing().items()]
    if any(name.startswith('OPENBLAS_') for name in fixing()):
        found += _other_kernel()
    n_threads = blas()[0]['threads']
    if n_threads and n_threads < cores():
        found.append(f'the BLAS uses {n_threads} thread(s) of {cores()} cores')
    if too_late():
        found.append(
            f'{TIMEOUT}={os.environ[TIMEOUT]} was set too late: NumPy was imported '
            'before rnnlm, and idle BLAS threads keep spinning between matrix '
            f'products; import rnnlm first, or set {TIMEOUT} before Python starts')
    return found


def too_late() -> bool:
    """Returns whether a BLAS was loaded before the time-out was set."""
    wanted = os.environ.get(TIMEOUT, '')
    return wanted.isdigit() and any(
        library['thread timeout'] not in (None, int(wanted)) for library in blas())


def _other_kernel() -> Iterator[str]:
    """Yields a note if OpenBLAS would choose another kernel without these variables.

    This is tested in a new process.
    """
    free = {name: value for name, value in os.environ.items() if name not in FIXING}
    script = ('import numpy, threadpoolctl\n'
              'print(next(found["architecture"] for found in '
              'threadpoolctl.threadpool_info() if "architecture" in found))')
    done = subprocess.run([sys.executable, '-c', script], env=free,
                          capture_output=True, text=True, encoding='utf-8')
    kernel = done.stdout.strip()
    here = blas()[0]['kernel']
    if done.returncode == 0 and kernel != here:
        yield (f'without them OpenBLAS would use its kernel for {kernel}, '
               f'not for {here}')


def blas_line(library: Dict[str, Any]) -> str:
    """Formats one entry of `blas`."""
    parts = [' '.join(filter(None, (library['library'] or 'unknown',
                                    library['version'])))]
    if library['kernel']:
        parts.append(f'kernel {library["kernel"]}')
    if library['threads']:
        parts.append(f'{library["threads"]} thread(s)')
    return ', '.join(parts)


def text(found: Dict[str, Any]) -> str:
    """Formats the result of `describe` as text."""
    lines = [('versions', ', '.join(
        f'{name} {version or "not installed"}'
        for name, version in found['versions'].items())),
        ('platform', found['platform']),
        ('cpu', f'{found["cpu"]}, {found["cores"]} core(s)')]
    lines += [('blas', blas_line(library)) for library in found['blas']]
    lines += [('set', f'{name}={value}') for name, value in found['variables'].items()]
    compiled, gpu = found['kernels'], found['gpu']
    state = 'on' if compiled['on'] else 'off'
    lines.append(('kernels', f'{state}: {compiled["why"]}'))
    lines += [('gpu', name) for name in gpu['names'] or [f'none: {gpu["why none"]}']]
    lines += [('note', note) for note in found['notes']]
    return '\n'.join(f'{name:9}{value}' for name, value in lines)


def main(as_json: bool = False) -> int:
    """Prints the result of `describe`; returns the exit status."""
    found = describe()
    print(json.dumps(found, indent=1) if as_json else text(found))
    return 0
