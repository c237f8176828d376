"""Fixtures that run old scripts in separate processes."""
import os
import subprocess
import sys
import textwrap

from helpers import ROOT
import pytest


@pytest.fixture
def script(tmp_path):
    """Runs a few lines under ``rnnlm run``; returns their output, or their errors."""
    def run(lines, status=0, api='v2', **modules):
        for name, text in {'script': lines, **modules}.items():
            (tmp_path / f'{name}.py').write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m', 'rnnlm', 'run', '--api', api,
             str(tmp_path / 'script.py')], capture_output=True, text=True,
            cwd=tmp_path, env={**os.environ, 'PYTHONPATH': ROOT})
        assert done.returncode == status, done.stderr
        assert status or not done.stderr
        return done.stderr if status else done.stdout
    return run
