"""Whatever a user changes, the numbers are Chainer's: drawn at random, and one by one.

The number of draws is RNNLM_DRAWS, on a GPU RNNLM_GPU_DRAWS; ``python -m
tests.customisations.compare --only NAME,NAME --seed SEED`` repeats one.
"""
import os

import pytest

from tests.customisations import compare, world

pytestmark = pytest.mark.slow

DRAWS = int(os.environ.get('RNNLM_DRAWS', 300))
GPU_DRAWS = int(os.environ.get('RNNLM_GPU_DRAWS', 20))
CHUNK = 100  # draws of one test


@pytest.mark.parametrize('name', compare.CUSTOMISATIONS)
def test_one_customisation(name):
    verdict = compare.judge([name])
    differs = verdict.kind in compare.FAILURES
    assert differs == compare.excepted([name]), verdict.detail


@pytest.mark.parametrize('first', range(0, DRAWS, CHUNK))
def test_drawn_customisations(first):
    judge_draws(first, min(first + CHUNK, DRAWS))


@pytest.mark.gpu
@pytest.mark.parametrize('first', range(0, GPU_DRAWS, CHUNK))
def test_drawn_customisations_on_a_gpu(first, monkeypatch):
    """Beside Chainer's example on the same GPU, without dropout."""
    monkeypatch.setattr(world, 'device', 0)
    judge_draws(first, min(first + CHUNK, GPU_DRAWS))


def judge_draws(first, end):
    failing = []
    for seed in range(first, end):
        names, options = compare.draw(seed)
        verdict = compare.judge(names, seed, **options)
        if verdict.kind in compare.FAILURES and not compare.excepted(names):
            failing.append(
                f"{verdict.kind} --seed {seed} --only {','.join(names)}: "
                f'{verdict.detail}')
    assert not failing, '\n' + '\n'.join(failing)
