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
from rnnlm.data import corpus
from rnnlm.data.text import read_text
from rnnlm.devices import get_device
from rnnlm.errors import InputError, require, require_count
from rnnlm.inference import dynamic, generate as generating, scoring
from rnnlm.interchange import convert as interchange
from rnnlm.interchange.weights import check_model
from rnnlm.model import RNNForLM
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.model_files import describe, load_model, model_sizes
from rnnlm.serializers.snapshot_files import snapshots_in
from rnnlm.training.evaluator import (
    evaluate_perplexity, make_classifier, make_evaluator)


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
    model, vocabulary = load_trained(args.model, args.device)
    choose_corpus(args, args.model)
    text = load_corpus(args)
    require_vocabulary(text, args.corpus, args.model, model, vocabulary)
    words = getattr(text, args.part)
    found = {'part': args.part, 'words': len(words),
             'perplexity': evaluate_perplexity(make_evaluator(
                 words, make_classifier(model)))}
    if args.dynamic:
        found[f'dynamic {args.dynamic}'] = dynamic_perplexity(
            model, text.train, words, args)
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


def require_vocabulary(text, name, path, model, vocabulary):
    """Refuses a text whose ids are not those of a model."""
    if vocabulary is None:
        same = len(text.vocabulary) == model.n_vocab
    else:
        same = text.vocabulary == vocabulary
    if not same:
        raise InputError(
            f'{name}: expected the vocabulary of {path}, {model.n_vocab:,} tokens, '
            f'found another one of {len(text.vocabulary):,}; give the corpus that it '
            'was trained on')


def generate(args):
    model, vocabulary = load_trained(args.model, args.device, with_words=True)
    require_count('--samples', args.samples)
    text = args.primetext
    if text is None:  # the beginning of a sentence, if the tokens know of such
        text = '\n' if vocabulary.by_character else '<eos>'
        text = text if text in vocabulary else vocabulary.words[0]
    prime = generating.encode_prime(vocabulary, text)
    if args.seed is not None:
        numpy.random.seed(args.seed)
    for _ in range(args.samples):
        if args.primetext is not None:
            print(text, end='' if vocabulary.by_character else ' ')
        if args.beam:
            words, _ = generating.beam_search(model, prime, args.length, args.beam)
        else:
            words = generating.generate(
                model, prime, args.length, not args.greedy, args.temperature,
                args.top_k, args.top_p)
        for piece in generating.text_of(vocabulary, words):
            print(piece, end='', flush=True)
        print()
    return 0


def score(args):
    model, vocabulary = load_trained(args.model, args.device, with_words=True)
    between = scoring.boundary(vocabulary)
    if between is None:
        raise InputError(
            f'{args.model}: expected a vocabulary with a token between sentences '
            '(<eos>, or a line feed), found none')
    lines = read_lines(args.file)
    if args.nbest:
        return rescore(args, model, vocabulary, between, list(lines))
    totals = numpy.zeros(4)
    while True:
        some = list(itertools.islice(lines, scoring.BATCH))
        if not some:
            break
        for line, entry in zip(some, entries(model, vocabulary, between, some)):
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


def entries(model, vocabulary, between, lines):
    """What is known of each sentence, its logarithms to the base of 10."""
    encoded = [scoring.encode_sentence(vocabulary, line) for line in lines]
    end = vocabulary.words[between]
    for (tokens, _, unknown), found in zip(encoded, scoring.score_sentences(
            model, [ids for _, ids, _ in encoded], between)):
        found = found / numpy.log(10)
        yield {'logprob': float(found.sum()), 'oov': int(unknown.sum()),
               'words': [[token, float(value)]
                         for token, value in zip([*tokens, end], found)]}


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


def rescore(args, model, vocabulary, between, lines):
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
    found = entries(model, vocabulary, between, [parts[1] for parts in fields])
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
        model, vocabulary = load_trained(path, args.device)
        require_vocabulary(text, args.corpus, path, model, vocabulary)
        scores[path] = {part: scoring.score_text(model, getattr(text, part))
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


def load_trained(path, device, with_words=False):
    """A model, of the sizes in its file, and the `Vocabulary` beside it or None."""
    device = get_device(device)
    given, (path, vocabulary) = path, run_folder.find_model(path)
    if with_words and vocabulary is None:
        raise InputError(
            f'{given}: expected a {run_folder.VOCABULARY} beside it, found none')
    with open_archive(path) as archive:
        sizes = model_sizes(archive)
    if vocabulary is not None and len(vocabulary) != sizes['n_vocab']:
        raise InputError(
            f'{path}: expected a model of {len(vocabulary):,} words, as the '
            f'{run_folder.VOCABULARY} beside it has, found one of '
            f'{sizes["n_vocab"]:,}')
    model = RNNForLM(**sizes)
    load_model(path, model)
    model.to_device(device)
    return model, vocabulary
