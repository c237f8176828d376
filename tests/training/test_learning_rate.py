"""Learning rate decay, for any optimizer with a learning rate."""
import chainer
from helpers import make_trainer, small, text
import pytest

import rnnlm


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
