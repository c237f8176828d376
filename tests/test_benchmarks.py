"""What the benchmarks share, and what they write of their results."""
import json
import os
import shutil
import subprocess
import sys
import types

import numpy
import pytest

from rnnlm.app import experiment, info, recipes

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCHMARKS = os.path.join(ROOT, 'benchmarks')
WRITING = ['cpu.py', 'gpu.py', 'ptb.py', 'tasks.py', 'precision.py', 'interchange.py',
           'scaling.py', 'import_order.py', 'large.py', 'large_vocabulary.py',
           'softmax_quality.py', 'laptop.py', 'threads.py']
MACHINE = {
    'cpu': 'Abacus', 'cores': 2, 'versions': {'Python': '3', 'torch': None},
    'blas': [{'library': 'openblas', 'version': '0.3', 'kernel': 'Zen', 'threads': 2}],
    'torch BLAS': None, 'variables': {'OMP_NUM_THREADS': '2'}}


@pytest.mark.parametrize('script', WRITING)
def test_a_blas_held_back_is_refused_before_anything_is_measured(script, tmp_path):
    """Each script as its user runs it; what it would need comes later."""
    folder = tmp_path / 'benchmarks'
    shutil.copytree(BENCHMARKS, folder)
    shutil.copytree(os.path.join(ROOT, 'examples'), tmp_path / 'examples')
    (tmp_path / 'docs').mkdir()
    shutil.copy(os.path.join(ROOT, 'docs', 'pictures.py'), tmp_path / 'docs')
    before = {path.name: path.read_bytes() for path in folder.glob('*.*')}
    args = ['RUN'] if script == 'interchange.py' else []
    done = subprocess.run(
        [sys.executable, str(folder / script), *args], capture_output=True, text=True,
        cwd=tmp_path, timeout=60, env=dict(
            os.environ, PYTHONPATH=ROOT, PYTHONDONTWRITEBYTECODE='1',
            OPENBLAS_L2_SIZE='262144', ATEN_CPU_CAPABILITY='default'))
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ''
    for part in ('error: OPENBLAS_L2_SIZE, ATEN_CPU_CAPABILITY: expected not to be set',
                 'found OPENBLAS_L2_SIZE=262144, ATEN_CPU_CAPABILITY=default',
                 'run: env -u OPENBLAS_L2_SIZE -u ATEN_CPU_CAPABILITY python '
                 f'benchmarks/{script}'):
        assert part in done.stderr
    assert before == {path.name: path.read_bytes() for path in folder.glob('*.*')}


def test_what_writes_nothing_warns_only(benchmark, monkeypatch, capsys):
    common = benchmark('common')
    common.require_free_blas('x.py')
    monkeypatch.setenv('OPENBLAS_CORETYPE', 'Haswell')
    common.require_free_blas('x.py', writes=False)
    assert capsys.readouterr().err.startswith('warning: OPENBLAS_CORETYPE: expected')
    with pytest.raises(SystemExit) as caught:
        common.require_free_blas('x.py')
    assert caught.value.code == 2
    common.require_free_blas('x.py', variables={'OMP_NUM_THREADS': '1'})


def test_no_script_imports_another_that_is_run():
    for name in os.listdir(BENCHMARKS):
        if name.endswith('.py'):
            with open(os.path.join(BENCHMARKS, name), encoding='utf-8') as f:
                lines = f.read().splitlines()
            for script in WRITING:
                assert not any(line.split()[:2] in (
                    ['import', script[:-3]], ['from', script[:-3]])
                    for line in lines), (name, script)


def test_the_machine_is_named_with_its_blas(benchmark):
    common = benchmark('common')
    assert common.machine_line(MACHINE) == (
        'Abacus, 2 cores; Python 3; BLAS: openblas 0.3, kernel Zen, 2 thread(s); '
        'set: OMP_NUM_THREADS=2')
    old = {key: MACHINE[key] for key in ('cpu', 'cores', 'versions')}
    assert common.machine_line(old) == 'Abacus, 2 cores; Python 3; BLAS not recorded'
    assert common.machine_line(None) == 'machine not recorded'
    here = common.machine()
    json.dumps(here)
    assert here['blas'] == info.blas() and here['cpu'] in common.machine_line(here)


def test_a_part_takes_the_place_of_the_earlier_one(benchmark, results):
    common = benchmark('common')
    for content in 'one', 'two':
        common.replace('A', 'a.py', content)
        common.replace('B', 'b.py', content + content)
    assert results.read_text() == (
        '# Results\n\n<!-- A: written by a.py -->\n\ntwo\n<!-- end of A -->\n'
        '\n<!-- B: written by b.py -->\n\ntwotwo\n<!-- end of B -->\n')


def test_what_is_kept_is_what_is_written(benchmark):
    """RESULTS.md's part is that of ptb.json."""
    common, report = benchmark('common'), benchmark('report_ptb')
    part = report.part(common.kept(os.path.join(BENCHMARKS, 'ptb.json')))
    with open(os.path.join(BENCHMARKS, 'RESULTS.md'), encoding='utf-8') as f:
        assert part in f.read()


def test_what_is_kept_of_the_cpu_is_what_is_written(benchmark):
    common, report = benchmark('common'), benchmark('report_cpu')
    part = report.part(common.kept(os.path.join(BENCHMARKS, 'cpu.json')))
    with open(os.path.join(BENCHMARKS, 'RESULTS.md'), encoding='utf-8') as f:
        assert part in f.read()


def test_a_part_measured_alone_joins_the_others_of_the_same_machine(benchmark):
    joined = benchmark('cpu').joined
    earlier = {'machine': MACHINE, 'ways': ['fast'], 'evaluation': 1, 'training': [
        {'size': 'small', 'a': 1}, {'size': 'large', 'a': 1}]}
    now = {'machine': MACHINE, 'ways': ['fast'], 'training': [
        {'size': 'medium', 'a': 2}, {'size': 'small', 'a': 2}]}
    assert joined(earlier, now) == {**now, 'evaluation': 1, 'training': [
        {'size': 'small', 'a': 2}, {'size': 'medium', 'a': 2},
        {'size': 'large', 'a': 1}]}
    for other in {**now, 'ways': []}, {**now, 'machine': None}:
        assert joined(earlier, other) == other
    assert joined({}, now) == now


def test_a_gpu_size_measured_later_joins_the_others(benchmark):
    joined = benchmark('gpu').joined
    machine = {'gpu': 'Abacus X', 'versions': {'CuPy': '14'}, 'CUDA': 13}
    earlier = {'machine': machine, 'same': {'sizes': {'small': 1}}, 'epoch': 1,
               'training': {'small': 1, 'large': 1}, 'kernels': {'large': 1}}
    now = {'machine': machine, 'failed': {}, 'training': {'large': 2},
           'kernels': {'large': 2}}
    assert joined(earlier, now) == {
        'machine': machine, 'same': {'sizes': {'small': 1}}, 'epoch': 1,
        'training': {'small': 1, 'large': 2}, 'kernels': {'large': 2},
        'added': ['large']}
    for key, value in (('machine', {**machine, 'CUDA': 12}), ('failed', {'same': '-'})):
        with pytest.raises(SystemExit, match='--add: '):
            joined(earlier, {**now, key: value})


def test_what_is_kept_of_threads_is_what_is_written(benchmark):
    common, threads = benchmark('common'), benchmark('threads')
    with open(os.path.join(BENCHMARKS, 'RESULTS.md'), encoding='utf-8') as f:
        assert threads.part(common.kept(threads.KEPT)) in f.read()


@pytest.mark.slow
def test_threads_are_those_of_the_cores_given(benchmark, monkeypatch):
    pytest.importorskip('llvmlite')
    monkeypatch.setenv('PYTHONPATH', ROOT)
    threads = benchmark('threads')
    chosen = threads.cpus()
    assert sorted(chosen) == sorted(os.sched_getaffinity(0))
    found = threads.measure_one(1, 'small', 1)
    assert set(found['words/s']) == set(found['ratios']) and 'fast' in found['words/s']
    assert found['ratios']['fast'] == 1 and all(
        value > 0 for value in found['words/s'].values())


def test_a_comparison_of_precisions_continues_on_a_like_machine(benchmark):
    begun = benchmark('precision').begun
    earlier = {'machine': {**MACHINE, 'variables': {}}, 'float32': [1, 2], 'tf32': [1]}
    assert begun(earlier, MACHINE, (0, 1), ('float32', 'tf32')) is earlier
    for other, seeds in (({**MACHINE, 'gpu': 'another'}, (0, 1)), (MACHINE, (0,))):
        assert begun(earlier, other, seeds, ('float32', 'tf32')) is None
    assert begun(None, MACHINE, (0, 1), ('float32',)) is None


def test_torch_compile_in_words(benchmark):
    sentence = benchmark('compiled').sentence
    found = {'pieces': 0, 'why': 'No RNN.', 'runs': True, 'error': None}
    assert 'does not compile this model (No RNN); with' in sentence(found)
    assert 'it does, and unrolls the steps' in sentence(found)
    assert sentence(dict(found, runs=False, error='NoCompiler: no g++')).endswith(
        'allow_rnn: NoCompiler: no g++.')
    assert 'could not be tried' in sentence(
        {'pieces': None, 'why': None, 'runs': False, 'error': 'x'})


@pytest.mark.slow
def test_pytorch_s_ways_give_the_same(benchmark):
    """bfloat16 within its own limit, and not within that of float32."""
    pytest.importorskip('torch')
    turns, models = benchmark('turns'), benchmark('models')
    sizes = dict(n=20, dropout=0.0, T=4, scale=0.1, clip=5)
    with turns.started(['official', 'torch', 'torch bfloat16'], sizes, 50) as made:
        ids = turns.random_ids(4, 50, 3, seed=0)
        (loss, expected), _ = made['official']('loss_and_gradients', ids)
        for name, least, most in (('torch', 0, 1e-5), ('torch bfloat16', 1e-4, 2e-2)):
            (other, gradients), _ = made[name]('loss_and_gradients', ids)
            worst = max(abs(g - expected[key]).max() / abs(expected[key]).max()
                        for key, g in gradients.items())
            assert least <= worst < most, name
            assert other == pytest.approx(loss, rel=1e-3)
    assert {'torch bfloat16', 'torch compiled'} <= set(models.available())


def test_the_pieces_of_a_call(benchmark):
    """Of a window in training, and without training."""
    pytest.importorskip('llvmlite')
    pieces, models, common = map(benchmark, ('pieces', 'models', 'common'))
    sizes = dict(n=20, dropout=0.5, T=4, scale=0.1, clip=5)
    way = models.Fast(models.make_weights(50, **sizes), V=50, **sizes)
    before = [getattr(owner, name) for _, owner, name in pieces.called()]
    names = {name for name, *_ in pieces.called()}
    of_generation = {pieces.ALL_PRODUCTS, pieces.REST}
    without = pieces.floors_without_training(20, 50, 1e9)
    for method, arguments, expected, floors in (
            ('train', [common.random_ids(4, 50, 3, seed=k) for k in range(2)],
             names - of_generation, pieces.floors(20, 50, 1e9)),
            ('evaluate', [common.random_ids(4, 50, 1, seed=0)],
             set(without['evaluation']), without['evaluation']),
            ('score', [[numpy.array([3, 4], 'i')]], set(without['scoring']),
             without['scoring']),
            ('generate', [5], {pieces.ALL_PRODUCTS}, without['generation'])):
        found = way.pieces(method, arguments)
        assert expected | {pieces.REST} <= set(found), method
        assert all(value > 0 for value in found.values())
        assert set(floors) < set(found) and min(floors.values()) > 0
    assert before == [getattr(owner, name) for _, owner, name in pieces.called()]


def test_the_pytorch_recipe_goes_on_where_it_was(benchmark, tmp_path):
    torch = pytest.importorskip('torch')
    script = benchmark('word_language_model')
    ids = numpy.arange(2000, dtype='i') % 7
    text = types.SimpleNamespace(vocabulary=range(7), train=ids, valid=ids[:300],
                                 test=ids[:200])
    args = types.SimpleNamespace(
        seed=1, emsize=6, nhid=6, dropout=0.2, batch_size=4, bptt=5, epochs=3,
        minutes=1, save=None)
    whole = script.train(args, text)
    weights = torch.get_rng_state()
    args.save = str(tmp_path / 'wlm.pt')
    for args.epochs in (1, 3):
        found = script.train(args, text)
    assert torch.equal(torch.get_rng_state(), weights)
    assert found['best'] == whole['best'] and found['best'][0] < 7
    assert [e['val_perplexity'] for e in found['log']] == [
        e['val_perplexity'] for e in whole['log']]
    assert (whole['stops'], found['stops']) == (0, 1)
    # Only its result is asked for again: it was not interrupted.
    assert script.train(args, text)['stops'] == 1


# --- quality of the softmax, long texts ---

def test_a_run_of_softmax_quality_that_was_stopped_goes_on(
        benchmark, results, monkeypatch, tmp_path, write, capsys):
    script = benchmark('softmax_quality')
    monkeypatch.setattr(script, 'KEPT', str(tmp_path / 'kept.json'))
    text = write('text', 'a b c d e f g h\n' * 40)
    calls, stop = [], [True]

    def train(text, recipe, *, out, seed, resume, **kwargs):
        calls.append((recipe.softmax, seed, resume and os.path.basename(resume)))
        os.makedirs(out, exist_ok=True)
        if stop.pop() if stop else False:
            return {'signal': 15, 'snapshot': 'snapshot_iter_3'}
        return {'signal': 0, 'valid': 9.0 + seed, 'test': 8.0 + seed}

    monkeypatch.setattr(experiment, 'train', train)
    arguments = ['--corpus', text, '--epochs', '2', '--folder', str(tmp_path / 'runs')]
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 128 + 15
    monkeypatch.setattr(script, 'newest_or', lambda out, origin: (
        os.path.join(out, 'snapshot_iter_3') if os.path.isdir(out) else origin))
    for seed in '0', '0', '4':
        assert script.main([*arguments, '--seed', seed]) == 0
    assert calls == [('full', 0, None), ('full', 0, 'snapshot_iter_3'),
                     ('adaptive', 0, None), ('full', 4, None), ('adaptive', 4, None)]
    assert not os.listdir(tmp_path / 'runs')
    assert '| 2 | adaptive | 2 | 11.0 (9.0 to 13.0) | 10.0 (8.0 to 12.0) |' in (
        results.read_text())
    other = write('other', 'a b c d e f g a\n' * 40)
    assert script.main(['--corpus', other, *arguments[2:]]) == 2
    assert 'corpus: expected the text' in capsys.readouterr().err


def test_candidates_for_a_laptop_are_compared_on_validation(
        benchmark, results, monkeypatch, tmp_path, write):
    """Trained really, and only those that are not kept; the test part is not read."""
    script = benchmark('laptop')
    tiny = dict(n_units=8, dropout=0.0, batch_size=2, bprop_len=3)
    monkeypatch.setattr(script, 'KEPT', str(tmp_path / 'kept.json'))
    monkeypatch.setattr(script, 'CANDIDATES', {
        'one': recipes.Recipe(epochs=2, lr=0.5, **tiny),
        'other': recipes.Recipe(epochs=1, lr=1e-9, **tiny)})
    text = write('text', 'a b c d e f g h\n' * 40)
    arguments = ['--corpus', text, '--folder', str(tmp_path / 'runs')]
    assert script.main([*arguments, '--candidate', 'other']) == 0
    assert '| other | 1 |' in results.read_text()
    parts = []
    train = experiment.train
    monkeypatch.setattr(experiment, 'train', lambda text, *args, **kwargs: (
        parts.append(text) or train(text, *args, **kwargs)))
    for _ in range(2):
        assert script.main(arguments) == 0
    read, = parts
    assert read.test is read.valid
    rows = [line.split(' | ') for line in results.read_text().splitlines()
            if line.startswith(('| one', '| other'))]
    assert sorted(row[1] for row in rows) == ['1', '2']
    chosen, = (row for row in rows if row[3].startswith('chosen'))
    assert float(chosen[2]) == min(float(row[2]) for row in rows)


def test_what_a_long_text_says_of_a_billion_words(benchmark):
    script = benchmark('large')
    row = {'words': 10 ** 8, 'bytes': 5 * 10 ** 8, 'cache': 4 * 10 ** 8,
           'first': {'seconds': 12, 'most': 2 ** 20, 'tokens': 10 ** 8},
           'second': {'seconds': 1}, 'training': {
               'words/s': 1e9 / 86400, 'minutes': 5, 'most': 2 ** 20,
               'vocabulary': 10}}
    found = script.checked({'1': row, '2': {'words': 10 ** 9, 'first': {}}})
    for part in ('5.0 GB of text', '4.0 GB of cache', '2.0 minutes for the first pass',
                 '1.0 days per epoch', 'for 5.0 minutes at 11,574 words/s'):
        assert part in found
    assert script.checked({}) == ''


def test_softmax_quality_takes_full_softmax_runs_of_ptb(
        benchmark, monkeypatch, tmp_path):
    script = benchmark('softmax_quality')
    run = {'valid': 9.0, 'test': 8.0, 'minutes': 7.0, 'rnnlm': '1'}
    path = tmp_path / 'ptb.json'
    path.write_text(json.dumps({'small': {'runs': {
        '3': {'finished': True, 'log': [], **run}, '4': {'finished': False}}}}))
    monkeypatch.setattr(script, 'PTB', str(path))
    args = types.SimpleNamespace(epochs=None, quick=False, seed=3)
    assert script.done_by_ptb('full', args) == run
    assert script.done_by_ptb('adaptive', args) is None
    for name, value in (('epochs', 2), ('quick', True), ('seed', 4)):
        other = types.SimpleNamespace(**{**vars(args), name: value})
        assert script.done_by_ptb('full', other) is None
