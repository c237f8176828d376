"""`train`: a complete training run, as done by `rnnlm train`."""
import contextlib
import dataclasses
import os
from typing import Any, Dict, List, Optional, Union

import chainer
from chainer import training
from chainer.training import extensions
import numpy

from rnnlm.app import new_run, reading, results, resuming, run_folder
from rnnlm.app.console import Console, ProgressBar, columns, introduce, say
from rnnlm.app.description import RunDescription, check_resumable, fingerprint
from rnnlm.app.initial import InitialModel, initial_model
from rnnlm.app.recipes import Recipe
from rnnlm.chain import LanguageModel
from rnnlm.data.corpus import Corpus
from rnnlm.devices import get_device
from rnnlm.errors import InputError, NotFinite, about, counted, require
from rnnlm.model import RNNForLM, adaptive_model
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.parallel.group import Group
from rnnlm.serializers.atomic import best_effort
from rnnlm.serializers.model_files import require_sizes
from rnnlm.training import mixed_precision, plotting
from rnnlm.training.averaging import WeightAverage
from rnnlm.training.best_model import BestModel
from rnnlm.training.evaluator import (
    PerplexityEvaluator, evaluate_perplexities, make_classifier)
from rnnlm.training.extensions import Log, Snapshot, add_perplexity
from rnnlm.training.learning_rate import LearningRateDecay, rate_name
from rnnlm.training.run import run
from rnnlm.training.triggers import EpochsTrigger, ReportTrigger, SnapshotTrigger

# Number of words counted at a time.
COUNTED = 2 ** 22


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """The objects of a run in this process.

    Attributes:
        trainer: Chainer's trainer, with all extensions.
        validation: The evaluator on the validation text.
        best: The model with the lowest validation loss so far.
    """
    trainer: training.Trainer
    validation: PerplexityEvaluator
    best: BestModel

    @property
    def classifier(self) -> chainer.Link:
        """The model with its loss, which is trained."""
        return self.trainer.updater.get_optimizer('main').target

    def load_best(self) -> None:
        """Loads the parameters of the best model."""
        self.best.load()


def train(corpus: Corpus, recipe: Recipe, *, out: str = 'result',
          device: Union[int, str] = -1, seed: Optional[int] = None,
          init_from: Union[str, InitialModel, None] = None,
          resume: Optional[str] = None, overwrite: bool = False,
          progress_bar: bool = False, save_every: float = 10.0, on_nan: str = 'stop',
          group: Group = SINGLE_PROCESS) -> Dict[str, Any]:
    """Trains an `RNNForLM` on a corpus and writes the results to `out`.

    `out` then contains ``model.npz``, ``vocabulary.json``, ``run.json``, the ``log``,
    the last two snapshots, ``perplexity.png`` if matplotlib is installed, and
    ``result.json`` if the run was completed.

    Args:
        corpus: The text.
        recipe: Sizes and rates.
        out: The output folder.
        device: As for `rnnlm.devices.get_device`.
        seed: Random seed; None keeps the current random state.
        init_from: A trained model to start from: the folder of a run, or a model file.
            The corpus must be encoded with its vocabulary, which may be extended at the
            end, and the recipe must have its sizes.
        resume: Snapshot to resume, including its random state; or a folder for the
            newest one in it.  A changed recipe takes effect from there; the model, the
            optimizer and the precision cannot be changed.
        overwrite: Whether an earlier run in `out` may be deleted.
        progress_bar: Whether to show a progress bar on standard output.
        save_every: Minutes between snapshots, which are also written after each epoch;
            0 for one after every window.
        on_nan: What to do at NaN or infinity in the loss or the gradient: 'stop' ends
            the run; 'rollback' resumes the last snapshot with half the learning rate.
        group: The processes that train together; all of them must call this function.

    Returns:
        A dict with 'signal', the number of the signal that ended the run, or 0.  After
        a signal it also has 'snapshot', the path of the snapshot.  After a completed
        run it has 'valid' and 'test', the perplexities of the model with the lowest
        validation perplexity, which is ``model.npz``; 'valid_unknown' and
        'test_unknown', the fractions of ``<unk>``; 'valid_known' and 'test_known', the
        perplexities without them; 'limit', the lowest possible perplexity or None; and
        'tokens', 'word' or 'char'.

    Raises:
        rnnlm.errors.InputError: If an argument is invalid; nothing has been trained or
            written then.
        rnnlm.errors.NotFinite: If the loss, a gradient or a parameter is NaN or
            infinite, and `on_nan` is 'stop' or lower learning rates did not help.
        OSError: If a file cannot be written at the end.
        rnnlm.errors.ProcessLost: If a process of the group is lost.
    """
    require('on_nan', on_nan, "'stop' or 'rollback'",
            lambda v: v in ('stop', 'rollback'))
    require('save_every', save_every, 'minutes, at least 0', lambda v: v >= 0)
    reading.require_readable(corpus, recipe, group)
    initial = None
    if init_from is not None:
        require('init_from', resume, 'no resume with it', lambda v: v is None)
        initial = group.on_all(lambda: initial_model(init_from))
        initial.check(corpus, recipe)
    used_device = group.on_all(lambda: get_device(group.device(device)))
    used_device.use()
    if seed is not None:
        numpy.random.seed(seed)
        used_device.xp.random.seed(seed)
    random = group.on_root(numpy.random.get_state)
    group.require_same('corpus', fingerprint(corpus, recipe))

    def make() -> TrainingRun:
        numpy.random.set_state(random)
        made = make_training_run(
            corpus, recipe, out=out, device=used_device, progress_bar=progress_bar,
            save_every=save_every, initial=initial, group=group)
        group.broadcast(made.classifier)
        group.separate_random_streams()
        if group.is_root:
            made.trainer.extend(results.History(computed, None if resume else seed))
        return made

    # NaN and infinity end the run with an error, which says more than NumPy's warnings.
    with contextlib.ExitStack() as stack, recipe.computing(), \
            numpy.errstate(over='ignore', invalid='ignore'):
        group.on_root(lambda: stack.enter_context(run_folder.locked(out)))
        computed = new_run.computed_by(used_device)
        described = RunDescription.of(corpus, recipe, computed, seed,
                                      initial.describe(corpus) if initial else None)
        snapshot: Optional[str] = None
        notes: List[str] = []
        if resume:
            snapshot = group.on_root(lambda: _snapshot_of(resume, corpus, recipe))
            described, notes = group.on_root(
                lambda: resuming.describe(snapshot, described))
        current = group.on_all(make)
        if snapshot is not None:
            group.on_all(lambda: resuming.resume(
                snapshot, current.trainer, described))
            resuming.require_rest(current.trainer, recipe, described)
            group.on_root(lambda: new_run.prepare_to_resume(
                out, snapshot, corpus, described, current.trainer.updater.iteration))
        else:
            group.on_root(lambda: new_run.begin(out, corpus, described, overwrite))
        if initial:
            notes = [initial.summary(corpus, recipe.sentences)]
        introduce(corpus, recipe, current.trainer, snapshot, used_device, notes,
                  described.began is not None)
        if on_nan == 'rollback':
            current, signal, last = resuming.run_with_rollbacks(
                current, make, snapshot, described)
        else:
            signal, last = run(current.trainer)
        if signal:
            if group.is_root:
                with best_effort(current.best.path):
                    current.best.write()
            windows = counted(current.trainer.updater.iteration, 'window')
            say(f'stopped  after {windows}; written: {last}')
            return {'signal': signal, 'snapshot': last}
        _say_early(current.trainer)

        group.on_root(current.load_best)
        group.broadcast(current.best.target)
        result = {'signal': 0, 'limit': corpus.perplexity_limit,
                  'tokens': corpus.tokens}
        test = reading.evaluator_of(corpus, 'test', recipe, current.best.target, group)
        for part, evaluator in ('valid', current.validation), ('test', test):
            result[part], result[f'{part}_known'] = evaluate_perplexities(evaluator)
            result[f'{part}_unknown'] = corpus.unknown_rate(part)
            if not result[f'{part}_unknown']:
                result[f'{part}_known'] = result[part]
        if recipe.sentences:
            result['sentences'] = True
        group.on_root(lambda: results.write(current.trainer, corpus, result))
        group.on_root(lambda: _plot_test(current.trainer, result))
        return result


def _plot_test(trainer: training.Trainer, result: Dict[str, Any]) -> None:
    """Draws the training curve again, with the test result."""
    for entry in trainer._extensions.values():
        if isinstance(entry.extension, plotting.PerplexityPlot):
            entry.extension.test = result['test']
            with best_effort(entry.extension.file_name):
                entry.extension.finish(trainer)


def _snapshot_of(resume: str, corpus: Corpus, recipe: Recipe) -> str:
    """Returns the snapshot to resume, after checking that the model's sizes match."""
    with about('resume'):
        snapshot = check_resumable(resume, corpus, recipe)
        require_sizes(
            snapshot, n_vocab=len(corpus.vocabulary), n_embed=recipe.n_embed,
            n_units=recipe.n_units, n_layers=recipe.n_layers, tied=recipe.tied,
            softmax=recipe.softmax, cutoffs=recipe.cutoffs)
    return snapshot


def _say_early(trainer: training.Trainer) -> None:
    """Says why a run ended before its last epoch, if it did."""
    stop = trainer.stop_trigger
    if trainer.updater.epoch < stop.epochs:
        say(f'stopped  after epoch {trainer.updater.epoch}: no lower validation '
            f'perplexity for {counted(stop.patience, "epoch")}')


def make_training_run(
        corpus: Corpus, recipe: Recipe, *, out: str, device: Any,
        progress_bar: bool = False, save_every: float = 10.0,
        initial: Optional[InitialModel] = None,
        group: Group = SINGLE_PROCESS) -> TrainingRun:
    """Creates the trainer with a new model, as used by `train`.

    Args:
        corpus, recipe, out, progress_bar, save_every, group: As for `train`.
        device (chainer.backend.Device): The device.
        initial: The model to start from, if any.
    """
    if len(corpus.train) < recipe.batch_size:
        raise InputError(
            f'expected at least one word for each of the {recipe.batch_size} streams, '
            f'found {len(corpus.train)} words; use a smaller batch size or a longer '
            'text', 'batch_size')
    model = make_model(corpus, recipe)
    classifier = make_classifier(initial.fill(model) if initial else model)
    classifier.to_device(device)
    optimizer = (chainer.optimizers.SGD(lr=recipe.lr) if recipe.optimizer == 'sgd'
                 else chainer.optimizers.Adam(alpha=recipe.lr)).setup(classifier)
    if chainer.config.dtype == chainer.mixed16:  # by the recipe, or CHAINER_DTYPE
        mixed_precision.set_up_mixed(optimizer, recipe.gradclip)
    else:
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))
    updater = reading.make_updater(corpus, recipe, optimizer, device, group)
    trainer = training.Trainer(updater, EpochsTrigger(
        recipe.epochs, recipe.patience), out=out)

    path = os.path.join(out, run_folder.MODEL)
    if recipe.average:
        average = WeightAverage(
            classifier, recipe.average * updater.windows_per_epoch)
        trainer.extend(average)
        best = BestModel(average.averaged, path, saved_as=average)
    else:
        best = BestModel(classifier, path)
    validation = reading.evaluator_of(corpus, 'valid', recipe, best.target, group)
    trainer.extend(validation)
    trainer.extend(_StopDiverged())
    trainer.extend(LearningRateDecay(
        recipe.decay, recipe.decay_after, recipe.plateau_decay))
    trainer.extend(Snapshot(), trigger=SnapshotTrigger(
        60 * save_every, group.clock))
    if not group.is_root:  # rank 0 prints and writes
        return TrainingRun(trainer, validation, best)
    trainer.extend(best)
    trainer.extend(extensions.observe_value('lr', _rate))
    words = len(corpus.train) / updater.windows_per_epoch
    report = ReportTrigger(recipe.log_interval or (
        500 if updater.windows_per_epoch > 1000 else None))
    trainer.extend(Log(report, _Postprocess(words, corpus)))
    trainer.extend(extensions.PrintReport(
        columns(corpus), out=Console()), trigger=report)
    if progress_bar:
        trainer.extend(ProgressBar(
            recipe.epochs, len(corpus.train), unit=corpus.unit))
    if plotting.available():
        trainer.extend(plotting.PerplexityPlot(
            corpus.perplexity_limit, unit=corpus.unit,
            unknown=corpus.unknown_rate('valid')))
    return TrainingRun(trainer, validation, best)


def make_model(corpus: Corpus, recipe: Recipe) -> LanguageModel:
    """Creates the model of a recipe for a corpus.

    An adaptive softmax ranks the words by their counts in the training text.
    """
    n_vocab = len(corpus.vocabulary)
    sizes = (n_vocab, recipe.n_units, recipe.n_layers, recipe.dropout,
             recipe.init_scale, recipe.n_embed)
    if recipe.softmax == 'full':
        return RNNForLM(*sizes, recipe.tied)
    counts = numpy.zeros(n_vocab, dtype='i8')
    for start in range(0, len(corpus.train), COUNTED):  # it may not fit into memory
        counts += numpy.bincount(
            corpus.train[start:start + COUNTED], minlength=n_vocab)
    return adaptive_model(*sizes, recipe.cutoffs, counts)


def _rate(trainer: training.Trainer) -> float:
    """Returns the current learning rate; for Adam, alpha."""
    optimizer = trainer.updater.get_optimizer('main')
    return float(getattr(optimizer, rate_name(optimizer)))


class _StopDiverged(training.Extension):
    """Trainer extension that ends a run whose validation perplexity overflows.

    The losses are still finite, but the model is useless, so it is not saved.
    """
    trigger = 1, 'epoch'
    priority = training.PRIORITY_EDITOR  # after evaluation, before writing

    def __call__(self, trainer: training.Trainer) -> None:
        loss = float(trainer.observation.get('validation/main/loss', 0.0))
        with numpy.errstate(over='ignore'):
            if numpy.exp(loss) < numpy.inf:
                return
        raise NotFinite(
            f'window {trainer.updater.iteration}: expected a finite perplexity in '
            f'validation, found a loss of {loss:g} per word at the learning rate '
            f'{_rate(trainer):g}: the training diverged.  Lower the learning rate')


class _Postprocess:
    """Adds the perplexities and the speed to an entry of the log."""

    def __init__(self, words: float, corpus: Corpus) -> None:
        self._words = words  # of a window
        self._last = 0, 0.0
        self._speed = f'{corpus.unit}s/s'
        self._rates = {
            name: corpus.unknown_rate(part)
            for name, part in (('unknown', 'train'), ('val_unknown', 'valid'))
            if corpus.vocabulary.unknown is not None}

    def __call__(self, result: Dict[str, Any]) -> None:
        add_perplexity(result)
        now = result['iteration'], result['elapsed_time']
        windows, seconds = (b - a for a, b in zip(self._last, now))
        self._last = now
        result[self._speed] = round(windows * self._words / max(seconds, 1e-9))
        for name, rate in self._rates.items():
            result[name] = round(rate, 6)
