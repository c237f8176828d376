"""The commands train, run, inspect and convert.

Each takes the parsed arguments, returns the exit status, and raises an `InputError` for
invalid input.  Modules that only one command needs are imported in it, so that the
others start faster.
"""
import argparse
import json
import os
import sys
from typing import Any, Dict, Iterator, Optional

from rnnlm import parallel
from rnnlm.app import experiment, run_folder
from rnnlm.app.console import say, say_results
from rnnlm.app.prepare import (
    prepare, refuse, refuse_folder, resume_command, resume_command_if_possible)
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.devices import get_device
from rnnlm.errors import InputError, printable
from rnnlm.legacy import runner
from rnnlm.serializers.atomic import require_new


def train(args: argparse.Namespace) -> int:
    with parallel.joined(args.communicator, args.timeout,
                         lambda: resume_command_if_possible(args)) as group:
        group.on_all(lambda: refuse(args))
        group.on_all(lambda: get_device(group.device(args.device)))
        group.on_root(lambda: refuse_folder(args))
        job = group.on_all(lambda: prepare(args))
        result = experiment.train(
            job.corpus, job.recipe, out=args.out, device=args.device, seed=job.seed,
            init_from=job.initial, resume=job.resume, overwrite=args.overwrite,
            progress_bar=sys.stdout.isatty(), save_every=args.save_every,
            on_nan=args.on_nan, group=group)
        if result['signal']:
            say(f'resume   with: {resume_command(args, group.size)}')
            return 128 + result['signal']
        say_results(result, args.out)
        return 0


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
        print(printable(f'{entry["dtype"]:8} {shape:15} {name}', 300))
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
    for text in [*notes, *_not_converted(args, weights, vocabulary)]:
        print(f'note     {printable(text, 300)}')
    return 0


def _not_converted(args: argparse.Namespace, weights: Dict[str, Any],
                   vocabulary: Optional[Vocabulary]) -> Iterator[str]:
    """Yields notes on what the written file does not say about the model."""
    from rnnlm.interchange.weights import shares_embedding
    if shares_embedding(weights):
        yield ("the output layer's weights are those of the embedding; the file has "
               'them twice, and does not say that they are one parameter')
    if run_folder.by_sentences(args.input):
        yield ('the model was trained by sentences, which the file does not say; '
               'evaluate it with --sentences')
    beside = os.path.join(os.path.dirname(args.output), run_folder.VOCABULARY)
    if vocabulary is None and os.path.lexists(beside):
        yield (f"the model's tokens are not known; {beside} was there before, and must "
               'be its vocabulary')
