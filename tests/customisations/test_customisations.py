"""Whatever a user changes, the numbers are Chainer's: drawn at random, and one by one.

The number of draws is RNNLM_DRAWS; ``python -m tests.customisations.referee --only
NAME,NAME --seed SEED`` repeats one.
"""
import os

import pytest

from tests.customisations import referee

pytestmark = pytest.mark.slow

DRAWS = int(os.environ.get('RNNLM_DRAWS', 300))
CHUNK = 100  # draws of one test


@pytest.mark.parametrize('name', referee.CUSTOMISATIONS)
def test_one_customisation(name):
    verdict = referee.judge([name])
    differs = verdict.kind in referee.FAILURES
    assert differs == referee.excepted([name]), verdict.detail


@pytest.mark.parametrize('first', range(0, DRAWS, CHUNK))
def test_drawn_customisations(first):
    failing = []
    for seed in range(first, min(first + CHUNK, DRAWS)):
        names, options = referee.draw(seed)
        verdict = referee.judge(names, seed, **options)
        if verdict.kind in referee.FAILURES and not referee.excepted(names):
            failing.append(
                f"{verdict.kind} --seed {seed} --only {','.join(names)}: "
                f'{verdict.detail}')
    assert not failing, '\n' + '\n'.join(failing)
