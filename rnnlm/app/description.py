"""The description of a run (``run.json``), and checks before it is resumed."""
import dataclasses
import hashlib
import json
import os
from typing import Any, Dict, List, Optional, Tuple

from rnnlm.app.recipes import Recipe
from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, is_integer, require, short_repr
from rnnlm.serializers import reading
from rnnlm.serializers.atomic import writing
from rnnlm.serializers.snapshot_files import newest_snapshot

RUN = 'run.json'

# Fields of the recipe that may be changed when a run is resumed.
MAY_CHANGE = ('dropout', 'batch_size', 'bprop_len', 'epochs', 'lr', 'decay',
              'decay_after', 'gradclip', 'plateau_decay', 'patience', 'log_interval')


@dataclasses.dataclass(frozen=True)
class RunDescription:
    """Text, recipe and history of a run, the content of ``run.json``.

    Attributes:
        corpus: Name of the corpus.
        tokens: 'word' or 'char'.
        training_words: Tokens of the training text.
        vocabulary: 16 hexadecimal digits of the SHA-256 of the vocabulary.
        text: SHA-256 of all ids, in hexadecimal; None if the file was written by a
            version that did not store it.
        source: Arguments of `rnnlm.data.corpus.load` that load the corpus: 'corpus',
            'tokens', 'vocab_limit' and, unless an older version wrote the file,
            'min_count' and 'vocabulary'; empty if unknown.
        recipe: The current recipe, including changes made when resuming.
        computed: Device, library versions and BLAS, by name; empty if unknown.
        seed: Random seed; None if unknown.
        began: The model that the run started from, None for random weights: 'model',
            its path; 'weights', their SHA-256; 'vocabulary', 'kept' or 'extended'.
        changes: One dict for each resume with other values: 'window', and 'recipe', a
            dict of the changed fields, each with its values before and after.
        unknown: Entries of the recipe in the file that this version does not know.
    """
    corpus: str
    tokens: str
    training_words: int
    vocabulary: str
    text: Optional[str]
    source: Dict[str, Any]
    recipe: Recipe
    computed: Dict[str, str] = dataclasses.field(default_factory=dict)
    seed: Optional[int] = None
    began: Optional[Dict[str, str]] = None
    changes: List[Dict[str, Any]] = dataclasses.field(default_factory=list)
    unknown: Tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus, recipe: Recipe,
           computed: Optional[Dict[str, str]] = None, seed: Optional[int] = None,
           began: Optional[Dict[str, str]] = None) -> 'RunDescription':
        return cls(corpus.name, corpus.tokens, len(corpus.train),
                   hash_of_vocabulary(corpus.vocabulary), hash_of_text(corpus),
                   corpus.source or {}, recipe, computed or {}, seed, began)

    def require_known(self, path: str) -> None:
        """Refuses to train by a file with fields that this version does not know.

        Raises:
            rnnlm.errors.InputError: If there are such fields.
        """
        if self.unknown:
            names = ', '.join(map(short_repr, self.unknown[:3]))
            raise InputError(
                f'{path}: expected only fields of a recipe that this version knows, '
                f'found {names}; correct the name, or use the version of rnnlm that '
                'wrote the file')

    def other_text(self, now: 'RunDescription') -> Optional[str]:
        """Describes how a text differs from that of this run; None if it does not.

        The content is compared, so a file may be renamed or moved.  Older runs did not
        store hashes, and are compared by name and length.
        """
        if self.training_words != now.training_words:
            return (f'a text of {now.training_words:,} training tokens instead of '
                    f'{self.training_words:,}')
        if self.vocabulary != now.vocabulary:
            return 'a text with another vocabulary'
        if self.text is not None and self.text != now.text:
            return 'a different text of the same length'
        if self.text is None and self.corpus != now.corpus:
            return f'{short_repr(now.corpus)} instead of {short_repr(self.corpus)}'
        return None

    def recipe_at(self, window: int) -> Recipe:
        """Returns the recipe that was in effect when a snapshot was written."""
        before = {name: values[0] for change in reversed(self.changes)
                  if change['window'] >= window
                  for name, values in change['recipe'].items()}
        return dataclasses.replace(self.recipe, **before)

    def resumed_at(self, now: 'RunDescription', window: int) -> 'RunDescription':
        """Returns the description of this run after it is resumed at a window.

        Args:
            now: The description of the resumed run, without its history.
            window: The window of the snapshot.
        """
        before, after = (dataclasses.asdict(recipe) for recipe in (
            self.recipe_at(window), now.recipe))
        other = {name: [before[name], after[name]] for name in after
                 if before[name] != after[name]}
        changes = [change for change in self.changes if change['window'] < window]
        if other:
            changes.append({'window': window, 'recipe': other})
        return dataclasses.replace(
            now, seed=self.seed, began=self.began, changes=changes)

    @classmethod
    def load(cls, folder: str) -> Optional['RunDescription']:
        """Loads the description in the folder of a run; None if there is none.

        Raises:
            rnnlm.errors.InputError: If the file is damaged or contains invalid values.
        """
        path = os.path.join(folder, RUN)
        return cls.read(path) if os.path.exists(path) else None

    @classmethod
    def read(cls, path: str) -> 'RunDescription':
        """Loads the description in a file; raises `InputError` as `load` does."""
        found = reading.read_json(path, 'the description of a run')
        try:
            return cls._from_json(found)
        except InputError as e:
            raise InputError(f'{path}: {e}') from None

    @classmethod
    def _from_json(cls, found: Any) -> 'RunDescription':
        """Creates a description from JSON, and checks every value."""
        require('run', found, 'a JSON object', lambda v: isinstance(v, dict))
        source, recipe = found.get('source'), found.get('recipe')
        text, computed = found.get('text'), found.get('computed by')
        seed, began = found.get('seed'), found.get('init from')
        changes = found.get('changes', [])
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
        require('seed', seed, 'an integer or null',
                lambda v: v is None or is_integer(v) and 0 <= v < 2 ** 32)
        require('init from', began, 'a model, its weights and its vocabulary',
                lambda v: v is None or isinstance(v, dict) and all(
                    isinstance(v[name], str)
                    for name in ('model', 'weights', 'vocabulary')))
        require('changes', changes, 'a list of windows and recipes',
                lambda v: isinstance(v, list) and all(map(_is_change, v)))
        # A field added after the run was made gets its default, which was the behaviour
        # then.
        known = _known(recipe)
        described = cls(
            found['corpus'], found['tokens'], found['training words'],
            found['vocabulary'], text, source or {}, Recipe(**known),
            computed or {}, seed, began,
            [{**change, 'recipe': _known(change['recipe'])} for change in changes],
            tuple(name for name in recipe if name not in known))
        described.recipe_at(0)  # refuses invalid values
        return described

    def to_json(self) -> Dict[str, Any]:
        """Returns the fields as stored in the file."""
        return {'corpus': self.corpus, 'tokens': self.tokens,
                'training words': self.training_words, 'vocabulary': self.vocabulary,
                'text': self.text, 'source': self.source or None,
                'recipe': dataclasses.asdict(self.recipe), 'seed': self.seed,
                'init from': self.began, 'changes': self.changes,
                'computed by': self.computed or None}

    def to_bytes(self) -> bytes:
        """Returns the content of the file."""
        return json.dumps(self.to_json(), indent=1).encode()

    def save(self, folder: str) -> None:
        """Writes the file, atomically.

        Raises:
            OSError: If it cannot be written.
        """
        with writing(os.path.join(folder, RUN), follow=False) as f:
            f.write(self.to_bytes())


def hash_of_vocabulary(vocabulary: Vocabulary) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of the tokens in order."""
    words = '\n'.join(vocabulary.words).encode('utf-8', 'surrogatepass')
    return hashlib.sha256(words).hexdigest()[:16]


def hash_of_text(corpus: Corpus) -> str:
    """Returns the SHA-256 of the three parts' ids, in hexadecimal."""
    return corpus.digest()


def _known(recipe: Dict[str, Any]) -> Dict[str, Any]:
    """Selects the entries that are fields of a recipe."""
    names = {field.name for field in dataclasses.fields(Recipe)}
    return {name: value for name, value in recipe.items() if name in names}


def _is_change(value: Any) -> bool:
    return (isinstance(value, dict) and is_integer(value['window'])
            and value['window'] >= 0 and isinstance(value['recipe'], dict)
            and all(isinstance(pair, list) and len(pair) == 2
                    for pair in value['recipe'].values()))


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


def check_resumable(snapshot: str, corpus: Corpus, recipe: Recipe) -> str:
    """Refuses to resume a run with another text or model.

    Args:
        snapshot (str): Snapshot file, or a folder for its newest undamaged one.  The
            corpus and the recipe are compared with the ``run.json`` in its folder, if
            there is one.
        corpus, recipe: Those of the resumed run.

    Returns:
        str: The snapshot file.

    Raises:
        rnnlm.errors.InputError: If there is no snapshot, if the text differs, or if the
            recipes differ in other fields than `MAY_CHANGE`.
    """
    if os.path.isdir(snapshot):
        snapshot = newest_snapshot(snapshot)
    earlier = RunDescription.load(os.path.dirname(snapshot))
    if earlier is None:
        return snapshot
    path = os.path.join(os.path.dirname(snapshot), RUN)
    earlier.require_known(path)
    _check_text(path, earlier, RunDescription.of(corpus, recipe))
    for field in dataclasses.fields(Recipe):
        name = field.name
        before, now = getattr(earlier.recipe, name), getattr(recipe, name)
        if name not in MAY_CHANGE and before != now:
            raise InputError(
                f'expected {short_repr(before)}, as in the run to be resumed ({path}), '
                f'found {short_repr(now)}; it can only be set for a new run, which can '
                'start from the weights of this one with --init-from', name)
    return snapshot


def _check_text(path: str, earlier: RunDescription, now: RunDescription) -> None:
    """Refuses a text that differs from that of the run to be resumed."""
    if earlier.tokens != now.tokens:
        raise InputError(
            f'expected {earlier.tokens!r}, as in the run to be resumed ({path}), found '
            f'{now.tokens!r}; start a new run', 'tokens')
    found = earlier.other_text(now)
    if found:
        raise InputError(
            f'{now.corpus}: expected the text of the run to be resumed ({path}), found '
            f'{found}; resume with the original text, or start a new run, which can '
            'start from the weights of this one with --init-from', 'corpus')


def fingerprint(corpus: Corpus, recipe: Recipe) -> str:
    """Returns a string that identifies a text and a recipe."""
    description = RunDescription.of(corpus, recipe).to_json()
    del description['source']
    return json.dumps(description)
