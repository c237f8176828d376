"""libcublas, for code that calls it by ctypes.

A small shared library of the name of NVIDIA's, whose functions call back here: what it
is asked for is then enqueued, and so captured, like all other work.
"""
import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile

import numpy

from cupy import _device
from cupy._compile import COMPILER

SOURCES = {
    'libcublas.so.13': '''
#include <cstddef>
typedef int (*Gemm)(void*, void**);
static Gemm gemm;
struct Handle { void* stream; void* workspace; };
extern "C" {
void call_back(Gemm function) { gemm = function; }
static int handles;
int handles_alive() { return handles; }
int cublasCreate_v2(Handle** handle) { *handle = new Handle(); ++handles; return 0; }
int cublasDestroy_v2(Handle* handle) { delete handle; --handles; return 0; }
int cublasGetProperty(int part, int* value) { *value = 13 - part; return 0; }
int cublasSetStream_v2(Handle* handle, void* stream) {
    *handle = {stream, nullptr};
    return 0;
}
int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t) {
    handle->workspace = workspace;
    return 0;
}
int cublasSetMathMode(Handle*, int) { return 0; }
int cublasGemmEx(Handle* handle, int op_a, int op_b, int m, int n, int k,
                 void* alpha, void* a, int a_type, int a_line,
                 void* b, int b_type, int b_line, void* beta,
                 void* c, int c_type, int c_line, int compute, int algorithm) {
    void* all[] = {&op_a, &op_b, &m, &n, &k, &a_type, &a_line, &b_type, &b_line,
                   &c_type, &c_line, &compute, alpha, beta, a, b, c};
    // Without a workspace it would ask for memory, and not let itself be captured.
    return handle->workspace ? gemm(handle->stream, all) : 14;
}
}'''}

FAILED = 1


def _on_current_stream(work):
    """Status of the work of a callback; what it raises would not reach the caller."""
    def status(stream, *args):
        try:
            if (stream or 0) != _device.current_stream().ptr:
                raise RuntimeError('the stream is not the current one')
            work(*args)
        except Exception as e:
            print(f'cupy_on_host: {e!r}')
            return FAILED
        return 0
    return status


def _gemm(values):
    """``C = alpha op(A) op(B) + beta C``, columns after columns."""
    op_a, op_b, m, n, k, a_type, a_line, b_type, b_line, c_type, c_line, compute = (
        ctypes.c_int.from_address(address).value for address in values[:12])
    scalar = ctypes.c_double if compute == 70 else ctypes.c_float
    alpha, beta = (scalar.from_address(address).value for address in values[12:14])
    a = _matrix(values[14], a_type, a_line, *((k, m) if op_a else (m, k)))
    b = _matrix(values[15], b_type, b_line, *((n, k) if op_b else (k, n)))
    c = _matrix(values[16], c_type, c_line, m, n)
    a, b = a.T if op_a else a, b.T if op_b else b

    def work():
        with numpy.errstate(all='ignore'):
            product = alpha * numpy.dot(a.astype(c.dtype), b.astype(c.dtype))
            c[...] = product + beta * c if beta else product
    _device.enqueue(work)


def _matrix(address, kind, line, rows, columns):
    dtype = numpy.dtype({0: 'f4', 1: 'f8', 2: 'f2'}[kind])
    if line < rows:
        raise ValueError(f'a line of {line} for {rows} rows')
    size = (line * (columns - 1) + rows) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(address)
    return numpy.ndarray((rows, columns), dtype, memory,
                         strides=(dtype.itemsize, line * dtype.itemsize))


_GEMM = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))


def _call_gemm(stream, values):
    return _on_current_stream(_gemm)(stream, values[:17])


CALLS = {'libcublas.so.13': _GEMM(_call_gemm)}


@functools.lru_cache(maxsize=None)
def load(name):
    """Brings a library into the process, where others find it by its name."""
    source = SOURCES[name]
    key = hashlib.sha256(source.encode()).hexdigest()[:16]
    folder = os.path.join(tempfile.gettempdir(), f'cupy_on_host_{os.getuid()}', key)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        made = f'{path}.{os.getpid()}'
        subprocess.run([COMPILER, '-O1', '-shared', '-fPIC', f'-Wl,-soname,{name}',
                        '-x', 'c++', '-', '-o', made], input=source, text=True,
                       check=True)
        os.replace(made, path)
    ctypes.CDLL(path).call_back(CALLS[name])
