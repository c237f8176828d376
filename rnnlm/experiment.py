"""A whole training run: what `rnnlm train` does, as one function."""
import os
import re
import sys

import chainer
from chainer import links as L
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm import checkpoint, plotting
from rnnlm.devices import get_device
from rnnlm.errors import InputError
from rnnlm.iterators import ParallelSequentialIterator
from rnnlm.model import RNNForLM
from rnnlm.training import (
    BPTTUpdater, LearningRateDecay, PerplexityEvaluator, add_perplexity)

MODEL = 'model.npz'
VOCABULARY = 'vocabulary.json'


def train(corpus, recipe, out='result', device=-1, seed=None, resume=None,
          progress_bar=True, echo=print):
    """Trains an `RNNForLM` on a corpus and writes what came of it into `out`.

    In `out` stand afterwards: ``model.npz`` and ``vocabulary.json``, the ``log``,
    the last two snapshots, and ``perplexity.png`` if matplotlib is there.

    Args:
        corpus: `rnnlm.corpus.Corpus`.
        recipe: `Recipe`.
        out (str): Folder.
        device (str or int): As for `rnnlm.devices.get_device`.
        seed (int): Seed of ``numpy.random``; None leaves it as it is.
        resume (str): Snapshot to go on from; a folder means the newest in it.
        progress_bar (bool): Whether to draw a progress bar.
        echo: Called with each line of the report.

    Returns:
        dict: 'signal', the number of the signal that ended the run or 0; and
        if the run went to its end, 'valid' and 'test', the perplexities of the
        final model, and 'limit', that of the best possible one or None.

    Raises:
        rnnlm.errors.InputError: for anything given that cannot be used; nothing
            was trained then.
    """
    device = get_device(device)
    device.use()
    if seed is not None:
        numpy.random.seed(seed)
        if device.xp is not numpy:
            device.xp.random.seed(seed)
    make_folder(out)

    classifier = make_classifier(RNNForLM(
        len(corpus.vocabulary), recipe.n_units, recipe.n_layers, recipe.dropout,
        recipe.init_scale))
    classifier.to_device(device)
    optimizer = chainer.optimizers.SGD(lr=recipe.lr)
    optimizer.setup(classifier)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))

    iterator = ParallelSequentialIterator(corpus.train, recipe.batch_size)
    updater = BPTTUpdater(iterator, optimizer, recipe.bprop_len, device)
    trainer = training.Trainer(updater, (recipe.epochs, 'epoch'), out=out)
    valid = PerplexityEvaluator(
        ParallelSequentialIterator(corpus.valid, 1, repeat=False), classifier)
    trainer.extend(valid)
    trainer.extend(LearningRateDecay(recipe.decay, recipe.decay_after))

    words = recipe.batch_size * recipe.bprop_len
    windows = len(corpus.train) / words
    interval = (1, 'epoch') if windows <= 500 else (500, 'iteration')
    trainer.extend(extensions.observe_lr())
    trainer.extend(extensions.LogReport(
        postprocess=_Postprocess(words), trigger=interval))
    trainer.extend(extensions.PrintReport(
        ['epoch', 'iteration', 'perplexity', 'val_perplexity', 'lr', 'words/s',
         'elapsed_time'], out=sys.stdout if progress_bar else _Plain()),
        trigger=interval)
    if progress_bar:
        trainer.extend(extensions.ProgressBar(update_interval=10))
    if plotting.available():
        trainer.extend(plotting.PerplexityPlot(corpus.perplexity_limit))
    trainer.extend(extensions.snapshot(n_retains=2))
    if resume:
        if os.path.isdir(resume):
            resume = newest_snapshot(resume)
        checkpoint.resume(resume, trainer)

    echo(f'corpus   {corpus.summary()}')
    echo(f'model    {recipe.n_layers} x {recipe.n_units} LSTM units, '
         f'{classifier.count_params():,} parameters, dropout {recipe.dropout:g}')
    echo(f'training {recipe.epochs} epochs of {windows:,.0f} windows '
         f'({recipe.batch_size} x {recipe.bprop_len} words) on {device}')
    if not plotting.available():
        echo('         no perplexity.png: matplotlib is not installed')
    if resume:
        echo(f'resumed  {resume} at iteration {updater.iteration}')
    number, snapshot = checkpoint.run(trainer)
    if number:
        echo(f'stopped  at iteration {updater.iteration}; go on with --resume '
             f'{snapshot}')
        return {'signal': number}

    checkpoint.save_npz(os.path.join(out, MODEL), classifier)
    corpus.vocabulary.save(os.path.join(out, VOCABULARY))
    test = PerplexityEvaluator(
        ParallelSequentialIterator(corpus.test, 1, repeat=False), classifier)
    return {'signal': 0, 'valid': perplexity(valid), 'test': perplexity(test),
            'limit': corpus.perplexity_limit}


def make_classifier(model):
    """A Classifier of `model` that computes the loss alone."""
    classifier = L.Classifier(model)
    classifier.compute_accuracy = False
    return classifier


def perplexity(evaluator):
    """Perplexity that an evaluator finds, outside of any trainer."""
    with chainer.Reporter().scope({}):
        result = evaluator()
    loss, = (value for name, value in result.items() if name.endswith('main/loss'))
    return float(numpy.exp(loss))


def make_folder(path):
    """Makes a folder unless it is there; an InputError says why it cannot."""
    try:
        os.makedirs(path, exist_ok=True)
        writable = os.access(path, os.W_OK)
        reason = 'no permission to write'
    except OSError as e:
        writable, reason = False, e.strerror
    if not writable:
        raise InputError(
            f'{path}: expected a folder that can be written, found: {reason}')


def newest_snapshot(folder):
    """The snapshot of the most iterations in a folder."""
    found = [(int(match.group(1)), match.group()) for match in (
        re.fullmatch(r'snapshot_iter_(\d+)', name) for name in os.listdir(folder))
        if match]
    if not found:
        raise InputError(
            f'{folder}: expected a snapshot_iter_N to resume from, found none')
    return os.path.join(folder, max(found)[1])


class _Plain:
    """Standard output without the escape that makes room for a progress bar."""

    def write(self, text):
        sys.stdout.write(text.replace('\033[J', ''))

    def flush(self):
        sys.stdout.flush()


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
