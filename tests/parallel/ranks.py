"""Programs that test_parallel.py runs by mpiexec: ``python ranks.py NAME ARGS``."""
import sys
import time

from helpers import classifier, make_trainer, small, text
import rnnlm

import chainer
import numpy

from rnnlm import parallel
from rnnlm.app import experiment
from rnnlm.app.recipes import Recipe
from rnnlm.data import corpus
from rnnlm.training.evaluator import make_evaluator

WORDS = text(2003)


def train(group, batch, windows, dtype='d', lr=1.0, tied=False, per_step=False,
          n_vocab=20, optimizer=None, after=None):
    """Returns the parameters after some windows, for a group of any size."""
    numpy.random.seed(4)
    model = classifier(rnnlm.RNNForLM(
        n_vocab, 140, dropout=0.0, tied=tied))  # some gradients go early
    for param in model.params():
        param.array = param.array.astype(dtype)
    optimizer = (optimizer or chainer.optimizers.SGD)(lr).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    iterator = rnnlm.ParallelSequentialIterator(
        WORDS, batch, rows=group.rows(batch))
    updater = rnnlm.BPTTUpdater(
        iterator, optimizer, 7, per_step=per_step, group=group)
    for _ in range(windows):
        updater.update()
        if group.size > 1:
            from rnnlm.parallel.mpi_group import checksum
            group.require_same('parameters', checksum(model))
        if after:
            after(model)
    return {name.lstrip('/'): param.array for name, param in model.namedparams()}


# Results of training with 1, 2 and 3 processes.  float64 shows that the arithmetic is
# the same, float32 how small the rounding errors are.
CASES = {
    'even': dict(batch=6, windows=50),
    'uneven': dict(batch=7, windows=50),
    'float32': dict(batch=6, windows=50, dtype='f', lr=0.1),
    'tied': dict(batch=4, windows=10, tied=True),
    'per step': dict(batch=4, windows=5, per_step=True),
    'many words': dict(batch=4, windows=10, n_vocab=2000),
    'Adam': dict(batch=4, windows=10, lr=0.01,
                 optimizer=lambda lr: chainer.optimizers.Adam(alpha=lr)),
}


def equal(group, out):
    for name, case in CASES.items():
        found = train(group, **case)
        if group.is_root:
            rnnlm.save_npz(f'{out}/{name}.npz', found)


def masks(group, out):
    """Writes the random states of all ranks, and draws from them."""
    numpy.random.seed(7)
    group.separate_random_streams()
    drawn = group.gather(numpy.random.rand(1000))
    if group.is_root:
        rnnlm.save_npz(f'{out}/masks.npz', {str(k): d for k, d in enumerate(drawn)})


def evaluate(group, out):
    """Evaluates a text as one stream and as five."""
    model = small(dropout=0.0)
    numpy.random.seed(group.rank)
    group.broadcast(model)
    found = {}
    for streams in 1, 5:
        evaluator = make_evaluator(WORDS[:301], model, group)
        evaluator._iterators['main'] = rnnlm.ParallelSequentialIterator(
            WORDS[:301], streams, repeat=False)
        with chainer.Reporter().scope({}):
            found[str(streams)], = evaluator().values()
    values = group.gather(found)
    if group.is_root:
        assert all(value == found for value in values)
        rnnlm.save_npz(f'{out}/loss.npz', {
            key: numpy.asarray(value) for key, value in found.items()})


def poison(group, out):
    """NaN in the gradient of one rank ends all ranks in the same window."""
    windows = []

    def after(model):
        windows.append(0)

    original = chainer.Variable.backward

    def backward(self, *args, **kwargs):
        if group.rank == group.size - 1 and len(windows) == 2:
            self.grad[...] = numpy.nan
        original(self, *args, **kwargs)

    chainer.Variable.backward = backward
    try:
        train(group, 4, 5, after=after)
    except rnnlm.NotFinite as e:
        seen = group.gather((len(windows), str(e)))
        if group.is_root:
            assert len(set(seen)) == 1, seen
            print(seen[0])
        raise


def roll_back(group, out):
    """After NaN on one rank all return to the same snapshot, and complete the run."""
    text_of = corpus.Corpus('x', WORDS[:600], WORDS[:90], WORDS[:90],
                            corpus.Vocabulary(map(str, range(20))), 'word')
    recipe = Recipe(n_units=8, batch_size=4, bprop_len=5, epochs=2, dropout=0.3)
    windows, original = [], chainer.Variable.backward

    def backward(self, *args, **kwargs):
        windows.append(0)
        if group.rank == 1 and len(windows) == 20:
            self.grad[...] = numpy.nan
        original(self, *args, **kwargs)

    chainer.Variable.backward = backward
    found = experiment.train(text_of, recipe, out=out, seed=1, save_every=0,
                             on_nan='rollback', group=group)
    seen = group.gather((len(windows), found['test']))
    if group.is_root:
        assert len(set(seen)) == 1 and seen[0][0] == 61, seen  # one window again


def wait(group, seconds, beat):
    """Rank 0 is busy for longer than the timeout, with or without a heartbeat."""
    def work():
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            time.sleep(0.01)
            if beat == 'beat':
                group.heartbeat()
        return 'done'

    assert group.on_root(work) == 'done'
    print('done')


def fail(group, rank, kind):
    """One rank, or all of them, raise an error."""
    error = {'input': rnnlm.InputError('x: expected y'), 'bug': ZeroDivisionError('z'),
             'disk': OSError(28, 'No space left on device', 'f')}[kind]

    def work():
        if group.rank == int(rank):
            raise error

    if kind == 'input':
        group.on_all(work)
    else:
        work()
        group.on_root(lambda: None)
        group.on_all(lambda: None)


def resume(group, out, windows, snapshot=None):
    """Trains with dropout from a snapshot, and writes another one."""
    model = small()
    trainer = make_trainer(model, WORDS, out, B=6, stop=(int(windows), 'iteration'),
                           group=group, rows=group.rows(6))
    group.broadcast(model)
    group.separate_random_streams()
    trainer.extend(rnnlm.Snapshot(n_retains=None), trigger=(5, 'iteration'))
    if snapshot:
        rnnlm.resume(snapshot, trainer)
        if group.is_root:
            print('from', trainer.updater.resumed_from)
    assert rnnlm.run(trainer) == (0, None)


if __name__ == '__main__':
    options, (name, *args) = sys.argv[1:3], sys.argv[3:]
    with parallel.joined(options[0], float(options[1])) as group:
        globals()[name](group, *args)
