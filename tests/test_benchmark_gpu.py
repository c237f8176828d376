"""benchmarks/gpu.py from beginning to end, on stand-ins and at tiny sizes."""
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BENCHMARKS = os.path.join(ROOT, 'benchmarks')
OURS = ['functions', 'graph', 'graph tf32', 'persistent functions', 'persistent',
        'persistent tf32']
TORCH = ['torch', 'torch tf32', 'torch graph', 'torch graph tf32']
WAYS = ['official', *OURS] + (TORCH if importlib.util.find_spec('torch') else [])

on_host = pytest.mark.skipif(
    shutil.which('g++') is None, reason='kernels are compiled for the host by g++')


def rehearse(path, *args, status=0, **more):
    """What the benchmark prints, and what it keeps."""
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, 'gpu_rehearsal.py'), '--sizes', 'tiny',
         '--rounds', '2', '--json', str(path), *args],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(
            [os.path.join(HERE, 'cupy_on_host'), ROOT]), **more))
    assert done.returncode == status, (done.stdout + done.stderr)[-5000:]
    return done.stdout, json.loads(path.read_text())


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    if shutil.which('g++') is None:
        pytest.skip('kernels are compiled for the host by g++')
    return rehearse(tmp_path_factory.mktemp('gpu') / 'json', '--together', '--tests',
                    'tests/functions/test_philox.py')


def numbers(kept):
    if isinstance(kept, dict):
        kept = list(kept.values())
    if isinstance(kept, list):
        for value in kept:
            yield from numbers(value)
    elif isinstance(kept, float):
        yield kept


@pytest.mark.slow
def test_all_parts_have_figures(whole):
    printed, kept = whole
    assert kept['failed'] == {} and set(kept) == {
        'sizes', 'failed', 'took', 'machine', 'tests', 'same', 'training', 'kernels',
        'epoch', 'memory', 'mixed'}
    assert all(math.isfinite(value) for value in numbers(kept))
    assert kept['machine']['copy B/s'] > 0
    assert {'ours', 'ours tf32'} <= set(kept['machine']['sgemm FLOP/s'])
    for tf32 in '', ' tf32':
        assert kept['epoch']['seconds'][f'persistent{tf32}']['second'] > 0
    assert kept['mixed']['seconds'] > 0 and kept['mixed']['how'] == 'by window'
    assert kept['tests']['status'] == 0 < kept['tests']['passed']
    assert '| the same in TF32 |' in printed and 'nan' not in printed


@pytest.mark.slow
def test_all_ways_run_and_are_the_same(whole):
    kept = whole[1]
    same = kept['same']['sizes']['tiny']
    assert set(same) == set(WAYS)
    for name in WAYS:
        # There is no TF32 here: all are float32.
        assert 'error' not in same[name] and same[name]['worst'] < 1e-5, name
    for name in 'graph', 'persistent':
        assert same[name]['replay'] < 1e-5
    row = kept['training']['tiny']
    assert row['failed'] == {} and set(row['words/s']) == set(WAYS)
    assert all(len(seconds) == 2 for seconds in row['seconds'].values())
    assert {'graph', 'persistent', 'graph tf32'} < set(row['device seconds'])
    assert row['ratios']['persistent / official'] > 0
    assert set(kept['memory']['MiB']) == set(WAYS)
    layer = kept['kernels']['tiny']
    for name in ('two launches a step', 'two launches a step, graph', 'persistent',
                 'persistent, TF32, graph'):
        assert set(layer[name]) == {
            'forward', 'backward', 'layer forward', 'layer', 'rates'}


@pytest.mark.slow
def test_pytorch_is_measured_too(whole):
    pytest.importorskip('torch')
    kept = whole[1]
    assert set(TORCH) <= set(kept['training']['tiny']['words/s'])
    assert kept['training']['tiny']['ratios']['persistent / torch graph'] > 0
    assert 'torch tf32' in kept['machine']['sgemm FLOP/s']
    for how in '', ', graph', ', TF32', ', TF32, graph':
        assert kept['kernels']['tiny'][f'cuDNN{how}']['layer'] > 0


@on_host
@pytest.mark.slow
def test_what_is_wrong_is_named_and_left_out(tmp_path):
    """In processes of their own: one way is off, another takes its process along."""
    printed, kept = rehearse(
        tmp_path / 'json', '--parts', 'same,training',
        WAYS='official,functions,graph,graph tf32',
        WRONG='functions=exit,graph tf32=gradient')
    same = kept['same']['sizes']['tiny']
    assert '/l2/lateral/W is off by 1.0e-02' in same['graph tf32']['error']
    assert same['functions']['error'] == 'it did not come to its end'
    assert 'same: ended with status 3; what is left of it' in printed
    assert 'WRONG: /l2/lateral/W is off by 1.0e-02' in printed
    row = kept['training']['tiny']
    assert set(row['words/s']) == {'official', 'graph'}
    assert kept['failed'] == {}


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module('gpu')


def test_a_part_that_hangs_is_stopped(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, 'PROGRAM', [
        sys.executable, '-c', 'import time; time.sleep(60)'])
    args = gpu.parse(['--json', str(tmp_path / 'json')])
    assert gpu.run_apart('machine', args, 1) == 'stopped after 1 s'
    monkeypatch.setattr(gpu, 'PROGRAM', [sys.executable, '-c', 'raise SystemExit(4)'])
    assert gpu.run_apart('machine', args, 60) == 'ended with status 4'


def test_a_part_of_all_does_not_take_the_place_of_all(gpu):
    assert gpu.parse([]).json == gpu.KEPT == gpu.parse(['--write']).json
    assert gpu.parse(['--parts', 'same']).json != gpu.KEPT
    assert gpu.parse(['--sizes', 'small']).json != gpu.KEPT
    with pytest.raises(SystemExit):
        gpu.parse(['--parts', 'sane'])


def ratios(value):
    names = [f'{ours}{how} / {theirs}{how}' for how in ('', ' tf32')
             for ours in ('persistent', 'graph') for theirs in ('torch', 'torch graph')]
    return dict.fromkeys([*names, 'persistent / official'], value)


@pytest.mark.parametrize('value,met', [(0.9, 0), (1.0, 4), (1.2, 6), (1.5, 8),
                                       (20.0, 9)])
def test_bars(gpu, value, met):
    found = '\n'.join(gpu.report_gpu.bars(
        {'training': {'medium': {'ratios': ratios(value)},
                      'large': {'ratios': ratios(value)}},
         'epoch': {'size': 'medium', 'seconds': {'persistent': {'second': 3.0}}}}))
    assert found.count('| yes |') == met and found.count('| no |') == 10 - met
