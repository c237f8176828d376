"""A failing system call loses no data and gives no wrong message.

Every call that changes a file in the folder of a run (open, write, fsync, rename,
unlink, mkdir) fails once, or kills the process, in each of several commands.  After
that the run can be resumed, with bit-identical results.  RNNLM_FAULTS is the number of
calls of each command and kind of fault to try, 0 for all.
"""
import errno
import json
import os
import random
import shutil
import subprocess
import sys

import numpy
import pytest

pytestmark = pytest.mark.slow

HERE = os.path.dirname(os.path.abspath(__file__))
FAULTS = int(os.environ.get('RNNLM_FAULTS', 3))

# Two windows an epoch, and a snapshot after each.
OPTIONS = ['-u', '3', '-b', '2', '-l', '9', '--save-every', '0']

# Kind of fault, and the error that is answered.
KINDS = [('fail', errno.EIO), ('full', errno.ENOSPC), ('kill', 0), ('half', 0)]


class Server:
    """A process that runs commands in children, with the shim in them."""

    def __init__(self, folder):
        compiler = shutil.which('cc') or shutil.which('gcc')
        if not compiler or not sys.platform.startswith('linux'):
            pytest.skip('needs Linux and a C compiler')
        shim = os.path.join(folder, 'faults.so')
        subprocess.run([compiler, '-shared', '-fPIC', '-O1', '-o', shim,
                        os.path.join(HERE, 'faults.c'), '-ldl'], check=True)
        tests = os.path.dirname(HERE)
        self._log = os.path.join(folder, 'printed')
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', os.path.join(HERE, 'server.py')],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, LD_PRELOAD=shim, OPENBLAS_NUM_THREADS='1',
                     PYTHONPATH=os.pathsep.join([os.path.dirname(tests), tests])))

    def run(self, argv, folder='/nowhere', kind='count', at=0, error=0, **more):
        """{'status', 'printed', 'count'} of a command with one fault in a folder."""
        print(json.dumps({'argv': argv, 'folder': folder, 'kind': kind, 'at': at,
                          'errno': error, 'log': self._log, **more}),
              file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    made = Server(str(tmp_path_factory.mktemp('server')))
    yield made
    made.close()


class Case:
    """A command, and what was in its folder before.

    Args:
        server: The `Server`.
        root: Folder in which there is ``before``, which is copied for each trial.
        argv: The command; ``{}`` stands for the copy.
        again: The commands that go on after a fault, of which one must succeed.
        out: The result, in the copy.
        more: As of `Server.run`.
    """

    def __init__(self, server, root, argv, again, out='out', **more):
        self.server, self.root, self.more, self.out = server, root, more, out
        self.argv, self.again = argv, [argv, *again]
        self.whole = self.copy('whole')
        done = self.run('whole')
        assert done['status'] == 0, done['printed']
        self.count = done['count']

    def copy(self, name):
        folder = os.path.join(self.root, name)
        shutil.copytree(os.path.join(self.root, 'before'), folder)
        return folder

    def run(self, name, argv=None, **fault):
        folder = os.path.join(self.root, name)
        return self.server.run([part.format(folder) for part in argv or self.argv],
                               os.path.join(folder, self.out), **fault, **self.more)

    def try_fault(self, kind, error, at):
        folder = self.copy('trial')
        done = self.run('trial', kind=kind, at=at, error=error)
        printed = done['printed']
        assert 'Traceback' not in printed, printed
        if done['status'] == 0:
            if self.more.get('poisoned') and 'could not be written' in printed:
                # It went back further, to the snapshot that was written.
                shutil.rmtree(folder)
                return
            assert_same(self.whole, folder, self.out, parts=True)
        elif kind in ('fail', 'full'):
            # For the errors of the system 1; 2 where it is refused to begin.
            assert done['status'] in (1, 2), done
            assert ': error: ' in printed, printed
        else:
            assert done['status'] == -9, done
        for _ in range(2):  # what went on may be asked to go on again
            tried = []
            for argv in self.again:
                tried.append(self.run('trial', argv))
                if tried[-1]['status'] == 0:
                    break
            assert tried[-1]['status'] == 0, (done, tried)
            assert not any('Traceback' in one['printed'] for one in tried), tried
            if not (self.more.get('poisoned') and kind in ('fail', 'full')):
                # What a killed convert left may be in use by another one.
                assert_same(self.whole, folder, self.out, argv[0] == 'convert')
        shutil.rmtree(folder)


def assert_same(whole, folder, out, parts=False):
    """The same files, and in them the same numbers.

    The last snapshot must be there; which older ones are depends on the faults.
    """
    whole, folder = os.path.join(whole, out), os.path.join(folder, out)
    names, last = without_snapshots(os.listdir(whole))
    found, newest = without_snapshots(
        name for name in os.listdir(folder) if not (parts and name.endswith('.part')))
    assert (found, newest) == (names, last)
    for name in [*names, *filter(None, [last])]:
        one, other = os.path.join(whole, name), os.path.join(folder, name)
        if name == 'log':
            assert entries(one) == entries(other)
        elif name == 'result.json':
            assert found_in(one) == found_in(other)
        elif name == last:
            assert_same_arrays(one, other)
        elif name.endswith('.png'):
            assert os.path.getsize(other) > 1000
        else:
            with open(one, 'rb') as f, open(other, 'rb') as g:
                assert f.read() == g.read(), name


def without_snapshots(names):
    """(The sorted names of the others, that of the newest snapshot)."""
    names = sorted(names, key=lambda name: (len(name), name))
    snapshots = [name for name in names if name.startswith('snapshot_iter_')]
    return ([name for name in names if name not in snapshots],
            snapshots[-1] if snapshots else None)


def entries(path):
    with open(path) as f:
        found = json.load(f)
    for entry in found:
        del entry['elapsed_time'], entry['words/s']
    return found


def found_in(path):
    with open(path) as f:
        found = json.load(f)
    return {name: found[name] for name in ('valid', 'test', 'windows', 'epochs', 'run')}


def assert_same_arrays(one, other):
    with numpy.load(one, allow_pickle=True) as a, \
            numpy.load(other, allow_pickle=True) as b:
        names = [{name for name in npz if name.startswith('updater/')}
                 for npz in (a, b)]
        assert names[0] == names[1]
        for name in names[0]:
            numpy.testing.assert_array_equal(a[name], b[name], err_msg=name)


def train(server, argv, **more):
    done = server.run(['train', *argv], **more)
    assert done['status'] == 0, done['printed']


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'before').mkdir()
    (tmp_path / 'text').write_text('the cat sat\non the mat\n' * 5)
    return str(tmp_path)


def new(server, root):
    text = ['train', '--corpus', f'{root}/text', *OPTIONS, '-e', '2']
    argv = [*text, '--out', '{}/out']
    return Case(server, root, argv, [
        [*argv, '--resume'], [*argv, '--overwrite']], picture=FAULTS == 0)


def resumed(server, root):
    text = ['--corpus', f'{root}/text', *OPTIONS, '-e']
    train(server, [*text, '1', '--out', f'{root}/before/out'])
    return Case(server, root, ['train', *text, '2', '--out', '{}/out', '--resume'], [])


def resumed_elsewhere(server, root):
    text = ['--corpus', f'{root}/text', *OPTIONS, '-e']
    train(server, [*text, '1', '--out', f'{root}/first'])
    snapshot = max(os.listdir(f'{root}/first'), key=lambda name: (
        name.startswith('snapshot'), len(name), name))
    argv = ['train', *text, '2', '--out', '{}/out']
    return Case(server, root, [*argv, '--resume', f'{root}/first/{snapshot}'],
                [[*argv, '--resume']])


def overwritten(server, root):
    text = ['--corpus', f'{root}/text', *OPTIONS, '-e']
    train(server, [*text, '3', '--seed', '5', '--out', f'{root}/before/out'])
    argv = ['train', *text, '2', '--out', '{}/out', '--overwrite']
    return Case(server, root, argv, [])


def rolled_back(server, root):
    text = ['train', '--corpus', f'{root}/text', *OPTIONS, '-e', '2']
    argv = [*text, '--out', '{}/out', '--on-nan', 'rollback']
    return Case(server, root, argv, [
        [*argv, '--resume'], [*argv, '--overwrite']], poisoned=True)


def converted(server, root):
    text = ['--corpus', f'{root}/text', *OPTIONS, '-e', '1', '--out', f'{root}/run']
    train(server, text)
    os.mkdir(f'{root}/before/out')
    with open(f'{root}/before/out/model.safetensors', 'wb') as f:
        f.write(b'an older one')
    argv = ['convert', f'{root}/run', '{}/out/model.safetensors', '--overwrite']
    return Case(server, root, argv, [])


@pytest.mark.parametrize('make', [
    new, resumed, resumed_elsewhere, overwritten, rolled_back, converted])
def test_a_fault_at_every_call(make, server, root):
    case = make(server, root)
    assert case.count > (4 if make is converted else 50)
    tried = 0
    for kind, error in KINDS:
        calls = range(1, case.count + 1)
        if FAULTS:
            calls = random.Random(f'{make.__name__} {kind}').sample(
                calls, min(FAULTS, len(calls)))
        for at in calls:
            case.try_fault(kind, error, at)
            tried += 1
    print(f'{make.__name__}: {tried} faults in {case.count} calls')
