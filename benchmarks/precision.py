"""Measures the effect of mixed precision on the perplexity, for RESULTS.md.

    python benchmarks/precision.py               the demo corpus (about 6 minutes)
    python benchmarks/precision.py --ptb FOLDER  and 2 epochs of PTB, preset small
                                                 (about 30 minutes more)
    python benchmarks/precision.py --ptb FOLDER --device 0
                                                 the whole preset on a GPU, also in TF32

A comparison that was stopped continues where it was, on the same kind of machine.
Without a GPU, NumPy does its arithmetic: factors in float16; sums, gates and softmax in
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
PRECISIONS = 'float32', 'tf32', 'mixed16'
EMBEDDED = 'demo corpus, 10 epochs, 3 seeds'
PTB, PTB_ON_GPU = 'PTB, preset small, 2 epochs', 'PTB, preset small, on a GPU'


def train(text, recipe, seed, device):
    """Trains; returns the perplexities of validation and test."""
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings(), \
            contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings('ignore', 'Non finite number')  # of the scaled loss
        found = experiment.train(text, recipe, out=out, seed=seed, device=device)
    return [found['valid'], found['test']]


def part(results):
    rows, machines = [], {}
    for name, found in results.items():
        machines.setdefault(common.machine_line(found.get('machine')), []).append(name)
        for precision in PRECISIONS:
            if not found.get(precision):
                continue
            valid, test = numpy.transpose(found[precision])
            rows.append([
                name, precision, len(test),
                *(', '.join(f'{p:.2f}' for p in some) for some in (valid, test)),
                f'{test.mean() / numpy.mean(found["float32"], axis=0)[1]:.4f}'])
    return '\n'.join([
        '## Precision', '',
        'By `python benchmarks/precision.py`. n is the number of runs, with the same '
        'seeds in each precision; the last column is the mean test perplexity divided '
        'by that of float32. Without a GPU, NumPy emulates mixed16; TF32 is measured '
        'on a GPU only.', '',
        *(f'{"; ".join(names)}: {machine}.\n' for machine, names in machines.items()),
        common.table(['', 'precision', 'n', 'validation', 'test', 'ratio'], rows)])


def jobs(args):
    """Yields name, corpus, recipe, seeds and precisions of each comparison."""
    small = PRESETS['small']
    if args.device != '-1':
        # Mixed precision takes no CUDA graph, so that it would take an hour.
        yield PTB_ON_GPU, corpus.load(args.ptb), small, SEEDS, ('float32', 'tf32')
        return
    without_tf32 = 'float32', 'mixed16'
    yield EMBEDDED, corpus.load('demo'), PRESETS['demo'], SEEDS, without_tf32
    if args.ptb:
        yield (PTB, corpus.load(args.ptb), dataclasses.replace(small, epochs=2), SEEDS,
               without_tf32)


def begun(earlier, machine, seeds, precisions):
    """Returns the results of an incomplete comparison on such a machine, or None."""
    if not earlier or not all(
            earlier.get('machine', {}).get(key) == machine.get(key)
            for key in ('gpu', 'cpu', 'cores', 'versions')):
        return None
    missing = any(len(earlier.get(p, [])) < len(seeds) for p in precisions)
    return earlier if missing else None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ptb', metavar='FOLDER')
    parser.add_argument('--device', default='-1', help='a GPU, which requires --ptb')
    parser.add_argument('--tables', action='store_true',
                        help='only write the table again, from precision.json')
    args = parser.parse_args()
    if args.tables:
        common.replace('precision', 'precision.py', part(common.kept(KEPT)))
        return
    if args.device != '-1' and not args.ptb:
        parser.error('--device: expected --ptb FOLDER too')
    machine = common.begin('benchmarks/precision.py', device=args.device)
    results = common.kept(KEPT)
    for name, text, recipe, seeds, precisions in jobs(args):
        found = begun(results.get(name), machine, seeds, precisions)
        if not found:
            found = {'machine': machine, **{p: [] for p in precisions}}
        results[name] = found
        for k, seed in enumerate(seeds):
            for precision in precisions:
                if k < len(found[precision]):
                    continue
                found[precision].append(train(text, dataclasses.replace(
                    recipe, precision=precision), seed, args.device))
                print(name, precision, seed, *found[precision][-1], flush=True)
                common.keep(KEPT, results)
    common.replace('precision', 'precision.py', part(results))


if __name__ == '__main__':
    sys.exit(main())
