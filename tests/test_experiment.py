"""A run is made as its recipe says."""
import chainer
import numpy

from rnnlm import corpus, experiment
from rnnlm.training import Recipe


def test_the_recipe_is_what_is_trained(tmp_path):
    text = corpus.load('demo')
    recipe = Recipe(n_units=7, n_layers=3, dropout=0.25, init_scale=0.02, batch_size=6,
                    bprop_len=4, epochs=3, lr=0.5, decay=1.5, decay_after=2, gradclip=2)
    trainer, valid = experiment.make_trainer(
        text, recipe, str(tmp_path), chainer.get_device(-1), False)
    optimizer = trainer.updater.get_optimizer('main')
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
    assert valid.get_iterator('main').dataset is text.valid
    decay = trainer.get_extension('LearningRateDecay')
    assert (decay.decay, decay.after_epoch) == (1.5, 2)
    assert trainer.stop_trigger.get_training_length() == (3, 'epoch')
    assert trainer.updater.why_per_step == ''


def test_its_perplexities_are_those_of_the_final_model(tmp_path):
    rng = numpy.random.RandomState(0)
    words = rng.randint(0, 5, 400).astype('i')
    text = corpus.Corpus('x', words, words[:90], words[90:150],
                         corpus.Vocabulary('abcde'), 'char')
    recipe = Recipe(n_units=4, batch_size=5, bprop_len=6, epochs=2)
    result = experiment.train(text, recipe, str(tmp_path / 'out'), seed=1)
    model = experiment.make_classifier(experiment.RNNForLM(5, 4))
    experiment.checkpoint.load_model(str(tmp_path / 'out' / 'model.npz'), model)
    for part in 'valid', 'test':
        expected = experiment.perplexity(
            experiment.make_evaluator(getattr(text, part), model))
        numpy.testing.assert_allclose(result[part], expected, rtol=1e-6)
    assert result['valid'] != result['test'] and result['limit'] is None
