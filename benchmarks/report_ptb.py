"""Writes the Penn Treebank section of RESULTS.md, for ptb.py."""
import os

import numpy

import common

from rnnlm.app.recipes import PRESETS

# What ptb.py and word_language_model.py store.
KEPT = os.path.join(common.HERE, 'ptb.json')

PAPER = {'small': (120.7, 114.5), 'medium': (86.2, 82.7), 'large': (82.2, 78.4)}


def recipes(results):
    """dict: recipe -> its runs by seed; those of the paper, and then all others.

    Another program's are kept by its options: {program: {options: {'runs': ...}}}.
    """
    found = {name: {} for name in PAPER}
    for name, kept in results.items():
        if 'runs' in kept:
            found[name] = kept['runs']
        else:
            found.update({f'{name} {options}': one['runs']
                          for options, one in kept.items()})
    return found


def finished(results, preset):
    """Returns a dict of the complete runs of a preset: seed -> run."""
    return {seed: run for seed, run in runs_of(results, preset).items()
            if run['finished']}


def runs_of(results, preset):
    """Returns a dict of all runs of a preset: seed -> run, sorted by seed."""
    runs = recipes(results).get(preset, {})
    return {seed: runs[seed] for seed in sorted(runs, key=int)}


def on_gpu(run):
    """Returns whether a run was computed on a GPU."""
    return run.get('device', '-1') != '-1'


def uninterrupted(runs):
    """Returns the runs that were not resumed, or all if there are no such runs.

    The minutes of a run that was resumed include waiting for other programs.  Of these,
    the runs with the most cores are returned.
    """
    found = [run for run in runs if not run.get('stops')] or list(runs)
    most = max(map(cores, found), default=0)
    return [run for run in found if cores(run) == most]


def cores(run):
    """Returns the number of cores that a run could use, 0 if unknown."""
    return (run.get('machine') or {}).get('cores', 0)


def spread(values, digits=1):
    """Formats the mean, with the range if there are several values."""
    text = f'{numpy.mean(values):.{digits}f}'
    if len(values) == 1:
        return text
    return f'{text} ({min(values):.{digits}f} to {max(values):.{digits}f})'


def minutes(values):
    """Formats minutes as `spread` does, with a digit more if they are few."""
    return spread(values, 0 if numpy.mean(values) >= 10 else 1)


def part(results):
    rows = [row(results, name, *PAPER.get(name.split()[0], ('', '')))
            for name in recipes(results)]
    return '\n'.join([
        '## Penn Treebank', '',
        'Perplexities of the recipes of Zaremba, Sutskever and Vinyals (2014), in the '
        'paper and here; of `--preset laptop`, our own; and of word_language_model, '
        "PyTorch's example, by `python benchmarks/word_language_model.py`: the mean "
        'over n complete runs with different seeds, with the range in parentheses. '
        'Each run is evaluated with the model of the best epoch on the validation '
        'part. Minutes are averaged over the runs that were not resumed (over all '
        'runs, if each was resumed), and of these over those on the most cores. By '
        '`python benchmarks/ptb.py`; '
        '`rnnlm train --preset small --corpus FOLDER --seed N` gives the same run.', '',
        'A result is reproduced if the mean is better than that of the paper, or worse '
        'by no more than the range of the seeds; one run alone does not show it. '
        'Single runs cannot be repeated by another build: with a learning rate of 1, '
        'rounding makes two builds diverge within an epoch.', '',
        common.picture('ptb.png', 'Validation perplexity of each recipe by minutes of '
                       'training, with that of the paper as lines'), '',
        common.table(['', 'paper: valid', 'test', 'n', 'here: valid', 'test',
                      'minutes per run', 'state'], rows),
        *details(results), *dynamic_part(results), *mixture_part(results)])


def row(results, preset, valid, test):
    done = list(finished(results, preset).values())
    figures = ['', '', '']
    if done:
        figures = [spread([run['valid'] for run in done]),
                   spread([run['test'] for run in done]),
                   minutes([run['minutes'] for run in uninterrupted(done)])]
    state = 'done' if done else 'not measured'
    under_way = [incomplete(preset, seed, run)
                 for seed, run in runs_of(results, preset).items()
                 if not run['finished']]
    if under_way:
        state = '; '.join((['done'] if done else []) + under_way)
    return [preset, valid, test, len(done), *figures, state]


def incomplete(preset, seed, run):
    """Describes the progress of an incomplete run."""
    log, recipe = run['log'], PRESETS[preset.split()[0]]
    done = log[-1]['epoch'] if log else 0
    text = f'seed {seed} incomplete: epoch {done} of {recipe.epochs}'
    if log:
        more = run['minutes'] * (recipe.epochs - done) / done
        text += (f', validation so far {log[-1]["val_perplexity"]:.1f}, about '
                 f'{more:.0f} more minutes')
    return text


def details(results):
    """Yields a table of all runs: seed, perplexities, machine."""
    rows, machines = [], {}
    for preset in recipes(results):
        for seed, run in runs_of(results, preset).items():
            rows.append([
                preset, seed,
                *(f'{run[name]:.2f}' if name in run else ''
                  for name in ('valid', 'test')),
                minutes([run['minutes']]),
                'not recorded' if run.get('stops') is None else run['stops'],
                f'GPU {run["device"]}' if on_gpu(run) else 'CPU'])
            machines.setdefault(common.machine_line(run.get('machine')), []).append(
                f'{preset}, seed {seed}')
    if rows:
        yield common.table(['', 'seed', 'valid', 'test', 'minutes',
                            'times resumed', 'device'], rows)
        for machine, names in machines.items():
            yield f'{"; ".join(names)}: {machine}.\n'


def dynamic_part(results):
    rows = []
    for preset in recipes(results):
        done = finished(results, preset).values()
        rules = {rule: None for run in done for rule in run.get('dynamic', {})}
        for rule in rules:
            pairs = [(run['dynamic'][rule], run['test']) for run in done
                     if rule in run.get('dynamic', {})]
            change = numpy.mean([100 * (got['test'] / test - 1) for got, test in pairs])
            rows.append([preset, rule, len(pairs),
                         spread([got['test'] for got, _ in pairs]), f'{change:+.1f}%',
                         minutes([got['minutes'] for got, _ in pairs])])
    if rows:
        yield ('Test perplexities with dynamic evaluation (Krause et al. 2018), where '
               'the model continues to learn while it reads the text; by `--dynamic '
               'FOLDER`. They are not comparable with those above.\n')
        yield common.table(
            ['', 'rule', 'n', 'test', 'change by dynamic evaluation', 'minutes'], rows)


def mixture_part(results):
    rows = [[preset, *(f'{found[name]:.2f}' for name in (
        'first', 'second', 'weight', 'mixture'))]
        for preset in recipes(results)
        for found in [results.get(preset, {}).get('mixture')] if found]
    if rows:
        yield ('Test perplexities of two models with different seeds, interpolated by '
               '`rnnlm interpolate` with the best weight on the validation part; by '
               '`--mixture FOLDER FOLDER`.\n')
        yield common.table(
            ['', 'first', 'second', 'weight of the first', 'interpolated'], rows)
