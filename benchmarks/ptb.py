"""The recipes of Zaremba et al. (2014) on the Penn Treebank; writes RESULTS.md's part.

    python benchmarks/ptb.py --corpus FOLDER              the small model, on a CPU
    python benchmarks/ptb.py --corpus FOLDER --preset medium --device 0

The folder holds ptb.{train,valid,test}.txt (default: RNNLM_PTB_DIR).  What every run
gave is kept in ptb.json, and its log with it.
"""
import argparse
import json
import os
import sys
import tempfile
import time

import rnnlm
from rnnlm import commands, corpus, dynamic, experiment
from rnnlm.recipes import PRESETS

import common

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, 'ptb.json')
PICTURE = os.path.join(HERE, os.pardir, 'docs', 'ptb.png')
PAPER = {'small': (120.7, 114.5), 'medium': (86.2, 82.7), 'large': (82.2, 78.4)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--corpus', default=os.environ.get('RNNLM_PTB_DIR', 'ptb'))
    parser.add_argument('--preset', choices=list(PAPER), default='small')
    parser.add_argument('--device', default='-1')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', help='folder of the run, to keep it')
    parser.add_argument('--dynamic', metavar='FOLDER',
                        help='only the dynamic evaluation of a run that is there')
    args = parser.parse_args()
    if args.dynamic:
        evaluate_dynamically(args)
        write(common.kept(KEPT))
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        run(args, args.out or os.path.join(scratch, 'run'))
    write(common.kept(KEPT))
    return 0


def run(args, out):
    text = corpus.load(args.corpus)
    start = time.time()
    result = experiment.train(
        text, PRESETS[args.preset], out, args.device, args.seed,
        progress_bar=sys.stdout.isatty())
    if result['signal']:
        sys.exit(128 + result['signal'])
    with open(os.path.join(out, 'log'), encoding='utf-8') as f:
        log = json.load(f)
    runs = common.kept(KEPT)
    runs[args.preset] = {
        'valid': result['valid'], 'test': result['test'],
        'minutes': (time.time() - start) / 60, 'seed': args.seed,
        'device': args.device, 'rnnlm': rnnlm.__version__, 'machine': common.machine(),
        'log': [{key: entry[key] for key in (
            'epoch', 'iteration', 'perplexity', 'val_perplexity', 'lr', 'words/s')
            if key in entry} for entry in log if 'val_perplexity' in entry]}
    common.keep(KEPT, runs)


def evaluate_dynamically(args):
    """Test perplexities of a trained model that goes on learning as it reads."""
    text = corpus.load(args.corpus)
    model, _ = commands.load_model(args.dynamic, args.device)
    runs = common.kept(KEPT)
    runs[args.preset]['dynamic'] = {}
    for rule in dynamic.RATES:  # chosen on the beginning of the validation text
        adaptive = dynamic.DynamicEvaluation(model, rule=rule)
        if rule == 'rms':
            adaptive.gather(text.train)
        start = time.time()
        runs[args.preset]['dynamic'][rule] = {
            'lr': adaptive.lr, 'test': adaptive.perplexity(text.test),
            'minutes': (time.time() - start) / 60}
        print(rule, runs[args.preset]['dynamic'][rule], flush=True)
    common.keep(KEPT, runs)


def write(runs):
    rows = []
    for preset, (valid, test) in PAPER.items():
        got = runs.get(preset)
        where = 'not measured' if got is None else (
            f'{got["machine"]["cpu"]}, {got["machine"]["cores"]} cores'
            if got['device'] == '-1' else f'GPU {got["device"]}')
        rows.append([preset, valid, test] + (
            ['', '', '', where] if got is None else
            [f'{got["valid"]:.1f}', f'{got["test"]:.1f}', f'{got["minutes"]:.0f}',
             where]))
    common.replace('PTB', 'ptb.py', '\n'.join([
        '## Penn Treebank', '',
        'Perplexities of the recipes of Zaremba, Sutskever and Vinyals (2014), in the '
        "paper and here: the model with the best validation, one run each. By `python "
        'benchmarks/ptb.py`; `rnnlm train --preset small --corpus FOLDER` is the same '
        'run.', '',
        common.table(['', 'paper: valid', 'test', 'here: valid', 'test', 'minutes',
                      'on'], rows), *dynamic_part(runs)]))
    draw(runs)


def dynamic_part(runs):
    rows = [[preset, rule, f'{got["test"]:.1f}',
             f'{100 * (got["test"] / run["test"] - 1):+.1f}%', f'{got["minutes"]:.0f}']
            for preset, run in runs.items()
            for rule, got in run.get('dynamic', {}).items()]
    if rows:
        yield ('Test perplexities by dynamic evaluation (Krause et al. 2018), where '
               'the model goes on learning as it reads; by `--dynamic FOLDER`. Not '
               'the same measure as above.\n')
        yield common.table(
            ['', 'rule', 'test', 'against the model as it is', 'minutes'], rows)


def draw(runs):
    """The perplexities by epoch, with the paper's as lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, (preset, got) in enumerate(runs.items()):
        epochs = [entry['epoch'] for entry in got['log']]
        axes.plot(epochs, [entry['val_perplexity'] for entry in got['log']],
                  f'C{k}o-', markersize=3, label=f'{preset}, validation')
        axes.axhline(PAPER[preset][0], color=f'C{k}', linestyle=':', linewidth=1,
                     label=f'{preset}, validation in the paper')
    axes.set_xlabel('epoch')
    axes.set_ylabel('perplexity')
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('{x:g}')
    axes.set_title('Penn Treebank by the recipes of Zaremba et al. (2014)', fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    figure.savefig(PICTURE)


if __name__ == '__main__':
    sys.exit(main())
