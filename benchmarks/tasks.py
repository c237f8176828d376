"""The examples of examples/tasks/ at their real sizes; writes RESULTS.md's part.

    python benchmarks/tasks.py --shakespeare FILE --time-machine FILE [--imdb FOLDER]

On a machine that others use too, one thread is the fastest at these sizes, for PyTorch
most of all: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/tasks.py ...
A task whose text is not given is left out; `--only NAME` does one alone.  What every
task gave is kept in tasks.json, so that they can be repeated one by one.
"""
import argparse
import json
import os
import sys
import tempfile
import time

import rnnlm
from rnnlm import threads

import numpy

import cpu
import models
import report

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, 'tasks.json')
sys.path.insert(0, os.path.join(HERE, os.pardir, 'examples', 'tasks'))

import shakespeare  # noqa: E402
import time_machine  # noqa: E402
import toy  # noqa: E402


class TorchRMSprop(models.Torch):
    """PyTorch's model and optimizer with the numbers of char-rnn."""

    def __init__(self, weights, **sizes):
        super().__init__(weights, dropout=0, clip=5, **sizes)
        for k in range(models.LAYERS):  # the second bias stays at zero
            getattr(self.lstm, f'bias_hh_l{k}').requires_grad_(False)
        self.params = [p for p in self.params if p.requires_grad]
        self.optimizer = self.torch.optim.RMSprop(self.params, lr=2e-3, alpha=0.95)

    def train(self, ids):
        loss = self.loss(ids)
        self.optimizer.zero_grad()
        loss.backward()
        self.torch.nn.utils.clip_grad_value_(self.params, self.clip)
        self.optimizer.step()
        return float(loss.detach())

    def validate(self, ids):
        state = self.state
        loss = self.evaluate(numpy.append(ids, ids[:1])[:, None])
        self.state = state
        return loss


class Clock:
    """The seconds that calls of a function take together."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args):
        start = time.perf_counter()
        result = self.function(*args)
        self.seconds += time.perf_counter() - start
        return result


def run_shakespeare(args):
    """Validation losses of each epoch, ours and PyTorch's from the same weights."""
    train, valid, vocabulary = shakespeare.read(args.shakespeare)
    runs = []
    for seed in range(args.seeds):
        numpy.random.seed(seed)
        model = shakespeare.make_model(len(vocabulary))
        weights = {name: p.array.copy() for name, p in model.namedparams()}
        ours, words = train_ours(model, train, valid, args.epochs)
        runs.append({'rnnlm': ours})
        if 'torch' in models.available():
            runs[-1]['torch'] = train_torch(
                TorchRMSprop(weights, n=model.n_units, V=model.n_vocab),
                train, valid, args.epochs)
        for way in runs[-1].values():
            way['characters/s'] = words / way.pop('seconds')
    return {'epochs': args.epochs, 'train': len(train), 'valid': len(valid),
            'vocabulary': len(vocabulary), 'runs': runs}


def train_ours(model, train, valid, epochs):
    with tempfile.TemporaryDirectory() as scratch:
        trainer = shakespeare.make_trainer(model, train, valid, epochs, scratch)
        clock = trainer.updater.update = Clock(trainer.updater.update)
        trainer.run()
    log = trainer.get_extension('LogReport').log
    words = trainer.updater.iteration * shakespeare.STEPS * shakespeare.STREAMS
    return {'valid': [entry['validation/main/loss'] for entry in log],
            'seconds': clock.seconds}, words


def train_torch(way, train, valid, epochs):
    iterator = rnnlm.ParallelSequentialIterator(train, shakespeare.STREAMS)
    clock, losses = Clock(way.train), []
    while iterator.epoch < epochs:
        clock(iterator.next_window(shakespeare.STEPS))
        if iterator.is_new_epoch:
            losses.append(way.validate(valid))
            print('PyTorch', iterator.epoch, losses[-1], flush=True)
    return {'valid': losses, 'seconds': clock.seconds}


def write_shakespeare(got):
    runs = got['runs']
    rows = []
    for seed, run in enumerate(runs):
        for way, name in (('rnnlm', 'rnnlm'), ('torch', 'PyTorch')):
            if way in run:
                rows.append([
                    seed, name, *(f'{loss:.4f}' for loss in run[way]['valid']),
                    f'{run[way]["characters/s"]:,.0f}'])
    yield '### Shakespeare by character'
    yield (
        f'The defaults of char-rnn, {got["epochs"]} of its 50 epochs, '
        f'{got["train"]:,} characters to train on, {got["valid"]:,} to validate with: '
        'validation loss after each epoch, nats a character. PyTorch: Embedding, LSTM '
        'and Linear of the same sizes, its own RMSprop with the same numbers, from the '
        'same weights on the same windows, its second bias kept at zero.')
    yield report.table(['seed', '', *(f'epoch {k + 1}' for k in range(got['epochs'])),
                        'characters/s'], rows)
    ratios = [run['rnnlm']['characters/s'] / run['torch']['characters/s']
              for run in runs if 'torch' in run]
    if ratios:
        yield ('Speed for information: one after the other, not in turns; rnnlm / '
               f'PyTorch {", ".join(f"{ratio:.2f}" for ratio in ratios)}.')


def run_time_machine(args):
    numpy.random.seed(0)
    ids, vocabulary = time_machine.read(args.time_machine)
    model = time_machine.make_model(len(vocabulary))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = time_machine.make_trainer(model, ids, 500, scratch)
        trainer.run()
    log = trainer.get_extension('LogReport').log
    return {'perplexity': {entry['epoch']: entry['perplexity'] for entry in log
                           if entry['epoch'] % 100 == 0}}


def write_time_machine(got):
    yield '### The Time Machine by character'
    yield ('"Dive into Deep Learning": 10,000 characters, 256 units, 500 epochs; the '
           'mean perplexity of the epoch on the text that it is trained on, which the '
           f'book prints as about 1.1. {got["minutes"]:.1f} minutes.')
    yield report.table(['epoch', *got['perplexity']], [
        ['perplexity', *(f'{value:.3f}' for value in got['perplexity'].values())]])


def run_toy(args):
    runs = []
    for seed in range(10):
        numpy.random.seed(seed)
        runs.append(toy.train()[0][-1])
    return {'loss': runs}


def write_toy(got):
    losses = sorted(got['loss'])
    yield '### Four numbers'
    yield (f'100 cells, 4 steps, 100 iterations: the loss after the last, '
           f'{len(losses)} seeds: {losses[0]:.1e} to {losses[-1]:.1e}, median '
           f'{numpy.median(losses):.1e}; {got["minutes"] * 60:.1f} seconds for all.')


TASKS = {'shakespeare': (run_shakespeare, write_shakespeare),
         'time_machine': (run_time_machine, write_time_machine),
         'toy': (run_toy, write_toy)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--shakespeare', metavar='FILE', help='tinyshakespeare')
    parser.add_argument('--time-machine', metavar='FILE', help='The Time Machine')
    parser.add_argument('--imdb', metavar='FOLDER', help='aclImdb')
    parser.add_argument('--only', choices=list(TASKS), help='one task')
    parser.add_argument('--epochs', type=int, default=4,
                        help='of Shakespeare (default: 4)')
    parser.add_argument('--seeds', type=int, default=1,
                        help='runs of Shakespeare (default: 1)')
    args = parser.parse_args()
    needs = {'shakespeare': args.shakespeare,
             'time_machine': args.time_machine}
    for name in [args.only] if args.only else TASKS:
        if needs.get(name, name) is None:
            print(f'{name}: left out, its text was not given')
            continue
        start = time.time()
        result = TASKS[name][0](args)
        result.update(minutes=(time.time() - start) / 60, machine=cpu.machine(),
                      threads=threads.count())
        results = kept()
        results[name] = result
        keep(results)
        write(results)
    return 0


def keep(results):
    with open(KEPT, 'w', encoding='utf-8') as f:
        json.dump(results, f, indent=1)
        f.write('\n')


def kept():
    if not os.path.exists(KEPT):
        return {}
    with open(KEPT, encoding='utf-8') as f:
        return json.load(f)


def write(results):
    lines = ['## Tasks', 'The examples of examples/tasks/, each on the model of this '
             'project, by `python benchmarks/tasks.py`.']
    for name, (_, write_part) in TASKS.items():
        if name in results:
            lines += write_part(results[name])
    report.replace('Tasks', 'tasks.py', '\n\n'.join(lines))


if __name__ == '__main__':
    sys.exit(main())
