"""Trains the recipes of Zaremba et al. (2014), and ours, on PTB; for RESULTS.md.

    python benchmarks/ptb.py --corpus FOLDER              the small model, on a CPU
    python benchmarks/ptb.py --corpus FOLDER --preset medium --device 0 --seed 1
    python benchmarks/ptb.py --corpus FOLDER --preset large --device 0 --precision tf32
    python benchmarks/ptb.py --corpus FOLDER --preset medium --seed 1 --add RUN
                                      adds a run of `rnnlm train` with that seed
    python benchmarks/ptb.py --corpus FOLDER --preset medium --mixture RUN RUN
                                      interpolates two runs of that preset

The folder of the corpus has ptb.{train,valid,test}.txt (default: RNNLM_PTB_DIR).  The
results and logs of all runs are stored in ptb.json, one run per seed; the table has
their means.
"""
import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time

import rnnlm
from rnnlm import errors
from rnnlm.app import experiment, run_folder
from rnnlm.app.recipes import PRESETS
from rnnlm.data import corpus
from rnnlm.inference import dynamic
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)

import common
import report_pictures
import report_ptb
from report_ptb import KEPT

COMMAND = 'benchmarks/ptb.py ...'
OF_LOG = ('epoch', 'iteration', 'perplexity', 'val_perplexity', 'lr', 'words/s',
          'elapsed_time')


def main(argv=None):
    args = parse(argv)
    if args.tables:
        write()
        return 0
    machine = common.begin(COMMAND, device=args.device)
    try:
        if args.dynamic:
            evaluate_dynamically(args)
        elif args.mixture:
            interpolate(args)
        elif args.add:
            keep(args, add(args, machine))
        else:
            with tempfile.TemporaryDirectory() as scratch:
                keep(args, run(args, args.out or os.path.join(scratch, 'run'), machine))
    except errors.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    write()
    return 0


def write():
    """The part of RESULTS.md and the picture, of all that is kept."""
    results = common.kept(KEPT)
    common.replace('PTB', 'ptb.py', report_ptb.part(results))
    report_pictures.draw(report_pictures.ptb, results)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    add('--preset', choices=[*report_ptb.PAPER, 'laptop'], default='small')
    add('--device', default='-1')
    add('--precision', choices=['float32', 'tf32'], default='float32')
    add('--seed', type=int, default=0)
    add('--out', help='keep the folder of the run here')
    add('--add', metavar='RUN',
        help='add the results of a run of `rnnlm train`; give its --preset and --seed; '
             'an incomplete run is marked as such')
    add('--stops', type=int, metavar='N',
        help='with --add: how often that run was resumed')
    add('--minutes', type=float,
        help='with --add: how long it took (default: as in its log)')
    add('--dynamic', metavar='FOLDER',
        help='only run dynamic evaluation, for an added run of that --preset and '
             '--seed')
    add('--mixture', metavar='FOLDER', nargs=2,
        help='only interpolate two added runs of that --preset, by `rnnlm interpolate`')
    add('--tables', action='store_true',
        help='write the tables and the picture again, from ptb.json')
    return parser.parse_args(argv)


def recipe_of(args):
    """Returns the recipe of the preset, in the given precision."""
    return dataclasses.replace(PRESETS[args.preset], precision=args.precision)


def name_of(args):
    """Returns the name of the recipe in the tables and in ptb.json."""
    return args.preset if args.precision == 'float32' else (
        f'{args.preset} {args.precision}')


def run(args, out, machine):
    """Trains by the recipe; returns the results."""
    text = corpus.load(args.corpus)
    start = time.time()
    result = experiment.train(
        text, recipe_of(args), out=out, device=args.device, seed=args.seed,
        progress_bar=sys.stdout.isatty())
    if result['signal']:
        sys.exit(128 + result['signal'])
    return {'finished': True, 'valid': result['valid'], 'test': result['test'],
            'minutes': (time.time() - start) / 60, 'stops': 0, **of(args, machine),
            'log': epochs(read_log(out))}


def of(args, machine):
    """Returns the device, version and machine of a run."""
    return {'device': args.device, 'rnnlm': rnnlm.__version__, 'machine': machine}


def add(args, machine):
    """Returns the results of a run of `rnnlm train`; evaluates a complete one."""
    require_recipe(args)
    log = read_log(args.add)
    done, wanted = epochs(log), PRESETS[args.preset].epochs
    minutes = args.minutes
    if minutes is None:
        minutes = log[-1]['elapsed_time'] / 60 if log else 0.0
    found = {'finished': bool(done) and done[-1]['epoch'] >= wanted,
             'minutes': minutes, 'stops': args.stops, **of(args, machine), 'log': done}
    if found['finished']:
        text = corpus.load(args.corpus)
        model = rnnlm.load(args.add, args.device).model
        classifier = make_classifier(model)
        for part in 'valid', 'test':
            found[part] = evaluate_perplexity(make_evaluator(
                getattr(text, part), classifier))
            print(f'{part:9}perplexity {found[part]:.3f}', flush=True)
        require_best(args, found)
    return found


def require_recipe(args):
    """Raises InputError if a run has another recipe."""
    path = os.path.join(args.add, run_folder.RUN)
    described = run_folder.RunDescription.load(args.add)
    if described is None:
        raise errors.InputError(
            f'{path}: expected the description of a run, found none; give the --out '
            'folder of `rnnlm train`')
    began = dataclasses.asdict(described.recipe)
    wanted = recipe_of(args)
    for name, value in dataclasses.asdict(wanted).items():
        if began[name] != value:
            raise errors.InputError(
                f'{path}: {name}: expected {value}, that of {name_of(args)}, '
                f'found {began[name]}; give the preset and precision of that run')


def require_best(args, found):
    """Raises InputError unless the model is that of the best epoch."""
    best = min(entry['val_perplexity'] for entry in found['log'])
    if abs(found['valid'] / best - 1) > 1e-3:
        raise errors.InputError(
            f'{args.add}: expected a model with the validation perplexity {best:.3f}, '
            f'the best of its log, found {found["valid"]:.3f}; give the --corpus that '
            'it was trained on')


def read_log(folder):
    """Returns the entries of a run's log; [] before the first is written."""
    path = os.path.join(folder, run_folder.LOG)
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def epochs(log):
    """Returns the fields `OF_LOG` of the entries at the ends of epochs."""
    return [{key: entry[key] for key in OF_LOG if key in entry}
            for entry in log if 'val_perplexity' in entry]


def keep(args, found):
    """Stores a run; replaces an earlier one with the same preset and seed."""
    results = common.kept(KEPT)
    of_preset = results.setdefault(name_of(args), {'runs': {}})['runs']
    there = of_preset.get(str(args.seed), {})
    if there.get('finished') and not found['finished']:
        raise errors.InputError(
            f'{args.add}: expected a complete run, because one with --preset '
            f'{args.preset} --seed {args.seed} is stored already, found '
            f'{len(found["log"])} epochs; wait for its end, or give another --seed')
    of_preset[str(args.seed)] = found
    common.keep(KEPT, results)


def evaluate_dynamically(args):
    """Computes test perplexities of a trained model with dynamic evaluation."""
    results = common.kept(KEPT)
    one = results.get(name_of(args), {'runs': {}})['runs'].get(str(args.seed), {})
    if not one.get('finished'):
        raise errors.InputError(
            f'--dynamic: expected a complete run of --preset {args.preset} --seed '
            f'{args.seed} in {os.path.basename(KEPT)}, found none; add it with --add')
    text = corpus.load(args.corpus)
    model = rnnlm.load(args.dynamic, args.device).model
    one['dynamic'] = {}
    for rule in dynamic.RATES:  # chosen on the beginning of the validation text
        adaptive = dynamic.DynamicEvaluation(model, rule=rule)
        if rule == 'rms':
            adaptive.gather(text.train)
        start = time.time()
        one['dynamic'][rule] = {
            'lr': adaptive.lr, 'test': adaptive.perplexity(text.test),
            'minutes': (time.time() - start) / 60}
        print(rule, one['dynamic'][rule], flush=True)
        common.keep(KEPT, results)


def interpolate(args):
    """Computes the test perplexity of two interpolated models."""
    done = subprocess.run(
        [sys.executable, '-m', 'rnnlm', 'interpolate', *args.mixture, '--corpus',
         args.corpus, '--device', args.device, '--json', '--quiet'],
        stdout=subprocess.PIPE, encoding='utf-8')
    if done.returncode:  # it has said why
        sys.exit(done.returncode)
    found = json.loads(done.stdout)
    results = common.kept(KEPT)
    one = results.setdefault(name_of(args), {'runs': {}})
    one['mixture'] = {name: found[name] for name in
                      ('weight', 'first', 'second', 'mixture')}
    print(one['mixture'], flush=True)
    common.keep(KEPT, results)


if __name__ == '__main__':
    sys.exit(main())
