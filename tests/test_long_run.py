"""A long run takes no more memory than a short one.

RNNLM_WINDOWS says how many windows are trained; in .ci/long 100,000.
"""
import os

import chainer
from helpers import make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.app.trained import TrainedModel
from rnnlm.data.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

WINDOWS = int(os.environ.get('RNNLM_WINDOWS', 2000))

# What Python's allocator and the log may add: measured 0.4 MB in 5,000 windows.
MOST_MB = 3


def resident():
    """Megabytes of memory that this process uses now."""
    with open('/proc/self/statm') as f:
        return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2 ** 20


@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='needs /proc')
def test_memory_is_flat(tmp_path):
    model = small()
    trainer = make_trainer(model, text(), tmp_path, stop=(WINDOWS, 'iteration'))
    often, seldom = (50, 'iteration'), (500, 'iteration')
    valid = rnnlm.ParallelSequentialIterator(text(50), 1, repeat=False)
    trainer.extend(rnnlm.PerplexityEvaluator(valid, model), trigger=often)
    trainer.extend(rnnlm.Snapshot(), trigger=often)
    trainer.extend(rnnlm.BestModel(model, str(tmp_path / 'model.npz')), trigger=often)
    trainer.extend(rnnlm.Log(seldom, rnnlm.add_perplexity))
    used = []

    def use(trainer):
        with chainer.using_config('train', False):
            copy = rnnlm.RNNForLM(20, 8)
            rnnlm.load_model(
                str(tmp_path / f'snapshot_iter_{trainer.updater.iteration}'), copy)
            trained = TrainedModel(copy, Vocabulary('abcdefghijklmnopqrst'))
            random = numpy.random.get_state()
            assert len(trained.generate('a', 5)) == 5
            numpy.random.set_state(random)
        used.append(resident())

    trainer.extend(use, name='use', trigger=often, priority=-200)
    assert rnnlm.run(trainer) == (0, None)
    assert len(used) == WINDOWS // 50
    grown = max(used[-5:]) - max(used[:len(used) // 4])
    print(f'{WINDOWS:,} windows: {grown:+.2f} MB since the first quarter')
    assert grown < MOST_MB
