"""Fixtures that run old scripts in separate processes."""
import json
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


@pytest.fixture
def run(script):
    """Runs a few lines with the usual imports; returns what they print as JSON."""
    imports = ('import json\nimport chainer, numpy as np\n'
               'import chainer.functions as F\nimport chainer.links as L\n')

    def run(lines, api='1.24', **kwargs):
        found = script(imports + textwrap.dedent(lines), api=api, **kwargs)
        return found if kwargs else json.loads(found)
    return run
