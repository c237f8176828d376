"""What each command of the console script does and prints.

Each takes the parsed arguments and returns the exit status; what cannot be used is an
`InputError`.
"""
import argparse
import dataclasses
import itertools
import json
import os
import sys
from typing import Any, Dict, List, Iterator, Optional, Tuple

import numpy

from rnnlm import parallel
from rnnlm.app import experiment, run_folder
from rnnlm.app.console import say_results
from rnnlm.app.recipes import PRESETS, Recipe, recipe_for, recipe_options
from rnnlm.app.run_folder import RunDescription
from rnnlm.app.texts import choose_corpus, load_corpus
from rnnlm.app.trained import TrainedModel, load
from rnnlm.data import corpus, files
from rnnlm.data.text import read_text
from rnnlm.errors import InputError, require_count
from rnnlm.inference import generate as generating, scoring
from rnnlm.interchange import convert as interchange
from rnnlm.interchange.weights import check_model
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.atomic import require_new
from rnnlm.serializers.model_files import describe
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
    if args.resume == '':
        raise InputError('expected a snapshot, found an empty name', 'resume')
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


def generate(args: argparse.Namespace) -> int:
    trained = load(args.model, args.device)
    vocabulary, text = trained.require_vocabulary(), args.primetext
    require_count('samples', args.samples)
    if args.beam is not None:
        require_count('beam', args.beam)
    prime = trained.encode_prime(text)
    if args.seed is not None:
        numpy.random.seed(args.seed)
    for _ in range(args.samples):
        if text is not None:
            print(text, end='' if vocabulary.by_character else ' ')
        if args.beam:
            words, _ = generating.beam_search(
                trained.model, prime, args.length, args.beam)
            pieces = generating.text_of(vocabulary, words)
        else:
            pieces = trained.stream(
                text, args.length, args.temperature, args.top_k, args.top_p,
                sample=not args.greedy)
        for piece in pieces:
            print(piece, end='', flush=True)
        print()
    return 0


def score(args: argparse.Namespace) -> int:
    trained = load(args.model, args.device)
    trained.require_boundary()
    lines = read_lines(args.file)
    if args.nbest:
        return rescore(args, trained, list(lines))
    totals = numpy.zeros(4)
    while True:
        some = list(itertools.islice(lines, scoring.BATCH))
        if not some:
            break
        for line, entry in zip(some, entries(trained, some)):
            show_score(args, line, entry)
            totals += (1, len(entry['words']) - 1, entry['oov'], entry['logprob'])
    if args.srilm:
        show_srilm(f'file {args.file or "-"}:', *totals)
    return 0


def read_lines(path: Optional[str]) -> Iterator[str]:
    """The lines of a text file, or of standard input, as they come."""
    if path is None:
        yield from (line.rstrip('\r\n') for line in sys.stdin)
    else:
        yield from read_text(path).splitlines()


def entries(trained: TrainedModel, lines: List[str]) -> Iterator[Dict[str, Any]]:
    """What is known of each sentence, its logarithms to the base of 10."""
    for score in trained.score(lines):
        found = score.token_log_probs / numpy.log(10)
        yield {'logprob': float(found.sum()), 'oov': score.n_unknown,
               'words': [[token, float(value)]
                         for token, value in zip(score.tokens, found)]}


def show_score(args: argparse.Namespace, line: str, entry: Dict[str, Any]) -> None:
    if args.json:
        print(json.dumps({'sentence': line, **entry}, ensure_ascii=False))
    elif args.srilm:
        print(line)
        for k, (token, value) in enumerate(entry['words']):
            before = '<s>' if k == 0 else entry['words'][k - 1][0]
            token = '</s>' if k == len(entry['words']) - 1 else token
            print(f'\tp( {token} | {before} {"..." if k else ""}) \t= [rnn] '
                  f'{10 ** value:.6g} [ {value:.6g} ]')
        show_srilm('', 1, len(entry['words']) - 1, entry['oov'], entry['logprob'])
        print()
    else:
        words = ' '.join(f'{json.dumps(token, ensure_ascii=False)[1:-1]} {value:.4f}'
                         for token, value in entry['words'])
        print(f'{entry["logprob"]:.4f}\t{entry["oov"]}\t{words}')


def show_srilm(title: str, sentences: float, words: float, oov: float,
               logprob: float) -> None:
    counts = f'{sentences:.0f} sentences, {words:.0f} words, {oov:.0f} OOVs'
    print(f'{title} {counts}'.strip())
    with numpy.errstate(all='ignore'):
        perplexity = numpy.power(10.0, -logprob / (words + sentences))
        without_ends = numpy.power(10.0, numpy.divide(-logprob, words))
    print(f'0 zeroprobs, logprob= {logprob:.6g} ppl= {perplexity:.6g} '
          f'ppl1= {without_ends:.6g}')


def rescore(args: argparse.Namespace, trained: TrainedModel,
            lines: List[str]) -> int:
    """n-best lists, each sorted by its scores with the model's added."""
    fields = [line.split(' ||| ') for line in lines]
    for number, parts in enumerate(fields, 1):
        try:
            float(parts[-1])
            good = len(parts) >= 3
        except ValueError:
            good = False
        if not good:
            raise InputError(
                f'{args.file or "standard input"}:{number}: expected '
                f"'ID ||| SENTENCE ||| ... ||| SCORE', found {lines[number - 1]!r}")
    found = entries(trained, [parts[1] for parts in fields])
    lists: Dict[str, list] = {}
    for parts, entry in zip(fields, found):
        total = (float(parts[-1]) + args.lm_weight * entry['logprob'] * numpy.log(10)
                 + args.word_penalty * (len(entry['words']) - 1))
        lists.setdefault(parts[0], []).append((total, parts))
    for candidates in lists.values():
        for total, parts in sorted(candidates, key=lambda c: -c[0]):
            print(' ||| '.join([*parts[:-1], f'{total:.6g}']))
    return 0


def inspect(args: argparse.Namespace) -> int:
    with open_archive(args.file) as archive:
        found = describe(archive)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f'file     {args.file}: {found["format"]}, {found["kind"]}')
    print(f'written  by {found["written by"]}')
    if found['model']:
        print(f'model    {found["summary"]}')
    for name, entry in found['arrays'].items():
        shape = 'x'.join(map(str, entry['shape'])) or '-'
        # A name could contain escape sequences of the terminal.
        print(f'{entry["dtype"]:9}{shape:16}'
              + (name if name.isprintable() else ascii(name)))
    return 0


def convert(args: argparse.Namespace) -> int:
    path = args.input
    if os.path.isdir(path):
        path, _ = run_folder.find_model(path)
    require_new(interchange.outputs(args.output), path, args.overwrite)
    weights = interchange.load(path)
    written = interchange.save(args.output, weights)
    print(f'written  {" and ".join(written)}: {check_model(weights)}')
    return 0
