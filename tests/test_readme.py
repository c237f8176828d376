"""The README says what is so."""
import os
import re
import subprocess
import sys

from helpers import ROOT
import pytest

import rnnlm


@pytest.fixture(scope='module')
def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        return f.read()


@pytest.fixture
def run_block(readme, tmp_path):
    """Runs the k-th block of Python in an empty folder; what it prints."""
    blocks = re.findall(r'```python\n(.*?)```', readme, re.S)
    assert len(blocks) == 2

    def run(k):
        return subprocess.run(
            [sys.executable, '-W', 'error', '-c', blocks[k]], cwd=tmp_path, check=True,
            env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE,
            text=True).stdout
    return run


def test_the_lines_of_training_run(run_block):
    run_block(0)


def test_the_lines_of_use_run(run_block, tmp_path):
    recipe = rnnlm.Recipe(n_units=32, n_layers=1, dropout=0, bprop_len=20, epochs=1)
    rnnlm.train(rnnlm.load_corpus('demo'), recipe, out=str(tmp_path / 'result'), seed=0)
    trained = rnnlm.load(tmp_path / 'result')
    good, bad, rest = run_block(1).split('\n', 2)
    assert float(bad.split()[0]) < float(good.split()[0]) < 0
    text = trained.generate('the king', length=20, temperature=0.8, seed=1)
    assert rest.startswith(f'{text}\n')
    assert 1 < float(rest[len(text):]) < len(trained.vocabulary)
