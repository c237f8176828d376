"""Everything that Chainer has gives what it gave on NumPy 1.16."""
import json
import warnings

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import calls  # noqa: E402

with open(calls.FILE, encoding='utf-8') as f:
    RECORDED = json.load(f)


@pytest.mark.parametrize('part', [
    'functions', 'links', 'optimizers', 'distributions', 'initializers'])
def test_as_on_numpy_1(part):
    """Types, shapes and numbers of results and gradients of each recorded call."""
    made, wrong = 0, []
    for name, call in calls.calls():
        if name.startswith(part) and name in RECORDED:
            made += 1
            with warnings.catch_warnings():
                # Of the numbers, of a missing SciPy, and Chainer's own announcements.
                warnings.simplefilter('ignore', RuntimeWarning)
                warnings.simplefilter('ignore', chainer.warnings.PerformanceWarning)
                warnings.filterwarnings('ignore', '.*_.* is deprecated. Use ')
                found = result_of(call)
            if not same(found, RECORDED[name]):
                wrong.append((name, found, RECORDED[name]))
    assert wrong == [] and made == sum(name.startswith(part) for name in RECORDED)


def result_of(call):
    try:
        return calls.result(call)
    except Exception as e:
        return f'{type(e).__name__}: {e}'


def same(found, recorded):
    return len(found) == len(recorded) and all(
        a[:2] == b[:2] and np.allclose(a[2:], b[2:], rtol=2e-4, atol=1e-5)
        for a, b in zip(found, recorded))
