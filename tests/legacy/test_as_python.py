"""`rnnlm run script args` behaves exactly like ``python script args``."""
import difflib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

from helpers import ROOT
import pytest

from rnnlm.legacy import runner

POSIX = pytest.mark.skipif(os.name != 'posix', reason='signals and links of POSIX')


# Runs a script like run_script.py, but imports neither Chainer nor NumPy.
QUICK = f'''
import sys, types
sys.modules['rnnlm'] = types.ModuleType('rnnlm')
sys.modules['rnnlm'].__path__ = [{runner.PACKAGE!r}]
from rnnlm.legacy import main
main.run()
'''


def both(path, *args, flags=(), env=(), **options):
    """Runs a script by Python and by `rnnlm run`: (status, output, errors) of each."""
    done = []
    for ours in False, True:
        command, environment = runner.start(path, args, 'v2')
        # The tests have the package on their path, but scripts do not.
        environment['PYTHONPATH'] = runner.SITE if ours else ''
        if not ours:
            command = [part for part in command if 'run_script' not in part]
        elif not options.get('full'):
            command = [options['quick'] if 'run_script' in part else part
                       for part in command]
        environment.update(env)
        command[1:1] = flags
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.PIPE, text=True, encoding='utf-8')
        if 'act' in options:
            options['act'](process)
        out, err = process.communicate(options.get('input'))
        done.append((process.returncode, out, err))
    return done


@pytest.fixture
def same(tmp_path, monkeypatch, tmp_path_factory):
    """Fails unless a script behaves the same in both; returns what it did."""
    monkeypatch.chdir(tmp_path)
    quick = tmp_path_factory.mktemp('quick') / 'run_script.py'
    quick.write_text(QUICK)

    def check(lines, *args, name='script.py', **options):
        path = tmp_path / name
        if lines is not None:
            path.write_text(textwrap.dedent(lines), encoding='utf-8')
        pythons, ours = both(
            options.pop('path', name), *args, quick=str(quick), **options)
        lines = [[str(status), *(out or '').splitlines(), *err.splitlines()]
                 for status, out, err in (pythons, ours)]
        assert ours == pythons, '\n'.join(difflib.unified_diff(
            *lines, 'python', 'rnnlm run', n=0, lineterm=''))
        return ours
    return check


STATE = '''
    """Its docstring."""
    import os, sys
    print(sys.argv, __name__, __file__, __doc__, __package__, __spec__, __cached__)
    print(type(__loader__).__name__, getattr(__loader__, 'path', ''), sys.path)
    print(__builtins__, sorted(globals()))
    print(sys.modules['__main__'].__dict__ is globals())
    print(sys.flags, sys.warnoptions, sys.excepthook is sys.__excepthook__)
    print(getattr(sys, 'orig_argv', [0])[1:], 'sitecustomize' in sys.modules)
    print(sys.stdout.errors, sys.stdout.encoding, sys.stdin.encoding)
    class A: pass
    import pickle
    assert type(pickle.loads(pickle.dumps(A()))) is A and A.__module__ == '__main__'
    os.chdir('/')
    assert os.path.isfile(__file__)
    with os.popen('echo child') as f:
        print(f.read())
'''


def test_state(same):
    status, out, _ = same(STATE, '-g', '--', '--api', 'v1', '', 'a b')
    assert status == 0 and "'--', '--api', 'v1', '', 'a b']" in out


def test_paths(same, tmp_path):
    (tmp_path / 'sub').mkdir()
    for path in './script.py', 'sub/../script.py', str(tmp_path / 'script.py'):
        same(STATE, path=path)
    same(STATE, flags=['-W', 'error', '-X', 'dev', '-O', '-B'])
    same(STATE, name='ohne Endung')


@pytest.mark.skipif(sys.version_info < (3, 11), reason='new in Python 3.11')
def test_safe_path(same):
    assert same(STATE, env={'PYTHONSAFEPATH': '1'})[0] == 0
    assert same(STATE, flags=['-P'])[0] == 0


@POSIX
def test_linked_script(same, tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'real' / 'beside.py').write_text('print("beside")')
    (tmp_path / 'real' / 'script.py').write_text(
        textwrap.dedent(STATE) + 'import beside\n')
    (tmp_path / 'linked.py').symlink_to(tmp_path / 'real' / 'script.py')
    (tmp_path / 'folder').symlink_to(tmp_path / 'real')
    (tmp_path / 'twice.py').symlink_to('linked.py')
    for path in 'linked.py', 'folder/script.py', 'twice.py':
        assert 'beside' in same(None, path=path)[1]


def test_folder_and_zip(same, tmp_path):
    (tmp_path / 'app').mkdir()
    main = '''
        import sys, beside
        print(sys.argv, sys.path, __file__, __package__, __spec__.name, __name__)
        1 / 0
    '''
    (tmp_path / 'app' / '__main__.py').write_text(textwrap.dedent(main))
    (tmp_path / 'app' / 'beside.py').write_text('x = 1')
    with zipfile.ZipFile(tmp_path / 'app.zip', 'w') as archive:
        for name in '__main__.py', 'beside.py':
            archive.write(tmp_path / 'app' / name, name)
    assert 'ZeroDivisionError' in same(None, 'a', path='app')[2]
    assert 'ZeroDivisionError' in same(None, 'a', path='app.zip')[2]


@pytest.mark.parametrize('ending, status', [
    ('sys.exit()', 0), ('sys.exit(None)', 0), ('sys.exit(3)', 3),
    ('sys.exit(-1)', 255), ('raise GeneratorExit', 1),
    ('sys.exit(256)', 0), ('sys.exit("words")', 1), ('sys.exit([1])', 1),
    ('sys.exit(True)', 1), ('raise SystemExit', 0), ('raise SystemExit(2, 3)', 1),
    ('exit(4)', 4), ('os._exit(5)', 5), ('def f(): 1 / 0\nf()', 1),
    ('raise RuntimeError("a") from ValueError("b")', 1),
    ('class E(BaseException): pass\nraise E("x")', 1), ('import nothing', 1),
    ('x = eval("1 +")', 1),
    ('raise KeyboardInterrupt', -2), ('assert False, "words"', 1),
    ('sys.excepthook = lambda *a: print("own", a[0], a[2].tb_next)\n1 / 0', 1),
    ('del sys.excepthook\n1 / 0', 1), ('sys.stderr = None\n1 / 0', 1),
    ('sys.stdout.close()', 0),
    ('import signal\nos.kill(os.getpid(), signal.SIGTERM)', -15),
    ('sys.excepthook = 3\n1 / 0', 1),
])
def test_endings(same, ending, status):
    if os.name != 'posix' and status not in (0, 1, 2, 3, 4, 5):
        pytest.skip('a status of POSIX')
    found = same('import atexit, os, sys\natexit.register(print, "at exit")\n'
                 'print("begun")\n' + ending + '\n')
    assert found[0] == status


@pytest.mark.parametrize('text', [
    b'if True print(1)\n', b'x = (\n', b'  x = 1\n', b'\tif 1:\n        pass\n',
    b'# coding: nonsense\nprint(1)\n', b'print("\xff")\n', b'x = 1\0\n', b'',
    b'\xef\xbb\xbfprint("\xc3\xa9")\n', b'# -*- coding: latin-1 -*-\nprint("\xe9")\n',
    b'print(1)\r\nprint(2)\rprint(3)', b'x = 1\n1 / 0  # \xc3\xa9\n',
    b'from __future__ import annotations\ndef f(x: nothing): pass\n'
    b'print(f.__annotations__)\n',
    b'import ast\nx = "\\d"\nprint(1)\n', b'return 1\n', b'await f()\n',
])
def test_source(same, text, tmp_path):
    (tmp_path / 'script.py').write_bytes(text)
    same(None, env={'PYTHONWARNINGS': 'default'})


@pytest.mark.parametrize('lines', [
    # Threads that outlive the script, and their errors.
    '''
    import threading, time, atexit
    atexit.register(print, 'at exit')
    def later():
        time.sleep(0.2)
        print('later')
    threading.Thread(target=later).start()
    threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
    failed = threading.Thread(target=lambda: 1 / 0)
    failed.start(); failed.join()
    print('end')
    ''',
    # Where warnings come from, and that each is shown once.
    '''
    import warnings
    for _ in range(2):
        warnings.warn('mine')
        warnings.warn('old', DeprecationWarning)
    warnings.warn_explicit('there', UserWarning, 'x.py', 3)
    ''',
    # Running other code.
    '''
    import runpy, pathlib, sys
    pathlib.Path('other.py').write_text('print(__name__, __file__, 1 / x)')
    try:
        runpy.run_path('other.py', {'x': 0}, '__main__')
    except ZeroDivisionError as e:
        print(e)
    print(__name__, sys.modules['__main__'].__dict__ is globals())
    import importlib, script
    print(script.__name__)
    ''',
    # Input.
    '''
    import sys
    print(input(), sys.stdin.read())
    input()
    ''',
    # A class defined in the script, and what inspect finds.
    '''
    import inspect, linecache, traceback, logging
    class A:
        def has_key(self): return 3
    print(A().has_key(), inspect.getsource(A), inspect.getfile(A))
    print(inspect.stack()[0].filename, inspect.stack()[0].function)
    try:
        raise ValueError('x')
    except ValueError:
        logging.exception('logged')
    ''',
    # Code that runs while Python shuts down.
    '''
    import sys, weakref
    class A:
        def __del__(self): print('deleted', sys is not None, print is not None)
    a = A()
    weakref.finalize(a, print, 'finalized')
    ''',
    # sys.exc_info, nested hooks, chained exceptions.
    '''
    import sys
    def hook(kind, e, tb):
        print('hook', sys.exc_info()[0], tb.tb_lineno, tb.tb_frame.f_code.co_name)
        raise TypeError('in the hook')
    sys.excepthook = hook
    try:
        1 / 0
    except ZeroDivisionError:
        raise KeyError('k')
    ''',
])
def test_runs(same, lines):
    same(lines, env={'PYTHONWARNINGS': 'default'}, input='one\ntwo\nthree\n')


@POSIX
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(same, number):
    def act(process):
        assert process.stdout.readline() == 'waiting\n'
        time.sleep(0.3)
        process.send_signal(number)
    status, _, err = same('''
        import atexit, time
        atexit.register(print, 'at exit')
        print('waiting', flush=True)
        time.sleep(60)
    ''', act=act)
    assert status == -number and ('KeyboardInterrupt' in err) == (number == 2)


@POSIX
def test_closed_pipe(same):
    def act(process):
        process.stdout.close()
        process.stdout = None
    for lines in 'print("x" * 100000)\n', 'print("x")\n':
        same('import sys\nsys.stdin.readline()\n' + lines, act=act, input='go\n')


def test_standard_input(same, tmp_path):
    lines = b'''# coding: latin-1
import sys
print(sys.argv, __name__, sys.path[0], globals().get('__file__'), "\\xe9")
print([sys.stdin.read()], __loader__, __spec__)
1 / 0
'''
    (tmp_path / 'lines').write_bytes(lines)
    done = []
    for command in ([sys.executable], [sys.executable, '-m', 'rnnlm', 'run']):
        with open(tmp_path / 'lines') as f:
            done.append(subprocess.run(
                [*command, '-', 'a', '--', 'b'], stdin=f, capture_output=True,
                text=True, env={**os.environ, 'PYTHONPATH': ROOT}))
    python, ours = done
    assert (ours.returncode, ours.stdout) == (1, python.stdout)
    assert ours.stderr.split('\n', 1)[1] == python.stderr
    assert 'rnnlm run: Chainer v2 (1.0 to 7.8.1)' in ours.stderr


def test_arguments_of_the_command_line():
    assert runner.split_arguments(['run', '--api', 'v1', 'a.py', '--', '--api']) == (
        ['run', '--api', 'v1', 'a.py'], ['--', '--api'])
    assert runner.split_arguments(['run', '--api=v1', '--', 'a.py', '-h']) == (
        ['run', '--api=v1', '--', 'a.py'], ['-h'])
    assert runner.split_arguments(['run', '-', 'x']) == (['run', '-'], ['x'])
    assert runner.split_arguments(['run', '-h']) == (['run', '-h'], [])
    assert runner.split_arguments(['train', 'run', '--']) == (
        ['train', 'run', '--'], [])


# Each child prints whether it sees Chainer v1; one without the environment does not.
CHILDREN = '''
import multiprocessing, os, subprocess, sys

def meets(queue=None):
    import chainer
    import numpy
    found = hasattr(chainer, 'FunctionSet'), numpy.int is int
    return found if queue is None else queue.put(found)

if __name__ == '__main__':
    print(meets())
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=meets, args=(queue,))
        process.start()
        print(method, queue.get())
        process.join()
    code = 'import chainer; print(hasattr(chainer, "FunctionSet"))'
    call = lambda *args, **more: print(subprocess.check_output(
        [sys.executable, *args], text=True, **more).strip())
    call('-c', code)
    call('-c', 'import numpy; print(numpy.float)')
    call('-c', 'import subprocess, sys; subprocess.call([sys.executable, "-c", '
         + repr(code) + '])')
    call('-c', 'import sys; print("numpy" in sys.modules, [p for p in sys.path '
         'if p.endswith("site")], "sitecustomize" in sys.modules)')
    call('-c', 'import rnnlm, chainer; print(hasattr(chainer, "FunctionSet"))',
         env={**os.environ, 'PYTHONPATH': os.pathsep.join(
             [os.environ['PYTHONPATH'], sys.argv[1]])})
    stranger = {name: value for name, value in os.environ.items()
                if name not in ('PYTHONPATH', 'RNNLM_RUN')}
    call('-c', 'import sys; print([type(f).__name__ for f in sys.meta_path '
         'if "site" in type(f).__module__])', env=stranger)
'''


def test_children(tmp_path):
    (tmp_path / 'script.py').write_text(CHILDREN)
    command, environment = runner.start(str(tmp_path / 'script.py'), [ROOT], 'v1')
    environment['PYTHONPATH'] = runner.SITE
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ''
    lines = done.stdout.splitlines()
    assert lines == [
        '(True, True)', *(f'{method} (True, True)' for method in
                          multiprocessing.get_all_start_methods()),
        'True', "<class 'float'>", 'True', 'False [] False', 'False', '[]']


def test_sitecustomize_of_others_is_chained(same, tmp_path):
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'sitecustomize.py').write_text(
        'import sys\nsys.mine = __file__')
    command, environment = runner.start('-c', [], 'v2')
    environment['PYTHONPATH'] = os.pathsep.join([runner.SITE, str(tmp_path / 'site')])
    done = subprocess.run(
        [sys.executable, '-c', 'import sys, sitecustomize; print(sys.mine == '
         'sitecustomize.__file__, sys.path[1])'],
        env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ['True', str(tmp_path / 'site')] and not done.stderr


def test_another_python_is_left_alone(tmp_path):
    _, environment = runner.start('-c', [], 'v1')
    environment['RNNLM_RUN'] = environment['RNNLM_RUN'].replace(
        str(sys.hexversion), '2')
    done = subprocess.run(
        [sys.executable, '-c', 'import sys; print(type(sys.meta_path[0]))'],
        env=environment, capture_output=True, text=True)
    assert '_Trigger' not in done.stdout and not done.stderr
