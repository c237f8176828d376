"""The random numbers of dropout: the generator, its CUDA source, its seed."""
import ctypes
import shutil
import subprocess

import numpy
import pytest

from rnnlm.functions import philox
from rnnlm.kernels.cuda.launch import source

# The same as `philox.philox`, for four places; C too, but for `__device__`.
SOURCE = source('philox.cuh')


def test_known_answers():
    # The published answers of Philox4x32-10 to a counter of zeros.
    numbers = philox.philox(numpy, (0, 0), 4)
    assert [f'{x:08x}' for x in numbers] == [
        '6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    """The CUDA source, compiled for this processor."""
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('no C compiler was found')
    folder = tmp_path_factory.mktemp('philox')
    (folder / 'philox.c').write_text(
        f'#define __device__\n{SOURCE}unsigned int answer(unsigned long long '
        'place, unsigned k0, unsigned k1) { unsigned int numbers[4]; '
        'philox(place / 4, k0, k1, numbers); return numbers[place % 4]; }\n')
    subprocess.run([compiler, '-shared', '-fPIC', '-Wall', '-Werror', '-o',
                    str(folder / 'philox.so'), str(folder / 'philox.c')], check=True)
    answer = ctypes.CDLL(str(folder / 'philox.so')).answer
    answer.argtypes = ctypes.c_ulonglong, ctypes.c_uint, ctypes.c_uint
    answer.restype = ctypes.c_uint
    return answer


@pytest.mark.parametrize('key', [(0, 0), (0xa4093822, 0x299f31d0), (2 ** 32 - 1, 7)])
def test_the_source_finds_the_same(compiled, key):
    numbers = philox.philox(numpy, key, 1003)
    assert [compiled(place, *key) for place in range(1003)] == numbers.tolist()
    # Far out, where the counter needs its second word.
    assert compiled(2 ** 35, *key) != compiled(0, *key)


@pytest.mark.parametrize('architecture', ['sm_75', 'sm_80', 'sm_90'])
def test_the_source_compiles(tmp_path, architecture):
    nvcc = shutil.which('nvcc')
    if nvcc is None:
        pytest.skip('no nvcc was found')
    path = tmp_path / 'kernel.cu'
    path.write_text(
        SOURCE + '''
        __global__ void kernel(unsigned* u, unsigned k0, unsigned k1, long long n) {
            for (long long i = threadIdx.x; i < n; i += blockDim.x)
                philox(i, k0, k1, u + 4 * i);
        }''')
    subprocess.run([nvcc, f'-arch={architecture}', '-cubin', '-o',
                    str(tmp_path / 'kernel.cubin'), str(path)], check=True)


def test_uniform_numbers(xp):
    if xp is numpy:  # where the numbers are numpy.random's own
        numpy.random.seed(3)
        numbers = philox.uniform(xp, (2, 5))
        numpy.random.seed(3)
        numpy.testing.assert_array_equal(numbers, numpy.random.rand(2, 5))
        return
    numpy.random.seed(3)
    numbers = philox.uniform(xp, (50, 41))
    numpy.random.seed(3)
    key = numpy.random.randint(0, 2 ** 32, 2, dtype=numpy.uint32)
    expected = (philox.philox(numpy, key, 2050) >> 8) / 2 ** 24
    numpy.testing.assert_array_equal(numbers.get().ravel(), expected)


def test_the_numbers_are_uniform():
    numbers = (philox.philox(numpy, (5, 6), 10 ** 6) >> 8) / 2 ** 24
    assert numbers.min() >= 0 and numbers.max() < 1
    counts, _ = numpy.histogram(numbers, 100, (0, 1))
    # Chi-squared of 99 degrees of freedom: 150 is passed once in 1,000 keys.
    assert ((counts - 10 ** 4) ** 2 / 10 ** 4).sum() < 150
    a, b = numbers[:-1] - 0.5, numbers[1:] - 0.5
    assert abs(12 * (a * b).mean()) < 5e-3
