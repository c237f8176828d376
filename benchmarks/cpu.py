"""Benchmarks speed and memory on a CPU; writes a section of RESULTS.md and a picture.

    python benchmarks/cpu.py             everything (about 15 minutes on 2 cores)
    python benchmarks/cpu.py --quick     a quick run (2 minutes; writes nothing)
    python benchmarks/cpu.py --parts training --sizes small
                                         only these; the others keep their figures
    python benchmarks/cpu.py --tables    writes tables and picture again, from cpu.json

Each implementation has its own process, as its users would run it, and waits while
others are measured.  First the script checks that all of them compute the same loss and
gradients from the same weights.  Then they take turns, so that a slow minute of the
machine affects all of them.  Each turn begins with a call that is not timed, because
the first one after a pause takes longer, and training does not pause.  Figures are
medians; ratios are medians of the ratios in
each round.  PyTorch and llvmlite (the extra ``fast``) are used if they are installed;
PyTorch is also measured with bfloat16 products, and with torch.compile if it works.
"""
import argparse
import json
import os
import sys
import tempfile

import rnnlm  # noqa: F401

import numpy

import compiled
import models
import pieces
import report_cpu
from common import CPU, begin, keep, kept, median, random_ids, ratio
from turns import B, PEAK, SLOW, V, check, race, sgemm_flops, started

KEPT = CPU
ONLY_TRAINING = 'torch bfloat16', 'torch compiled'

# The sizes at which torch.compile is measured: it takes minutes for the longer windows.
COMPILED = ('small',)


def training(ways, names, rounds):
    rows = []
    for size in names:
        sizes = models.SIZES[size]
        here = [name for name in ways if name != 'torch compiled' or size in COMPILED]
        with started(here, sizes) as made:
            worst, compiling = check(made, sizes)
            times = race(made, sizes, rounds, slow_every=4)
            found = parts_of(made, 1e3, 'train', [
                random_ids(sizes['T']) for _ in range(rounds)])
        words = sizes['T'] * B
        sgemm = models.flops_per_word(sizes['n'], V) * words / median(times[PEAK])
        floors = pieces.floors(sizes['n'], V, sgemm)
        row = {'size': size, 'units': sizes['n'], 'same to': worst,
               'compile seconds': compiling, 'pieces': found,
               'floors': {name: 1e3 * words * took for name, took in floors.items()},
               'sgemm GFLOP/s': sgemm / 1e9,
               'floor words/s': 1 / sum(floors.values()),
               'shares': {name: ratio(times, PEAK, name) for name in made},
               'words/s': {name: words / float(numpy.nanmedian(t))
                           for name, t in times.items() if name != PEAK},
               'ratios': {f'{a} / {b}': ratio(times, b, a) for a, b in (
                   ('window', 'official'), ('window', 'per step'),
                   ('window', 'torch'), ('fast', 'official'), ('fast', 'torch'),
                   ('fast', 'window'), ('window', 'torch bfloat16'),
                   ('fast', 'torch bfloat16'), ('fast', 'torch compiled'))}}
        rows.append(row)
        print(json.dumps(row, indent=1), flush=True)
    return rows


def parts_of(made, unit, method, arguments):
    """Returns the time of each part of a call with `fast`, in units; None without it.
    """
    if 'fast' not in made:
        return None
    made['fast'](method, arguments[0])
    found = made['fast']('pieces', method, arguments)[0]
    return {name: unit * took for name, took in found.items()}


def without_training(part, made, words, method, argument, rounds):
    """Returns the parts of a word with `fast`, in microseconds, and their bounds."""
    n = models.SIZES['medium']['n']
    floors = [pieces.floors_without_training(n, V, sgemm_flops())[part]
              for _ in range(rounds)]
    floors = {name: median([found[name] for found in floors]) for name in floors[0]}
    return {'pieces': parts_of(made, 1e6 / words, method, [argument] * rounds),
            'floors': {name: 1e6 * took for name, took in floors.items()},
            'floor words/s': 1 / sum(floors.values())}


def evaluation(ways, words):
    """Measures words per second of a 650-unit model on one stream."""
    sizes = dict(models.SIZES['medium'], dropout=0.0)
    chunk = random_ids(1000, batch=1, seed=2)
    times = {name: [] for name in ways}
    rounds = max(3, words // 1000)
    with started(ways, sizes) as made:
        losses = {name: way('evaluate', chunk)[0] for name, way in made.items()}
        for _ in range(rounds):
            for name, way in made.items():
                part = chunk[:101] if name in SLOW else chunk
                times[name].append(way.seconds('evaluate', part) / (len(part) - 1))
        bounds = without_training(
            'evaluation', made, len(chunk) - 1, 'evaluate', chunk, rounds)
    times = {name: numpy.array(t) for name, t in times.items()}
    spread = max(losses.values()) / min(losses.values()) - 1
    assert spread < 1e-5, losses
    return {'words/s': {name: 1 / median(t) for name, t in times.items()},
            'same to': spread, **bounds,
            'ratios': {f'{a} / {b}': ratio(times, b, a) for a, b in (
                ('window', 'official'), ('window', 'torch'), ('fast', 'official'),
                ('fast', 'torch'))}}


USES = {'fast': 'score', 'window': 'score', 'torch': 'score',
        'torch, like lengths': 'score_alike'}


def scoring(ways, rounds):
    """Measures words per second in scoring sentences of 5 to 40 words; see `USES`."""
    random = numpy.random.RandomState(3)
    sentences = [random.randint(1, V, random.randint(5, 41)).astype('i')
                 for _ in range(512)]
    words = sum(len(sentence) + 1 for sentence in sentences)
    uses = {use: method for use, method in USES.items() if use.split(',')[0] in ways}
    times, sums = {use: [] for use in uses}, {}
    sizes = dict(models.SIZES['medium'], dropout=0.0)
    with started({use.split(',')[0]: None for use in uses}, sizes) as made:
        for _ in range(rounds):
            for use, method in uses.items():
                way = made[use.split(',')[0]]
                way(method, sentences)  # not timed
                sums[use], took = way(method, sentences)
                times[use].append(took / words)
        bounds = without_training('scoring', made, words, 'score', sentences, 3)
    return {**_compared(times, sums), **bounds}


def generation(ways, rounds, length=300):
    """Measures words per second in generation with a 650-unit model."""
    ways = [way for way in ('fast', 'window', 'torch') if way in ways]
    times = {way: [] for way in ways}
    with started(ways, dict(models.SIZES['medium'], dropout=0.0)) as made:
        for _ in range(rounds):
            for way in ways:
                times[way].append(made[way].seconds('generate', length) / length)
        bounds = without_training('generation', made, length, 'generate', length, 3)
    return {**_compared(times), **bounds}


def _compared(times, sums=None):
    """Returns words per second, ratios, and the relative difference of `sums`."""
    times = {name: numpy.array(t) for name, t in times.items()}
    found = {'words/s': {name: 1 / median(t) for name, t in times.items()},
             'ratios': {f'{a} / {b}': ratio(times, b, a)
                        for a in times for b in times
                        if a in ('fast', 'window') and b.startswith('torch')}}
    if sums:
        found['same to'] = max(sums.values()) / min(sums.values()) - 1
        assert abs(found['same to']) < 1e-5, sums
    return found


SWEEPS = {'units': ('n', (100, 200, 400, 650, 1000)),
          'steps': ('T', (5, 10, 20, 35, 70)),
          'batch': ('B', (1, 5, 10, 20, 40, 80)),
          'vocabulary': ('V', (1000, 3000, 10000, 30000))}


def growth(ways, rounds):
    """Measures milliseconds per window for several values of each size."""
    result = {}
    for sweep, (key, values) in SWEEPS.items():
        rows = result[sweep] = {'values': values, 'ms': {name: [] for name in ways}}
        for value in values:
            sizes = dict(models.SIZES['medium'], V=V, B=B)
            sizes[key] = value
            vocabulary, batch = sizes.pop('V'), sizes.pop('B')
            ids = [random_ids(sizes['T'], vocabulary, batch) for _ in range(rounds)]
            times = {name: [] for name in ways}
            with started(ways, sizes, vocabulary) as made:
                for window in ids:
                    for name, way in made.items():
                        times[name].append(1e3 * way.seconds('train', window))
            for name in ways:
                rows['ms'][name].append(median(times[name]))
        print(sweep, json.dumps(rows), flush=True)
    return result


def peak_memory(name, size):
    """Returns the peak memory in MiB, without that of the bare process."""
    sizes = models.SIZES[size]
    with started([name], sizes) as made:
        for k in range(3):
            made[name]('train', random_ids(sizes['T'], seed=k))
        return made[name]('peak')[0]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--parts', default=(
        'training,evaluation,scoring,generation,memory,growth'))
    parser.add_argument('--sizes', default='small,medium,large')
    parser.add_argument('--tables', action='store_true', help='measure nothing')
    args = parser.parse_args()
    if args.tables:
        report_cpu.write(kept(KEPT))
        return 0
    result = {'machine': begin('benchmarks/cpu.py', writes=not args.quick)}
    with tempfile.TemporaryDirectory() as folder:  # nothing compiled earlier is used
        os.environ['TORCHINDUCTOR_CACHE_DIR'] = folder
        measure(args, result)
    if not args.quick:
        result = joined(kept(KEPT), result)
        keep(KEPT, result)
        report_cpu.write(result)
    return 0


def joined(earlier, result):
    """What was measured now; what it lacks is taken from earlier, of the same machine.
    """
    if earlier.get('machine') != result['machine'] or (
            earlier['ways'] != result['ways']):
        return result
    result = {**earlier, **result}
    if 'training' in result:
        rows = {row['size']: row for found in (earlier, result)
                for row in found.get('training', [])}
        result['training'] = [rows[size] for size in models.SIZES if size in rows]
    return result


def measure(args, result):
    """Runs the selected parts, and stores their results in `result`."""
    in_training = models.available()
    ways = [name for name in in_training if name not in ONLY_TRAINING]
    result['ways'] = ways
    parts = args.parts.split(',')
    rounds = 3 if args.quick else args.rounds
    if 'training' in parts:
        if 'torch compiled' in in_training:
            result['compile'] = compiled.trial_apart()
            print(compiled.sentence(result['compile']), flush=True)
            if not result['compile']['runs']:
                in_training.remove('torch compiled')
        result['training'] = training(in_training, args.sizes.split(','), rounds)
    if 'evaluation' in parts:
        result['evaluation'] = evaluation(ways, 3000 if args.quick else 8000)
        print(json.dumps(result['evaluation'], indent=1), flush=True)
    for name, measure_it in ('scoring', scoring), ('generation', generation):
        if name in parts:
            result[name] = measure_it(ways, rounds)
            print(name, json.dumps(result[name], indent=1), flush=True)
    if 'memory' in parts and not args.quick:
        result['memory MiB'] = {name: peak_memory(name, 'medium') for name in ways}
        print(json.dumps(result['memory MiB']))
    if 'growth' in parts and not args.quick:
        fast = [name for name in ways if name not in SLOW]
        result['growth'] = growth(fast, 4)


if __name__ == '__main__':
    sys.exit(main())
