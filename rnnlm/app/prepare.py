"""Converts the options of `rnnlm train` to its text, recipe and initial model."""
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
from typing import Optional

from rnnlm import parallel
from rnnlm.app import reading, run_folder, texts
from rnnlm.app.description import RUN, RunDescription, hash_of_vocabulary
from rnnlm.app.initial import InitialModel, load_by
from rnnlm.app.new_run import check_folder, resume_folder_command
from rnnlm.app.options import OPTIONS
from rnnlm.app.recipes import (
    PRESETS, Recipe, changed, check_options, flag_of, recipe_for, recipe_options)
from rnnlm.data import files, sources
from rnnlm.data.corpus import Corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError, about, require
from rnnlm.serializers.snapshot_files import all_snapshots_in, snapshots_in

# Options that cannot be given together, and why.
_NOT_TOGETHER = [
    ('overwrite', 'resume', ''),
    ('init_from', 'resume', ': the weights are those of the snapshot'),
    ('config', 'resume', ': a run is resumed with its own run.json'),
    ('preset', 'config', ': the file has all values'),
    ('vocabulary', 'init_from', ': the vocabulary is that of the model'),
    ('vocab_limit', 'init_from', ': the vocabulary is that of the model'),
]

# Fields of which only the last value affects the result of a run.
_ONLY_THE_END = {'epochs', 'patience', 'log_interval'}


@dataclasses.dataclass(frozen=True)
class Job:
    """Text, recipe and initial state of a run.

    Attributes:
        corpus: The text.
        recipe: The preset, or the recipe of the run to resume or repeat, with the
            options applied.
        seed: Seed of a new run.
        resume: Snapshot or folder to resume.
        initial: The model that a new run starts from.
    """
    corpus: Corpus
    recipe: Recipe
    seed: Optional[int]
    resume: Optional[str]
    initial: Optional[InitialModel]


# Options that change the ids of a text.
_OF_IDS = (
    'tokens', 'vocab_limit', 'min_count', 'vocabulary', 'init_from', 'extend_vocab')


def refuse(args: argparse.Namespace) -> None:
    """Refuses options that exclude each other, and bad values."""
    _refuse_together(args, OPTIONS['init_from'].flags[0])
    if args.init_from is None and args.config is None and args.extend_vocab:
        raise InputError('--extend-vocab can only be used with --init-from')
    require('timeout', args.timeout, 'seconds, more than 0', lambda v: v > 0)
    require('save_every', args.save_every, 'minutes, at least 0', lambda v: v >= 0)
    check_options(args)


def _refuse_together(args: argparse.Namespace, start: str) -> None:
    """Refuses options that exclude each other.

    Args:
        args: The arguments.
        start: Name of what gives ``args.init_from``, for messages.
    """
    for name, other, why in _NOT_TOGETHER:
        if getattr(args, name) not in (None, False) and getattr(args, other):
            flag = start if other == 'init_from' else OPTIONS[other].flags[0]
            raise InputError(
                f'{OPTIONS[name].flags[0]} cannot be combined with {flag}{why}')
    if args.init_from is not None and args.min_count is not None and (
            not args.extend_vocab):
        raise InputError(
            f'--min-count can only be combined with {start} if --extend-vocab adds '
            'words')


def refuse_folder(args: argparse.Namespace) -> None:
    """Refuses a folder that a new run cannot be written to, before a text is read."""
    out = args.out or 'result'
    if args.resume is None and os.path.lexists(out):
        with run_folder.locked(out):
            check_folder(out, vars(args), args.init_from, args.overwrite)


def prepare(args: argparse.Namespace) -> Job:
    """Loads and checks the text, recipe and model of a run; sets ``args.out``.

    Args:
        args: The arguments, after `refuse`.

    Raises:
        rnnlm.errors.InputError: If an option is invalid.
    """
    resume = _resumed(args)
    own_text = args.corpus is not None
    other_ids = any(getattr(args, name) not in (None, False) for name in _OF_IDS)
    described = initial = None
    if resume:
        described = RunDescription.load(run_folder.folder_of(resume))
        if args.seed is not None and not (described and described.seed == args.seed):
            raise InputError('--seed cannot be combined with --resume: the random '
                             'state continues from the snapshot')
        if described is None and args.corpus is None:
            raise InputError(
                f'expected the text of the run, found none, and no {RUN} with '
                f'{resume} that names it', 'corpus')
        text = _text(args, described, _vocabulary_of(args, resume, described))
    else:
        if args.config:
            described = _repeated(args)
        if args.init_from:
            initial = InitialModel.load(args.init_from)
        text = _text(args, described, initial)
    recipe = changed(_base(args, text, described, initial), recipe_options(args))
    seed = args.seed
    if args.config:
        assert described is not None
        seed = described.seed if seed is None else seed
        if not own_text:
            _require_same_text(args, described, text, other_ids)
        _require_same_model(args, described, text, initial)
    return Job(text, recipe, seed or 0, resume, initial)


def resume_command(args: argparse.Namespace, processes: int = 1, *more: str) -> str:
    """Returns the command that resumes a run, quoted for a shell.

    Args:
        args: The arguments of the command that started it.
        processes: Number of its processes.
        more: Other options.
    """
    options = []
    for name in 'device', 'on_nan', 'save_every', 'communicator', 'timeout':
        value = getattr(args, name)
        if value != OPTIONS[name].options.get('default') and (
                OPTIONS[name].flags[0] not in more):
            options += [OPTIONS[name].flags[0],
                        f'{value:g}' if isinstance(value, float) else str(value)]
    if _reads_stdin(args):
        options += ['--corpus', files.STDIN]  # the text must be given again
    command = resume_folder_command(args.out, *options, *more)
    return command if processes == 1 else f'mpiexec -n {processes} {command}'


def resume_command_if_possible(args: argparse.Namespace, *options: str) -> str:
    """Returns `resume_command`, or '' if the run has no snapshot."""
    if args.name == 'train' and args.out is not None:
        with contextlib.suppress(InputError):
            if snapshots_in(args.out):
                size = parallel.launched_size() if args.communicator else 1
                return resume_command(args, size, *options)
    return ''


def _reads_stdin(args: argparse.Namespace) -> bool:
    paths = [args.corpus] if isinstance(args.corpus, str) else args.corpus or []
    return files.STDIN in paths


def _resumed(args: argparse.Namespace) -> Optional[str]:
    """Returns the snapshot or folder to resume, if any; sets ``args.out``."""
    resume = args.resume
    if resume is None:
        args.out = args.out or 'result'
        return None
    with about('resume'):
        if resume is True:
            resume = args.out = args.out or 'result'
            snapshots_in(resume)  # refuses a folder that does not exist
        elif not os.path.exists(resume):
            raise InputError(
                f'{resume}: expected the folder of a run, or a snapshot, found nothing '
                'there')
        args.out = args.out or run_folder.folder_of(resume) or '.'
        if os.path.isdir(resume) and not all_snapshots_in(resume):
            raise InputError(
                f'{resume}: expected an undamaged snapshot_iter_N to resume, found '
                'none')
    return str(resume)


def _repeated(args: argparse.Namespace) -> RunDescription:
    """Loads the run that --config describes; sets the options that it implies."""
    path = args.config
    if os.path.isdir(path):
        path = os.path.join(path, RUN)
    with about('config'):
        described = RunDescription.read(path)
        described.require_known(path)
        if described.seed is None and args.seed is None:
            raise InputError(
                f'{path}: expected the seed of the run, found none; give --seed')
        given = {*recipe_options(args), *_ONLY_THE_END}
        left = {name: change['window'] for change in described.changes
                for name in change['recipe'] if name not in given}
        if left:
            what = ', '.join(f'{flag_of(name)} at window {window}'
                             for name, window in left.items())
            raise InputError(
                f'{path}: expected a run whose options never changed, found {what}; '
                'give the values to use for the entire run')
    began = described.began
    if began and args.init_from is None:
        if not os.path.exists(began['model']):
            raise InputError(
                f'expected the model that {path} names, but {began["model"]} does not '
                'exist; specify it with --init-from', 'config')
        args.init_from = began['model']
    if began and not args.extend_vocab:
        args.extend_vocab = began['vocabulary'] == 'extended'
    if args.extend_vocab and args.init_from is None:
        raise InputError(
            '--extend-vocab can only be used with --init-from, or if the run in '
            f'{path} started from a model')
    _refuse_together(args, f'{args.config}, whose run started from a model')
    if began and args.extend_vocab and args.min_count is None:
        args.min_count = described.source.get('min_count')
    return described


def _require_same_text(args: argparse.Namespace, described: RunDescription,
                       text: Corpus, other_ids: bool) -> None:
    """Refuses a text that changed since --config was written.

    Args:
        args: The arguments, with the corpus that the file names.
        described: The content of the file.
        text: The text.
        other_ids: Whether other options than those of the run may have changed its ids.
            The text is then compared by the run's vocabulary, if that is beside the
            file, or else by its length.
    """
    found = described.other_text(RunDescription.of(text, described.recipe))
    if found and other_ids:
        vocabulary = _vocabulary_beside(args.config, described)
        if vocabulary is not None:
            with about('corpus'):
                text = load_by(vocabulary, args.corpus, **texts.reading_of(args))
            found = described.other_text(RunDescription.of(text, described.recipe))
        elif text.tokens != described.tokens or (
                len(text.train) == described.training_words):
            found = None
    if found:
        raise InputError(
            f'{text.name}: expected the text of the run in {args.config}, found '
            f'{found}; restore that text, or give one with --corpus', 'config')


def _require_same_model(args: argparse.Namespace, described: RunDescription,
                        text: Corpus, initial: Optional[InitialModel]) -> None:
    """Refuses an initial model that changed since --config was written."""
    began = described.began
    if initial and began and initial.path == began['model'] and (
            initial.describe(text)['weights'] != began['weights']):
        raise InputError(
            f'{initial.path}: expected the model that the run in {args.config} started '
            'from, found another one; restore that model, or give one with '
            '--init-from', 'config')


def _vocabulary_of(args: argparse.Namespace, resume: str,
                   described: Optional[RunDescription]) -> Optional[Vocabulary]:
    """Loads the vocabulary of a resumed run, unless the file has been changed."""
    if described is None or any(
            getattr(args, name) is not None for name in texts.VOCABULARY):
        return None
    if args.tokens not in (None, described.tokens):
        return None
    return _vocabulary_beside(resume, described)


def _vocabulary_beside(path: str, described: RunDescription) -> Optional[Vocabulary]:
    """Loads the vocabulary in the folder of a run, unless it is missing or another."""
    with contextlib.suppress(InputError):
        found = Vocabulary.load(os.path.join(
            run_folder.folder_of(path), run_folder.VOCABULARY))
        if hash_of_vocabulary(found) == described.vocabulary:
            return Vocabulary(found.words, described.tokens)
    return None


def _text(args: argparse.Namespace, described: Optional[RunDescription],
          by: object) -> Corpus:
    """Loads the corpus, with its own vocabulary or that of a run or initial model."""
    initial = by if isinstance(by, InitialModel) else None
    min_count = args.min_count
    if initial and described is None:
        described = run_folder.described_of(args.init_from)
        if args.corpus is None and not (described and described.source):
            raise InputError('expected a text to train on, found none', 'corpus')
    texts.choose_corpus(args, described)
    if args.communicator and _reads_stdin(args):
        raise InputError(
            'expected a file for several processes, found standard input, which only '
            'one of them has', 'corpus')
    with about('corpus'):
        if initial:
            if args.extend_vocab and _reads_stdin(args):
                raise InputError(
                    'expected a file for --extend-vocab, which reads it twice, found '
                    'standard input')
            return initial.encode(
                args.corpus, args.tokens, args.extend_vocab, min_count,
                **texts.reading_of(args))
        if not isinstance(by, Vocabulary):
            return texts.load_corpus(args)
        assert described is not None
        text = None
        if args.vocabulary is None and not _reads_stdin(args):
            text = texts.load_corpus(args)  # as the run did, in the cache if it is long
        if text is None or text.vocabulary != by:
            text = load_by(by, args.corpus, **texts.reading_of(args))
        if not described.source:
            return text
        # The vocabulary was given, but the record of how it was chosen is kept.
        return text.with_source({
            **described.source, **{
                name: (text.source or {})[name] for name in ('corpus', 'tokens')},
            'vocab_limit': described.source.get('vocab_limit')})


def _base(args: argparse.Namespace, text: Corpus, described: Optional[RunDescription],
          initial: Optional[InitialModel]) -> Recipe:
    """Returns the recipe before the options of the command line are applied."""
    sizes = initial.sizes if initial else {}
    if args.preset:
        recipe = PRESETS[args.preset]
    elif described:
        recipe = described.recipe
    elif text.source and text.source['corpus'] == 'demo':
        recipe = PRESETS['demo']
    elif sources.is_chainers(args.corpus):
        recipe = PRESETS['chainer']
    else:
        n_sentences = reading.count_sentences(text) if _by_sentences(
            args, described, initial) else None
        recipe = recipe_for(len(text.train), len(text.vocabulary), text.tokens,
                            n_sentences, **sizes)
    return dataclasses.replace(
        recipe, **sizes, sentences=_by_sentences(args, described, initial))


def _by_sentences(args: argparse.Namespace, described: Optional[RunDescription],
                  initial: Optional[InitialModel]) -> bool:
    """Returns whether to train by sentences: as the options, run or model say."""
    if args.sentences is not None:
        return bool(args.sentences)
    if described:
        return described.recipe.sentences
    return initial is not None and initial.sentences
