"""The text that a command reads: from its options, or from ``run.json``."""
import argparse
import functools
import os
import sys
from typing import Any, Dict, List, Optional

from rnnlm.app import run_folder
from rnnlm.app.console import progress
from rnnlm.app.description import RunDescription, hash_of_vocabulary
from rnnlm.data import corpus, files, sources
from rnnlm.data.text import PARTS
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, about, printable

# The options of a vocabulary, and their names in run.json.
VOCABULARY = {'vocab_limit': 'vocab_limit', 'min_count': 'min_count',
              'vocabulary': 'vocabulary'}


def choose_corpus(args: argparse.Namespace,
                  described: Optional[RunDescription]) -> None:
    """Sets corpus options that were not given: to those of a run, or the demo corpus.

    Args:
        args: The arguments, changed in place.
        described: The description of the run, if any.
    """
    source = described.source if described else {}
    if args.corpus is None:
        args.corpus = source.get('corpus', described.corpus if described else 'demo')
        if described and not source and args.corpus not in ('demo', 'ptb'):
            raise InputError(
                f'expected a corpus, found none, and {run_folder.RUN} does not say '
                'where its text is; give the text', 'corpus')
        if args.corpus == files.STDIN:
            raise InputError(
                'expected a corpus, found none, because the run read its text from '
                'standard input; give the text again', 'corpus')
        _check_source(args)
    if described and args.tokens is None:
        args.tokens = described.tokens
    given = [name for name in VOCABULARY if getattr(args, name, None) is not None]
    if 'vocabulary' in given:
        return
    for name, key in VOCABULARY.items():
        if name not in given:
            setattr(args, name, source.get(key))
    if given:
        args.vocabulary = None
    if source and 'min_count' not in source and 'min_count' not in given:
        args.min_count = 1  # the run is older than this option
    if args.vocabulary is not None:
        args.min_count = None  # it was not used


def _check_source(args: argparse.Namespace) -> None:
    """Refuses a corpus of ``run.json`` that does not exist; prints its name."""
    paths = [args.corpus] if isinstance(args.corpus, str) else args.corpus
    paths = [path for path in paths if path not in ('demo', 'ptb')]
    for path in paths:
        if not os.path.isfile(path) and not os.path.isdir(path):
            raise InputError(
                f'expected the corpus that {run_folder.RUN} names, but {path} '
                + ('is not a file or folder' if os.path.exists(path)
                   else 'does not exist')
                + '; give the corpus', 'corpus')
    if paths and sys.stderr.isatty() and not getattr(args, 'quiet', False):
        print(f'rnnlm {args.name}: corpus {printable(", ".join(paths), 300)}, which '
              f'{run_folder.RUN} names', file=sys.stderr)


def load_corpus(args: argparse.Namespace) -> corpus.Corpus:
    """Loads the corpus, after `choose_corpus`."""
    given = args.vocab_limit, args.min_count
    if args.vocabulary is not None and given != (None, None):
        raise InputError(
            'cannot be combined with --vocab-limit or --min-count', 'vocabulary')
    with about('corpus'):
        return corpus.load(args.corpus, args.tokens or 'word', *given,
                           args.vocabulary, **reading_of(args))


def reading_of(args: argparse.Namespace) -> Dict[str, Any]:
    """Returns the arguments 'cache' and 'progress' of `corpus.load`."""
    return {'cache': args.cache, 'progress': functools.partial(
        progress, unit='B', hidden=bool(getattr(args, 'quiet', False)))}


def check(args: argparse.Namespace) -> None:
    """Refuses --text together with --corpus."""
    if args.text is not None and args.corpus is not None:
        raise InputError('cannot be combined with --corpus', 'text')


class TextOfModel:
    """Text to evaluate a trained model on, encoded with the model's vocabulary.

    Args:
        args: The arguments, with ``corpus``, ``tokens`` and ``text``.
        path: The path that the model was loaded from.
        vocabulary: Its vocabulary; if None, the corpus must be that of the run.
        n_vocab: The vocabulary size of the model.

    Attributes:
        name: Name of the text in reports.
        limit: As `rnnlm.data.corpus.Corpus.perplexity_limit`.
    """

    def __init__(self, args: argparse.Namespace, path: str,
                 vocabulary: Optional[Vocabulary], n_vocab: int) -> None:
        self.vocabulary = vocabulary
        self._unsplit: Optional[corpus.Encoded] = None
        if vocabulary is not None and args.tokens not in (None, vocabulary.tokens):
            raise InputError(
                f'expected {vocabulary.tokens!r}, the tokens of {path}, found '
                f'{args.tokens!r}', 'tokens')
        if args.text is not None:
            if vocabulary is None:
                raise InputError(
                    f'{path}: expected a model with a {run_folder.VOCABULARY}, found '
                    'none')
            self.name, self.limit = args.text, None
            with about('text'):
                self._unsplit, = self._encode(sources.find_unsplit(args.text), args)
            return
        described = run_folder.described_of(path)
        if args.corpus is None and described is None:
            raise InputError(
                f'expected a corpus or --text, found none, and no {run_folder.RUN} '
                f'with {path} that names one', 'corpus')
        of_run = described if args.corpus is None else None
        choose_corpus(args, described)
        if vocabulary is None:
            text = load_corpus(args)
            if len(text.vocabulary) != n_vocab or described and (
                    described.vocabulary != hash_of_vocabulary(text.vocabulary)):
                raise InputError(
                    f'{args.corpus}: expected the vocabulary of {path}, {n_vocab:,} '
                    f'tokens, found another one of {len(text.vocabulary):,}; use the '
                    'corpus and vocabulary that the model was trained on, or restore '
                    f'{run_folder.VOCABULARY}')
            self.vocabulary = text.vocabulary
            self._ids = {}
            for part in PARTS:
                ids = getattr(text, part)
                self._ids[part] = corpus.Encoded(
                    ids, len(ids), round(text.unknown_rate(part) * len(ids)))
            self.name, self.limit = text.name, text.perplexity_limit
        else:
            with about('corpus'):
                source = sources.find(args.corpus, vocabulary.tokens)
                self._ids = dict(zip(PARTS, self._encode(source, args)))
            self.name = source.name
            self.limit = None if vocabulary.unknown is not None else source.limit
        if of_run:
            self._require_text_of(of_run, path)

    def _encode(self, source: sources.Source, args: argparse.Namespace
                ) -> List[corpus.Encoded]:
        assert self.vocabulary is not None
        return corpus.encode_source(source, self.vocabulary, **reading_of(args))

    def _require_text_of(self, described: RunDescription, path: str) -> None:
        """Refuses a text that changed since the run that names it."""
        assert self.vocabulary is not None
        train, valid, test = (self._ids[part].ids for part in PARTS)
        found = described.other_text(RunDescription.of(
            corpus.Corpus(self.name, train, valid, test, self.vocabulary),
            described.recipe))
        if found:
            raise InputError(
                f'{self.name}: expected the text that {path} was trained on, by the '
                f'hash in its {run_folder.RUN}, found {found}; restore that text, or '
                'give it with --corpus to evaluate it as it is now', 'corpus')

    def part(self, name: str) -> corpus.Encoded:
        """Returns the ids of a part, or of the complete text with --text.

        Raises:
            rnnlm.errors.InputError: If too few of its tokens are known.
        """
        found = self._ids[name] if self._unsplit is None else self._unsplit
        if len(found.ids) < 2:
            raise InputError(
                f'{self.name}: expected at least 2 tokens of the vocabulary of the '
                f'model, found {len(found.ids)} of {found.n_tokens}')
        return found
