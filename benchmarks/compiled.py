"""Tests whether torch.compile compiles the benchmark's model; prints JSON.

    python benchmarks/compiled.py        (about a minute: it compiles a tiny model)
"""
import json
import subprocess
import sys

import rnnlm  # noqa: F401

import numpy

import common
import models

SIZES = dict(n=16, dropout=0.0, T=3, scale=0.1, clip=5)
V, B = 50, 2


def trial():
    """Compiles a tiny model.

    Returns:
        dict: 'pieces', the number of parts compiled by default, and 'why' not more;
        'runs', whether the experimental option compiles the whole model, and 'error'
        if it does not.
    """
    found = {'pieces': None, 'why': None, 'runs': False, 'error': None}
    try:
        weights = models.make_weights(V, **SIZES)
        way = models.TorchCompiled(weights, V=V, **SIZES)
        found['pieces'], found['why'] = way.compiled_by_default()
        ids = common.random_ids(SIZES['T'], V, B, seed=0)
        loss, _ = way.loss_and_gradients(ids)
        expected, _ = models.Torch(weights, V=V, **SIZES).loss_and_gradients(ids)
        numpy.testing.assert_allclose(loss, expected, rtol=1e-4)
        found['runs'] = True
    except Exception as e:  # no compiler, another version of PyTorch, ...
        lines = str(e).strip().splitlines()
        found['error'] = f'{type(e).__name__}: {lines[0] if lines else ""}'
    return found


def trial_apart(seconds=300):
    """Calls `trial` in a new process, which may hang or crash."""
    try:
        done = subprocess.run([sys.executable, __file__], capture_output=True,
                              text=True, encoding='utf-8', timeout=seconds)
        return json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as e:
        return {'pieces': None, 'why': None, 'runs': False,
                'error': f'the trial gave nothing ({type(e).__name__})'}


def sentence(found):
    """Describes the result of `trial` in a sentence."""
    if found['pieces'] is None:
        default = 'By default torch.compile could not be tried'
    elif found['pieces'] == 0:
        default = ('By default torch.compile does not compile this model '
                   f'({found["why"].rstrip(".")})')
    else:
        default = (f'By default torch.compile compiles {found["pieces"]} piece(s) of '
                   'this model')
    if found['runs']:
        return (f'{default}; with the experimental torch._dynamo.config.allow_rnn it '
                'does, and unrolls the steps of the window.')
    return f'{default}; with torch._dynamo.config.allow_rnn: {found["error"]}.'


if __name__ == '__main__':
    print(json.dumps(trial()))
