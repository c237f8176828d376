"""A whole training run: what `rnnlm train` does, as one function."""
import contextlib
import os

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.app import run_folder
from rnnlm.app.console import Console, ProgressLine, say
from rnnlm.data.iterators import ParallelSequentialIterator
from rnnlm.devices import get_device
from rnnlm.errors import InputError, NotFinite, require
from rnnlm.model import RNNForLM
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers import snapshot_files
from rnnlm.serializers.atomic import best_effort
from rnnlm.serializers.snapshot_files import newest_snapshot
from rnnlm.training import mixed_precision, plotting
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)
from rnnlm.training.extensions import (
    BestModel, LearningRateDecay, Log, Snapshot, add_perplexity)
from rnnlm.training.run import run
from rnnlm.training.triggers import EpochsTrigger, ReportTrigger, SnapshotTrigger
from rnnlm.training.updater import BPTTUpdater

# Below this part of the learning rate, going back to the same snapshot is given up.
LEAST_FACTOR = 1e-3


def train(corpus, recipe, out='result', device=-1, seed=None, resume=None,
          overwrite=False, progress_bar=False, save_every=10.0, on_nan='stop',
          group=SINGLE_PROCESS):
    """Trains an `RNNForLM` on a corpus and writes what came of it into `out`.

    In `out` stand afterwards: ``model.npz`` and ``vocabulary.json``, the ``log``,
    the last two snapshots, and ``perplexity.png`` if matplotlib is there.

    Args:
        corpus: `rnnlm.data.corpus.Corpus`.
        recipe: `Recipe`.
        out (str): Folder.
        device (str or int): As for `rnnlm.devices.get_device`.
        seed (int): Seed of the random numbers; None leaves them as they are.
        resume (str): Snapshot to go on from, its random numbers included; a folder
            means the newest in it.
        overwrite (bool): Whether an earlier run in `out` may be deleted.
        progress_bar (bool): Whether to show a line of progress.
        save_every (float): Minutes after which a snapshot is written, also within an
            epoch; 0 for every window.
        on_nan (str): What NaN or infinity in the loss or the gradient does: 'stop'
            ends the run; 'rollback' goes back to the last snapshot, with half the
            learning rate.
        group (rnnlm.parallel.Group): The processes that do it together, all of them
            by this call.

    Returns:
        dict: 'signal', the number of the signal that ended the run or 0; and
        if the run went to its end, 'valid' and 'test', the perplexities of the
        model with the lowest one in validation, which is that of ``model.npz``, and
        'limit', that of the best possible one or None.

    Raises:
        rnnlm.errors.InputError: for anything given that cannot be used; nothing
            was trained or written then.
        rnnlm.errors.NotFinite: if the numbers went wrong.
        OSError: if at the end a file cannot be written.
        rnnlm.errors.ProcessLost: if a process of the group is.
    """
    require('on_nan', on_nan, "'stop' or 'rollback'",
            lambda v: v in ('stop', 'rollback'))
    require('save_every', save_every, 'minutes, at least 0', lambda v: v >= 0)
    device = group.on_all(lambda: get_device(group.device(device)))
    device.use()
    if seed is not None:
        numpy.random.seed(seed)
        device.xp.random.seed(seed)
    random = group.on_root(numpy.random.get_state)
    group.require_same('corpus', run_folder.fingerprint(corpus, recipe))

    def make():
        numpy.random.set_state(random)
        made = make_trainer(
            corpus, recipe, out, device, progress_bar, save_every, group)
        group.broadcast(made[0].updater.get_optimizer('main').target)
        group.separate_random_streams()
        return made

    with contextlib.ExitStack() as stack, recipe.computing():
        group.on_root(lambda: stack.enter_context(run_folder.locked(out)))
        trainer, valid, best = made = group.on_all(make)
        if resume:
            snapshot = group.on_root(
                lambda: run_folder.check_resumable(resume, corpus, recipe))
            group.on_all(lambda: snapshot_files.resume(snapshot, trainer))
            group.on_root(lambda: run_folder.go_on(out, snapshot, corpus, recipe))
        else:
            snapshot = None
            group.on_root(lambda: run_folder.begin(out, corpus, recipe, overwrite))
        introduce(corpus, recipe, trainer, snapshot, device)
        if on_nan == 'rollback':
            (trainer, valid, best), number, snapshot = run_with_rollbacks(
                made, make, snapshot)
        else:
            number, snapshot = run(trainer)
        if number:
            if group.is_root:
                with best_effort(best.path):
                    best.write()
            say(f'stopped  after {trainer.updater.iteration} windows; go on with '
                f'--resume {snapshot}')
            return {'signal': number}

        group.on_root(lambda: best.write() or best.load())
        classifier = trainer.updater.get_optimizer('main').target
        group.broadcast(classifier)
        return {'signal': 0, 'valid': evaluate_perplexity(valid),
                'test': evaluate_perplexity(
                    make_evaluator(corpus.test, classifier, group)),
                'limit': corpus.perplexity_limit}


def introduce(corpus, recipe, trainer, resumed, device):
    """Says what is going to be trained, from which snapshot if any."""
    windows = len(corpus.train) / (recipe.batch_size * recipe.bprop_len)
    classifier = trainer.updater.get_optimizer('main').target
    say(f'corpus   {corpus.summary()}')
    say(f'model    {recipe.n_layers} x {recipe.n_units} LSTM units, '
        f'{classifier.count_params():,} parameters, dropout {recipe.dropout:g}')
    group = trainer.updater.group
    by = f', {group.size} processes' if group.size > 1 else ''
    say(f'training {recipe.epochs} epochs of {windows:,.0f} windows '
        f'({recipe.batch_size} x {recipe.bprop_len} words) on {device}{by}')
    if not plotting.available():
        say('         no perplexity.png: matplotlib cannot be imported')
    if resumed:
        say(f'resumed  {resumed}, after {trainer.updater.iteration} windows, with the '
            'learning rate and the random numbers that it holds')
        if trainer.updater.resumed_from != group.size:
            say(f'         (written by {trainer.updater.resumed_from} processes, now '
                f'{group.size}: all but the first draw new random numbers)')


def run_with_rollbacks(made, make, origin):
    """Runs a trainer; where it meets NaN, its last snapshot at half the rate.

    Args:
        made (tuple): What `make` gave: trainer, evaluator, `BestModel`.
        make: Makes them anew, as they were at the beginning.
        origin (str): Snapshot that the run goes on from, or None.

    Returns:
        tuple: trainer, evaluator and `BestModel` that came to the end; signal and
        snapshot as of `rnnlm.run`.

    Raises:
        rnnlm.errors.NotFinite: if from one snapshot no rate leads further.
    """
    last, factor = None, 1.0
    group = made[0].updater.group
    while True:
        trainer = made[0]
        try:
            return made, *run(trainer)
        except NotFinite as e:
            if e.signal:
                raise
            newest = group.on_root(lambda: newest_or(trainer.out, origin))
            factor = factor / 2 if factor < 1 and newest == last else 0.5
            if factor < LEAST_FACTOR:
                raise
            last, best, made = newest, made[2], make()
            if newest is not None:
                group.on_all(lambda: snapshot_files.resume(newest, made[0]))
            made[2].take_over(best)
            made[0].get_extension('LearningRateDecay').scale(made[0], factor)
            say(f'         {e}\nback     to {newest or "the beginning"}, with '
                f'{factor:g} times its learning rate')


def newest_or(folder, origin):
    """The newest snapshot in a folder; `origin` if there is none that is whole."""
    try:
        return newest_snapshot(folder)
    except InputError:
        return origin


def make_trainer(corpus, recipe, out, device, progress_bar, save_every=10.0,
                 group=SINGLE_PROCESS):
    """The trainer of a run, its evaluator on the validation text, its `BestModel`."""
    classifier = make_classifier(RNNForLM(
        len(corpus.vocabulary), recipe.n_units, recipe.n_layers, recipe.dropout,
        recipe.init_scale, recipe.n_embed, recipe.tied))
    classifier.to_device(device)
    optimizer = chainer.optimizers.SGD(lr=recipe.lr).setup(classifier)
    if chainer.config.dtype == chainer.mixed16:  # by the recipe, or CHAINER_DTYPE
        mixed_precision.set_up_mixed(optimizer, recipe.gradclip)
    else:
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))
    updater = BPTTUpdater(
        ParallelSequentialIterator(corpus.train, recipe.batch_size,
                                   rows=group.rows(recipe.batch_size)),
        optimizer, recipe.bprop_len, device, group=group)
    trainer = training.Trainer(updater, EpochsTrigger(recipe.epochs), out=out)

    valid = make_evaluator(corpus.valid, classifier, group)
    trainer.extend(valid)
    best = BestModel(classifier, os.path.join(out, run_folder.MODEL))
    trainer.extend(LearningRateDecay(recipe.decay, recipe.decay_after))
    trainer.extend(Snapshot(), trigger=SnapshotTrigger(
        60 * save_every, group.clock))
    if not group.is_root:  # the first one prints and writes
        return trainer, valid, best
    trainer.extend(best)
    trainer.extend(extensions.observe_lr())
    words = recipe.batch_size * recipe.bprop_len
    report = ReportTrigger(500 if len(corpus.train) > 1000 * words else None)
    console = Console()
    trainer.extend(Log(report, _Postprocess(words)))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'perplexity', 'val_perplexity', 'lr', 'words/s', 'elapsed_time'],
        out=console), trigger=report)
    if progress_bar:
        trainer.extend(ProgressLine(console, recipe.epochs, words))
    if plotting.available():
        trainer.extend(plotting.PerplexityPlot(corpus.perplexity_limit))
    return trainer, valid, best


class _Postprocess:
    """Adds the perplexities and the speed to an entry of the log."""

    def __init__(self, words):
        self._words = words
        self._last = 0, 0.0

    def __call__(self, result):
        add_perplexity(result)
        now = result['iteration'], result['elapsed_time']
        windows, seconds = (b - a for a, b in zip(self._last, now))
        self._last = now
        result['words/s'] = round(windows * self._words / max(seconds, 1e-9))
