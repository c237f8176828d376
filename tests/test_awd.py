"""examples/awd beside its equations in PyTorch, and what its scripts do."""
import argparse
import importlib
import json
import os
import subprocess
import sys

import awd_case as case
import chainer
from chainer import links as L
from helpers import ROOT, TESTS
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm

AWD = os.path.join(ROOT, 'examples', 'awd')
MODULES = 'options', 'model', 'training', 'main', 'finetune', 'cache'


@pytest.fixture
def awd(monkeypatch):
    """Imports a module of the example."""
    monkeypatch.syspath_prepend(AWD)
    table = dict(rnnlm.parts.TABLE)
    for name in MODULES:
        sys.modules.pop(name, None)  # other examples have modules of these names
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)
    rnnlm.parts.TABLE.clear()
    rnnlm.parts.TABLE.update(table)


def make(awd, dtype='d'):
    """The model of `case`, and its updater."""
    options = argparse.Namespace(**case.OPTIONS)
    numpy.random.seed(0)
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        model = awd('model').make_model(case.V, options)
    params = {path.strip('/'): param for path, param in model.namedparams()}
    given = case.parameters()
    assert set(params) == set(given)
    for name, param in params.items():
        param.array[...] = given[name]
    training = awd('training')
    target = L.Classifier(model)
    target.compute_accuracy = False
    optimizer = training.make_optimizer(
        target, options.lr, options.clip, options.wdecay)
    updater = training.Updater(
        rnnlm.ParallelSequentialIterator(case.text(), case.B), optimizer, options.bptt,
        options.alpha, options.beta)
    numpy.random.seed(7)
    return model, optimizer, updater


def run(model, optimizer, updater, windows=case.WINDOWS):
    """What tests/awd_torch.py finds too."""
    reporter = chainer.Reporter()
    reporter.add_observer('main', optimizer.target)
    losses = []
    while updater.iteration < windows:
        if updater.iteration == case.AVERAGED_FROM:
            optimizer.begin_averaging()
        observed = {}
        with reporter.scope(observed):
            updater.update()
        losses.append(float(observed['main/loss'].array))

    def arrays():
        return case.summary({path.strip('/'): param.array
                             for path, param in model.namedparams()})

    now = arrays()
    with optimizer.averaged():
        return {'losses': losses, 'parameters': now, 'means': arrays()}


def assert_same(found, expected, rtol):
    assert len(found['losses']) == len(expected['losses']) == case.WINDOWS
    assert_allclose(found['losses'], expected['losses'], rtol=rtol)
    for what in 'parameters', 'means':
        assert set(found[what]) == set(expected[what])
        for name, numbers in expected[what].items():
            assert_allclose(found[what][name], numbers, rtol=rtol, atol=rtol,
                            err_msg=f'{what} {name}')


@pytest.fixture(scope='module')
def recorded():
    with open(os.path.join(TESTS, 'awd_torch.json')) as f:
        return json.load(f)


@pytest.mark.parametrize('dtype, rtol', [('d', 1e-9), ('f', 1e-4)])
def test_200_windows_are_those_of_pytorch(awd, recorded, dtype, rtol):
    model, *others = make(awd, dtype)
    assert model.why_steps() == ''
    assert_same(run(model, *others), recorded, rtol)


def test_step_by_step_they_are_too(awd, recorded):
    model, *others = make(awd)
    model.per_step = True
    losses = run(model, *others, windows=8)['losses']
    assert_allclose(losses, recorded['losses'][:8], rtol=1e-9)


def test_the_recorded_numbers_are_those_of_pytorch(recorded):
    pytest.importorskip('torch')
    import awd_torch
    assert_same(awd_torch.run(), recorded, 1e-9)


def test_step_by_step_the_gradients_are_the_same(awd):
    grads = []
    for per_step in False, True:
        model, optimizer, updater = make(awd)
        model.per_step = per_step
        updater.update()
        grads.append([param.grad for _, param in sorted(model.namedparams())])
    for a, b in zip(*grads):
        assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_whole_words_are_dropped(awd):
    model, _, _ = make(awd)
    embed = model.embed
    embed.ratio = .5
    embed.begin_window()
    ids = numpy.arange(case.V, dtype='i')
    h = embed(ids).array
    kept = embed.mask[:, 0] != 0
    assert 0 < kept.sum() < case.V
    assert_allclose(h, embed.W.array * 2 * kept[:, None])
    assert_array_equal(embed(ids[::-1]).array, h[::-1])
    with chainer.using_config('train', False):
        assert_array_equal(embed(ids).array, embed.W.array)


def test_an_embedding_called_by_itself_draws_a_mask(awd):
    embed = awd('model').DroppedEmbedID(50, 3, .5)
    ids = numpy.arange(50)
    dropped = (embed(ids).array == 0).all(axis=1)
    assert 0 < dropped.sum() < 50
    assert_array_equal((embed(chainer.Variable(ids)).array == 0).all(axis=1), dropped)


def test_lengths_are_drawn_as_the_paper_says(awd):
    numpy.random.seed(0)
    lengths = numpy.array([awd('training').draw_length(70) for _ in range(4000)])
    assert lengths.min() >= 5
    assert abs((lengths < 52).mean() - .05) < .01
    usual = lengths[lengths > 52]
    assert abs(usual.mean() - 69.5) < .5 and abs(usual.std() - 5) < .3


def test_averaging_begins_as_in_awd_lstm_lm(awd):
    """Where the loss is above the lowest of all but the last n before it."""
    class Trainer:
        observation: dict = {}

    random = numpy.random.RandomState(1)
    for n in 1, 2, 5:
        losses = random.uniform(4, 5, 12)
        expected, best = None, []
        for k, loss in enumerate(losses):
            if len(best) > n and loss > min(best[:-n]):
                expected = k
                break
            best.append(loss)
        acted = []
        extension = awd('training').NonMonotonic(n, lambda: acted.append(True))
        for k, loss in enumerate(losses):
            Trainer.observation = {'validation/main/loss': loss}
            extension(Trainer)
            assert extension.acted == (expected is not None and k >= expected)
        assert len(acted) == (expected is not None)


SMALL = ['--demo', '--nhid', '9', '--emsize', '6', '--batch_size', '100', '--lr', '3']


def weights(path):
    with numpy.load(path) as f:
        return {name: f[name] for name in f.files}


def train(main, out, epochs, *args):
    assert main.main([*SMALL, '--epochs', str(epochs), '--out', out, '--save',
                      f'{out}.npz', *args]) == 0


def test_scripts_train_resume_tune_and_evaluate(awd, tmp_path, monkeypatch, capsys):
    """A run that is resumed, with its averages, is the one that was not interrupted."""
    monkeypatch.chdir(tmp_path)
    main = awd('main')
    monkeypatch.setattr(awd('options'), 'DEMO_WORDS', (5000, 500, 500))
    with monkeypatch.context() as patch:  # validation that seems to get worse
        patch.setattr(
            awd('training').NonMonotonic, '__call__', lambda self, trainer:
            self.act() if trainer.updater.epoch == 1 else None)
        train(main, 'whole', 4)
        train(main, 'part', 3)
        snapshot, = (tmp_path / 'part').glob('snapshot_iter_*')
        train(main, 'part', 4, '--resume', str(snapshot), '--seed', '77')
    snapshots = [next((tmp_path / out).glob('snapshot_iter_*'))
                 for out in ('whole', 'part')]
    whole, part = map(weights, snapshots)
    assert int(whole['updater/optimizer:main/n_averaged']) > 2
    names = [name for name in whole if name.startswith('updater/')]
    assert any(name.endswith('/mean') for name in names)
    for name in names:
        assert_array_equal(whole[name], part[name], err_msg=name)
    for name, array in weights('whole.npz').items():
        if name.startswith(('embed', 'l')):
            assert_array_equal(array, weights('part.npz')[name])
            mean = whole[f'updater/optimizer:main/predictor/{name}/mean']
            now = whole[f'updater/model:main/predictor/{name}']
            assert (mean != now).any()
    before = weights('whole.npz')
    capsys.readouterr()
    tune = [*SMALL, '--epochs', '2', '--save', 'whole.npz']
    assert awd('finetune').main(tune) == 0
    assert 'test perplexity: ' in capsys.readouterr().out
    assert (weights('whole.npz')['embed/W'] != before['embed/W']).any()
    tuned, = (tmp_path / 'finetune').glob('snapshot_iter_*')
    for script, args, snapshot in (('finetune', tune, snapshots[0]),
                                   ('main', [*tune, '--out', 'other'], tuned)):
        with pytest.raises(rnnlm.InputError, match=f'expected .* of {script}.py'):
            awd(script).main([*args, '--resume', str(snapshot)])
    awd('cache').main(['--demo', '--save', 'whole.npz', '--window', '30'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(':')[0] for line in lines] == [
        'valid perplexity', 'valid perplexity with the cache', 'test perplexity',
        'test perplexity with the cache']


def test_fewer_epochs_than_the_snapshot_has_end_at_once(awd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(awd('options'), 'DEMO_WORDS', (5000, 500, 500))
    train(awd('main'), 'run', 2)
    snapshot, = (tmp_path / 'run').glob('snapshot_iter_*')
    train(awd('main'), 'run', 1, '--resume', str(snapshot))
    assert next((tmp_path / 'run').glob('snapshot_iter_*')).name == snapshot.name


@pytest.mark.parametrize('change, replaced', [
    (os.remove, True), (lambda path: os.truncate(path, 100), True),
    (lambda path: None, False)])
def test_another_file_is_not_taken_for_the_best_model(
        awd, tmp_path, capsys, change, replaced):
    path = str(tmp_path / 'best.npz')
    _, optimizer, _ = make(awd)
    keep = awd('training').KeepBest(optimizer, path)

    class Trainer:
        observation = {'validation/main/loss': 4.0}

    keep.initialize(Trainer)
    keep(Trainer)
    saved = chainer.serializers.DictionarySerializer()
    saved.save(keep)
    change(path)
    resumed = awd('training').KeepBest(optimizer, path)
    chainer.serializers.NpzDeserializer(saved.target).load(resumed)
    resumed.initialize(Trainer)
    Trainer.observation = {'validation/main/loss': 4.5}
    resumed(Trainer)
    assert ('another file or none' in capsys.readouterr().out) == replaced
    assert resumed.loss == (4.5 if replaced else 4.0)


def test_the_cache_is_that_of_the_paper(awd):
    """Word by word, in plain NumPy."""
    numpy.random.seed(3)
    model = rnnlm.RNNForLM(11, 6)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-1, 1, param.shape)
    ids = numpy.random.randint(0, 11, 60).astype('i')
    window, theta, weight = 13, 1.5, .3
    with chainer.using_config('train', False):
        h = model.features(ids[:-1, None]).array[:, 0].astype('d')
        model.reset_state()
        y = model.logits(ids[:-1, None]).array[:, 0].astype('d')
    expected = []
    for k in range(len(h)):
        p = numpy.exp(y[k] - y[k].max())
        p /= p.sum()
        if k:
            cache = numpy.zeros(11)
            for i in range(max(0, k - window), k):
                cache[ids[i + 1]] += numpy.exp(theta * h[k].dot(h[i]))
            p = (1 - weight) * p + weight * cache / cache.sum()
        expected.append(numpy.log(p[ids[k + 1]]))
    log_probabilities = awd('cache').log_probabilities
    for length in 1, 7, 100:
        assert_allclose(
            log_probabilities(model, ids, window, theta, weight, length), expected,
            rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('make_model', [
    lambda: rnnlm.adaptive_model(11, 6, cutoffs=[3, 7]),
    lambda: rnnlm.RNNForLM(11, 6, tied=True)])
def test_without_the_cache_any_model_has_its_own_score(awd, make_model):
    model, ids = make_model(), numpy.random.randint(0, 11, 60).astype('i')
    assert_allclose(awd('cache').log_probabilities(model, ids, 5, 1.0, 0.0, 7),
                    rnnlm.score_text(model, ids), rtol=1e-4)


def test_the_cache_is_not_used_with_other_words(awd, tmp_path):
    n = len(rnnlm.load_corpus('demo').vocabulary)
    rnnlm.save_npz(str(tmp_path / 'model.npz'), rnnlm.RNNForLM(n, 4))
    rnnlm.Vocabulary([str(k) for k in range(n)]).save(
        str(tmp_path / 'vocabulary.json'))
    with pytest.raises(rnnlm.InputError, match='other words'):
        awd('cache').main(['--demo', '--save', str(tmp_path / 'model.npz')])


def test_the_run_of_the_paper_is_the_default(awd):
    options = awd('options')
    args = options.parse(options.parser(''), [])
    found = {name: getattr(args, name) for name in vars(args)}
    assert found == dict(
        data=None, save='awd.npz', seed=141, device='-1', demo=False, emsize=400,
        nhid=1150, nlayers=3, lr=30, clip=.25, epochs=750, batch_size=40, bptt=70,
        dropout=.4, dropouth=.25, dropouti=.4, dropoute=.1, wdrop=.5, alpha=2, beta=1,
        wdecay=1.2e-6, nonmono=5, log_interval=200)
    small = argparse.Namespace(**dict(found, nhid=115, emsize=40))
    model = awd('model').make_model(100, small)
    assert [layer.state_size for layer in model.layers] == [115, 115, 40]
    assert model.tied and model.why_steps() == ''


@pytest.mark.parametrize('script, args, message', [
    ('main.py', ['--wdrop', '1'], '--wdrop: expected a ratio'),
    ('main.py', ['--log-interval', '0'], '--log-interval: expected an integer from 1'),
    ('main.py', ['--lr', 'nan'], '--lr: expected a finite number'),
    ('finetune.py', ['--demo', '--save', 'none.npz'], 'none.npz'),
    ('main.py', ['--demo', '--save', 'none/a.npz'], '--save: expected a file in a'),
    ('main.py', ['--demo', '--save', '.'], '--save: expected a file in a'),
    ('main.py', ['--demo', '--out', os.devnull], '--out: expected a folder'),
    ('cache.py', ['--lambdasm', '2'], '--lambdasm: expected from 0 to 1')])
def test_bad_flags(script, args, message, tmp_path):
    done = subprocess.run(
        [sys.executable, os.path.join(AWD, script), *args], cwd=tmp_path,
        capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=ROOT))
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr
