"""Counts registers, spills, fences and instructions of the compiled CUDA kernels.

    python benchmarks/cuda_code.py                  # prints a table in Markdown
    python benchmarks/cuda_code.py --sources FOLDER # of other versions of the sources

It needs nvcc, ptxas and nvdisasm (of the CUDA Toolkit, or `pip install nvidia-cuda-nvcc
nvidia-cuda-nvdisasm`) in the PATH, and no GPU.  docs/gpu.md has its tables.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rnnlm.kernels.cuda import launch, plans  # noqa: E402

# Units, rows, multiprocessors, bytes of shared memory: small and medium on an H100.
SIZES = {'small': (200, 20, 132, 227 * 1024), 'medium': (650, 20, 132, 227 * 1024)}
COUNTED = {'barriers of the block': r'BAR\.SYNC', 'full fences': r'MEMBAR',
           'caches dropped': r'CCTL\.IVALL',
           'FFMA': r'FFMA', 'FMUL': r'FMUL', 'FADD': r'FADD'}


def texts():
    """Yields (name, source, definitions) of each kernel that waits for other blocks."""
    for size, arguments in SIZES.items():
        for way in 'forward', 'backward':
            plan = getattr(plans, way)(*arguments)
            text = launch.source(*launch.HEADERS, 'persistent.cuh',
                                 f'persistent_{way}.cu')
            yield f'{way}, {size}', text, ('REAL=float', *plan.defines)


def compiled(text, defines, architecture):
    """Compiles a source with one kernel; returns a dict of the counts."""
    with tempfile.TemporaryDirectory() as folder:
        ptx, cubin = os.path.join(folder, 'k.ptx'), os.path.join(folder, 'k.cubin')
        subprocess.run(
            ['nvcc', '-std=c++17', f'-arch={architecture}', '-ptx', '-o', ptx, '-w',
             *(f'-D{d}' for d in defines), '-x', 'cu', '-'], input=text,
            encoding='utf-8', check=True)
        told = subprocess.run(
            ['ptxas', '-v', f'-arch={architecture}', '-o', cubin, ptx],
            encoding='utf-8', check=True, capture_output=True).stderr
        code = subprocess.run(['nvdisasm', '-c', cubin], encoding='utf-8', check=True,
                              capture_output=True).stdout
    found = {'registers': int(re.search(r'Used (\d+) registers', told).group(1)),
             'bytes spilled': int(re.search(r'(\d+) bytes spill st', told).group(1))}
    for name, pattern in COUNTED.items():
        found[name] = len(re.findall(rf'\b{pattern}', code))
    return found


def table(architecture):
    """Yields the lines of a Markdown table, one for each kernel."""
    rows = [(name, compiled(text, defines, architecture))
            for name, text, defines in texts()]
    heads = list(rows[0][1])
    yield f'| {architecture} | ' + ' | '.join(heads) + ' |'
    yield '|---' * (1 + len(heads)) + '|'
    for name, found in rows:
        yield f'| {name} | ' + ' | '.join(str(found[head]) for head in heads) + ' |'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--sources', default=launch.HERE)
    parser.add_argument('--architectures', default='sm_75,sm_80,sm_90')
    args = parser.parse_args()
    launch.HERE = args.sources
    for architecture in args.architectures.split(','):
        print(*table(architecture), '', sep='\n')


if __name__ == '__main__':
    main()
