"""The folder of a run: what it holds, and whether another one may use it."""
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil

import filelock
import numpy

from rnnlm.app.recipes import Recipe
from rnnlm.data.text import read_text
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, shown
from rnnlm.serializers.atomic import remove_parts, writing
from rnnlm.serializers.snapshot_files import (
    is_whole, newest_snapshot, snapshot_number, snapshots_in)

MODEL = 'model.npz'
VOCABULARY = 'vocabulary.json'
RUN = 'run.json'
LOG = 'log'
PICTURE = 'perplexity.png'
LOCK = '.lock'

logger = logging.getLogger(__name__)

# What a resumed run may have otherwise than it began with.
FREE = ('epochs', 'dropout', 'gradclip', 'bprop_len')


@contextlib.contextmanager
def locked(folder):
    """Keeps a folder for the run in it; the system lets go however the run ends.

    What a killed run left half written is deleted; and the folder itself, if it was
    made here and nothing came into it.

    Args:
        folder (str): where; made if it is not there.

    Raises:
        InputError: if it cannot be written, or another run is using it.
    """
    was_there = os.path.isdir(folder)
    make(folder)
    path = os.path.join(folder, LOCK)
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f'{folder}: expected a folder that no other run is writing to, found one '
            'that is; wait for its end, or choose another folder by --out') from None
    except (NotImplementedError, OSError) as e:  # some network file systems
        logger.warning('%s: cannot be locked (%s); see to it that no other run writes '
                       'into it', folder, e)
    try:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                remove_parts(folder)
        yield
    finally:
        with contextlib.suppress(OSError):
            if not was_there and os.listdir(folder) == [LOCK]:
                os.unlink(path)
                os.rmdir(folder)
        lock.release()
        if os.name == 'nt' and not was_there:  # there the lock goes only when let go
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # which leaves one alone that something is in


def begin(folder, corpus, recipe, overwrite=False):
    """Makes the folder of a new run, and notes there what it is a run of.

    Args:
        folder (str): where; made if it is not there.
        corpus: `rnnlm.data.corpus.Corpus`.
        recipe: `rnnlm.app.recipes.Recipe`.
        overwrite (bool): whether an earlier run in it may be deleted.

    Raises:
        InputError: if it cannot be written, or holds a run that may not go.
    """
    make(folder)
    old = [name for name in sorted(os.listdir(folder)) if _cost_time(name)]
    if old and not overwrite:
        raise InputError(
            f'{folder}: expected a folder without a run, found {", ".join(old[:3])}'
            f'{", ..." if len(old) > 3 else ""}; go on with that run by --resume, '
            'choose another folder by --out, or delete it by --overwrite')
    for name in old:
        os.unlink(os.path.join(folder, name))
    _note(folder, corpus, recipe)


def _note(folder, corpus, recipe):
    corpus.vocabulary.save(os.path.join(folder, VOCABULARY))
    with writing(os.path.join(folder, RUN)) as f:
        f.write(json.dumps(_describe(corpus, recipe), indent=1).encode())


def go_on(folder, snapshot, corpus, recipe):
    """Makes a folder ready for a run that goes on from a snapshot, there or elsewhere.

    Args:
        folder (str): where it goes on; it is there.
        snapshot (str): snapshot file.
        corpus, recipe: as of `begin`.

    Raises:
        InputError: if the folder has newer snapshots, or the run of another folder.
    """
    origin = os.path.dirname(snapshot) or '.'
    if os.path.samefile(origin, folder):
        number = snapshot_number(snapshot)
        for path in snapshots_in(folder) if number is not None else ():
            if snapshot_number(path) > number and is_whole(path):
                raise InputError(
                    f'{snapshot}: expected the newest snapshot of its folder, found '
                    f'{path}; go on with that one, choose another folder by --out, or '
                    'delete it')
        _note(folder, corpus, recipe)
        return
    begin(folder, corpus, recipe)
    best = os.path.join(origin, MODEL)
    if os.path.exists(best):
        with open(best, 'rb') as source, writing(os.path.join(folder, MODEL)) as f:
            shutil.copyfileobj(source, f)


def check_resumable(snapshot, corpus, recipe):
    """Refuses to go on with a run on another text or by another recipe.

    Args:
        snapshot (str): snapshot file, or a folder for its newest whole one; what
            `begin` noted is looked for beside it, and where it is missing nothing is
            known.
        corpus, recipe: of the run that wants to go on.

    Returns:
        str: the snapshot file.
    """
    if os.path.isdir(snapshot):
        snapshot = newest_snapshot(snapshot)
    path = os.path.join(os.path.dirname(snapshot), RUN)
    if not os.path.exists(path):
        return snapshot
    try:
        began = json.loads(read_text(path))
        # What a recipe did not have yet when the run began was as it is by default.
        recipe_then = {**dataclasses.asdict(type(recipe)()), **began.pop('recipe')}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise InputError(
            f'{path}: expected the description of a run in JSON, found something '
            'else') from None
    now = _describe(corpus, recipe)
    recipe_now = now.pop('recipe')
    for then, now in ((began, now), (recipe_then, recipe_now)):
        for name in now:
            if name not in FREE and name != 'source' and then.get(name) != now[name]:
                raise InputError(
                    f'{name}: expected {shown(then.get(name))}, that of the run to go '
                    f'on with ({path}), found {shown(now[name])}; what may differ: '
                    f'{", ".join(FREE)}')
    return snapshot


def recipe_of(folder):
    """dict: the recipe of the run in a folder; empty if nothing is known.

    Raises:
        rnnlm.errors.InputError: if it has values that a recipe cannot have.
    """
    path = os.path.join(folder, RUN)
    try:
        recipe = dict(json.loads(read_text(path))['recipe'])
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    known = {field.name for field in dataclasses.fields(Recipe)}
    try:
        Recipe(**{name: recipe[name] for name in known.intersection(recipe)})
    except InputError as e:
        raise InputError(f'{path}: {e}') from None
    return recipe


def source_of(folder):
    """dict: how to load the corpus of the run in a folder: `Corpus.source`.

    Returns:
        dict: arguments of `rnnlm.data.corpus.load`; empty if nothing is known.
    """
    try:
        source = dict(json.loads(read_text(os.path.join(folder, RUN)))['source'])
        return {name: source[name] for name in ('corpus', 'tokens', 'vocab_limit')}
    except (InputError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def fingerprint(corpus, recipe):
    """str: The same for runs on the same text by the same recipe."""
    description = _describe(corpus, recipe)
    del description['source']
    texts = [hashlib.sha256(numpy.ascontiguousarray(part)).hexdigest()
             for part in (corpus.train, corpus.valid, corpus.test)]
    return json.dumps([description, *texts])


def _describe(corpus, recipe):
    words = '\n'.join(corpus.vocabulary.words).encode('utf-8', 'surrogatepass')
    return {'corpus': corpus.name, 'tokens': corpus.tokens,
            'training words': len(corpus.train),
            'vocabulary': hashlib.sha256(words).hexdigest()[:16],
            'source': corpus.source,
            'recipe': dataclasses.asdict(recipe)}


def _cost_time(name):
    """Whether a file of a run took training to make."""
    return (name in (MODEL, LOG, PICTURE)
            or re.fullmatch(r'snapshot_iter_\d+', name) is not None)


def folder_of(path):
    """The folder of a run, given it or a file in it."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def find_model(path):
    """What a trained model needs.

    Args:
        path (str): the folder of a run, or a model or snapshot file.

    Returns:
        tuple: path of the file with the parameters: in a folder ``model.npz``, or
        while there is none the newest whole snapshot; and the `Vocabulary` beside it,
        or None.
    """
    folder = folder_of(path)
    if os.path.exists(os.path.join(path, MODEL)):
        path = os.path.join(path, MODEL)
    elif os.path.isdir(path):
        path = newest_snapshot(path)
    beside = os.path.join(folder, VOCABULARY)
    return path, Vocabulary.load(beside) if os.path.exists(beside) else None


def make(folder):
    """Makes a folder unless it is there; an InputError says why it cannot."""
    try:
        os.makedirs(folder, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else 'no permission to write'
    except OSError as e:
        reason = e.strerror
    if reason:
        raise InputError(
            f'{folder}: expected a folder that can be written, found: {reason}')
