"""What mixed precision costs in perplexity; writes RESULTS.md's part on precision.

    python benchmarks/precision.py               the embedded corpus (about 6 minutes)
    python benchmarks/precision.py --ptb FOLDER  and 2 epochs of PTB, preset small

The arithmetic is that of a GPU, on NumPy: factors of float16, sums, gates and softmax
in float32, a float32 copy of the weights, a scaled loss.  So it says what it costs,
and nothing about speed.
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

import report

KEPT = os.path.join(report.HERE, 'precision.json')
SEEDS = 0, 1, 2


def train(text, recipe, seed):
    """Perplexities of validation and test after a run."""
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings(), \
            contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings('ignore', 'Non finite number')  # of the scaled loss
        found = experiment.train(text, recipe, out, seed=seed)
    return [found['valid'], found['test']]


def part(results):
    rows = []
    for name, found in results.items():
        for precision in 'float32', 'mixed16':
            valid, test = numpy.transpose(found[precision])
            rows.append([
                name, precision, *(', '.join(f'{p:.2f}' for p in some)
                                   for some in (valid, test)),
                f'{test.mean() / numpy.mean(found["float32"], axis=0)[1]:.4f}'])
    return '\n'.join([
        '## Precision', '',
        'By `python benchmarks/precision.py`, on a CPU with the arithmetic of a GPU. '
        'The same seeds; the last column is the mean test perplexity over that of '
        'float32. TF32 was not measured: only a GPU has it.', '',
        report.table(['', 'precision', 'validation', 'test', 'ratio'], rows)])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ptb', metavar='FOLDER')
    args = parser.parse_args()
    jobs = {'embedded corpus, 10 epochs, 3 seeds': (
        corpus.load('demo'), PRESETS['demo'], SEEDS)}
    if args.ptb:
        jobs['PTB, preset small, 2 epochs'] = (
            corpus.load(args.ptb), dataclasses.replace(PRESETS['small'], epochs=2),
            (0,))
    results = report.kept(KEPT)
    for name, (text, recipe, seeds) in jobs.items():
        results[name] = {'float32': [], 'mixed16': []}
        for seed in seeds:
            for precision, runs in results[name].items():
                runs.append(train(
                    text, dataclasses.replace(recipe, precision=precision), seed))
                print(name, seed, precision, runs[-1], flush=True)
        report.keep(KEPT, results)
    report.replace('precision', 'precision.py', part(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
