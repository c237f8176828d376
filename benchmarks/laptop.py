"""Compares candidates for `--preset laptop` on PTB; writes a section of RESULTS.md.

    python benchmarks/laptop.py --corpus FOLDER --folder RUNS [--candidate NAME ...]
    python benchmarks/laptop.py --tables             the table again, from laptop.json

The preset is the candidate with the lowest validation perplexity that about 40 minutes
on two cores reach.  Each candidate is trained once, with a seed that no reported run
has; the test part is not read.  The same command resumes a candidate that was stopped,
from its snapshots in --folder.  The folder of the corpus has ptb.{train,valid,test}.txt
(default: RNNLM_PTB_DIR).
"""
import argparse
import dataclasses
import json
import os
import sys

import rnnlm
from rnnlm.app import experiment, run_folder
from rnnlm.app.recipes import Recipe
from rnnlm.app.resuming import newest_or

import common

KEPT = os.path.join(common.HERE, 'laptop.json')
COMMAND = 'benchmarks/laptop.py'
SEED = 100


def tied(n_units, dropout, epochs, **more):
    """A recipe with tied weights, SGD at a constant rate, and averaged weights."""
    return Recipe(n_units=n_units, dropout=dropout, epochs=epochs, tied=True,
                  bprop_len=20, average=2.0, **more)


CANDIDATES = {
    '250 units, dropout 0.3': tied(250, 0.3, 17),
    '300 units, dropout 0.3': tied(300, 0.3, 14),
}

# Tried before this script, on validation with the same seed: why each was stopped.
STOPPED = {
    'Adam at 2e-3 with an embedding of 200, layers of 400 units and dropout 0.3':
        'after two epochs, far behind SGD',
    '250 units with dropout 0.2': 'after seven epochs, to try more dropout',
}


def run(text, name, folder):
    """Trains a candidate, or resumes it; returns its validation by epoch."""
    recipe = CANDIDATES[name]
    out = os.path.join(folder, name.replace(', ', '-').replace(' ', '-'))
    begun = newest_or(out, None)
    result = experiment.train(
        dataclasses.replace(text, test=text.valid), recipe, out=out, seed=SEED,
        resume=begun, overwrite=True, save_every=5)
    if result['signal']:
        print(f'stopped; the same command resumes {result["snapshot"]}')
        sys.exit(128 + result['signal'])
    with open(os.path.join(out, run_folder.LOG), encoding='utf-8') as f:
        log = json.load(f)
    return {'recipe': dataclasses.asdict(recipe), 'valid': result['valid'],
            'by epoch': [entry['val_perplexity'] for entry in log
                         if 'val_perplexity' in entry]}


def part(results):
    """Returns the section of RESULTS.md."""
    found = results['candidates']
    best = min(found, key=lambda name: found[name]['valid'])
    rows = [[name, len(one['by epoch']), f'{one["valid"]:.2f}',
             'chosen' if name == best else ''] for name, one in found.items()]
    return '\n'.join([
        '## The laptop recipe', '',
        f'The candidates for `--preset laptop`, by `python {COMMAND}`: one run each '
        f'with seed {SEED}, for as many epochs as about 40 minutes on two cores '
        'allow. The test part was not read. All have tied weights, windows of 20 '
        'steps, SGD with learning rate 1, and averaged weights.', '',
        common.table(['', 'epochs', 'validation perplexity', ''], rows),
        f'{len(STOPPED)} more trials were stopped early, so there were '
        f'{len(found) + len(STOPPED)} in all: '
        + '; '.join(f'{name} (stopped {why})' for name, why in STOPPED.items()) + '.'])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    add('--folder', help='for the runs', default='laptop-candidates')
    add('--candidate', nargs='+', choices=list(CANDIDATES), default=list(CANDIDATES))
    add('--tables', action='store_true', help='train nothing')
    args = parser.parse_args(argv)
    if not args.tables:
        common.begin(COMMAND)
        try:
            text = rnnlm.load_corpus(args.corpus)
            for name in args.candidate:
                if name not in common.kept(KEPT).get('candidates', {}):
                    found = run(text, name, args.folder)
                    # Read again: another candidate may have ended meanwhile.
                    results = common.kept(KEPT)
                    results.setdefault('candidates', {})[name] = found
                    common.keep(KEPT, results)
        except rnnlm.InputError as e:
            print(f'error: {e}', file=sys.stderr)
            return 2
    results = common.kept(KEPT)
    if results:
        common.replace('laptop', 'laptop.py', part(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
