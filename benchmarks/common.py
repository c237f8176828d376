"""Functions shared by the benchmarks: machine, clock, sections of RESULTS.md."""
import json
import os
import re
import sys
import time

import rnnlm  # noqa: F401  before NumPy, which loads OpenBLAS
from rnnlm.app import info
from rnnlm.errors import counted

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, 'RESULTS.md')
CPU = os.path.join(HERE, 'cpu.json')  # what cpu.py keeps, and costs.py estimates from


# The machine -----------------------------------------------------------------------

def machine(device='-1'):
    """Returns what is reported with each figure: processor, versions, BLAS, variables.

    Args:
        device (str): Number of the GPU that computes; '-1' for none.
    """
    versions = {name: version for name, version in info.versions().items()
                if name in ('Python', 'NumPy', 'Chainer', 'rnnlm', 'llvmlite')}
    versions['torch'] = torch = None
    try:
        import torch
        versions['torch'] = torch.__version__
    except ImportError:
        pass
    found = {'cpu': info.cpu(), 'cores': info.cores(), 'versions': versions,
             'blas': info.blas(), 'torch BLAS': torch_blas(torch),
             'variables': info.variables()}
    if device != '-1':
        import cupy
        properties = cupy.cuda.runtime.getDeviceProperties(int(device))
        found['gpu'] = properties['name'].decode()
        found['versions']['CuPy'] = cupy.__version__
    return found


def torch_blas(torch):
    """Describes PyTorch's libraries, instructions and threads; None without PyTorch."""
    if torch is None:
        return None
    built = torch.__config__.show()
    libraries = [f'{name} {version}' for name, pattern in (
        ('MKL', r'Math Kernel Library Version (\S+?)-'), ('oneDNN', r'MKL-DNN v(\S+)'))
        for version in re.findall(pattern, built)]
    return ', '.join([
        *libraries, f'instructions {torch.backends.cpu.get_cpu_capability()}',
        f'{torch.get_num_threads()} thread(s)'])


def machine_line(found):
    """Describes a machine in one line.

    Args:
        found (dict): Result of `machine`, or None; those of old versions have no BLAS.
    """
    if found is None:
        return 'machine not recorded'
    versions = ', '.join(f'{name} {version}' for name, version in
                         found.get('versions', {}).items() if version)
    parts = [found.get('gpu'), f'{found["cpu"]}, {counted(found["cores"], "core")}',
             versions]
    if 'blas' in found:
        parts.append('BLAS: ' + ', '.join(map(info.blas_line, found['blas'])))
        if found.get('torch BLAS'):
            parts.append(f'PyTorch: {found["torch BLAS"]}')
        parts.append('set: ' + (', '.join(
            f'{name}={value}' for name, value in found['variables'].items()) or 'none'))
    else:
        parts.append('BLAS not recorded')
    return '; '.join(filter(None, parts))


def require_free_blas(command, writes=True, variables=None):
    """Ends the script with status 2 if a variable restricts the BLAS library.

    Args:
        command (str): The command of the script, without `python`.
        writes (bool): Whether it writes figures; otherwise it only prints a warning.
        variables (dict): Environment variables of the measurement; by default those of
            this process.
    """
    held = info.fixing(variables)
    if not held:
        return
    names = ', '.join(held)
    found = ', '.join(f'{name}={value}' for name, value in held.items())
    unset = ' '.join(f'-u {name}' for name in held)
    message = (f'{names}: expected not to be set for a benchmark, because '
               f'{"it overrides" if len(held) == 1 else "they override"} what the '
               f'library chooses for this processor, found {found}; run: env {unset} '
               f'python {command}')
    if not writes:
        print(f'warning: {message}', file=sys.stderr)
        return
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


def begin(command, writes=True, device='-1'):
    """Checks the environment with `require_free_blas`, and prints the machine.

    Args:
        command, writes: As for `require_free_blas`.
        device: As for `machine`.

    Returns:
        dict: As from `machine`.
    """
    require_free_blas(command, writes)
    found = machine(device)
    print(machine_line(found), flush=True)
    return found


# The clock -------------------------------------------------------------------------

def random_ids(T, vocabulary=10000, batch=20, seed=None):
    return numpy.random.RandomState(seed).randint(
        0, vocabulary, (T + 1, batch)).astype('i')


def seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def memory(name):
    """Returns the memory of this process in bytes, or NaN if unknown.

    Args:
        name (str): 'VmRSS' for the current value, 'VmHWM' for the peak, as in Linux's
            /proc.  (ru_maxrss would include the peak of the parent process.)
    """
    try:
        with open('/proc/self/status', encoding='ascii') as f:
            return next(
                1024 * int(line.split()[1]) for line in f if line.startswith(name))
    except OSError:
        return float('nan')


def median(values):
    return float(numpy.median(values))


def ratio(times, slower, faster):
    """Returns the median speedup of `faster` over all rounds, if both were run."""
    if slower not in times or faster not in times:
        return None
    return float(numpy.nanmedian(times[slower] / times[faster]))


# The files -------------------------------------------------------------------------

def replace(name, script, content, path=None):
    """Replaces a section of RESULTS.md by `content`, or appends it.

    Args:
        path (str): Another file with such a section.
    """
    path = path or RESULTS
    begin, end = f'<!-- {name}: written by {script} -->', f'<!-- end of {name} -->'
    text = '# Results\n'
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            text = f.read()
    if begin not in text:
        text += f'\n{begin}\n{end}\n'
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        f.write(before + begin + '\n\n' + content + '\n' + end + after)


def keep(path, results):
    """Writes the results of a script so far, as JSON, atomically."""
    with open(f'{path}.new', 'w', encoding='utf-8', newline='\n') as f:
        json.dump(results, f, indent=1)
        f.write('\n')
    os.replace(f'{path}.new', path)


def kept(path):
    """Returns what `keep` wrote, or {} if there is nothing."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def table(head, rows):
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def picture(name, words):
    """Markdown of a picture in docs/, for RESULTS.md.

    Args:
        words (str): What it shows, for those who do not see it.
    """
    return f'![{words}](../docs/{name})'


def number(value, digits=0):
    return '' if value is None else f'{value:,.{digits}f}'
