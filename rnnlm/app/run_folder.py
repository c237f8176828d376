"""The folder of a run: what it holds, and whether another one may use it."""
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from typing import Any, Dict, Iterator, Optional, Tuple

import filelock
import numpy

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, is_integer, require, short_repr
from rnnlm.serializers import reading
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

# Fields of the recipe that may be changed when a run is resumed, and in words.
MAY_CHANGE = ('epochs', 'dropout', 'gradclip', 'bprop_len')
MAY_CHANGE_TEXT = ('only the number of epochs, dropout, gradient clipping and the BPTT '
                   'length may be changed')


@dataclasses.dataclass(frozen=True)
class RunDescription:
    """What a run trains on and how: ``run.json`` in its folder.

    Attributes:
        corpus: Name of the corpus.
        tokens: 'word' or 'char'.
        training_words: Tokens of the training text.
        vocabulary: 16 hexadecimal digits of the SHA-256 of the vocabulary.
        source: Arguments of `rnnlm.data.corpus.load` that load the corpus: 'corpus',
            'tokens' and 'vocab_limit'; empty if they are not known.
        recipe: The recipe.
    """
    corpus: str
    tokens: str
    training_words: int
    vocabulary: str
    source: Dict[str, Any]
    recipe: Recipe

    @classmethod
    def of(cls, corpus: Corpus, recipe: Recipe) -> 'RunDescription':
        words = '\n'.join(corpus.vocabulary.words).encode('utf-8', 'surrogatepass')
        return cls(corpus.name, corpus.tokens, len(corpus.train),
                   hashlib.sha256(words).hexdigest()[:16], corpus.source or {}, recipe)

    @classmethod
    def load(cls, folder: str) -> Optional['RunDescription']:
        """The description in the folder of a run; None if there is none.

        Raises:
            rnnlm.errors.InputError: if the file is damaged, or has values that a run
                cannot have.
        """
        path = os.path.join(folder, RUN)
        if not os.path.exists(path):
            return None
        found = reading.read_json(path, 'the description of a run')
        try:
            return cls._from_json(found)
        except InputError as e:
            raise InputError(f'{path}: {e}') from None

    @classmethod
    def _from_json(cls, found: Any) -> 'RunDescription':
        """Checks all of it: a file can hold anything."""
        require('run', found, 'a JSON object', lambda v: isinstance(v, dict))
        source, recipe = found.get('source'), found.get('recipe')
        for name in 'corpus', 'vocabulary':
            require(name, found.get(name), 'a string', lambda v: isinstance(v, str))
        require('tokens', found.get('tokens'), "'word' or 'char'",
                lambda v: v in ('word', 'char'))
        require('training words', found.get('training words'), 'a count',
                lambda v: is_integer(v) and v >= 0)
        require('source', source, 'a corpus, its tokens and vocab_limit',
                lambda v: v in (None, {}) or _is_source(v))
        require('recipe', recipe, 'a JSON object', lambda v: isinstance(v, dict))
        # A field that is younger than the run has its default, as it had in effect;
        # those of a later version are not known here.
        known = {field.name for field in dataclasses.fields(Recipe)}
        fields = {name: recipe[name] for name in known.intersection(recipe)}
        return cls(found['corpus'], found['tokens'], found['training words'],
                   found['vocabulary'], source or {}, Recipe(**fields))

    def to_json(self) -> Dict[str, Any]:
        """The fields as the file has them."""
        return {'corpus': self.corpus, 'tokens': self.tokens,
                'training words': self.training_words, 'vocabulary': self.vocabulary,
                'source': self.source or None,
                'recipe': dataclasses.asdict(self.recipe)}

    def save(self, folder: str) -> None:
        """Writes the file, atomically.

        Raises:
            OSError: if it cannot be written.
        """
        with writing(os.path.join(folder, RUN)) as f:
            f.write(json.dumps(self.to_json(), indent=1).encode())


def _is_source(value: Any) -> bool:
    return (isinstance(value['corpus'], str) and value['tokens'] in ('word', 'char')
            and (value['vocab_limit'] is None or is_integer(value['vocab_limit'])))


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
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
            'that is; wait until it ends, or choose another folder with --out'
        ) from None
    except (NotImplementedError, OSError) as e:  # some network file systems
        logger.warning('%s: cannot be locked (%s); make sure that no other run writes '
                       'to it', folder, e)
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


def begin(folder: str, corpus: Corpus, recipe: Recipe,
          overwrite: bool = False) -> None:
    """Makes the folder of a new run, and writes its description and vocabulary there.

    Args:
        folder (str): where; made if it is not there.
        corpus: `rnnlm.data.corpus.Corpus`.
        recipe: `rnnlm.app.recipes.Recipe`.
        overwrite (bool): whether an earlier run in it may be deleted.

    Raises:
        InputError: if it cannot be written, or holds a run that may not go.
    """
    make(folder)
    old = [name for name in sorted(os.listdir(folder)) if _is_result(name)]
    if old and not overwrite:
        raise InputError(
            f'{folder}: expected a folder without a run, found {", ".join(old[:3])}'
            f'{", ..." if len(old) > 3 else ""}; continue that run with '
            '--resume, choose another folder with --out, or delete it with --overwrite')
    for name in old:
        os.unlink(os.path.join(folder, name))
    _describe(folder, corpus, recipe)


def _describe(folder: str, corpus: Corpus, recipe: Recipe) -> None:
    corpus.vocabulary.save(os.path.join(folder, VOCABULARY))
    RunDescription.of(corpus, recipe).save(folder)


def prepare_to_resume(folder: str, snapshot: str, corpus: Corpus,
                      recipe: Recipe) -> None:
    """Prepares a folder for a run that resumes a snapshot, there or elsewhere.

    Args:
        folder (str): where the resumed run writes; it exists.
        snapshot (str): snapshot file.
        corpus, recipe: as of `begin`.

    Raises:
        InputError: if the folder has newer snapshots, or the run of another folder.
    """
    origin = os.path.dirname(snapshot) or '.'
    if os.path.samefile(origin, folder):
        number = snapshot_number(snapshot)
        newer = [path for path in snapshots_in(folder) if number is not None
                 and (snapshot_number(path) or 0) > number]
        for path in newer:
            if is_whole(path):
                raise InputError(
                    f'{snapshot}: expected the newest snapshot of its folder, found '
                    f'{path}; resume that one, choose another folder with --out, or '
                    'delete it')
        _describe(folder, corpus, recipe)
        return
    begin(folder, corpus, recipe)
    best = os.path.join(origin, MODEL)
    if os.path.exists(best):
        with open(best, 'rb') as source, writing(os.path.join(folder, MODEL)) as f:
            shutil.copyfileobj(source, f)


def check_resumable(snapshot: str, corpus: Corpus, recipe: Recipe) -> str:
    """Refuses to resume a run on another text or with another recipe.

    Args:
        snapshot (str): snapshot file, or a folder for its newest whole one.  It is
            compared with the description beside it; without one there is nothing to
            compare.
        corpus, recipe: of the resumed run.

    Returns:
        str: the snapshot file.

    Raises:
        rnnlm.errors.InputError: if there is no snapshot, or the runs differ in more
            than `MAY_CHANGE`.
    """
    if os.path.isdir(snapshot):
        snapshot = newest_snapshot(snapshot)
    folder = os.path.dirname(snapshot)
    earlier = RunDescription.load(folder)
    if earlier is None:
        return snapshot
    then, now = earlier.to_json(), RunDescription.of(corpus, recipe).to_json()
    recipe_then, recipe_now = then.pop('recipe'), now.pop('recipe')
    for before, after in (then, now), (recipe_then, recipe_now):
        for name in after:
            # The same text may have come from elsewhere.
            if name in MAY_CHANGE or name == 'source' or before[name] == after[name]:
                continue
            raise InputError(
                f'expected {short_repr(before[name])}, as in the run to be resumed '
                f'({os.path.join(folder, RUN)}), found {short_repr(after[name])}; '
                f'{MAY_CHANGE_TEXT}', name)
    return snapshot


def fingerprint(corpus: Corpus, recipe: Recipe) -> str:
    """A string that is the same for runs on the same text with the same recipe."""
    description = RunDescription.of(corpus, recipe).to_json()
    del description['source']
    texts = [hashlib.sha256(numpy.ascontiguousarray(part).data).hexdigest()
             for part in (corpus.train, corpus.valid, corpus.test)]
    return json.dumps([description, *texts])


def _is_result(name: str) -> bool:
    """Whether a file of a run took training to make."""
    return (name in (MODEL, LOG, PICTURE)
            or re.fullmatch(r'snapshot_iter_\d+', name) is not None)


def folder_of(path: str) -> str:
    """The folder of a run, given it or a file in it."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def find_model(path: str) -> Tuple[str, Optional[Vocabulary]]:
    """Finds the files that a trained model consists of.

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


def make(folder: str) -> None:
    """Makes a folder unless it exists.

    Raises:
        rnnlm.errors.InputError: if it cannot be made or written to.
    """
    reason: Optional[str]
    try:
        os.makedirs(folder, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else 'no permission to write'
    except OSError as e:
        reason = e.strerror
    if reason:
        raise InputError(
            f'{folder}: expected a folder that can be written, found: {reason}')
