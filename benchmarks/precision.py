"""Measures the effect of mixed precision on the perplexity, for RESULTS.md.

    python benchmarks/precision.py               the embedded corpus (about 6 minutes)
    python benchmarks/precision.py --ptb FOLDER  and 2 epochs of PTB, preset small

NumPy does the arithmetic of a GPU: factors in float16; sums, gates and softmax in
float32; a float32 copy of the weights; a scaled loss.  So this shows the effect on the
perplexity, but not the speed.
"""
import argparse
import contextlib
import dataclasses
import io
import os
import sys
import tempfile
import warnings

import rnnlm  # noqa: F401

import numpy

from rnnlm.app import experiment
from rnnlm.app.recipes import PRESETS
from rnnlm.data import corpus

import common

KEPT = os.path.join(common.HERE, 'precision.json')
SEEDS = 0, 1, 2
PRECISIONS = 'float32', 'mixed16'


def train(text, recipe, seed):
    """Trains; returns the perplexities of validation and test."""
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings(), \
            contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings('ignore', 'Non finite number')  # of the scaled loss
        found = experiment.train(text, recipe, out=out, seed=seed)
    return [found['valid'], found['test']]


def part(results):
    rows, machines = [], {}
    for name, found in results.items():
        machines.setdefault(common.machine_line(found.get('machine')), []).append(name)
        for precision in PRECISIONS:
            valid, test = numpy.transpose(found[precision])
            rows.append([
                name, precision, len(test),
                *(', '.join(f'{p:.2f}' for p in some) for some in (valid, test)),
                f'{test.mean() / numpy.mean(found["float32"], axis=0)[1]:.4f}'])
    return '\n'.join([
        '## Precision', '',
        'By `python benchmarks/precision.py`, on a CPU with the arithmetic of a GPU. '
        'n is the number of runs, with the same seeds in each precision; the last '
        'column is the mean test perplexity divided by that of float32. TF32 was not '
        'measured, because it needs a GPU.', '',
        *(f'{"; ".join(names)}: {machine}.\n' for machine, names in machines.items()),
        common.table(['', 'precision', 'n', 'validation', 'test', 'ratio'], rows)])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ptb', metavar='FOLDER')
    args = parser.parse_args()
    machine = common.begin('benchmarks/precision.py')
    jobs = {'embedded corpus, 10 epochs, 3 seeds': (
        corpus.load('demo'), PRESETS['demo'], SEEDS)}
    if args.ptb:
        jobs['PTB, preset small, 2 epochs'] = (
            corpus.load(args.ptb), dataclasses.replace(PRESETS['small'], epochs=2),
            (0,))
    results = common.kept(KEPT)
    for name, (text, recipe, seeds) in jobs.items():
        results[name] = {'machine': machine, **{p: [] for p in PRECISIONS}}
        for seed in seeds:
            for precision in PRECISIONS:
                runs = results[name][precision]
                runs.append(train(
                    text, dataclasses.replace(recipe, precision=precision), seed))
                print(name, seed, precision, runs[-1], flush=True)
        common.keep(KEPT, results)
    common.replace('precision', 'precision.py', part(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
