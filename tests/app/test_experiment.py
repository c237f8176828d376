"""A run is made as its recipe says."""
import dataclasses
import json

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment
from rnnlm.app.recipes import PRESETS, Recipe
from rnnlm.data import corpus
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)


def test_the_recipe_is_what_is_trained(tmp_path):
    text = corpus.load('demo')
    recipe = Recipe(n_units=7, n_layers=3, dropout=0.25, init_scale=0.02, batch_size=6,
                    bprop_len=4, epochs=3, lr=0.5, decay=1.5, decay_after=2, gradclip=2)
    run = experiment.make_training_run(
        text, recipe, out=str(tmp_path), device=chainer.get_device(-1))
    trainer = run.trainer
    optimizer = trainer.updater.get_optimizer('main')
    assert run.classifier is optimizer.target
    model = optimizer.target.predictor
    assert (model.n_vocab, model.n_units, model.n_layers, model.dropout) == (
        161, 7, 3, 0.25)
    assert 0.019 < max(abs(p.array).max() for p in model.params()) <= 0.02
    assert type(optimizer) is chainer.optimizers.SGD and optimizer.lr == 0.5
    hook, = optimizer._hookable._pre_update_hooks.values()
    assert hook.threshold == 2
    iterator = trainer.updater.get_iterator('main')
    assert iterator.dataset is text.train and iterator.batch_size == 6
    assert trainer.updater.bprop_len == 4
    assert run.validation.get_iterator('main').dataset is text.valid
    decay = trainer.get_extension('LearningRateDecay')
    assert (decay.decay, decay.after_epoch) == (1.5, 2)
    assert run.best.path == str(tmp_path / 'model.npz')
    assert trainer.stop_trigger.get_training_length() == (3, 'epoch')
    assert trainer.updater.why_per_step == ''


def test_its_perplexities_are_those_of_the_final_model(tmp_path):
    rng = numpy.random.RandomState(0)
    words = rng.randint(0, 5, 400).astype('i')
    text = corpus.Corpus('x', words, words[:90], words[90:150],
                         corpus.Vocabulary('abcde'), 'char')
    recipe = Recipe(n_units=4, batch_size=5, bprop_len=6, epochs=2)
    result = experiment.train(text, recipe, out=str(tmp_path / 'out'), seed=1)
    model = make_classifier(experiment.RNNForLM(5, 4))
    rnnlm.load_model(str(tmp_path / 'out' / 'model.npz'), model)
    for part in 'valid', 'test':
        expected = evaluate_perplexity(
            make_evaluator(getattr(text, part), model))
        numpy.testing.assert_allclose(result[part], expected, rtol=1e-6)
    assert result['valid'] != result['test'] and result['limit'] is None


@pytest.mark.filterwarnings('ignore:Non finite number')  # Chainer, of the scale
def test_mixed_precision(tmp_path):
    """The same run in float16 with all that it takes; it resumes as it was."""
    rng = numpy.random.RandomState(0)
    words = numpy.repeat(rng.randint(0, 5, 300), 2).astype('i')
    text = corpus.Corpus('x', words, words[:90], words[90:150],
                         corpus.Vocabulary('abcde'), 'char')
    recipe = Recipe(n_units=16, batch_size=3, bprop_len=5, epochs=6, dropout=0.0,
                    init_scale=0.5)
    found = []
    for name in 'float32', 'mixed16':
        recipe = dataclasses.replace(recipe, precision=name)
        found.append(experiment.train(
            text, recipe, out=str(tmp_path / name), seed=0, save_every=0))
    assert found[1]['valid'] == pytest.approx(found[0]['valid'], rel=0.1)
    assert found[0]['valid'] < 3
    out = tmp_path / 'mixed16'
    before, last = sorted(out.glob('snapshot_iter_*'))
    experiment.train(text, recipe, out=str(tmp_path / 'again'), resume=str(before))
    models = [numpy.load(last), numpy.load(tmp_path / 'again' / last.name)]
    names = [name for name in models[0] if 'model:main' in name]
    assert len(names) == 9
    with pytest.raises(rnnlm.InputError, match='precision'):
        experiment.train(text, dataclasses.replace(recipe, precision='float32'),
                         out=str(tmp_path / 'other'), resume=str(last))
    for name in names:
        assert models[0][name].dtype == numpy.float16
        numpy.testing.assert_array_equal(models[0][name], models[1][name])


def test_presets_are_those_of_the_paper():
    # Zaremba et al. (2014), section 4.1.
    for name, n_units, scale, dropout, steps, epochs, decay, after, clip in (
            ('small', 200, .1, 0, 20, 13, 2, 4, 5),
            ('medium', 650, .05, .5, 35, 39, 1.2, 6, 5),
            ('large', 1500, .04, .65, 35, 55, 1.15, 14, 10)):
        assert PRESETS[name] == Recipe(
            n_units=n_units, n_layers=2, dropout=dropout, init_scale=scale,
            batch_size=20, bprop_len=steps, epochs=epochs, lr=1.0, decay=decay,
            decay_after=after, gradclip=clip)


def test_the_model_that_is_kept_is_the_best(tmp_path):
    # A learning rate that ruins the model after some epochs.
    text = corpus.load('demo')
    small = corpus.Corpus('x', text.train[:3000], text.valid[:500], text.valid[:50],
                          text.vocabulary, 'word')
    recipe = Recipe(n_units=20, dropout=0, bprop_len=5, epochs=4, decay=0.1,
                    decay_after=2, gradclip=50.0)
    result = experiment.train(small, recipe, out=str(tmp_path / 'out'), seed=0)
    log = json.loads((tmp_path / 'out' / 'log').read_text())
    values = [entry['val_perplexity'] for entry in log if 'val_perplexity' in entry]
    assert len(values) == 4 and values[-1] > 1.1 * min(values)
    numpy.testing.assert_allclose(result['valid'], min(values), rtol=1e-5)


@pytest.mark.parametrize('variant', [dict(n_embed=6), dict(tied=True)])
def test_variants_train_and_load(variant, tmp_path, capsys):
    (tmp_path / 'text').write_text('the cat sees the dog and the dog sleeps\n' * 60)
    out = str(tmp_path / 'out')
    text = corpus.load(str(tmp_path / 'text'))
    recipe = Recipe(n_units=8, dropout=0, init_scale=0.5, batch_size=4, bprop_len=5,
                    epochs=8, **variant)
    result = experiment.train(text, recipe, out=out, seed=0)
    assert result['test'] < 0.8 * len(text.vocabulary)
    model = rnnlm.load(out).model
    assert (model.n_embed, model.tied) == (
        variant.get('n_embed', 8), variant.get('tied', False))
    found = evaluate_perplexity(
        make_evaluator(text.test, make_classifier(model)))
    numpy.testing.assert_allclose(found, result['test'], rtol=1e-6)
    # The flags of the command say the same, and a run remembers them.
    args = ['train', '--corpus', str(tmp_path / 'text'), '-u', '8', '-b', '4',
            '-l', '5', '-e', '1', '--out', str(tmp_path / 'other')]
    args += ['--tied'] if 'tied' in variant else ['--embed', '6']
    assert cli.main(args) == 0
    began = json.loads((tmp_path / 'other' / 'run.json').read_text())['recipe']
    assert {name: began[name] for name in variant} == variant
    assert cli.main(args[:3] + ['--resume', '--out', str(tmp_path / 'other'), '-e', '2']
                    ) == 0


def test_runs_from_before_a_field_go_on(tmp_path):
    (tmp_path / 'text').write_text('the cat sees the dog\n' * 60)
    args = ['train', '--corpus', str(tmp_path / 'text'), '-u', '4', '-b', '4',
            '-l', '5', '-e', '1', '--out', str(tmp_path / 'out')]
    assert cli.main(args) == 0
    path = tmp_path / 'out' / 'run.json'
    began = json.loads(path.read_text())
    del began['recipe']['n_embed'], began['recipe']['tied']
    path.write_text(json.dumps(began))
    assert cli.main(args + ['-e', '2', '--resume']) == 0


def test_fields_that_are_misspelt_or_of_a_later_version(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').write_text('the cat sees the dog\n' * 60)
    assert cli.main(['train', '--corpus', 'text', '-u', '4', '-b', '4', '-l', '5', '-e',
                     '1', '--out', 'out']) == 0
    path = tmp_path / 'out' / 'run.json'
    began = json.loads(path.read_text())
    began['recipe']['droput'] = began['recipe'].pop('dropout')
    path.write_text(json.dumps(began))
    capsys.readouterr()
    for args in ['--config', 'out', '--out', 'new'], ['--resume', 'out', '-e', '2']:
        assert cli.main(['train', *args]) == 2
        assert "found 'droput'; correct the name, or use" in capsys.readouterr().err
    assert cli.main(['evaluate', 'out']) == 0  # does not need them
