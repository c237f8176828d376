"""The example of subwords."""
import importlib.util
import json
import math
import os
import re
import subprocess
import sys

from helpers import ROOT
import pytest

SCRIPT = os.path.join(ROOT, 'examples', 'subwords', 'pieces.py')


@pytest.fixture
def call(tmp_path):
    def call(*args, status=0):
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, capture_output=True, text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(
                [ROOT, os.environ.get('PYTHONPATH', '')])))
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr
    return call


def test_a_text_in_its_pieces(call, write, tmp_path):
    pytest.importorskip('sentencepiece', reason='pip install sentencepiece')
    lines = [f'the {"un" * (k % 3)}happy cat number {k} sat on the mats .'
             for k in range(200)]
    write('novel.txt', '\n'.join(lines) + '\nañadir 語 end\n')
    out = call(SCRIPT, 'fit', 'novel.txt', 'p', '--size', '350')
    assert 'pieces; train with' in out
    out = call('-m', 'rnnlm', 'train', '--corpus', 'p', '--vocab', 'p/vocabulary.txt',
               '--unit', '8', '--epoch', '1', '--out', 'run')
    assert 'unknown' not in out
    # The pieces are the text.
    with open(tmp_path / 'p' / 'train.txt', encoding='utf-8') as f:
        first = f.readline()
    assert ''.join(first.split()).replace('▁', ' ').strip() == lines[0]
    out = call(SCRIPT, 'perplexity', 'run', 'p')
    per_piece, per_word = map(float, re.findall(r'([\d.]+) per', out))
    with open(tmp_path / 'p' / 'words.json') as f:
        n_words = json.load(f)['test']
    n_pieces = json.loads(call('-m', 'rnnlm', 'evaluate', 'run', '--json'))['words']
    assert n_pieces > n_words
    assert per_word == pytest.approx(
        math.exp(math.log(per_piece) * n_pieces / n_words), rel=1e-3)


@pytest.mark.skipif(importlib.util.find_spec('sentencepiece') is not None,
                    reason='sentencepiece is installed')
def test_what_it_needs_is_said(call, write):
    write('novel.txt', 'a\nb\nc\n')
    assert 'pip install sentencepiece' in call(
        SCRIPT, 'fit', 'novel.txt', 'p', status=1)
