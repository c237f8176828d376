"""The README's examples and claims are correct."""
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
    """Runs the k-th block of Python in an empty folder; what it prints and should."""
    blocks = re.findall(r'```python\n(.*?)```\n\n```text\n(.*?)```', readme, re.S)
    assert len(blocks) == 2

    def run(k):
        code, shown = blocks[k]
        return subprocess.run(
            [sys.executable, '-W', 'error', '-c', code], cwd=tmp_path, check=True,
            env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE,
            text=True).stdout, shown
    return run


def numbers(text):
    return [float(number) for number in re.findall(r'-?\d+\.\d+', text)]


def words(text):
    return re.sub(r'-?\d+\.\d+', '#', text)


def test_the_readme_is_short(readme):
    assert readme.count('\n') < 120


def test_the_lines_of_use_run(run_block, tmp_path):
    recipe = rnnlm.Recipe(n_units=32, n_layers=1, dropout=0, bprop_len=20, epochs=1)
    rnnlm.train(rnnlm.load_corpus('demo'), recipe, out=str(tmp_path / 'result'), seed=0)
    printed, shown = run_block(0)
    assert words(printed) == words(shown)
    for text in printed, shown:
        good, bad, perplexity = numbers(text)
        assert bad < good < 0 and 1 < perplexity < 161


def test_the_lines_of_training_run(run_block, tmp_path):
    printed, shown = run_block(1)
    assert words(printed) == words(shown)
    # Not seeded: near each other, and far from the 161 words of the vocabulary.
    (found,), (expected,) = numbers(printed), numbers(shown)
    assert 7.3 < found < 12 and 7.3 < expected < 12
    assert list((tmp_path / 'run').glob('snapshot_iter_*'))


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
