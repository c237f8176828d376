"""The folder of a run: what it holds, and whether another one may use it."""
import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import stat
from typing import Any, Dict, Iterator, Optional, Tuple

import filelock
import numpy

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, is_integer, require, short_repr
from rnnlm.serializers import reading
from rnnlm.serializers.atomic import make_folder, remove_parts, writing
from rnnlm.serializers.snapshot_files import newest_snapshot, snapshots_in

MODEL = 'model.npz'
VOCABULARY = 'vocabulary.json'
RUN = 'run.json'
RESULT = 'result.json'
LOG = 'log'
PICTURE = 'perplexity.png'
LOCK = '.lock'

logger = logging.getLogger(__name__)

# What some network file systems answer.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)

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
        text: Hexadecimal digits of the SHA-256 of all ids; None if a version that did
            not keep it wrote the file.
        source: Arguments of `rnnlm.data.corpus.load` that load the corpus: 'corpus',
            'tokens', 'vocab_limit', and since there are such 'min_count' and
            'vocabulary'; empty if they are not known.
        recipe: The recipe.
        computed: What computed it, by name; empty if that is not known.
    """
    corpus: str
    tokens: str
    training_words: int
    vocabulary: str
    text: Optional[str]
    source: Dict[str, Any]
    recipe: Recipe
    computed: Dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, corpus: Corpus, recipe: Recipe,
           computed: Optional[Dict[str, str]] = None) -> 'RunDescription':
        return cls(corpus.name, corpus.tokens, len(corpus.train),
                   hash_of_vocabulary(corpus.vocabulary), hash_of_text(corpus),
                   corpus.source or {}, recipe, computed or {})

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
        text, computed = found.get('text'), found.get('computed by')
        for name in 'corpus', 'vocabulary':
            require(name, found.get(name), 'a string', lambda v: isinstance(v, str))
        require('tokens', found.get('tokens'), "'word' or 'char'",
                lambda v: v in ('word', 'char'))
        require('training words', found.get('training words'), 'a count',
                lambda v: is_integer(v) and v >= 0)
        require('source', source, 'a corpus, its tokens and vocab_limit',
                lambda v: v in (None, {}) or _is_source(v))
        require('recipe', recipe, 'a JSON object', lambda v: isinstance(v, dict))
        require('text', text, 'a string', lambda v: v is None or isinstance(v, str))
        require('computed by', computed, 'a JSON object of strings',
                lambda v: v is None or isinstance(v, dict) and all(
                    isinstance(one, str) for one in v.values()))
        # A field that is younger than the run has its default, as it had in effect;
        # those of a later version are not known here.
        known = {field.name for field in dataclasses.fields(Recipe)}
        fields = {name: recipe[name] for name in known.intersection(recipe)}
        return cls(found['corpus'], found['tokens'], found['training words'],
                   found['vocabulary'], text, source or {}, Recipe(**fields),
                   computed or {})

    def to_json(self) -> Dict[str, Any]:
        """The fields as the file has them."""
        return {'corpus': self.corpus, 'tokens': self.tokens,
                'training words': self.training_words, 'vocabulary': self.vocabulary,
                'text': self.text, 'source': self.source or None,
                'recipe': dataclasses.asdict(self.recipe),
                'computed by': self.computed or None}

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return json.dumps(self.to_json(), indent=1).encode()

    def save(self, folder: str) -> None:
        """Writes the file, atomically.

        Raises:
            OSError: if it cannot be written.
        """
        with writing(os.path.join(folder, RUN), follow=False) as f:
            f.write(self.to_bytes())


def hash_of_vocabulary(vocabulary: Vocabulary) -> str:
    """16 hexadecimal digits of the SHA-256 of the tokens in their order."""
    words = '\n'.join(vocabulary.words).encode('utf-8', 'surrogatepass')
    return hashlib.sha256(words).hexdigest()[:16]


def hash_of_text(corpus: Corpus) -> str:
    """64 hexadecimal digits of the SHA-256 of the three parts' ids."""
    digest = hashlib.sha256()
    for part in corpus.train, corpus.valid, corpus.test:
        digest.update(f'{len(part)} '.encode())
        digest.update(numpy.ascontiguousarray(part, '<i4').data)
    return digest.hexdigest()


def _is_source(value: Any) -> bool:
    paths, vocabulary = value['corpus'], value.get('vocabulary')
    if isinstance(paths, str):
        paths = [paths]
    counts = value['vocab_limit'], value.get('min_count')
    return (isinstance(paths, list) and paths != []
            and all(isinstance(path, str) for path in paths)
            and value['tokens'] in ('word', 'char')
            and all(count is None or is_integer(count) for count in counts)
            and (vocabulary is None or isinstance(vocabulary, str)))


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
    if _is_link(path):  # some releases of filelock empty what they lock
        raise InputError(f'{path}: expected a file or nothing, found a link; delete it')
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f'{folder}: expected a folder that no other run is writing to, found one '
            'that is; wait until it ends, or choose another folder with --out'
        ) from None
    except (NotImplementedError, OSError) as e:
        if isinstance(e, OSError) and e.errno not in _NO_LOCKS:
            raise InputError(
                f'{path}: expected a file that can be locked, found: {e.strerror}; '
                'delete it, or choose another folder with --out') from None
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


def _is_link(path: str) -> bool:
    """Whether what is written to a file would be seen under another name too."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode) or (
        stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and found.st_size > 0)


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
            # The same text may have come from elsewhere; runs of before kept no hash.
            if (name in MAY_CHANGE or name in ('source', 'computed by')
                    or before[name] == after[name]
                    or name == 'text' and before[name] is None):
                continue
            if name == 'text':
                raise InputError(
                    f'{corpus.name}: expected the text of the run to be resumed '
                    f'({os.path.join(folder, RUN)}), found one with as many words but '
                    'other ones; resume with that text, or begin a new run')
            raise InputError(
                f'expected {short_repr(before[name])}, as in the run to be resumed '
                f'({os.path.join(folder, RUN)}), found {short_repr(after[name])}; '
                f'{MAY_CHANGE_TEXT}', name)
    return snapshot


def fingerprint(corpus: Corpus, recipe: Recipe) -> str:
    """A string that is the same for runs on the same text with the same recipe."""
    description = RunDescription.of(corpus, recipe).to_json()
    del description['source']
    return json.dumps(description)


def folder_of(path: str) -> str:
    """The folder of a run, given it or a file in it."""
    return path if os.path.isdir(path) else os.path.dirname(path)


def by_sentences(path: str) -> bool:
    """Whether a model was trained on each sentence from a fresh state.

    Args:
        path: As of `find_model`.
    """
    described = _described(path)
    return described is not None and described.recipe.sentences


def dropout_of(path: str) -> Optional[float]:
    """The dropout that a model was trained with; None if no run.json says it.

    Args:
        path: As of `find_model`.
    """
    described = _described(path)
    return described.recipe.dropout if described else None


def _described(path: str) -> Optional[RunDescription]:
    """The description of the run of a model, which may be a link into its folder."""
    return (RunDescription.load(folder_of(path))
            or RunDescription.load(os.path.dirname(os.path.realpath(path))))


def find_file(path: str) -> str:
    """The file with the parameters: `path`, or that in the folder of a run.

    Raises:
        rnnlm.errors.InputError: if there is none.
    """
    if not os.path.exists(path):
        raise InputError(
            f'{path}: expected the folder of a run or a model file, found nothing '
            "there; 'rnnlm train' makes a model")
    if os.path.exists(os.path.join(path, MODEL)):
        return os.path.join(path, MODEL)
    if os.path.isdir(path) and not snapshots_in(path):
        raise InputError(
            f'{path}: expected the folder of a run, found one without {MODEL} and '
            "without a snapshot; 'rnnlm train' makes a model")
    return newest_snapshot(path) if os.path.isdir(path) else path


def find_model(path: str) -> Tuple[str, Optional[Vocabulary]]:
    """Finds the files that a trained model consists of.

    Args:
        path (str): the folder of a run, or a model or snapshot file.

    Returns:
        tuple: path of the file with the parameters: in a folder ``model.npz``, or
        while there is none the newest whole snapshot; and the `Vocabulary` beside it,
        or None.

    Raises:
        rnnlm.errors.InputError: if there is neither, or the vocabulary is not that of
            the run.
    """
    path = find_file(path)
    # Beside the file; else, if it is a link to one in the folder of a run, there.
    folders = [os.path.dirname(path), os.path.dirname(os.path.realpath(path))]
    for folder in folders:
        beside = os.path.join(folder, VOCABULARY)
        if os.path.exists(beside):
            break
    else:
        return path, None
    vocabulary = Vocabulary.load(beside)
    described = RunDescription.load(folder)
    if described and described.vocabulary != hash_of_vocabulary(vocabulary):
        raise InputError(
            f'{beside}: expected the vocabulary of the run ({RUN} beside it), found '
            'another one; put back the file that the run wrote, which a --resume '
            'does too')
    if described:  # that of an old run does not say it, and is guessed
        vocabulary.tokens = described.tokens
    return path, vocabulary


def make(folder: str) -> None:
    """Makes a folder unless it exists.

    Raises:
        rnnlm.errors.InputError: if it cannot be made or written to.
    """
    reason: Optional[str]
    try:
        make_folder(folder)
        reason = None if os.access(folder, os.W_OK) else 'no permission to write'
    except (OSError, ValueError) as e:  # of a name with a NUL
        reason = getattr(e, 'strerror', None) or str(e)
    if reason:
        raise InputError(
            f'{folder}: expected a folder that can be written, found: {reason}; choose '
            'another one with --out')
