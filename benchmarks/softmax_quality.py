"""Compares adaptive and full softmax on PTB; writes a section of RESULTS.md.

    python benchmarks/softmax_quality.py --corpus FOLDER [--epochs N] [--seed N]

The small recipe of Zaremba et al. (2014), once for each softmax, with the same seed.
The folder of the corpus has ptb.{train,valid,test}.txt (default: RNNLM_PTB_DIR).  The
results of all runs are stored in softmax_quality.json; the table has the means over
seeds.
"""
import argparse
import dataclasses
import os
import sys
import tempfile

import rnnlm
from rnnlm.app import experiment
from rnnlm.app.recipes import PRESETS, SOFTMAXES

import common
from report_ptb import spread

KEPT = os.path.join(common.HERE, 'softmax_quality.json')
COMMAND = 'benchmarks/softmax_quality.py'
CUTOFFS = 2000, 5000


def run(text, softmax, args):
    """Trains by the recipe; returns the perplexities."""
    recipe = PRESETS['small']
    recipe = dataclasses.replace(
        recipe, softmax=softmax, epochs=args.epochs or recipe.epochs,
        cutoffs=CUTOFFS if softmax == 'adaptive' else None)
    with tempfile.TemporaryDirectory() as scratch:
        result = experiment.train(text, recipe, out=os.path.join(scratch, 'run'),
                                  device=args.device, seed=args.seed)
    if result['signal']:
        sys.exit(128 + result['signal'])
    return {name: result[name] for name in ('valid', 'test')}


def part(results):
    """Returns the section of RESULTS.md."""
    rows = []
    for epochs, by_softmax in sorted(results['runs'].items(), key=lambda e: int(e[0])):
        for softmax in SOFTMAXES:
            runs = list(by_softmax.get(softmax, {}).values())
            if runs:
                rows.append([epochs, softmax, len(runs)] + [
                    spread([found[name] for found in runs])
                    for name in ('valid', 'test')])
    return '\n'.join([
        '## Adaptive softmax on the Penn Treebank', '',
        'Perplexities of the small recipe with a full softmax and with an adaptive '
        f'softmax with the cutoffs {CUTOFFS[0]:,} and {CUTOFFS[1]:,}, by `python '
        f'{COMMAND}`: the mean over n runs with different seeds, with the range in '
        'parentheses.', '',
        common.table(['epochs', 'softmax', 'n', 'valid', 'test'], rows),
        common.machine_line(results.get('machine')), ''])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    add('--epochs', type=int, help='fewer than the 13 of the recipe, for a quick run')
    add('--seed', type=int, default=0)
    add('--device', default='-1')
    args = parser.parse_args(argv)
    results = common.kept(KEPT)
    results['machine'] = common.begin(COMMAND)
    try:
        text = rnnlm.load_corpus(args.corpus)
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    epochs = str(args.epochs or PRESETS['small'].epochs)
    for softmax in SOFTMAXES:
        found = results.setdefault('runs', {}).setdefault(epochs, {}).setdefault(
            softmax, {})
        found[str(args.seed)] = run(text, softmax, args)
        common.keep(KEPT, results)
    common.replace('softmax', 'softmax_quality.py', part(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
