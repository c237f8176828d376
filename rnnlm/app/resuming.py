"""Resuming a run: from a snapshot, with changed options, after NaN."""
import os
from typing import Any, Callable, List, Optional, Tuple

from chainer import training

from rnnlm.app import new_run
from rnnlm.app.console import say
from rnnlm.app.description import RunDescription
from rnnlm.app.recipes import Recipe, flag_of
from rnnlm.errors import InputError, NotFinite, counted
from rnnlm.serializers import snapshot_files
from rnnlm.serializers.snapshot_files import newest_snapshot, window_in
from rnnlm.training.run import run

# The smallest factor of a snapshot's learning rate that is tried before giving up.
LEAST_FACTOR = 1e-3


def describe(snapshot: str, now: RunDescription) -> Tuple[RunDescription, List[str]]:
    """Returns the description of a resumed run, and messages about what changed."""
    before = RunDescription.load(os.path.dirname(snapshot))
    if before is None:
        return now, []
    window = window_in(snapshot) or 0
    described = before.resumed_at(now, window)
    notes = [f'{flag_of(name)}: {values[0]} before, now {values[1]}'
             for change in described.changes if change['window'] == window
             for name, values in change['recipe'].items()]
    return described, notes + [
        f'{what}; the numbers differ by rounding'
        for what in new_run.changes(before.computed, now.computed)]


def resume(snapshot: str, trainer: training.Trainer,
           described: RunDescription) -> None:
    """Resumes a snapshot, and applies the options changed since it was written.

    Args:
        snapshot: Its path.
        trainer: A trainer made from the current recipe of the run.
        described: The description of the run, with its changes.
    """
    snapshot_files.resume(snapshot, trainer)
    for change in described.changes:
        recipe = change['recipe']
        if change['window'] >= trainer.updater.iteration and (
                not {'lr', 'decay', 'decay_after'}.isdisjoint(recipe)):
            decay = trainer.get_extension('LearningRateDecay')
            decay.apply_changes(
                trainer, recipe.get('decay', [decay.decay])[0],
                recipe.get('decay_after', [decay.after_epoch])[0],
                recipe['lr'][1] if 'lr' in recipe else None)


def require_rest(trainer: training.Trainer, recipe: Recipe,
                 described: RunDescription) -> None:
    """Refuses changed options if the resumed run has nothing left to train.

    They would be recorded although they had no effect.

    Raises:
        rnnlm.errors.InputError: If there are such options, or fewer epochs than the run
            has trained.
    """
    done = trainer.updater.epoch
    changed = [name for change in described.changes
               if change['window'] == trainer.updater.iteration
               for name in change['recipe']]
    if 'epochs' in changed and recipe.epochs < done:
        raise InputError(f'expected at least {done}, the epochs that the run has '
                         f'trained, found {recipe.epochs}', 'epochs')
    flags = [flag_of(name) for name in changed if name != 'epochs']
    if flags and trainer.stop_trigger(trainer):
        raise InputError(
            f'{", ".join(flags)}: expected a run that is not complete, found one of '
            f'{counted(done, "epoch")}; train on with --epoch {done + 1} or more')


def run_with_rollbacks(made: Any, make: Callable[[], Any],
                       origin: Optional[str], described: RunDescription
                       ) -> Tuple[Any, int, Optional[str]]:
    """Trains; at NaN or infinity, resumes the last snapshot at half the learning rate.

    Args:
        made: The `rnnlm.app.experiment.TrainingRun`.
        make: Function that returns a new one, as it was at the start.
        origin: The snapshot that was resumed, or None.
        described: The description of the run.

    Returns:
        tuple: The run that was completed or stopped; signal and snapshot as returned by
        `rnnlm.run`.

    Raises:
        rnnlm.errors.NotFinite: If training fails from a snapshot at every learning rate
            down to `LEAST_FACTOR`.
    """
    last, factor = None, 1.0
    group = made.trainer.updater.group
    while True:
        trainer, best = made.trainer, made.best
        try:
            signal, snapshot = run(trainer)
            return made, signal, snapshot
        except NotFinite as e:
            if e.signal:
                raise
            newest = group.on_root(lambda: newest_or(trainer.out, origin))
            factor = factor / 2 if factor < 1 and newest == last else 0.5
            if factor < LEAST_FACTOR:
                raise
            last, made = newest, make()
            trainer = made.trainer
            if newest is not None:
                group.on_all(lambda: resume(newest, trainer, described))
            made.best.take_over(best)
            trainer.get_extension('LearningRateDecay').scale(trainer, factor)
            say(f'         {e}\nrollback to {newest or "the start"}; learning rate '
                f'multiplied by {factor:g}')


def newest_or(folder: str, origin: Optional[str]) -> Optional[str]:
    """Returns the newest undamaged snapshot in a folder; `origin` if there is none."""
    try:
        return newest_snapshot(folder)
    except InputError:
        return origin
