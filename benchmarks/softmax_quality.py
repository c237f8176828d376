"""Compares adaptive and full softmax on PTB; writes a section of RESULTS.md.

    python benchmarks/softmax_quality.py --corpus FOLDER [--seed N]
    python benchmarks/softmax_quality.py --tables    the table again, from the .json
    python benchmarks/softmax_quality.py --quick     an epoch of a small part; prints
                                                     the table, writes nothing here

The small recipe of Zaremba et al. (2014), once for each softmax, with the same seed
(about 20 minutes each on 2 cores).  The folder of the corpus has
ptb.{train,valid,test}.txt (default: RNNLM_PTB_DIR).  The results of all runs are stored
in softmax_quality.json and not computed again, nor are runs with a full softmax that
ptb.py has stored; the table has the means over seeds.  The same command resumes a run
that was stopped, from its snapshots in --folder.
"""
import argparse
import dataclasses
import os
import shutil
import sys
import tempfile
import time

import rnnlm
from rnnlm.app import experiment
from rnnlm.app.resuming import newest_or
from rnnlm.app.recipes import PRESETS, SOFTMAXES

import common
from report_ptb import KEPT as PTB, finished, spread

KEPT = os.path.join(common.HERE, 'softmax_quality.json')
COMMAND = 'benchmarks/softmax_quality.py'
CUTOFFS = 2000, 5000

# Tokens of each part that --quick takes.
QUICK = 20000


def run(text, softmax, args):
    """Trains by the recipe, or resumes that run; returns the perplexities."""
    recipe = PRESETS['small']
    recipe = dataclasses.replace(
        recipe, softmax=softmax, epochs=args.epochs or recipe.epochs,
        cutoffs=CUTOFFS if softmax == 'adaptive' else None)
    out = os.path.join(args.folder, f'{softmax}-{recipe.epochs}-seed{args.seed}')
    begun = newest_or(out, None)
    print(f'{softmax}, seed {args.seed}: ' + (
        f'goes on with {begun}' if begun else f'begins in {out}'), flush=True)
    start = time.time()
    result = experiment.train(
        text, recipe, out=out, device=args.device, seed=args.seed, resume=begun,
        overwrite=True, progress_bar=sys.stdout.isatty())
    if result['signal']:
        print(f'stopped; the same command goes on with {result["snapshot"]}')
        sys.exit(128 + result['signal'])
    shutil.rmtree(out)
    return {**{name: result[name] for name in ('valid', 'test')},
            'minutes': (time.time() - start) / 60, 'rnnlm': rnnlm.__version__}


def done_by_ptb(softmax, args):
    """Returns the perplexities of the same run by ptb.py, or None."""
    if softmax != 'full' or args.epochs or args.quick:
        return None
    found = finished(common.kept(PTB), 'small').get(str(args.seed))
    names = 'valid', 'test', 'minutes', 'rnnlm'
    return found and {name: found[name] for name in names}


def cut(text):
    """A corpus with the beginning of each part."""
    return dataclasses.replace(text, **{
        name: getattr(text, name)[:QUICK] for name in ('train', 'valid', 'test')})


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


def measure(results, args, keep):
    """Adds the runs of a seed that are not there yet to the results.

    Args:
        keep: Called after each.
    """
    text = rnnlm.load_corpus(args.corpus)
    if args.quick:
        text = cut(text)
    digest = text.digest()
    if results.setdefault('text', digest) != digest:
        raise rnnlm.InputError(
            f'expected the text that the results in {KEPT} are of, found another one; '
            'give that, or move the file away', 'corpus')
    epochs = str(args.epochs or PRESETS['small'].epochs)
    by_softmax = results.setdefault('runs', {}).setdefault(epochs, {})
    for softmax in args.softmax:
        found = by_softmax.setdefault(softmax, {})
        if str(args.seed) not in found:
            found[str(args.seed)] = (
                done_by_ptb(softmax, args) or run(text, softmax, args))
        print(f'{softmax}, seed {args.seed}: {found[str(args.seed)]}', flush=True)
        keep()


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    add('--epochs', type=int, help='fewer than the 13 of the recipe, for a quick run')
    add('--seed', type=int, default=0)
    add('--softmax', nargs='+', choices=SOFTMAXES, default=SOFTMAXES)
    add('--folder', help='for the runs that are not done yet',
        default=os.path.join(tempfile.gettempdir(), 'softmax_quality'))
    add('--device', default='-1')
    add('--tables', action='store_true', help='train nothing')
    add('--quick', action='store_true', help='to see that it works')
    args = parser.parse_args(argv)
    if args.quick:
        args.epochs = args.epochs or 1
        args.folder += '-quick'
    results = {} if args.quick else common.kept(KEPT)
    if not args.tables:
        results['machine'] = common.begin(COMMAND, not args.quick)
        try:
            measure(results, args, lambda: args.quick or common.keep(KEPT, results))
        except rnnlm.InputError as e:
            print(f'error: {e}', file=sys.stderr)
            return 2
    if args.quick:
        print(part(results))
    elif results.get('runs'):
        common.replace('softmax', 'softmax_quality.py', part(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
