"""What the commands train, inspect and convert do and print.

Each takes the parsed arguments and returns the exit status; what cannot be used is an
`InputError`.  What one command alone needs is imported in it: the start of the others
need not wait.
"""
import argparse
import dataclasses
import json
import os
import sys
from typing import Optional, Tuple

from rnnlm import parallel
from rnnlm.app import experiment, run_folder
from rnnlm.app.console import say_results
from rnnlm.app.recipes import PRESETS, Recipe, recipe_for, recipe_options
from rnnlm.app.run_folder import RunDescription
from rnnlm.app.texts import choose_corpus, load_corpus
from rnnlm.data import corpus, files
from rnnlm.errors import InputError, printable, require
from rnnlm.legacy import runner
from rnnlm.serializers.atomic import require_new
from rnnlm.serializers.snapshot_files import snapshots_in


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
    require('timeout', args.timeout, 'seconds, more than 0', lambda v: v > 0)
    resume = args.out if args.resume is True else args.resume
    described = None
    if resume:
        if args.resume is True:
            snapshots_in(resume)  # refuses a folder that is not there
        described = RunDescription.load(run_folder.folder_of(resume))
    choose_corpus(args, described)
    if args.communicator and files.STDIN in list(args.corpus):
        raise InputError(
            'expected a file for several processes, found standard input, which only '
            'one of them has', 'corpus')
    text = load_corpus(args)
    if args.preset:
        recipe = PRESETS[args.preset]
    elif described:
        recipe = described.recipe
    elif text.source and text.source['corpus'] == 'demo':
        recipe = PRESETS['demo']
    elif corpus.is_chainers(args.corpus):
        recipe = PRESETS['chainer']
    else:
        recipe = recipe_for(len(text.train), len(text.vocabulary), text.tokens)
    return text, dataclasses.replace(recipe, **recipe_options(args)), resume


def run(args: argparse.Namespace) -> int:
    if not args.explain:
        return runner.run(args.script, args.args, args.api)
    from rnnlm.legacy import explain as explaining
    try:
        print('\n'.join(explaining.explain(args.script)))
    except SyntaxError as e:
        raise InputError(
            f'{args.script}:{e.lineno}: expected Python, found {e.msg}') from None
    return 0


def inspect(args: argparse.Namespace) -> int:
    from rnnlm.interchange import inspecting
    path = args.file
    if os.path.isdir(path):
        path = run_folder.find_file(path)
    found = inspecting.describe(path)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f'file     {printable(path)}: '
          f'{printable(found["format"], 100)}, {printable(found["kind"], 200)}')
    print(f'written  by {printable(found["written by"], 200)}')
    if found['model']:
        print(f'model    {printable(found["summary"], 300)}')
    elif found['refused']:
        print(f'model    none: {printable(found["refused"], 1000)}')
    for name in 'layers', 'notes':
        for text in found[name]:
            print(f'{name[:-1]:9}{printable(text, 300)}')
    for name, entry in found['arrays'].items():
        shape = 'x'.join(map(str, entry['shape'])) or '-'
        print(printable(f'{entry["dtype"]:9}{shape:16}{name}', 300))
    return 0


def convert(args: argparse.Namespace) -> int:
    from rnnlm.interchange import convert as interchange
    from rnnlm.interchange.weights import check_model
    path = args.input
    if os.path.isdir(path):
        path, _ = run_folder.find_model(path)
    require_new(interchange.outputs(args.output), path, args.overwrite)
    weights, vocabulary, notes, dropout = interchange.load_model(path)
    if dropout is None:
        dropout = run_folder.dropout_of(path)
    if vocabulary is not None:
        interchange.require_vocabulary_beside(args.output, vocabulary, args.overwrite)
    written = interchange.save(args.output, weights, vocabulary, dropout)
    print(f'written  {printable(" and ".join(written))}: {check_model(weights)}')
    for text in notes:
        print(f'note     {printable(text, 300)}')
    return 0
