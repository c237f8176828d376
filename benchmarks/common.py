"""What the benchmarks share: the machine, the clock, and the parts of RESULTS.md."""
import json
import os
import re
import sys
import time

import rnnlm  # noqa: F401  before NumPy, which its OpenBLAS is loaded with
from rnnlm.app import info

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, 'RESULTS.md')


# The machine -----------------------------------------------------------------------

def machine():
    """What stands beside each figure: processor, versions, BLAS and variables."""
    versions = {name: version for name, version in info.versions().items()
                if name in ('Python', 'NumPy', 'Chainer', 'rnnlm', 'llvmlite')}
    versions['torch'] = torch = None
    try:
        import torch
        versions['torch'] = torch.__version__
    except ImportError:
        pass
    return {'cpu': info.cpu(), 'cores': info.cores(), 'versions': versions,
            'blas': info.blas(), 'torch BLAS': torch_blas(torch),
            'variables': info.variables()}


def torch_blas(torch):
    """PyTorch's libraries, its instructions and threads, in words; None without it."""
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
    """A machine in words, in one line.

    Args:
        found (dict): of `machine`, or None; one of an earlier version has no BLAS.
    """
    if found is None:
        return 'machine not noted'
    versions = ', '.join(f'{name} {version}' for name, version in
                         found.get('versions', {}).items() if version)
    parts = [f'{found["cpu"]}, {found["cores"]} cores', versions]
    if 'blas' in found:
        parts.append('BLAS: ' + ', '.join(map(info.blas_line, found['blas'])))
        if found.get('torch BLAS'):
            parts.append(f'PyTorch: {found["torch BLAS"]}')
        parts.append('set: ' + (', '.join(
            f'{name}={value}' for name, value in found['variables'].items()) or 'none'))
    else:
        parts.append('BLAS not noted')
    return '; '.join(filter(None, parts))


def require_free_blas(command, writes=True, variables=None):
    """Ends the script with status 2 if its figures would be those of a BLAS held back.

    Args:
        command (str): how the script is called, without `python`.
        writes (bool): whether it writes figures; else there is a warning only.
        variables (dict): those that figures were measured with; those of this process
            if None.
    """
    held = info.fixing(variables)
    if not held:
        return
    names = ', '.join(held)
    found = ', '.join(f'{name}={value}' for name, value in held.items())
    unset = ' '.join(f'-u {name}' for name in held)
    message = (f'{names}: expected not to be set where figures are measured, since '
               f'{"it fixes" if len(held) == 1 else "they fix"} what a library would '
               f'choose for this processor by itself, found {found}; run: env {unset} '
               f'python {command}')
    if not writes:
        print(f'warning: {message}', file=sys.stderr)
        return
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


def begin(command, writes=True):
    """Says what a script is about to measure on, unless figures would be no good.

    Args:
        command, writes: As of `require_free_blas`.

    Returns:
        dict: of `machine`.
    """
    require_free_blas(command, writes)
    found = machine()
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
    """Bytes that this process has, 'VmRSS', or had at most, 'VmHWM'; NaN if unknown.

    Linux says them.  ru_maxrss begins with what the parent had.
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
    """Median over the turns of how many times `faster` is faster, if both ran."""
    if slower not in times or faster not in times:
        return None
    return float(numpy.nanmedian(times[slower] / times[faster]))


# The files -------------------------------------------------------------------------

def replace(name, script, content, path=None):
    """Puts `content` in the place of a part of RESULTS.md, or at its end.

    Args:
        path (str): Another file, that has the part.
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
    """Writes what a script has measured so far, as JSON; whole or not at all."""
    with open(f'{path}.new', 'w', encoding='utf-8', newline='\n') as f:
        json.dump(results, f, indent=1)
        f.write('\n')
    os.replace(f'{path}.new', path)


def kept(path):
    """What `keep` wrote; {} if it wrote nothing yet."""
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
