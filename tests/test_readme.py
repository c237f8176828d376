"""The README says what is so."""
import os
import re
import subprocess
import sys

from helpers import ROOT
import pytest


@pytest.fixture(scope='module')
def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        return f.read()


def test_the_lines_of_use_run(readme, tmp_path):
    block, = re.findall(r'```python\n(.*?)```', readme, re.S)
    subprocess.run(
        [sys.executable, '-W', 'error', '-c', block], cwd=tmp_path, check=True,
        env=dict(os.environ, PYTHONPATH=ROOT))
