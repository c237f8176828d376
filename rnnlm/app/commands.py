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
from rnnlm.app.console import relative_to_limit, say_results
from rnnlm.app.recipes import PRESETS, Recipe, recipe_options
from rnnlm.app.run_folder import RunDescription
from rnnlm.app.trained import TrainedModel, load
from rnnlm.chain import LanguageModel
from rnnlm.data import corpus
from rnnlm.data.text import read_text
from rnnlm.errors import InputError, printable, require, require_count
from rnnlm.inference import dynamic, generate as generating, scoring
from rnnlm.interchange import convert as interchange, inspecting
from rnnlm.interchange.weights import check_model
from rnnlm.legacy import explain as explaining, runner
from rnnlm.serializers.atomic import require_new
from rnnlm.serializers.snapshot_files import snapshots_in


# Characters of standard input that are read without an end of line.
LONGEST_LINE = 2 ** 24


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
    if sys.stderr.isatty():
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
             'perplexity': trained.perplexity(words)}
    if args.dynamic:
        found[f'dynamic {args.dynamic}'] = dynamic_perplexity(
            trained.model, text.train, words, args)
    if args.json:
        print(json.dumps(found))
        return 0
    print(f'{args.part:9}perplexity {found["perplexity"]:.3f}'
          + relative_to_limit(found['perplexity'], text.perplexity_limit))
    if args.dynamic:
        print(f'{args.part:9}perplexity {found["dynamic " + args.dynamic]:.3f} with '
              f'dynamic evaluation ({args.dynamic})')
    return 0


def dynamic_perplexity(model: LanguageModel, train: numpy.ndarray, words: numpy.ndarray,
                       args: argparse.Namespace) -> float:
    """Perplexity by dynamic evaluation; at a terminal, with its progress."""
    adaptive = dynamic.DynamicEvaluation(
        model, args.lr, args.decay, rule=args.dynamic)
    if args.dynamic == 'rms':
        adaptive.gather(train)

    def progress(read):
        print(f'\r{read:,} of {len(words) - 1:,} words', end='', file=sys.stderr)

    if not sys.stderr.isatty():
        return adaptive.perplexity(words)
    result = adaptive.perplexity(words, progress)
    print(end='\r\033[K', file=sys.stderr)
    return result


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
            print(printable(text, keep='\n\t'),
                  end='' if vocabulary.by_character else ' ')
        if args.beam:
            words, _ = generating.beam_search(
                trained.model, prime, args.length, args.beam)
            pieces = generating.text_of(vocabulary, words)
        else:
            pieces = trained.stream(
                text, args.length, args.temperature, args.top_k, args.top_p,
                sample=not args.greedy)
        for piece in pieces:
            print(printable(piece, keep='\n\t'), end='', flush=True)
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
        show_srilm(f'file {printable(args.file or "-")}:', *totals)
    return 0


def read_lines(path: Optional[str]) -> Iterator[str]:
    """The lines of a text file, or of standard input, as they come."""
    if path is not None:
        yield from read_text(path).splitlines()
        return
    number = 0
    try:
        while True:
            line = sys.stdin.readline(LONGEST_LINE)
            if not line:
                return
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith('\n'):
                raise InputError(
                    f'standard input:{number}: expected a sentence a line, found a '
                    f'line of more than {LONGEST_LINE:,} characters')
            yield line.rstrip('\r\n')
    except UnicodeDecodeError as e:
        raise InputError(
            f'standard input: expected text in UTF-8, found byte '
            f'0x{e.object[e.start]:02x} after line {number} ({e.reason}); convert it, '
            'for example with iconv -t utf-8') from None


def entries(trained: TrainedModel, lines: List[str]) -> Iterator[Dict[str, Any]]:
    """What is known of each sentence, its logarithms to the base of 10."""
    for score in trained.score(lines):
        found = score.token_log_probs / numpy.log(10)
        yield {'logprob': float(found.sum()), 'oov': score.n_unknown,
               'words': [[token, float(value)]
                         for token, value in zip(score.tokens, found)]}


def show_score(args: argparse.Namespace, line: str, entry: Dict[str, Any]) -> None:
    if args.json:
        print(printable(json.dumps({'sentence': line, **entry}, ensure_ascii=False)))
    elif args.srilm:
        print(printable(line, keep='\t'))
        for k, (token, value) in enumerate(entry['words']):
            before = '<s>' if k == 0 else entry['words'][k - 1][0]
            token = '</s>' if k == len(entry['words']) - 1 else token
            print(f'\tp( {printable(token)} | {printable(before)} '
                  f'{"..." if k else ""}) \t= [rnn] '
                  f'{10 ** value:.6g} [ {value:.6g} ]')
        show_srilm('', 1, len(entry['words']) - 1, entry['oov'], entry['logprob'])
        print()
    else:
        words = ' '.join(
            f'{printable(json.dumps(token, ensure_ascii=False)[1:-1])} {value:.4f}'
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
            print(printable(' ||| '.join([*parts[:-1], f'{total:.6g}']), keep='\t'))
    return 0


def interpolate(args: argparse.Namespace) -> int:
    if args.weight is not None:
        require('weight', args.weight, 'a number between 0 and 1',
                lambda v: 0 < v < 1)
    text = load_corpus(args, args.model)
    scores = {}
    for path in args.model, args.other:
        trained = load(path, args.device)
        require_vocabulary(text, args.corpus, path, trained)
        scores[path] = {part: scoring.score_text(trained.model, getattr(text, part))
                        for part in ('valid', 'test')}
    one, other = (scores[path] for path in (args.model, args.other))
    weight = args.weight
    if weight is None:
        weight = scoring.mixture_weight(one['valid'], other['valid'])
    found = {'weight': weight}
    for name, values in (('first', one['test']), ('second', other['test']), (
            'mixture', scoring.mix(one['test'], other['test'], weight))):
        found[name] = float(numpy.exp(-values.mean()))
    if args.json:
        print(json.dumps(found))
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
    found = inspecting.describe(args.file)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f'file     {printable(args.file)}: '
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
    path = args.input
    if os.path.isdir(path):
        path, _ = run_folder.find_model(path)
    require_new(interchange.outputs(args.output), path, args.overwrite)
    weights, vocabulary, notes = interchange.load_model(path)
    if vocabulary is not None:
        interchange.require_vocabulary_beside(args.output, vocabulary, args.overwrite)
    written = interchange.save(args.output, weights, vocabulary)
    print(f'written  {printable(" and ".join(written))}: {check_model(weights)}')
    for text in notes:
        print(f'note     {printable(text, 300)}')
    return 0
