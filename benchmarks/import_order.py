"""Measures the cost of importing NumPy before rnnlm; writes RESULTS.md's section.

    python benchmarks/import_order.py             (about 6 minutes)
    python benchmarks/import_order.py --quick     one round; writes nothing

OpenBLAS reads OPENBLAS_THREAD_TIMEOUT when NumPy loads it.  `import rnnlm` sets this
variable; if NumPy is imported first, it is set too late, and idle BLAS threads keep a
core busy between products.  Each round trains once in each order, in new processes, and
alternates which order comes first.  The speedup is the median of the ratios in each
round.
"""
import argparse
import json
import os
import subprocess
import sys

SYSTEMS = {'window': 'rnnlm, fused', 'fast': 'rnnlm, fused, `fast`'}
ORDERS = {'rnnlm first': 'import rnnlm, numpy', 'NumPy first': 'import numpy, rnnlm'}

# Measures the seconds of each window, after two for warming up.
SERVE = '''
import json, sys, time
import models
from rnnlm.app import info
size, windows, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sizes, V, B = models.SIZES[size], 10000, 20
model = models.WAYS[way](models.make_weights(V, **sizes), V=V, **sizes)
seconds = []
for k in range(windows + 2):
    ids = numpy.random.RandomState(k).randint(0, V, (sizes['T'] + 1, B)).astype('i')
    start = time.perf_counter()
    model.train(ids)
    seconds.append(time.perf_counter() - start)
print(json.dumps({'words/s': sizes['T'] * B / float(numpy.median(seconds[2:])),
                  'time-out': info.blas()[0]['thread timeout'],
                  'too late': info.too_late()}))
'''


def measure_one(order, size, windows, way):
    """Measures in a new process that imports in this order."""
    # Otherwise the process would inherit the variable.
    env = {name: value for name, value in os.environ.items()
           if name != 'OPENBLAS_THREAD_TIMEOUT'}
    env['PYTHONPATH'] = os.pathsep.join(filter(None, [
        os.path.dirname(os.path.abspath(__file__)), env.get('PYTHONPATH')]))
    done = subprocess.run(
        [sys.executable, '-c', ORDERS[order] + SERVE, size, str(windows), way],
        env=env, stdout=subprocess.PIPE, text=True, encoding='utf-8', check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(sizes, windows, rounds):
    """Returns a dict: size -> way -> order -> results of all rounds."""
    import models
    ways = [way for way in ('window', 'fast') if way in models.available()]
    result = {}
    for size in sizes:
        result[size] = {way: {order: [] for order in ORDERS} for way in ways}
        for way in ways:
            for k in range(rounds):
                for order in list(ORDERS)[::-1 if k % 2 else 1]:
                    result[size][way][order].append(
                        measure_one(order, size, windows[size], way))
            print(size, way, json.dumps(result[size][way]), flush=True)
    return result


def part(result, machine):
    from common import machine_line, median, number, table
    rows = []
    for size, ways in result.items():
        for way, orders in ways.items():
            first, late = ([found['words/s'] for found in orders[order]]
                           for order in ORDERS)
            rows.append([
                size, SYSTEMS[way], len(first), number(median(first)),
                number(median(late)),
                number(median([a / b for a, b in zip(first, late)]), 2)])
    late = any(found['too late'] for ways in result.values()
               for orders in ways.values() for found in orders['NumPy first'])
    return '\n'.join([
        '## Import order', '',
        f'{machine_line(machine)}. By `python benchmarks/import_order.py`: words per '
        'second in training, with `import rnnlm` before or after `import numpy`; '
        'medians over n rounds. The speedup is the median of the ratios in each round. '
        + ('With NumPy first, OPENBLAS_THREAD_TIMEOUT was set too late.' if late else
           'This BLAS has no OPENBLAS_THREAD_TIMEOUT, or also accepts it later.'), '',
        table(['', 'system', 'n', 'rnnlm first', 'NumPy first', 'speedup'], rows)])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--sizes', default='small,medium')
    args = parser.parse_args(argv)
    import common
    machine = common.begin('benchmarks/import_order.py', writes=not args.quick)
    windows = {'small': 4, 'medium': 2} if args.quick else {'small': 60, 'medium': 14}
    result = measure(args.sizes.split(','), windows, 1 if args.quick else args.rounds)
    text = part(result, machine)
    print(text)
    if not args.quick:
        common.replace('import order', 'import_order.py', text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
