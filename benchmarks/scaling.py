"""Benchmarks one process against two, and predicts the speed of more processes.

    python benchmarks/scaling.py             everything (about 6 minutes on 2 cores)
    python benchmarks/scaling.py --quick     a quick run (a minute; writes nothing)
    python benchmarks/scaling.py --tables    writes tables and picture again

Each process has one thread.  A single process and a pair are measured in turns; the
speedup is the median of the ratios in each round.  Results are written to scaling.json
and RESULTS.md, and the tables of the cost model to docs/scaling.md.  Needs the extra
``mpi`` and two cores.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import rnnlm

import chainer
from chainer import links as L
import numpy

from rnnlm import parallel

import common
from common import median
import costs
from costs import B, V
import models
import report_pictures

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, 'scaling.json')
DOCUMENT = os.path.join(HERE, os.pardir, 'docs', 'scaling.md')
# Numbers of elements of the sums that are measured.
SUMS = 2 ** 8, 2 ** 14, 2 ** 17, 2 ** 20, 2 ** 22


class Workers:
    """Processes that execute orders, read as lines of JSON."""

    def __init__(self, n, size):
        command = [sys.executable, os.path.abspath(__file__), '--serve', size]
        environment = dict(os.environ, OPENBLAS_NUM_THREADS='1', OMP_NUM_THREADS='1')
        if n > 1:
            command = ['mpiexec', '-n', str(n), *command, '--communicator', 'naive']
            environment['PATH'] = os.path.dirname(sys.executable) + os.pathsep + (
                environment['PATH'])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            encoding='utf-8')

    def __call__(self, **order):
        """Executes an order, and returns the seconds that it took."""
        self._process.stdin.write(json.dumps(order) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit('a worker has ended; see its error above')
        return json.loads(line)

    def close(self):
        self._process.communicate('{}\n')


def serve(size, communicator):
    """Executes orders from standard input, in a worker process."""
    with parallel.joined(communicator) as group:
        trainings = {}
        while True:
            order = json.loads(group.on_root(sys.stdin.readline))
            if not order:
                return
            if 'sum' in order:
                seconds = time_sum(group, **order)
            else:
                batch = order['batch']
                if batch not in trainings:
                    trainings[batch] = Training(group, batch, **models.SIZES[size])
                seconds = trainings[batch].seconds(order['windows'])
            if group.is_root:
                print(json.dumps(seconds), flush=True)


class Training:
    """Training as by `rnnlm train`, on random words with realistic frequencies."""

    def __init__(self, group, batch, n, dropout, T, scale, clip):
        numpy.random.seed(0)
        model = L.Classifier(rnnlm.RNNForLM(
            V, n, models.LAYERS, dropout, scale))
        model.compute_accuracy = False
        optimizer = chainer.optimizers.SGD(lr=1.0).setup(model)
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
        words = numpy.random.choice(V, 200000, p=costs.frequencies(V)).astype('i')
        group.broadcast(model)
        self.updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(words, batch, rows=group.rows(batch)),
            optimizer, T, -1, group=group)
        group.separate_random_streams()
        self.updater.update()

    def seconds(self, windows):
        start = time.perf_counter()
        for _ in range(windows):
            self.updater.update()
        return (time.perf_counter() - start) / windows


def time_sum(group, **order):
    """Returns the median seconds of a sum of an array over all processes."""
    from rnnlm.parallel.exchange import _sum
    array = numpy.zeros(order['sum'], 'f')
    times = []
    for _ in range(15):
        group.on_all(lambda: None)
        start = time.perf_counter()
        group.wait(group.start(_sum, array))
        times.append(time.perf_counter() - start)
    return median(times)


def measure(names, rounds):
    """Measures the seconds per window of one and of two processes."""
    result = {'sizes': {}}
    for name in names:
        alone, two = Workers(1, name), Workers(2, name)
        try:
            windows = {'small': 8, 'medium': 2, 'large': 1}[name]
            rows = []
            for _ in range(rounds):
                row = [worker(batch=batch, windows=windows) for worker, batch in (
                    (alone, B), (two, B), (alone, B // 2))]
                rows.append(row)
            one, both, half = numpy.array(rows).T
            found = {'1': median(one), '2': median(both), '1, half': median(half),
                     'ratio': median(one / both)}
            if 'sums' not in result:
                result['sums'] = [[n, two(sum=n)] for n in SUMS]
        finally:
            alone.close()
            two.close()
        result['sizes'][name] = found
        print(name, json.dumps(found), flush=True)
    return result


def write(result):
    """Writes the section of RESULTS.md, the tables of docs/scaling.md, the picture."""
    fit = costs.fit(result, V, B)
    measured = costs.measured_table(result, fit, V, B)
    common.replace('scaling', 'scaling.py', '## Two processes\n\n' + common.picture(
        'scaling.png', 'How many times as fast two processes are as one, and 8 GPUs '
        'would be by the cost model') + '\n\n' + measured)
    common.replace('measured', 'scaling.py', measured, DOCUMENT)
    common.replace('predicted', 'scaling.py', costs.predicted_tables(V), DOCUMENT)
    report_pictures.draw(report_pictures.scaling, result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true', help='write nothing')
    parser.add_argument('--tables', action='store_true',
                        help='write the tables again, from scaling.json')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--sizes', default='small,medium,large')
    parser.add_argument('--serve', help=argparse.SUPPRESS)
    parser.add_argument('--communicator', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.communicator)
        return 0
    if args.tables:
        write(common.kept(KEPT))
        return 0
    machine = common.begin('benchmarks/scaling.py', writes=not args.quick)
    names = ['small', 'medium'] if args.quick else args.sizes.split(',')
    result = measure(names, 3 if args.quick else args.rounds)
    result['machine'] = machine
    if args.quick:
        print(costs.measured_table(result, costs.fit(result, V, B), V, B))
        return 0
    common.keep(KEPT, result)
    write(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
