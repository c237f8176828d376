"""Standard streams that are closed or full: a run goes on, other commands say so."""
import os
import subprocess
import sys

from helpers import ROOT
import pytest

from rnnlm.app.streams import open_closed_streams

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='needs a POSIX shell')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    (folder / 'text').write_text('the cat sat on the mat\n' * 60)
    done = shell(folder, 'train -e 1 --out result ' + OPTIONS)
    assert done.returncode == 0, done.stderr
    return folder


OPTIONS = '--corpus text -u 4 -b 4 -l 5'


def shell(folder, command, streams=''):
    return subprocess.run(
        f'{sys.executable} -m rnnlm {command} {streams}', shell=True, cwd=folder,
        env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True, text=True)


@pytest.mark.parametrize('out, streams', list(enumerate([
    '<&-', '>&-', '2>&-', '<&- >&- 2>&-', '>/dev/full', '2>/dev/full',
    '>/dev/full 2>/dev/full'])))
def test_training_does_not_need_them(folder, out, streams):
    out = f'out{out}'
    done = shell(folder, f'train -e 2 --out {out} {OPTIONS}', streams)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    for name in 'model.npz', 'log', 'run.json', 'vocabulary.json':
        assert (folder / out / name).stat().st_size > 20
    done = shell(folder, f'evaluate {out}')
    assert done.returncode == 0 and 'perplexity' in done.stdout


@pytest.mark.parametrize('streams, found', [
    ('>&-', 'found it closed'), ('>/dev/full', 'No space left on device')])
@pytest.mark.parametrize('command', [
    'evaluate', 'generate --length 3', 'info', 'score result text',
    'interpolate result result', 'inspect result/model.npz'])
def test_a_result_that_cannot_be_printed_is_an_error(folder, command, streams, found):
    done = shell(folder, command, streams)
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1 and found in done.stderr


def test_errors_without_a_place_for_them(folder):
    for streams in '2>&-', '2>/dev/full', '<&- >&- 2>&-':
        done = shell(folder, 'evaluate nowhere', streams)
        assert done.returncode == (1 if '>&- 2' in streams else 2)
        assert (done.stdout, done.stderr) == ('', '')
    assert shell(folder, 'score result', '<&-').returncode == 0


def test_no_file_gets_the_number_of_a_closed_stream(folder):
    script = ('import os, rnnlm; from rnnlm.app.streams import open_closed_streams; '
              'closed = open_closed_streams(); f = open("text"); '
              'rest = (f.fileno() > 2, sorted(closed)); '
              'open("found", "w").write(repr(rest))')
    subprocess.run(f'{sys.executable} -c \'{script}\' <&- >&- 2>&-', shell=True,
                   cwd=folder, env=dict(os.environ, PYTHONPATH=ROOT))
    assert (folder / 'found').read_text() == "(True, ['stderr', 'stdin', 'stdout'])"


def test_streams_that_are_open_stay():
    before = sys.stdin, sys.stdout, sys.stderr
    assert open_closed_streams() == []
    assert before == (sys.stdin, sys.stdout, sys.stderr)
