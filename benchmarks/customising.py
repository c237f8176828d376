"""Measures the speed of training with other losses; writes RESULTS.md's section.

    python benchmarks/customising.py             (about 4 minutes)
    python benchmarks/customising.py --quick     one round; writes nothing

`RNNForLM` of each size is trained with several lossfuns, which take turns in one
process.  The ratio to the default lossfun is the median of the ratios in each round.
"""
import argparse
import functools
import sys

import common
import chainer
from chainer import functions as F
from chainer import links as L
import numpy

import rnnlm

V, B = 10000, 20
SIZES = {'small': (200, 20, 0.0), 'medium': (650, 35, 0.5)}  # units, steps, dropout


def smoothed(y, t):
    """Computes a custom loss: cross entropy with smoothed labels."""
    log_p = F.log_softmax(y)
    return 0.9 * F.softmax_cross_entropy(y, t) - 0.1 * F.mean(log_p)


# The lossfun, and other arguments of BPTTUpdater.
STOCK = 'F.softmax_cross_entropy'
WAYS = {
    STOCK: (F.softmax_cross_entropy, {}),
    'a partial with class_weight': (functools.partial(
        F.softmax_cross_entropy, class_weight=numpy.ones(V, 'f')), {}),
    'custom lossfun, loss_of_logits=True': (smoothed, {'loss_of_logits': True}),
    'custom lossfun': (smoothed, {}),
    'F.softmax_cross_entropy, per_step=True': (
        F.softmax_cross_entropy, {'per_step': True}),
}


def make_updater(size, way):
    units, steps, dropout = SIZES[size]
    lossfun, settings = WAYS[way]
    numpy.random.seed(0)
    model = L.Classifier(rnnlm.RNNForLM(V, units, dropout=dropout), lossfun=lossfun)
    model.compute_accuracy = False
    optimizer = chainer.optimizers.SGD(lr=0.1).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    words = numpy.random.RandomState(1).randint(0, V, 100000).astype('i')
    return rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words, B), optimizer, steps, **settings)


def measure(size, rounds):
    """Returns a dict: way -> seconds per window in each round."""
    updaters = {way: make_updater(size, way) for way in WAYS}
    for updater in updaters.values():  # to warm up
        updater.update()
    found = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, updater in updaters.items():
            found[way].append(common.seconds(updater.update))
    return found


def part(result, machine):
    rows = [[size, way, common.number(steps * B / common.median(seconds[way])),
             common.number(common.median(
                 [a / b for a, b in zip(seconds[STOCK], seconds[way])]), 2)]
            for size, seconds in result.items()
            for steps in [SIZES[size][1]] for way in WAYS]
    return '\n'.join([
        '## Custom losses', '',
        f'{common.machine_line(machine)}. By `python benchmarks/customising.py`: words '
        'per second in training of `RNNForLM` with several lossfuns, medians over all '
        'rounds. The ratio to the default lossfun is the median of the ratios in each '
        'round.',
        '',
        common.table(['', 'lossfun', 'words/s', 'ratio'], rows)])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--sizes', default='small,medium')
    args = parser.parse_args(argv)
    machine = common.begin('benchmarks/customising.py', writes=not args.quick)
    rounds = {'small': 25, 'medium': 9}
    result = {size: measure(size, 1 if args.quick else rounds[size])
              for size in args.sizes.split(',')}
    text = part(result, machine)
    print(text)
    if not args.quick:
        common.replace('customising', 'customising.py', text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
