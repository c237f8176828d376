"""What each command of the console script does and prints.

Each takes the parsed arguments and returns the exit status; what cannot be used is an
`InputError`.
"""
import argparse
import dataclasses
import json
import os
import sys
from typing import Dict, Optional, Tuple

import numpy

from rnnlm import parallel
from rnnlm.app import experiment, run_folder
from rnnlm.app.console import progress, relative_to_limit, say_results, to_json
from rnnlm.app.recipes import PRESETS, Recipe, recipe_options
from rnnlm.app.run_folder import RunDescription
from rnnlm.app.trained import TrainedModel, load
from rnnlm.chain import LanguageModel
from rnnlm.data import corpus
from rnnlm.errors import InputError, printable, require
from rnnlm.inference import dynamic, scoring
from rnnlm.interchange import convert as interchange
from rnnlm.interchange.weights import check_model
from rnnlm.legacy import explain as explaining, runner
from rnnlm.serializers.archive import open_verified
from rnnlm.serializers.atomic import require_new
from rnnlm.serializers.model_files import describe
from rnnlm.serializers.snapshot_files import snapshots_in


def choose_corpus(args: argparse.Namespace,
                  described: Optional[RunDescription]) -> None:
    """Sets the options of a corpus that were not given to those of a run, or the demo.

    Args:
        args: The arguments, which are changed.
        described: The run, if there is one and it is described.
    """
    if args.corpus is None:
        source = described.source if described else {}
        args.corpus = source.get('corpus', 'demo')
        if args.corpus not in ('demo', 'ptb'):
            _check_source(args, args.corpus)
        if args.tokens is None and args.vocab_limit is None:
            args.tokens, args.vocab_limit = (
                source.get('tokens'), source.get('vocab_limit'))


def _check_source(args: argparse.Namespace, path: str) -> None:
    """Says whence a corpus comes that nobody gave; no pipe or device is read."""
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(
            f'expected the corpus that {run_folder.RUN} names, but {path} '
            + ('is no file or folder' if os.path.exists(path) else 'does not exist')
            + '; give the corpus', 'corpus')
    if sys.stderr.isatty() and not getattr(args, 'quiet', False):
        print(f'rnnlm {args.name}: corpus {printable(path)}, which {run_folder.RUN} '
              'names', file=sys.stderr)


def load_corpus(args: argparse.Namespace, path: str) -> corpus.Corpus:
    """The corpus that was asked for, else that of the run at `path`, else the demo."""
    if args.corpus is None:
        choose_corpus(args, RunDescription.load(run_folder.folder_of(path)))
    return corpus.load(args.corpus, args.tokens or 'word', args.vocab_limit)


def train(args: argparse.Namespace) -> int:
    with parallel.joined(args.communicator, args.timeout) as group:
        text, recipe, resume = group.on_all(lambda: prepare(args))
        result = experiment.train(
            text, recipe, out=args.out, device=args.device, seed=args.seed or 0,
            resume=resume, overwrite=args.overwrite, progress_bar=sys.stdout.isatty(),
            save_every=args.save_every, on_nan=args.on_nan, group=group)
        if result['signal']:
            return 128 + result['signal']
        say_results(result, args.out)
        return 0


def prepare(args: argparse.Namespace
            ) -> Tuple[corpus.Corpus, Recipe, Optional[str]]:
    """The corpus and the recipe of a run, and the snapshot or folder that it resumes.

    The recipe is the preset, or that of the run that is resumed, with the given flags.
    """
    if args.resume and args.overwrite:
        raise InputError('--overwrite cannot be combined with --resume')
    if args.resume and args.seed is not None:
        raise InputError(
            '--seed cannot be combined with --resume: the random numbers continue from '
            'the snapshot')
    if args.resume == '':
        raise InputError('expected a snapshot, found an empty name', 'resume')
    resume = args.out if args.resume is True else args.resume
    described = None
    if resume:
        if args.resume is True:
            snapshots_in(resume)  # refuses a folder that is not there
        described = RunDescription.load(run_folder.folder_of(resume))
    choose_corpus(args, described)
    if described and not args.preset:
        recipe = described.recipe
    else:
        recipe = PRESETS[
            args.preset or ('demo' if args.corpus == 'demo' else 'chainer')]
    recipe = dataclasses.replace(recipe, **recipe_options(args))
    return load_corpus(args, ''), recipe, resume


def evaluate(args: argparse.Namespace) -> int:
    trained = load(args.model, args.device)
    text = load_corpus(args, args.model)
    require_vocabulary(text, args.corpus, args.model, trained)
    words = getattr(text, args.part)
    found = {'part': args.part, 'words': len(words),
             'perplexity': perplexity(trained, words, args.quiet)}
    if args.dynamic:
        found[f'dynamic {args.dynamic}'] = dynamic_perplexity(
            trained.model, text.train, words, args)
    if args.json:
        print(to_json(found))
        return 0
    print(f'{args.part:9}perplexity {found["perplexity"]:.3f}'
          + relative_to_limit(found['perplexity'], text.perplexity_limit))
    if args.dynamic:
        print(f'{args.part:9}perplexity {found["dynamic " + args.dynamic]:.3f} with '
              f'dynamic evaluation ({args.dynamic})')
    return 0


def perplexity(trained: TrainedModel, words: numpy.ndarray, quiet: bool) -> float:
    """That of the words that training reports, with its progress."""
    with progress(len(words), ' words', quiet) as bar:
        return trained.perplexity(words, bar.update_to)


def dynamic_perplexity(model: LanguageModel, train: numpy.ndarray, words: numpy.ndarray,
                       args: argparse.Namespace) -> float:
    """Perplexity by dynamic evaluation, of the words that `score_ring` is of."""
    adaptive = dynamic.DynamicEvaluation(
        model, args.lr, args.decay, rule=args.dynamic)
    if args.dynamic == 'rms':
        adaptive.gather(train)
    with progress(len(words), ' words', args.quiet) as bar:
        return adaptive.perplexity(numpy.append(words, words[:1]), bar.update_to)


def require_vocabulary(text: corpus.Corpus, name: str, path: str,
                       trained: TrainedModel) -> None:
    """Refuses a text whose ids are not those of a model."""
    n_vocab = trained.model.n_vocab
    if trained.vocabulary is None:
        same = len(text.vocabulary) == n_vocab
    else:
        same = text.vocabulary == trained.vocabulary
    if not same:
        raise InputError(
            f'{name}: expected the vocabulary of {path}, {n_vocab:,} tokens, '
            f'found another one of {len(text.vocabulary):,}; use the corpus that it '
            'was trained on')


def interpolate(args: argparse.Namespace) -> int:
    if args.weight is not None:
        require('weight', args.weight, 'a number between 0 and 1',
                lambda v: 0 < v < 1)
    text = load_corpus(args, args.model)
    scores: Dict[str, Dict[str, numpy.ndarray]] = {}
    for path in args.model, args.other:
        trained = load(path, args.device)
        require_vocabulary(text, args.corpus, path, trained)
        scores[path] = {}
        for part in ('valid', 'test') if args.weight is None else ('test',):
            words = getattr(text, part)
            with progress(len(words), ' words', args.quiet) as bar:
                scores[path][part] = scoring.score_ring(
                    trained.model, words, bar.update_to)
    one, other = (scores[path] for path in (args.model, args.other))
    weight = args.weight
    if weight is None:
        weight = scoring.mixture_weight(one['valid'], other['valid'])
    found = {'weight': weight}
    for name, values in (('first', one['test']), ('second', other['test']), (
            'mixture', scoring.mix(one['test'], other['test'], weight))):
        with numpy.errstate(over='ignore'):
            found[name] = float(numpy.exp(-values.mean()))
    if args.json:
        print(to_json(found))
    else:
        print(f'test     perplexity {found["first"]:.3f}  {printable(args.model)}\n'
              f'test     perplexity {found["second"]:.3f}  {printable(args.other)}\n'
              f'test     perplexity {found["mixture"]:.3f}  interpolated, weights '
              f'{weight:.3f} and {1 - weight:.3f}')
    return 0


def run(args: argparse.Namespace) -> int:
    if not args.explain:
        return runner.run(args.script, args.args, args.api)
    try:
        print('\n'.join(explaining.explain(args.script)))
    except SyntaxError as e:
        raise InputError(
            f'{args.script}:{e.lineno}: expected Python, found {e.msg}') from None
    return 0


def inspect(args: argparse.Namespace) -> int:
    path = args.file
    if os.path.isdir(path):
        path = run_folder.find_file(path)
    with open_verified(path) as archive:
        found = describe(archive)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f'file     {printable(path)}: {found["format"]}, {found["kind"]}')
    print(f'written  by {found["written by"]}')
    if found['model']:
        print(f'model    {found["summary"]}')
    for name, entry in found['arrays'].items():
        shape = 'x'.join(map(str, entry['shape'])) or '-'
        print(printable(f'{entry["dtype"]:9}{shape:16}{name}', 300))
    return 0


def convert(args: argparse.Namespace) -> int:
    path = args.input
    if os.path.isdir(path):
        path, _ = run_folder.find_model(path)
    require_new(interchange.outputs(args.output), path, args.overwrite)
    weights = interchange.load(path)
    written = interchange.save(args.output, weights)
    print(f'written  {printable(" and ".join(written))}: {check_model(weights)}')
    return 0
