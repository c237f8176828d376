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


def test_the_example_of_a_variant_runs(tmp_path):
    with open(os.path.join(ROOT, 'docs', 'customising.md'), encoding='utf-8') as f:
        block = ''.join(re.findall(r'```python\n(.*?)```', f.read(), re.S))
    check = '''
import numpy, rnnlm
numpy.random.seed(0)
model = rnnlm.RNNForLM(20, 8, dropout=0.0)
model.l1 = Halved(8, 8)
assert model.why_steps() == '', model.why_steps()
ids = numpy.arange(12, dtype='i').reshape(6, 2)
found = model.logits(ids).array
model.reset_state()
model.per_step = True
numpy.testing.assert_allclose(found, model.logits(ids).array, rtol=1e-5, atol=1e-6)
'''
    subprocess.run(
        [sys.executable, '-W', 'error', '-c', 'import rnnlm\n' + block + check],
        cwd=tmp_path, check=True, env=dict(os.environ, PYTHONPATH=ROOT))
