"""What the pages of the documentation tell a reader to type runs."""
import glob
import os
import re
import shutil
import subprocess
import sys

from helpers import ROOT
import pytest
import rnnlm

import run_page

DOCS = os.path.join(ROOT, 'docs')
PAGES = {os.path.basename(path): path
         for path in sorted(glob.glob(os.path.join(DOCS, '*.md')))}
OLD_RUN = os.path.join(ROOT, 'tests', 'legacy', 'old_runs', 'chainer-1.24.0')

# `rnnlm` with trainings that are short.
COMMAND = '''#!{python}
import sys
from rnnlm.app import cli
args = sys.argv[1:]
if args[0] == 'train' and '--help' not in args:
    new = not {{'--resume', '--init-from', '--config'}} & set(args)
    args += ['--epoch', '1' if new else '4' if '--epoch' in args else '2']
    if new:
        args += ['--unit', '8', '--batchsize', '20', '--bproplen', '20']
    if '--resume' not in args:
        args += ['--overwrite']
args = ['./ptb' if a == 'ptb' and args[k - 1] == '--corpus' else a
        for k, a in enumerate(args)]
sys.exit(cli.main(args))
'''


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with what the pages name: texts, runs, an old snapshot; and `rnnlm`."""
    folder = tmp_path_factory.mktemp('pages')
    (folder / 'bin').mkdir()
    command = folder / 'bin' / 'rnnlm'
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    novel = 'It was the best of times ,\nit was the worst of times .\n' * 60
    for name in ('novel.txt', 'other.txt', 'FILE.txt', 'one.txt', 'two.txt',
                 'transcripts.txt'):
        (folder / name).write_text(novel)
    (folder / 'ptb').mkdir()
    for part in 'train', 'valid', 'test':
        (folder / 'ptb' / f'ptb.{part}.txt').write_text(
            'the company said <unk> N\n' * 40)
    # Lists as Kaldi has them, and a folder of ESPnet.
    for name in 'nbest.txt', 'text':
        (folder / name).write_text('a-1 the king sings\na-2 the king sleeps\n')
    (folder / 'score').write_text('a-1 -3.5\na-2 -3.6\n')
    shutil.copy(os.path.join(OLD_RUN, 'ptb_snapshot'), folder / 'snapshot_iter_60')
    recipe = rnnlm.Recipe(
        n_units=8, n_layers=2, dropout=0, batch_size=20, bprop_len=20, epochs=1)
    for corpus, runs in (('demo', ['result']), ('novel.txt', ['novel', 'second'])):
        where = 'demo' if corpus == 'demo' else str(folder / corpus)
        for out in runs:
            rnnlm.train(rnnlm.load_corpus(where), recipe, out=str(folder / out), seed=0)
    return folder


def with_code():
    for name, path in PAGES.items():
        with open(path, encoding='utf-8') as f:
            if any(block.language in ('python', 'sh')
                   for block in run_page.blocks(f.read())):
                yield name


@pytest.mark.slow
@pytest.mark.parametrize('name', list(with_code()))
def test_its_code_runs(name, made, tmp_path):
    folder = tmp_path / 'here'
    shutil.copytree(made, folder)
    path = os.pathsep.join([str(folder / 'bin'), os.environ['PATH']])
    done = subprocess.run(
        [sys.executable, '-W', 'error', run_page.__file__, PAGES[name]], cwd=folder,
        env=dict(os.environ, PYTHONPATH=ROOT, PATH=path), capture_output=True,
        text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize('name', PAGES)
def test_a_mark_has_a_reason(name):
    with open(PAGES[name], encoding='utf-8') as f:
        text = f.read()
    for block in run_page.blocks(text):
        assert not block.mark or run_page.MARK.fullmatch(block.mark), block.mark
        assert block.language in ('python', 'sh', 'text', 'diff', 'none', ''), block
    # None stands where no block follows.
    assert len(re.findall('<!-- (?:not run|needs):', text)) == sum(
        bool(block.mark) for block in run_page.blocks(text))


def test_an_output_that_differs_is_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('```python\nprint("a 1")\n```\n\n```text\na 2\n```\n')
    run_page.main(str(page))
    page.write_text(page.read_text().replace('a 2', 'b 2'))
    with pytest.raises(AssertionError, match='prints\na 1'):
        run_page.main(str(page))


def test_the_ported_script_is_the_same_run(tmp_path):
    """The lines of the page with - and those with +, from the same seed."""
    with open(PAGES['trainer.md'], encoding='utf-8') as f:
        diff, = re.findall(r'^```diff\n(.*?)^```$', f.read(), re.M | re.S)
    before = '''
import rnnlm  # or Chainer would not import
from customisations.official import (
    BPTTUpdater, ParallelSequentialIterator, RNNForLM)
'''
    start = '''
import numpy
numpy.random.seed(0)
n_vocab, train = 20, (numpy.arange(3000) ** 2 % 19).astype('i')
'''
    end = 'numpy.savez("{}", *(p.array for p in model.params()))\n'
    for sign in '-+':
        lines = [line[1:] for line in diff.splitlines() if line[:1] in (' ', sign)]
        code = '\n'.join([before if sign == '-' else 'import rnnlm', start, *lines,
                          end.format('old' if sign == '-' else 'new')])
        subprocess.run(
            [sys.executable, '-W', 'error', '-c', code], cwd=tmp_path, check=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(
                [ROOT, os.path.join(ROOT, 'tests')])))
    import numpy
    old, new = (numpy.load(tmp_path / f'{name}.npz') for name in ('old', 'new'))
    assert len(old.files) == 9
    for name in old.files:
        numpy.testing.assert_allclose(new[name], old[name], rtol=1e-3, atol=1e-4)
