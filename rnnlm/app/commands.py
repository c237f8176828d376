"""What each command of the console script does and prints."""
import dataclasses
import itertools
import json
import os
import sys

import numpy

from rnnlm import parallel
from rnnlm.app import experiment, run_folder
from rnnlm.app.console import say
from rnnlm.app.recipes import PRESETS, RECIPE_FLAGS, Recipe
from rnnlm.app.trained import load
from rnnlm.data import corpus
from rnnlm.data.text import read_text
from rnnlm.errors import InputError, require, require_count
from rnnlm.inference import dynamic, generate as generating, scoring
from rnnlm.interchange import convert as interchange
from rnnlm.interchange.weights import check_model
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.model_files import describe
from rnnlm.serializers.snapshot_files import snapshots_in


def choose_corpus(args, path):
    """Without one that was asked for, that of the run at `path`, else the demo."""
    if args.corpus is None:
        source = run_folder.source_of(run_folder.folder_of(path)) if path else {}
        args.corpus = source.get('corpus', 'demo')
        if args.tokens is None and args.vocab_limit is None:
            args.tokens, args.vocab_limit = (
                source.get('tokens'), source.get('vocab_limit'))


def load_corpus(args):
    return corpus.load(args.corpus, args.tokens or 'word', args.vocab_limit)


def train(args):
    with parallel.joined(args.communicator, args.timeout) as group:
        corpus, recipe, resume = group.on_all(lambda: prepare(args))
        result = experiment.train(
            corpus, recipe, args.out, args.device, args.seed or 0, resume,
            args.overwrite, sys.stdout.isatty(), args.save_every, args.on_nan, group)
        if result['signal']:
            return 128 + result['signal']
        for part in 'valid', 'test':
            say(f'{part:9}perplexity {result[part]:.3f}'
                + share_of_limit(result[part], result['limit']))
        say(f'written  {args.out}/; let the model write: rnnlm generate {args.out}')
        return 0


def prepare(args):
    """The corpus and the recipe of a training, and what it goes on from or None."""
    resume = args.resume
    if resume == '':
        raise InputError('--resume: expected a snapshot, found an empty name')
    if resume and args.overwrite:
        raise InputError('--overwrite: expected none with --resume, found both')
    if resume is True:
        resume = args.out
        snapshots_in(resume)  # refuses a folder that is not there
    choose_corpus(args, resume)
    preset = args.preset or ('demo' if args.corpus == 'demo' else 'chainer')
    fields = dataclasses.asdict(PRESETS[preset])
    if resume and not args.preset:  # go on as it began, but for what is given
        began = run_folder.recipe_of(run_folder.folder_of(resume))
        fields.update((name, began[name]) for name in fields if name in began)
    fields.update((field, getattr(args, field)) for _, _, field, _, _ in RECIPE_FLAGS
                  if getattr(args, field) is not None)
    if args.tied:
        fields['tied'] = True
    if args.precision:
        fields['precision'] = args.precision
    recipe = Recipe(**fields)
    if resume and args.seed is not None:
        raise InputError(
            '--seed: expected none with --resume, since the random numbers go on '
            f'too, found {args.seed}')
    return load_corpus(args), recipe, resume


def share_of_limit(perplexity, limit):
    if limit is None:
        return ''
    return (f', {100 * (perplexity / limit - 1):+.1f}% from the {limit:.3f} of the '
            'best possible model')


def evaluate(args):
    trained = load(args.model, args.device)
    choose_corpus(args, args.model)
    text = load_corpus(args)
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
          + share_of_limit(found['perplexity'], text.perplexity_limit))
    if args.dynamic:
        print(f'{args.part:9}perplexity {found["dynamic " + args.dynamic]:.3f}, by '
              f'dynamic evaluation ({args.dynamic})')
    return 0


def dynamic_perplexity(model, train, words, args):
    adaptive = dynamic.DynamicEvaluation(
        model, args.dynamic_lr, args.dynamic_decay, rule=args.dynamic)
    if args.dynamic == 'rms':
        adaptive.gather(train)

    def progress(read):
        print(f'\r{read:,} of {len(words) - 1:,} words', end='', file=sys.stderr)

    if not sys.stderr.isatty():
        return adaptive.perplexity(words)
    result = adaptive.perplexity(words, progress)
    print(end='\r\033[K', file=sys.stderr)
    return result


def require_vocabulary(text, name, path, trained):
    """Refuses a text whose ids are not those of a model."""
    n_vocab = trained.model.n_vocab
    if trained.vocabulary is None:
        same = len(text.vocabulary) == n_vocab
    else:
        same = text.vocabulary == trained.vocabulary
    if not same:
        raise InputError(
            f'{name}: expected the vocabulary of {path}, {n_vocab:,} tokens, '
            f'found another one of {len(text.vocabulary):,}; give the corpus that it '
            'was trained on')


def generate(args):
    trained = load(args.model, args.device)
    vocabulary, text = trained.require_vocabulary(), args.primetext
    require_count('--samples', args.samples)
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


def score(args):
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


def read_lines(path):
    """The lines of a text file, or of standard input, as they come."""
    if path is None:
        yield from (line.rstrip('\r\n') for line in sys.stdin)
    else:
        yield from read_text(path).splitlines()


def entries(trained, lines):
    """What is known of each sentence, its logarithms to the base of 10."""
    for score in trained.score(lines):
        found = score.token_log_probs / numpy.log(10)
        yield {'logprob': float(found.sum()), 'oov': score.n_unknown,
               'words': [[token, float(value)]
                         for token, value in zip(score.tokens, found)]}


def show_score(args, line, entry):
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


def show_srilm(title, sentences, words, oov, logprob):
    counts = f'{sentences:.0f} sentences, {words:.0f} words, {oov:.0f} OOVs'
    print(f'{title} {counts}'.strip())
    with numpy.errstate(all='ignore'):
        perplexity = numpy.power(10.0, -logprob / (words + sentences))
        without_ends = numpy.power(10.0, numpy.divide(-logprob, words))
    print(f'0 zeroprobs, logprob= {logprob:.6g} ppl= {perplexity:.6g} '
          f'ppl1= {without_ends:.6g}')


def rescore(args, trained, lines):
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
    lists = {}
    for parts, entry in zip(fields, found):
        total = (float(parts[-1]) + args.lm_weight * entry['logprob'] * numpy.log(10)
                 + args.word_penalty * (len(entry['words']) - 1))
        lists.setdefault(parts[0], []).append((total, parts))
    for candidates in lists.values():
        for total, parts in sorted(candidates, key=lambda c: -c[0]):
            print(' ||| '.join([*parts[:-1], f'{total:.6g}']))
    return 0


def interpolate(args):
    if args.weight is not None:
        require('--weight', args.weight, 'a number between 0 and 1',
                lambda v: 0 < v < 1)
    choose_corpus(args, args.model)
    text = load_corpus(args)
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
        print(f'test     perplexity {found["first"]:.3f}  {args.model}\n'
              f'test     perplexity {found["second"]:.3f}  {args.other}\n'
              f'test     perplexity {found["mixture"]:.3f}  {weight:.3f} of the first '
              f'and {1 - weight:.3f} of the second')
    return 0


def inspect(args):
    with open_archive(args.file) as archive:
        found = describe(archive)
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f'file     {args.file}: {found["format"]}, {found["kind"]}')
    print(f'written  by {found["written by"]}')
    if found['model']:
        sizes = found['model']
        print(f'model    {sizes["n_layers"]} x {sizes["n_units"]} LSTM units, '
              f'vocabulary {sizes["n_vocab"]:,}')
    for name, entry in found['arrays'].items():
        shape = 'x'.join(map(str, entry['shape'])) or '-'
        # A name in a file from anywhere could be orders to the terminal.
        print(f'{entry["dtype"]:9}{shape:16}'
              + (name if name.isprintable() else ascii(name)))
    return 0


def convert(args):
    path = args.input
    if os.path.isdir(path):
        path, _ = run_folder.find_model(path)
    weights = interchange.load(path)
    written = interchange.save(args.output, weights)
    sizes = check_model(weights)
    print(f'written  {" and ".join(written)}: {sizes["n_layers"]} x '
          f'{sizes["n_units"]} LSTM units, vocabulary {sizes["n_vocab"]:,}')
    return 0
