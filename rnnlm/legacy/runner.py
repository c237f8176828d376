"""Starts a script as Python would, with the Chainer that it was written for.

A new Python replaces this process.  Environment variables tell it, and child processes
of the script, to install the old names (`site/sitecustomize.py`).
"""
import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

from rnnlm.errors import InputError

# The release that stands for a whole series.
SERIES = {'v1': '1.24', 'v2': '7.8.1'}
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site')
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def split_arguments(argv):
    """Splits a command line into arguments up to the script, and the script's own.

    An option parser would take ``--`` and its own options from the script's arguments.

    Returns:
        tuple: Two lists; the second is empty if the command is not ``run``.
    """
    if argv[:1] != ['run']:
        return argv, []
    at = 1
    while at < len(argv) and argv[at].startswith('-') and argv[at] not in ('-', '--'):
        at += 2 if argv[at] == '--api' else 1
    at += argv[at:at + 1] == ['--']
    return argv[:at + 1], argv[at + 1:]


def run(path, args=(), api='auto'):
    """Runs a script as ``python path *args`` would, replacing this process.

    Args:
        path (str): The script; or a folder or zip file with a ``__main__.py``, or '-'
            for standard input.
        args (sequence of str): Its arguments.
        api (str): The Chainer that it was written for: 'v1', 'v2' (to v7) or a release
            such as '1.24'; 'auto' infers it from the source and says so on stderr.

    Returns:
        int: The exit status of the script, on systems that cannot replace a process.

    Raises:
        rnnlm.errors.InputError: If there is no such script, or it is for Python 2.
    """
    from rnnlm.legacy import releases
    if path == '-':
        _keep_standard_input()
    else:
        _refuse_own_rnnlm(path)
    version, notice = _choose(path, api)
    if notice:
        print(f'rnnlm run: {notice}', file=sys.stderr)
    api = 'v1' if version < (2,) else 'v2'
    command, environment = start(path, args, api, releases.as_text(version))
    sys.stderr.flush()
    if os.name == 'posix':
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)


def start(path, args, api, version=''):
    """Returns the command and the environment that run a script.

    Args:
        path (str): The script.
        args (sequence of str): Its arguments.
        api (str): 'v1' or 'v2'.
        version (str): The release that it was written for, if known.
    """
    script = [os.path.join(SITE, 'run_script.py')] if _can_be_parsed(path) else []
    return [sys.executable, *_flags(), *script, path, *args], _environment(api, version)


def _can_be_parsed(path):
    """Returns whether the source can be parsed; if not, Python reports the error."""
    if path == '-':
        return not os.isatty(0)
    if path.endswith('.pyc') or not os.path.isfile(path) or zipfile.is_zipfile(path):
        return not path.endswith('.pyc')
    try:
        with open(path, 'rb') as f:
            ast.parse(f.read(), path)
    except (SyntaxError, ValueError):
        return False
    return True


def _choose(path, api):
    """Returns the release of a script, and a notice to print about it, or ''.
    """
    # Imported here, because every command imports this module for `split_arguments`.
    from rnnlm.legacy import releases, source, verdict
    if api != 'auto':
        version = releases.load().named(SERIES.get(api, api))
    else:
        version = releases.as_tuple(SERIES['v2'])
    with _main_file(path) as main:
        if main is None:
            return version, ''
        try:
            tree = source.parse(main)
            # Needed even if the release is given: it refuses modules for Python 2.
            found = verdict.of_script(main, tree)
        except SyntaxError:  # Python will report it
            return version, ''
    if api != 'auto':
        return version, ''
    return found.version, (
        f'Chainer {found.api} ({found.releases}), because {found.reason}.  If that is '
        f'wrong, use --api {"v2" if found.api == "v1" else "v1"}')


def _refuse_own_rnnlm(path):
    """Refuses a script that imports a module `rnnlm` of its own.

    This package has that name in the script's process, and would be imported instead.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    for own in os.path.join(folder, 'rnnlm.py'), os.path.join(folder, 'rnnlm'):
        if not os.path.exists(own) or os.path.exists(os.path.join(own, '_compat')):
            continue  # nothing, or a copy of this package
        for name in sorted(os.listdir(folder)):
            file = os.path.join(folder, name)
            if name.endswith('.py') and os.path.isfile(file):
                with open(file, encoding='utf-8', errors='replace') as f:
                    if re.search(r'(?m)^\s*(from|import)\s+rnnlm\b', f.read()):
                        raise InputError(
                            f'{own}: expected another name for this module, found '
                            'rnnlm, which is the name of this package; rename it, and '
                            f'its import in {file}')


@contextlib.contextmanager
def _main_file(path):
    """Yields the file from which the release is inferred, or None if unknown."""
    if path == '-':
        with tempfile.TemporaryDirectory() as folder:
            yield _copy_of_standard_input(os.path.join(folder, '<stdin>'))
    elif os.path.isdir(path):
        main = os.path.join(path, '__main__.py')
        if not os.path.isfile(main):
            raise InputError(f'{path}: expected a script, found a folder without '
                             '__main__.py')
        yield main
    elif os.path.isfile(path) and zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder, [
                name for name in archive.namelist() if name.endswith('.py')])
            main = os.path.join(folder, '__main__.py')
            yield main if os.path.isfile(main) else None
    else:
        yield None if path.endswith('.pyc') else path


def _keep_standard_input():
    """Makes standard input readable twice, unless it is a terminal."""
    if not sys.stdin or sys.stdin.isatty():
        return
    file = tempfile.TemporaryFile()
    shutil.copyfileobj(sys.stdin.buffer, file)
    file.seek(0)
    os.dup2(file.fileno(), 0)


def _copy_of_standard_input(path):
    if not sys.stdin or sys.stdin.isatty():
        return None
    with open(path, 'wb') as copy:
        while True:
            block = os.read(0, 2 ** 16)
            if not block:
                break
            copy.write(block)
    os.lseek(0, 0, os.SEEK_SET)
    return path


def _flags():
    """Returns this Python's options, except those that ignore the environment."""
    flags = [flag for flag in subprocess._args_from_interpreter_flags()
             if flag not in ('-E', '-I')]
    if sys.flags.isolated:
        flags += ['-s'] + (['-P'] if sys.version_info >= (3, 11) else [])
    if getattr(sys.__stdout__, 'write_through', False):
        flags.append('-u')
    return flags


def _environment(api, version):
    environment = {name: value for name, value in os.environ.items()
                   if not (sys.flags.ignore_environment and name.startswith('PYTHON'))}
    paths = environment.get('PYTHONPATH')
    environment['PYTHONPATH'] = SITE + (os.pathsep + paths if paths else '')
    environment['RNNLM_RUN'] = '\n'.join(
        (PACKAGE, api, version, sys.prefix, str(sys.hexversion)))
    return environment
