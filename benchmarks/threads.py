"""Benchmarks training with several numbers of CPU cores, for RESULTS.md.

    python benchmarks/threads.py                      (about 9 minutes on 16 cores)
    python benchmarks/threads.py --tables             writes the table again

Each number is measured in new processes that may only use so many cores, with as many
threads; of a core with two hardware threads only one is used while there are other
cores.  As in cpu.py, all systems compute the same loss and gradients, and take turns.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import models
from common import (
    HERE, begin, keep, kept, machine_line, median, number, ratio, replace, table)
from report_cpu import LABELS
from turns import B, PEAK, V, check, race, started

KEPT = os.path.join(HERE, 'threads.json')
WAYS = 'fast', 'torch', 'torch bfloat16'
NEEDS_LINUX = 'threads.py needs Linux, to give processes a number of cores'


def cpus():
    """Returns the CPUs of this process: one of each core, and then all others."""
    def is_second(one):
        path = f'/sys/devices/system/cpu/cpu{one}/topology/thread_siblings_list'
        try:
            with open(path, encoding='ascii') as f:
                return f.read().replace('-', ',').split(',')[0].strip() != str(one)
        except OSError:  # not told
            return False

    try:
        mine = os.sched_getaffinity(0)
    except AttributeError:
        raise SystemExit(NEEDS_LINUX) from None
    return sorted(mine, key=lambda one: (is_second(one), one))


def use_only(chosen):
    """Makes this process use these CPUs only."""
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, chosen)


def busy_cores():
    """Returns the number of cores that programs keep busy now, over a second."""
    def ticks():
        try:
            with open('/proc/stat', encoding='ascii') as f:
                found = [int(part) for part in f.readline().split()[1:9]]
        except OSError:
            raise SystemExit(NEEDS_LINUX) from None
        return sum(found), sum(found) - found[3] - found[4]  # idle, waiting for a disk

    all_before, busy_before = ticks()
    time.sleep(1)
    all_after, busy_after = ticks()
    return os.cpu_count() * (busy_after - busy_before) / (all_after - all_before)


def measure_one(n, size, rounds):
    """Measures in a new process that may use n cores."""
    chosen = cpus()[:n]
    done = subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--serve', size, '--rounds',
         str(rounds)], stdout=subprocess.PIPE, encoding='utf-8', check=True,
        preexec_fn=lambda: use_only(chosen))
    return json.loads(done.stdout.splitlines()[-1])


def serve(size, rounds):
    """Measures a size with all cores of this process."""
    sizes = models.SIZES[size]
    ways = [way for way in WAYS if way in models.available()]
    with started(['official', *ways], sizes) as made:
        check(made, sizes)
        times = race({way: made[way] for way in ways}, sizes, rounds, slow_every=1)
    words = sizes['T'] * B
    sgemm = models.flops_per_word(sizes['n'], V) * words / median(times[PEAK])
    return {'words/s': {way: words / median(times[way]) for way in ways},
            'ratios': {way: ratio(times, way, 'fast') for way in ways},
            'sgemm GFLOP/s': sgemm / 1e9, 'share': ratio(times, PEAK, 'fast')}


def part(result):
    rows = [[size, n, *(number(found['words/s'].get(way)) for way in WAYS),
             *(number(found['ratios'].get(way), 2) for way in WAYS[1:]),
             number(found['sgemm GFLOP/s']), f'{100 * found["share"]:.0f}%']
            for size in models.SIZES
            for n, found in sorted(result['sizes'].get(size, {}).items(),
                                   key=lambda item: int(item[0]))]
    return '\n'.join([
        '## Threads', '',
        f'{machine_line(result["machine"])}. By `python benchmarks/threads.py`: words '
        'per second in training, in processes that may use n cores, with as many '
        'threads; medians. The speedups are medians of the ratios in each round. Sizes '
        'and systems are those of "On a CPU". At the start, other programs used '
        f'{result["busy"]:.1f} cores.', '',
        table(['', 'n', *(LABELS[way] for way in WAYS),
               *(f'`fast` / {LABELS[way]}' for way in WAYS[1:]), 'SGEMM, GFLOP/s',
               '`fast` / peak SGEMM speed'], rows)])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--cores', help='numbers of cores, such as 2,4 (default: 2, 4, 8 and 16, if '
                        'there are so many)')
    add('--sizes', default='small,medium,large')
    add('--rounds', type=int, default=5)
    add('--tables', action='store_true', help='measure nothing')
    add('--serve', metavar='SIZE', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        print(json.dumps(serve(args.serve, args.rounds)))
        return 0
    if not args.tables:
        machine, result = begin('benchmarks/threads.py'), kept(KEPT)
        wanted = [int(n) for n in args.cores.split(',')] if args.cores else [
            n for n in (2, 4, 8, 16) if n <= len(cpus())]
        if max(wanted, default=2) > len(cpus()):
            parser.error(f'--cores: expected at most {len(cpus())}, the cores of this '
                         f'process, found {args.cores}')
        if result.get('machine') != machine:
            result = {'machine': machine, 'sizes': {}}
        result['busy'] = max(busy_cores(), result.get('busy', 0))
        for n in wanted:
            for size in args.sizes.split(','):
                found = measure_one(n, size, args.rounds)
                print(n, size, json.dumps(found), flush=True)
                result['sizes'].setdefault(size, {})[str(n)] = found
                keep(KEPT, result)
    replace('threads', 'threads.py', part(kept(KEPT)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
