"""Runs the examples of examples/tasks/ at full size; writes a section of RESULTS.md.

    python benchmarks/tasks.py --shakespeare FILE --time-machine FILE [--imdb FOLDER]

On a shared machine, one thread is the fastest at these sizes, especially for PyTorch:
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/tasks.py ...
A task whose text is not given is skipped; `--only NAME` runs a single task.  Results
are stored in tasks.json, so tasks can be repeated one by one.
"""
import argparse
import os
import sys
import tempfile
import time

import rnnlm
from rnnlm.kernels import threads

import chainer
from chainer import functions as F
import numpy

import common
import models

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, 'tasks.json')
sys.path.insert(0, os.path.join(HERE, os.pardir, 'examples', 'tasks'))

import classify  # noqa: E402
import shakespeare  # noqa: E402
import texts  # noqa: E402
import time_machine  # noqa: E402
import toy  # noqa: E402


class TorchRMSprop(models.Torch):
    """PyTorch model and optimizer with the hyperparameters of char-rnn."""

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


def run_shakespeare(args):
    """Measures validation losses by epoch, ours and PyTorch's, from equal weights."""
    train, valid, vocabulary = shakespeare.read(args.shakespeare)
    runs = []
    for seed in range(args.seeds):
        numpy.random.seed(seed)
        model = shakespeare.make_model(len(vocabulary))
        weights = {name: p.array.copy() for name, p in model.namedparams()}
        runs.append({'rnnlm': train_ours(model, train, valid, args.epochs)})
        if 'torch' in models.available():
            runs[-1]['torch'] = train_torch(
                TorchRMSprop(weights, n=model.n_units, V=model.n_vocab),
                train, valid, args.epochs)
    return {'epochs': args.epochs, 'train': len(train), 'valid': len(valid),
            'vocabulary': len(vocabulary), 'runs': runs}


def train_ours(model, train, valid, epochs):
    with tempfile.TemporaryDirectory() as scratch:
        trainer = shakespeare.make_trainer(model, train, valid, epochs, scratch)
        trainer.run()
    return [entry['validation/main/loss']
            for entry in trainer.get_extension('LogReport').log]


def train_torch(way, train, valid, epochs):
    iterator = rnnlm.ParallelSequentialIterator(train, shakespeare.STREAMS)
    losses = []
    while iterator.epoch < epochs:
        way.train(iterator.next_window(shakespeare.STEPS))
        if iterator.is_new_epoch:
            losses.append(way.validate(valid))
            print('PyTorch', iterator.epoch, losses[-1], flush=True)
    return losses


def write_shakespeare(got):
    rows = [[seed, name, *(f'{loss:.4f}' for loss in run[way])]
            for seed, run in enumerate(got['runs'])
            for way, name in (('rnnlm', 'rnnlm'), ('torch', 'PyTorch')) if way in run]
    yield '### Shakespeare by character'
    yield (
        f'The defaults of char-rnn, {got["epochs"]} of its 50 epochs, '
        f'{got["train"]:,} characters for training, {got["valid"]:,} for validation: '
        'validation loss after each epoch, in nats per character. PyTorch: Embedding, '
        'LSTM and Linear of the same sizes, its own RMSprop with the same '
        'hyperparameters, the same initial weights and the same windows; its second '
        'bias is kept at zero.')
    yield common.table(
        ['seed', '', *(f'epoch {k + 1}' for k in range(got['epochs']))], rows)


def run_updates(args):
    """Compares 100 updates of both systems: losses in float64, speed in float32.

    The systems take turns, so that a slow minute of the machine affects both.
    """
    import torch
    train, valid, vocabulary = shakespeare.read(args.shakespeare)
    result, words = {}, shakespeare.STEPS * shakespeare.STREAMS
    for dtype in 'float64', 'float32':
        numpy.random.seed(0)
        torch.set_default_dtype(getattr(torch, dtype))
        with chainer.using_config('dtype', numpy.dtype(dtype)):
            model = shakespeare.make_model(len(vocabulary))
            weights = {name: p.array.copy() for name, p in model.namedparams()}
            trainer = shakespeare.make_trainer(model, train, valid, 1, '.')
        other = TorchRMSprop(weights, n=model.n_units, V=model.n_vocab)
        iterator = rnnlm.ParallelSequentialIterator(train, shakespeare.STREAMS)
        target = trainer.updater.get_optimizer('main').target
        differences, seconds = [], []
        for _ in range(100):
            window = iterator.next_window(shakespeare.STEPS)
            with trainer.reporter.scope({}):
                ours = common.seconds(trainer.updater.update)
            start = time.perf_counter()
            loss = other.train(window)
            seconds.append((ours, time.perf_counter() - start))
            differences.append(abs(
                float(target.loss.array) - loss / shakespeare.STEPS))
        result[dtype] = max(differences)
    seconds = numpy.array(seconds)
    result['characters/s'] = (words / numpy.median(seconds, axis=0)).tolist()
    result['ratio'] = float(numpy.median(seconds[:, 1] / seconds[:, 0]))
    return result


def write_updates(got):
    ours, theirs = got['characters/s']
    yield (f'The losses of the first 100 updates differ by at most '
           f'{got["float64"]:.0e} in float64 and {got["float32"]:.0e} in float32, so '
           f'the differences in the table come from rounding, which grows over time. '
           f'Speed of these updates in float32: {ours:,.0f} characters per second, '
           f'PyTorch {theirs:,.0f}; median ratio {got["ratio"]:.2f}.')


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
    yield ('"Dive into Deep Learning": 10,000 characters, 256 units, 500 epochs, one '
           'run (n = 1). The perplexity is the mean of the epoch on the training text; '
           'the book prints about 1.1.')
    yield common.table(['epoch', *got['perplexity']], [
        ['perplexity', *(f'{value:.3f}' for value in got['perplexity'].values())]])


def run_toy(args):
    losses = {'rnnlm': [], 'steps': [], 'tutorial': []}
    for seed in range(10):
        for way, train in (('rnnlm', toy.train),
                           ('steps', lambda: train_by_steps(F.tanh)),
                           ('tutorial', lambda: train_by_steps(lambda c: c))):
            numpy.random.seed(seed)
            losses[way].append(train()[0][-1])
    return {'loss': losses}


def train_by_steps(squash):
    """Does the same as toy.train by Chainer's functions; the output is o squash(c).

    The weights are the same, with a, i, f and o interleaved.
    """
    x = numpy.random.uniform(0, 1, (4, 1, 50)).astype('f')
    params = upward_W, upward_b, lateral_W = [
        chainer.Parameter(numpy.random.uniform(-0.05, 0.05, shape).astype('f'))
        for shape in ((400, 50), (400,), (400, 100))]
    losses = []
    for _ in range(101):
        c = h = numpy.zeros((1, 100), 'f')
        loss = 0
        for x_t, wanted in zip(x, toy.WANTED):
            z = F.linear(x_t, upward_W, upward_b) + F.linear(h, lateral_W)
            a, i, f, o = F.separate(z.reshape(1, 100, 4), axis=2)
            c = F.tanh(a) * F.sigmoid(i) + F.sigmoid(f) * c
            h = F.sigmoid(o) * squash(c)
            loss += (h[0, 0] - wanted) ** 2
        losses.append(float(loss.array))
        for param in params:
            param.cleargrad()
        loss.backward()
        for param in params:
            param.array -= 0.1 * param.grad
    return losses, h.array


def write_toy(got):
    yield '### Four numbers'
    yield ('A tutorial on LSTMs in NumPy: 100 cells, 4 steps, 100 iterations; the loss '
           'after the last iteration, for 10 seeds.')
    yield common.table(['', 'lowest', 'median', 'highest'], [
        [name, *(f'{value:.1e}' for value in (
            min(losses), numpy.median(losses), max(losses)))]
        for name, losses in zip(
            ('rnnlm.functions.lstm_window',
             "the same by Chainer's functions, step by step",
             'step by step, with the output o c of the tutorial'),
            got['loss'].values())])
    yield ('At this learning rate, gradient descent overshoots for some seeds, and '
           'rounding differences grow from there. Until then, the first two rows '
           'agree.')


def run_classify(args):
    """Measures accuracies with and without masking, on synthetic texts and reviews."""
    length = 500
    numpy.random.seed(0)
    data = {'synthetic': [texts.make_up(n, length) for n in (5000, 2000)]}
    if args.imdb:
        data['film reviews'] = texts.read_imdb(args.imdb, length, 5000)
    sizes = {'synthetic': (texts.WORDS, 12), 'film reviews': (5000, 3)}
    rows = []
    for name, (train, held_out) in data.items():
        n_vocab, epochs = sizes[name]
        for masked in False, True:
            numpy.random.seed(0)
            start = time.time()
            model = classify.TextClassifier(n_vocab, masked=masked)
            found = classify.train(model, train, held_out, epochs)
            rows.append({'texts': name, 'masked': masked, 'accuracy': found,
                         'minutes': (time.time() - start) / 60})
    ids, classes = data['synthetic'][1]
    majority = ((ids == texts.GOOD).sum(axis=1) > texts.MARKS / 2) == classes
    return {'rows': rows, 'best': float(majority.mean())}


def write_classify(got):
    yield '### Text classification'
    yield (f'Up to 500 words, embedding 32, 100 units, Adam; 5,000 training texts, '
           f'2,000 held out; one run per row: accuracy on held-out texts after each '
           f'epoch. The best possible accuracy is {100 * texts.BEST:.1f}% on average, '
           f'and {100 * got["best"]:.1f}% on these 2,000. Remembering only the last of '
           f'the nine words gives {100 * texts.AGREE:.0f}%.')
    epochs = max(len(row['accuracy']) for row in got['rows'])
    yield common.table(
        ['texts', 'padding', *(f'epoch {k + 1}' for k in range(epochs)), 'minutes'],
        [[row['texts'], 'skipped' if row['masked'] else 'read',
          *(f'{100 * value:.1f}%' for value in row['accuracy']),
          *[''] * (epochs - len(row['accuracy'])), f'{row["minutes"]:.1f}']
         for row in got['rows']])
    if all(row['texts'] == 'made up' for row in got['rows']):
        yield 'Film reviews were not measured (`--imdb FOLDER`).'


TASKS = {'shakespeare': (run_shakespeare, write_shakespeare),
         'updates': (run_updates, write_updates),
         'time_machine': (run_time_machine, write_time_machine),
         'toy': (run_toy, write_toy),
         'classify': (run_classify, write_classify)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--shakespeare', metavar='FILE', help='tinyshakespeare')
    parser.add_argument('--time-machine', metavar='FILE', help='The Time Machine')
    parser.add_argument('--imdb', metavar='FOLDER', help='aclImdb')
    parser.add_argument('--only', choices=list(TASKS), help='one task')
    parser.add_argument('--epochs', type=int, default=6,
                        help='epochs of Shakespeare (default: 6)')
    parser.add_argument('--seeds', type=int, default=3,
                        help='runs of Shakespeare (default: 3)')
    args = parser.parse_args()
    machine = common.begin('benchmarks/tasks.py ...')
    needs = {'shakespeare': args.shakespeare, 'time_machine': args.time_machine,
             'updates': args.shakespeare if 'torch' in models.available() else None}
    for name in [args.only] if args.only else TASKS:
        if needs.get(name, name) is None:
            print(f'{name}: skipped, because its text was not given'
                  + (' or PyTorch is missing' if name == 'updates' else ''))
            continue
        start = time.time()
        result = TASKS[name][0](args)
        result.update(minutes=(time.time() - start) / 60, machine=machine,
                      threads=threads.count())
        results = common.kept(KEPT)
        results[name] = result
        common.keep(KEPT, results)
        write(results)
    return 0


def machines(results):
    """Describes the machine and the minutes of each task."""
    found = {}
    for name, got in results.items():
        found.setdefault(
            f'{common.machine_line(got["machine"])}; rnnlm: {got["threads"]} '
            'thread(s)', []).append(f'{name} {got["minutes"]:.1f}')
    return 'Minutes: ' + '; '.join(
        f'{", ".join(names)} ({where})' for where, names in found.items()) + '.'


def write(results):
    lines = ['## Tasks', 'The examples of examples/tasks/, by `python '
             'benchmarks/tasks.py`.', machines(results)]
    for name, (_, write_part) in TASKS.items():
        if name in results:
            lines += write_part(results[name])
    common.replace('Tasks', 'tasks.py', '\n\n'.join(lines))


if __name__ == '__main__':
    sys.exit(main())
