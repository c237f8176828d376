"""Learning rate decay, for any optimizer with a learning rate."""
import chainer
from helpers import assert_same_parameters, make_trainer, small, text
import pytest

import rnnlm
from rnnlm.training.triggers import EpochsTrigger


@pytest.mark.parametrize('name, rate', [('SGD', 'lr'), ('Adam', 'alpha')])
def test_learning_rate_decay_of_any_rate(tmp_path, name, rate):
    optimizer = getattr(chainer.optimizers, name)()
    setattr(optimizer, rate, 0.5)
    optimizer.setup(small())
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5)
    trainer = chainer.training.Trainer(updater, (3, 'epoch'), out=str(tmp_path))
    trainer.extend(rnnlm.LearningRateDecay(2, 1))
    trainer.run()
    assert getattr(optimizer, rate) == 0.5 / 2 ** 3


def test_learning_rate_decay_without_a_rate(tmp_path):
    trainer = make_trainer(small(), text(), tmp_path)
    trainer.updater._optimizers['main'] = chainer.optimizers.AdaDelta().setup(small())
    with pytest.raises(rnnlm.InputError, match='AdaDelta'):
        rnnlm.LearningRateDecay(2, 1).initialize(trainer)


CURVE = [5.0, 4.0, 4.5, 4.0, 3.0, 3.5, 3.2, 3.1, 3.3, 2.0, 2.5]


def given_curve(trainer, curve=CURVE):
    """Reports a validation loss that is given, and keeps each epoch's rate."""
    rates = []

    class Given(chainer.training.Extension):
        trigger = 1, 'epoch'
        priority = chainer.training.PRIORITY_WRITER

        def __call__(self, trainer):
            rates.append(trainer.updater.get_optimizer('main').lr)
            chainer.reporter.report(
                {'validation/main/loss': curve[trainer.updater.epoch - 1]})

    trainer.extend(Given())
    return rates


@pytest.mark.parametrize('patience, epochs', [
    (1, 3), (2, 4), (3, 8), (4, 9), (5, 11), (None, 11)])
def test_patience_against_a_curve(tmp_path, patience, epochs):
    trainer = make_trainer(small(), text(60), tmp_path)
    trainer.stop_trigger = EpochsTrigger(11, patience)
    given_curve(trainer)
    trainer.extend(rnnlm.LearningRateDecay(1, 0))
    trainer.run()
    assert trainer.updater.epoch == epochs


@pytest.mark.parametrize('decay, after, divisor', [(1, 0, 2), (1, 0, 1), (4, 3, 2)])
def test_decay_on_a_plateau_against_a_curve(tmp_path, decay, after, divisor):
    trainer = make_trainer(small(), text(60), tmp_path, stop=(11, 'epoch'))
    rates = given_curve(trainer)
    trainer.extend(rnnlm.LearningRateDecay(decay, after, divisor))
    trainer.run()
    expected, rate = [], 1.0
    for k, loss in enumerate(CURVE):
        expected.append(rate / decay ** max(0, k + 1 - after))
        if k and loss >= min(CURVE[:k]):
            rate /= divisor
    assert rates == expected


@pytest.mark.parametrize('stop_at', range(1, 8))
def test_a_plateau_is_remembered(tmp_path, stop_at):
    """A run that is resumed ends at the same epoch, with the same rates."""

    def make(out, epochs):
        trainer = make_trainer(small(), text(60), tmp_path / out)
        trainer.stop_trigger = EpochsTrigger(epochs, 3)
        rates = given_curve(trainer)
        trainer.extend(rnnlm.LearningRateDecay(1.5, 4, 2))
        trainer.extend(rnnlm.Snapshot())
        return trainer, rates

    whole, expected = make('whole', 11)
    whole.run()
    first, _ = make('parts', stop_at)
    first.run()
    second, rates = make('parts', 11)
    rnnlm.resume(str(tmp_path / 'parts'), second)
    second.run()
    assert second.updater.epoch == whole.updater.epoch == 8
    assert rates == expected[stop_at:]
    assert_same_parameters(second, whole)


def test_a_rate_that_is_set_on_the_way(tmp_path):
    trainer = make_trainer(small(), text(60), tmp_path)
    decay = rnnlm.LearningRateDecay(2, 3)
    trainer.updater.get_iterator('main').epoch = 5  # epoch 6, at 1 / 8
    assert decay.rate(trainer) == 0.125
    for _ in range(2):  # twice is once
        decay.apply_changes(trainer, 2, 3, lr=0.7)
        assert decay.rate(trainer) == 0.7
    trainer.updater.get_iterator('main').epoch = 6
    assert decay.rate(trainer) == 0.35
    other = rnnlm.LearningRateDecay(4, 0)
    other.apply_changes(trainer, 2, 3)  # epoch 6 was at 1 / 8
    assert other.rate(trainer) == 1 / 8 / 4
