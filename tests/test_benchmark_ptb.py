"""Results of recipes on the Penn Treebank: what ptb.py keeps, and what it writes."""
import dataclasses
import json
import os

import pytest

from rnnlm.app import experiment, recipes

MACHINE = {
    'cpu': 'Abacus', 'cores': 2, 'versions': {'Python': '3', 'torch': None},
    'blas': [{'library': 'openblas', 'version': '0.3', 'kernel': 'Zen', 'threads': 2}],
    'torch BLAS': None, 'variables': {'OMP_NUM_THREADS': '2'}}


def run_of(test, finished=True, stops=None, epochs=2):
    run = {'finished': finished, 'minutes': 30.0, 'stops': stops, 'device': '-1',
           'rnnlm': '1', 'machine': MACHINE,
           'log': [{'epoch': k + 1, 'val_perplexity': 200.0 - k}
                   for k in range(epochs)]}
    return dict(run, valid=test + 4, test=test) if finished else run


def row(text, preset):
    return next(line for line in text.splitlines() if line.startswith(f'| {preset} |'))


def test_several_runs_have_a_mean_and_its_spread(benchmark):
    part = benchmark('report_ptb').part
    text = part({'small': {'runs': {
        '10': run_of(113.0), '0': run_of(110.0), '2': run_of(118.0)}}})
    assert row(text, 'small') == (
        '| small | 120.7 | 114.5 | 3 | 117.7 (114.0 to 122.0) | 113.7 (110.0 to 118.0) '
        '| 30 (30 to 30) | done |')
    assert row(text, 'medium').endswith('| 0 |  |  |  | not measured |')
    assert text.index('| small | 0 |') < text.index('| small | 2 |') < (
        text.index('| small | 10 |'))


def test_minutes_are_those_of_runs_on_the_most_cores(benchmark):
    runs = {'0': run_of(110.0), '1': run_of(111.0), '2': run_of(112.0, stops=1)}
    runs['1'].update(minutes=70.0, machine={**MACHINE, 'cores': 1})
    runs['2'].update(minutes=99.0)
    text = benchmark('report_ptb').part({'small': {'runs': runs}})
    assert row(text, 'small').endswith('| 30 | done |')
    runs['0']['machine'] = None  # not recorded
    text = benchmark('report_ptb').part({'small': {'runs': runs}})
    assert row(text, 'small').endswith('| 70 | done |')


def test_one_run_says_so_and_one_under_way_is_no_figure(benchmark):
    part = benchmark('report_ptb').part
    runs = {'0': run_of(110.0, stops=3), '1': run_of(0, finished=False, epochs=5)}
    text = part({'small': {'runs': runs},
                 'medium': {'runs': {'0': run_of(0, finished=False, epochs=0)}}})
    assert row(text, 'small') == (
        '| small | 120.7 | 114.5 | 1 | 114.0 | 110.0 | 30 | done; seed 1 incomplete: '
        'epoch 5 of 13, validation so far 196.0, about 48 more minutes |')
    assert row(text, 'medium').endswith(
        '| 0 |  |  |  | seed 0 incomplete: epoch 0 of 39 |')
    assert '| small | 0 | 114.00 | 110.00 | 30 | 3 | CPU |' in text
    text = part({'large tf32': {'runs': {'3': run_of(0, finished=False, epochs=5)}}})
    assert row(text, 'large tf32').endswith(
        'epoch 5 of 55, validation so far 196.0, about 300 more minutes |')


def test_a_precision_has_a_row_of_its_own(benchmark):
    runs = {'0': {**run_of(79.0), 'device': '0'}}
    text = benchmark('report_ptb').part({'large tf32': {'runs': runs}})
    assert row(text, 'large tf32') == (
        '| large tf32 | 82.2 | 78.4 | 1 | 83.0 | 79.0 | 30 | done |')
    assert '| large tf32 | 0 | 83.00 | 79.00 | 30 | not recorded | GPU 0 |' in text
    ptb = benchmark('ptb')
    args = ptb.parse(['--preset', 'large', '--precision', 'tf32'])
    assert ptb.name_of(args) == 'large tf32' and ptb.recipe_of(args).precision == 'tf32'
    label = benchmark('report_pictures').label_of(runs.values(), 'large tf32')
    assert label == 'large on a GPU (n = 1): test 79.0\ntf32'


def test_dynamic_evaluation_is_compared_with_its_own_runs(benchmark):
    runs = {'0': dict(run_of(100.0), dynamic={'sgd': {'test': 90.0, 'minutes': 4}}),
            '1': run_of(50.0)}
    text = benchmark('report_ptb').part({'small': {'runs': runs}})
    assert '| small | sgd | 1 | 90.0 | -10.0% | 4.0 |' in text


TINY = recipes.Recipe(n_units=8, batch_size=5, bprop_len=5, epochs=3, dropout=0.0)


@pytest.fixture
def ptb(benchmark, results, monkeypatch, tmp_path):
    """ptb.py with a tiny preset 'small', its own files, and a corpus."""
    ptb = benchmark('ptb')
    monkeypatch.setitem(recipes.PRESETS, 'small', TINY)
    monkeypatch.setattr(ptb, 'KEPT', str(tmp_path / 'ptb.json'))
    monkeypatch.setattr(benchmark('report_pictures').pictures, 'FOLDER', str(tmp_path))
    for name, n in (('train', 40), ('valid', 8), ('test', 6)):
        (tmp_path / f'ptb.{name}.txt').write_text(
            ' the cat sat on the mat \n the dog saw the cat \n' * n)
    monkeypatch.setenv('RNNLM_PTB_DIR', str(tmp_path))
    return ptb


def train(tmp_path, epochs=TINY.epochs, seed=1):
    from rnnlm.data import corpus
    out = str(tmp_path / f'run-{seed}-{epochs}')
    found = experiment.train(
        corpus.load(str(tmp_path)), dataclasses.replace(TINY, epochs=epochs),
        out=out, seed=seed)
    with open(os.path.join(out, 'run.json'), encoding='utf-8') as f:
        run = json.load(f)
    run['recipe']['epochs'] = TINY.epochs  # as one that is to go on
    with open(os.path.join(out, 'run.json'), 'w', encoding='utf-8') as f:
        json.dump(run, f)
    return out, found


def test_a_run_is_added(ptb, results, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    out, found = train(tmp_path)
    assert ptb.main(['--add', out, '--seed', '1', '--stops', '2', '--minutes', '7',
                     '--corpus', str(tmp_path)]) == 0
    kept = json.loads((tmp_path / 'ptb.json').read_text())['small']['runs']['1']
    for part in 'valid', 'test':
        assert kept[part] == pytest.approx(found[part], rel=1e-5)
    assert kept['stops'] == 2 and kept['minutes'] == 7 and kept['finished']
    assert [entry['epoch'] for entry in kept['log']] == [1, 2, 3]
    assert f'| 1 | {found["valid"]:.1f} | {found["test"]:.1f} | 7.0 | done |' in (
        results.read_text())
    assert (tmp_path / 'ptb.png').exists()

    half, _ = train(tmp_path, epochs=2)
    args = ['--add', half, '--corpus', str(tmp_path), '--seed']
    capsys.readouterr()
    assert ptb.main([*args, '1']) == 2  # it would take the place of the finished one
    assert 'expected a complete run' in capsys.readouterr().err
    assert ptb.main([*args, '2']) == 0
    kept = json.loads((tmp_path / 'ptb.json').read_text())['small']['runs']
    assert kept['1']['finished'] and not kept['2']['finished']
    assert 'valid' not in kept['2'] and kept['2']['stops'] is None
    assert 0 < kept['2']['minutes'] < 1
    assert '; seed 2 incomplete: epoch 2 of 3, validation ' in results.read_text()


def test_a_mixture_of_two_runs(ptb, results, tmp_path):
    outs = []
    for seed in 1, 2:
        out, _ = train(tmp_path, seed=seed)
        outs.append(out)
        args = ['--corpus', str(tmp_path), '--seed', str(seed)]
        assert ptb.main(['--add', out, *args]) == 0
    assert ptb.main(['--mixture', *outs, *args]) == 0
    kept = json.loads((tmp_path / 'ptb.json').read_text())['small']
    for seed, name in (('1', 'first'), ('2', 'second')):
        assert kept['mixture'][name] == pytest.approx(kept['runs'][seed]['test'], 1e-4)
    assert kept['mixture']['mixture'] <= max(
        kept['mixture'][name] for name in ('first', 'second'))
    assert f'| {kept["mixture"]["mixture"]:.2f} |' in results.read_text()


def test_a_run_of_something_else_is_not_added(ptb, tmp_path, capsys):
    out, _ = train(tmp_path)
    for args, part in (
            (['--add', out, '--preset', 'medium'], 'n_units: expected 650'),
            (['--add', str(tmp_path)], 'expected the description of a run')):
        assert ptb.main([*args, '--corpus', str(tmp_path)]) == 2
        assert part in capsys.readouterr().err
    (tmp_path / 'ptb.valid.txt').write_text(' mat the on sat cat the \n' * 9)
    assert ptb.main(['--add', out, '--corpus', str(tmp_path)]) == 2
    assert 'the best of its log' in capsys.readouterr().err
    assert not (tmp_path / 'ptb.json').exists()
