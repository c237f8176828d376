"""No file of ten megabytes costs more than ten seconds or a gibibyte.

Unless it truly holds that much.  Each is read by a process of its own, whose memory the
system limits and whose seconds of the processor are counted.
"""
import json
import os
import subprocess
import sys

from helpers import ROOT, TESTS
import pytest

pytest.importorskip('resource')
import bombs  # noqa: E402

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(
        not os.path.exists('/proc/self/statm'), reason='reads what Linux says')]


@pytest.mark.parametrize('kind', bombs.BOMBS)
def test_what_a_small_file_costs(tmp_path, kind):
    if kind == 'hdf5':
        pytest.importorskip('h5py')
    ending, make = bombs.BOMBS[kind]
    path = tmp_path / ('run.json' if kind == 'run' else 'bomb' + ending)
    for name, data in make():
        path.write_bytes(data)
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', bombs.__file__, kind, str(path)],
            capture_output=True, text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, TESTS])))
        assert done.returncode == 0, (name, done.stderr)
        costs = [json.loads(line) for line in done.stdout.splitlines()]
        assert costs
        for cost in costs:
            assert cost['seconds'] < bombs.MOST_SECONDS, (name, cost)
            assert cost['bytes'] < bombs.MOST_BYTES, (name, cost)
