"""Measures time and memory against vocabulary size; writes RESULTS.md's section.

    python benchmarks/large_vocabulary.py            all (20 minutes, up to 16 GB)
    python benchmarks/large_vocabulary.py --vocabulary 270000 --systems adaptive

Two LSTM layers of 650 units, windows of 20 x 35 words whose ids follow Zipf's law, SGD
with clipping, dropout 0.5.  Each system trains in a new process, one after the other;
the figures are the median time of a window and the peak memory of the process.  Systems
that need more memory than is free are skipped.  PyTorch is used if it is installed.
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

import rnnlm

import chainer
from chainer import links as L
import numpy

import common
import report_pictures

KEPT = os.path.join(common.HERE, 'large_vocabulary.json')
COMMAND = 'benchmarks/large_vocabulary.py'
VOCABULARIES = 10_000, 30_000, 100_000, 270_000, 800_000
UNITS, LAYERS, B, T, DROPOUT, SCALE, CLIP = 650, 2, 20, 35, 0.5, 0.05, 5.0

# Matrices (V, n) that a system needs at once, including its initialization.
MATRICES = {'full': 6, 'adaptive': 2, 'torch-full': 8, 'torch-adaptive': 3}
NAMES = {'full': 'full softmax', 'adaptive': 'adaptive softmax',
         'torch-full': 'PyTorch, full', 'torch-adaptive': 'PyTorch, adaptive'}

# Seconds for which a system is measured at one size, and the least number of windows.
SECONDS, LEAST = 4.0, 3


def cutoffs(n_vocab):
    """Returns the cutoffs: a hundredth, a twentieth and a quarter of the words."""
    return [n_vocab // 100, n_vocab // 20, n_vocab // 4]


def zipf(n_vocab, n_words, seed=0):
    """Returns words, int32 (N,), with frequencies about 1 / rank."""
    u = numpy.random.RandomState(seed).rand(n_words)
    return numpy.minimum(numpy.exp(u * numpy.log(n_vocab + 1)) - 1,
                         n_vocab - 1).astype('i')


class Ours:
    """`rnnlm.RNNForLM` or `rnnlm.adaptive_model`, and `rnnlm.BPTTUpdater`."""

    def __init__(self, n_vocab, adaptive):
        if adaptive:
            model = rnnlm.adaptive_model(n_vocab, UNITS, LAYERS, DROPOUT, SCALE,
                                         cutoffs=cutoffs(n_vocab))
        else:
            model = rnnlm.RNNForLM(n_vocab, UNITS, LAYERS, DROPOUT, SCALE)
        target = L.Classifier(model)
        target.compute_accuracy = False
        optimizer = chainer.optimizers.SGD(lr=1.0).setup(target)
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(CLIP))
        words = zipf(n_vocab, 100 * B * T)
        self.updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(words, B), optimizer, T, -1)
        assert not self.updater.why_per_step

    def train(self):
        self.updater.update()


class Torch:
    """nn.Embedding, nn.LSTM and nn.Linear or nn.AdaptiveLogSoftmaxWithLoss."""

    def __init__(self, n_vocab, adaptive):
        import torch
        nn = torch.nn
        self.torch = torch
        self.embed = nn.Embedding(n_vocab, UNITS)
        self.lstm = nn.LSTM(UNITS, UNITS, LAYERS, dropout=DROPOUT)
        self.drop = nn.Dropout(DROPOUT)
        self.adaptive = adaptive
        self.output = nn.AdaptiveLogSoftmaxWithLoss(
            UNITS, n_vocab, cutoffs(n_vocab), head_bias=True) if adaptive else (
                nn.Linear(UNITS, n_vocab))
        self.parameters = [p for module in (self.embed, self.lstm, self.output)
                           for p in module.parameters()]
        with torch.no_grad():
            for p in self.parameters:
                p.uniform_(-SCALE, SCALE)
        self.optimizer = torch.optim.SGD(self.parameters, lr=1.0)
        words = torch.from_numpy(zipf(n_vocab, 100 * B * T).astype('i8'))
        self.words = words.view(B, -1).t().contiguous()
        self.at, self.state = 0, None

    def train(self):
        window = self.words[self.at:self.at + T + 1]
        self.at = (self.at + T) % (len(self.words) - 2 * T)
        self.optimizer.zero_grad()
        h, state = self.lstm(self.drop(self.embed(window[:-1])), self.state)
        self.state = tuple(s.detach() for s in state)
        h, t = self.drop(h).view(-1, UNITS), window[1:].reshape(-1)
        if self.adaptive:
            loss = self.output(h, t).loss
        else:
            loss = self.torch.nn.functional.cross_entropy(self.output(h), t)
        (loss * T).backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()


def measure(system, n_vocab):
    """Measures milliseconds per window and GB, in a process of its own."""
    cls = Torch if system.startswith('torch') else Ours
    way = cls(n_vocab, system.endswith('adaptive'))
    times = []
    way.train()
    way.train()
    while len(times) < LEAST or sum(times) < SECONDS and len(times) < 40:
        start = time.perf_counter()
        way.train()
        times.append(time.perf_counter() - start)
    return {'ms': common.median(times) * 1e3, 'windows': len(times),
            'GB': common.memory('VmHWM') / 1e9}


def free_bytes():
    """Returns the free memory in bytes; a large number if it is unknown."""
    try:
        with open('/proc/meminfo', encoding='ascii') as f:
            return next(int(line.split()[1]) * 1024 for line in f
                        if line.startswith('MemAvailable'))
    except OSError:
        return 2 ** 62


def run(system, n_vocab):
    """Calls `measure` in a new process; returns None if it needs too much memory."""
    logits = B * T * n_vocab * 4 * 3 if system == 'torch-full' else 0
    if MATRICES[system] * n_vocab * UNITS * 4 + logits > 0.9 * free_bytes():
        return None
    done = subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--measure', system, str(n_vocab)],
        stdout=subprocess.PIPE, encoding='utf-8', check=True)
    return json.loads(done.stdout.splitlines()[-1])


def part(results):
    """Returns the section of RESULTS.md."""
    rows = []
    for n_vocab, found in sorted(results['figures'].items(), key=lambda e: int(e[0])):
        cells = [f'{int(n_vocab):,}']
        for system in MATRICES:
            one = found.get(system)
            cells += [common.number(one and one['ms']), common.number(
                one and one['GB'], 1)]
        both = found.get('adaptive'), found.get('torch-adaptive')
        cells.append(common.number(
            both[1]['ms'] / both[0]['ms'] if all(both) else None, 1))
        rows.append(cells)
    head = ['vocabulary']
    for name in NAMES.values():
        head += [f'{name}: ms', 'GB']
    return '\n'.join([
        '## Large vocabularies', '',
        f'Milliseconds per training window of {B} x {T} words, and peak memory of the '
        f'process; {LAYERS} layers of {UNITS} units, by `python {COMMAND}`. Ids follow '
        'Zipf\'s law. The clusters start at a hundredth, a twentieth and a quarter of '
        'the words, with a 4th, 16th and 64th of the units. The last column is the '
        'speedup of our adaptive softmax over PyTorch\'s. Empty cells: more memory '
        'needed than was free, or not measured.', '',
        common.picture('vocabulary.png', 'Time of a training window and peak memory by '
                       'the size of the vocabulary, of rnnlm and PyTorch, with full '
                       'and adaptive softmax'), '',
        common.table([*head, 'speedup'], rows),
        common.machine_line(results.get('machine')), ''])


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--vocabulary', type=int, nargs='+', default=VOCABULARIES)
    add('--systems', nargs='+', choices=list(MATRICES), default=list(MATRICES))
    add('--measure', nargs=2, help=argparse.SUPPRESS)
    add('--tables', action='store_true',
        help='write the table and the picture again, from the .json')
    args = parser.parse_args(argv)
    if args.measure:
        system, n_vocab = args.measure
        print(json.dumps(measure(system, int(n_vocab))))
        return
    results = common.kept(KEPT)
    if not args.tables:
        results['machine'] = common.begin(COMMAND)
        figures = results.setdefault('figures', {})
        for n_vocab in args.vocabulary:
            for system in args.systems:
                if system.startswith('torch') and not importlib.util.find_spec('torch'):
                    continue
                found = run(system, n_vocab)
                print(f'{n_vocab:>9,} {NAMES[system]:18} ' + (
                    'needs more memory than is free' if found is None else
                    f'{found["ms"]:8,.0f} ms {found["GB"]:6.1f} GB'), flush=True)
                if found:
                    figures.setdefault(str(n_vocab), {})[system] = found
                common.keep(KEPT, results)
    common.replace('large vocabularies', 'large_vocabulary.py', part(results))
    report_pictures.draw(report_pictures.vocabulary, results)


if __name__ == '__main__':
    main()
