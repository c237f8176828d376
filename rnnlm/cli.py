"""The console script `rnnlm`: parse, call, print."""
import argparse
import dataclasses
import json
import os
import sys

import numpy

import rnnlm
from rnnlm import archives, checkpoint, corpus, experiment, inference, runs
from rnnlm.devices import get_device
from rnnlm.legacy import run as legacy
from rnnlm.training import PRESETS, Recipe

# Flags of `train` that set a field of the recipe, spelled as in examples/ptb.
RECIPE_FLAGS = (
    ('--unit', '-u', 'n_units', int, 'LSTM units in each layer'),
    ('--layer', None, 'n_layers', int, 'LSTM layers'),
    ('--dropout', None, 'dropout', float, 'ratio of elements dropped'),
    ('--init-scale', None, 'init_scale', float,
     'parameters start uniformly in [-SCALE, SCALE]'),
    ('--batchsize', '-b', 'batch_size', int, 'streams read in parallel'),
    ('--bproplen', '-l', 'bprop_len', int, 'steps of truncated BPTT'),
    ('--epoch', '-e', 'epochs', int, 'sweeps over the text'),
    ('--lr', None, 'lr', float, 'learning rate of SGD'),
    ('--decay', None, 'decay', float, 'divisor of the learning rate an epoch'),
    ('--decay-after', None, 'decay_after', int, 'last epoch without decay'),
    ('--gradclip', '-c', 'gradclip', float, 'largest L2 norm of the gradients'),
)


def main(argv=None):
    """Runs one command.

    Args:
        argv (list of str): Arguments; those of the process if None.

    Returns:
        int: exit status: 0; 2 for input that cannot be used; 128 + the number of
        the signal that stopped the training.
    """
    args = make_parser().parse_args(argv)
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')  # a terminal that lacks a letter
    try:
        return args.command(args)
    except rnnlm.InputError as e:
        print(f'rnnlm {args.name}: error: {in_terms_of_flags(str(e))}',
              file=sys.stderr)
        return 2
    except MemoryError as e:
        print(f'rnnlm {args.name}: error: not enough memory ({e}); take fewer units, '
              'a smaller batch, or a smaller vocabulary', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'rnnlm {args.name}: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def in_terms_of_flags(message):
    """A message about a field of the recipe, about the flag that sets it."""
    for flag, _, field, _, _ in RECIPE_FLAGS:
        if message.startswith(f'{field}: '):
            return flag + message[len(field):]
    return message


def make_parser():
    parser = argparse.ArgumentParser(
        prog='rnnlm',
        description="Chainer's recurrent language model on today's machines.",
        epilog="'rnnlm COMMAND --help' shows the options of a command.")
    parser.add_argument('--version', action='version', version=rnnlm.__version__)
    commands = parser.add_subparsers(dest='name', metavar='COMMAND', required=True)

    train_parser = commands.add_parser(
        'train', help='train a language model',
        description='Trains a language model; by default on the embedded demo '
                    'corpus, whose best possible perplexity is known.')
    add_corpus_options(train_parser)
    train_parser.add_argument(
        '--preset', choices=sorted(PRESETS),
        help="sizes and rates to begin with (default: demo for the demo corpus, "
             "else chainer, those of Chainer's example)")
    for flag, short, field, kind, text in RECIPE_FLAGS:
        train_parser.add_argument(
            *filter(None, (flag, short)), dest=field, type=kind,
            metavar=flag.strip('-').upper().replace('-', '_'), help=text)
    train_parser.add_argument(
        '--seed', type=seed, help='of the random numbers (default: 0)')
    train_parser.add_argument(
        '--out', '-o', default='result', help='folder to write (default: result)')
    train_parser.add_argument(
        '--resume', '-r', nargs='?', const=True, metavar='SNAPSHOT',
        help='go on from a snapshot (default: the newest in the --out folder)')
    train_parser.add_argument(
        '--overwrite', action='store_true',
        help='delete an earlier run in the --out folder')
    train_parser.set_defaults(command=train)

    evaluate_parser = commands.add_parser(
        'evaluate', help='perplexity of a corpus',
        description='Prints the perplexity of the test part of a corpus.')
    add_model_argument(evaluate_parser)
    add_corpus_options(evaluate_parser)
    evaluate_parser.set_defaults(command=evaluate)

    generate_parser = commands.add_parser(
        'generate', help='let a model write',
        description='Goes on with a text, word by word.')
    add_model_argument(generate_parser)
    generate_parser.add_argument(
        '--primetext', '-p', help='text to begin with (default: a new sentence)')
    generate_parser.add_argument(
        '--length', type=int, default=100,
        help='words or characters to add (default: 100)')
    generate_parser.add_argument(
        '--seed', '-s', type=seed, default=None, help='of the random numbers')
    generate_parser.add_argument(
        '--greedy', action='store_true', help='always the most probable word')
    add_device_option(generate_parser)
    generate_parser.set_defaults(command=generate)

    run_parser = commands.add_parser(
        'run', help='run a script written for Chainer 1 to 7, as it is',
        description='Runs a script as python would, with the names of the Chainer '
                    'that it was written for.')
    run_parser.add_argument(
        '--api', choices=legacy.APIS, default='auto',
        help="v1 for Chainer 1.0 to 1.24, v2 for later ones (default: auto, by the "
             "script's source)")
    run_parser.add_argument('script', help='the script, unchanged')
    run_parser.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='...', help='its arguments')
    run_parser.set_defaults(
        command=lambda args: legacy.run(args.script, args.args, args.api))

    inspect_parser = commands.add_parser(
        'inspect', help='what a snapshot holds',
        description='Prints the names, shapes and dtypes in an npz or HDF5 file, the '
                    'sizes of its model and what wrote it; runs nothing in it.')
    inspect_parser.add_argument('file', help='a model or a snapshot of a trainer')
    inspect_parser.add_argument(
        '--json', action='store_true', help='the same for a program')
    inspect_parser.set_defaults(command=inspect)
    return parser


def add_corpus_options(parser):
    parser.add_argument(
        '--corpus', default='demo', metavar='CORPUS',
        help="'demo' (default), 'ptb', a folder with ptb.{train,valid,test}.txt, "
             'or a text file')
    parser.add_argument(
        '--tokens', choices=('word', 'char'), default='word',
        help='what a text is split into (default: word)')
    parser.add_argument(
        '--vocab-limit', type=int, metavar='N',
        help='keep the N - 1 most frequent tokens, the others become <unk>')
    add_device_option(parser)


def add_model_argument(parser):
    parser.add_argument(
        'model', nargs='?', default='result',
        help='the --out folder of a training, or a model.npz or snapshot with its '
             'vocabulary.json beside it (default: result)')


def add_device_option(parser):
    parser.add_argument(
        '--device', '-d', default='-1',
        help='-1: NumPy on the CPU (default); 0, 1, ...: a GPU through CuPy')


def seed(text):
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value


def load_corpus(args):
    return corpus.load(args.corpus, args.tokens, args.vocab_limit)


def train(args):
    resume = (runs.newest_snapshot(args.out) if args.resume is True
              else args.resume)
    preset = args.preset or ('demo' if args.corpus == 'demo' else 'chainer')
    fields = dataclasses.asdict(PRESETS[preset])
    if resume and not args.preset:  # go on as it began, but for what is given
        began = runs.recipe_of(
            resume if os.path.isdir(resume) else os.path.dirname(resume))
        fields.update((name, began[name]) for name in fields if name in began)
    fields.update((field, getattr(args, field)) for _, _, field, _, _ in RECIPE_FLAGS
                  if getattr(args, field) is not None)
    recipe = Recipe(**fields)
    if resume and args.seed is not None:
        raise rnnlm.InputError(
            '--seed: expected none with --resume, since the random numbers go on '
            f'too, found {args.seed}')
    result = experiment.train(
        load_corpus(args), recipe, args.out, args.device, args.seed or 0, resume,
        args.overwrite, progress_bar=sys.stdout.isatty())
    if result['signal']:
        return 128 + result['signal']
    for part in 'valid', 'test':
        print(f'{part:9}perplexity {result[part]:.3f}'
              + share_of_limit(result[part], result['limit']))
    print(f'written  {args.out}/; let the model write: rnnlm generate {args.out}')
    return 0


def share_of_limit(perplexity, limit):
    if limit is None:
        return ''
    return (f', {100 * (perplexity / limit - 1):+.1f}% from the {limit:.3f} of the '
            'best possible model')


def evaluate(args):
    model, vocabulary = load_model(args)
    text = load_corpus(args)
    if vocabulary is None:
        same = len(text.vocabulary) == model.n_vocab
    else:
        same = text.vocabulary == vocabulary
    if not same:
        raise rnnlm.InputError(
            f'{args.corpus}: expected the vocabulary of {args.model}, '
            f'{model.n_vocab:,} tokens, found another one of '
            f'{len(text.vocabulary):,}; give the corpus that it was trained on')
    perplexity = experiment.perplexity(experiment.make_evaluator(
        text.test, experiment.make_classifier(model)))
    print(f'test     perplexity {perplexity:.3f}'
          + share_of_limit(perplexity, text.perplexity_limit))
    return 0


def generate(args):
    model, vocabulary = load_model(args)
    if vocabulary is None:
        raise rnnlm.InputError(
            f'{args.model}: expected a {runs.VOCABULARY} beside it, found none')
    text = args.primetext
    if text is None:  # the beginning of a sentence, if the tokens know of such
        text = '\n' if vocabulary.by_character else '<eos>'
        text = text if text in vocabulary else vocabulary.words[0]
    prime = inference.encode_prime(vocabulary, text)
    if args.primetext is not None:
        print(text, end='' if vocabulary.by_character else ' ')
    if args.seed is not None:
        numpy.random.seed(args.seed)
    words = inference.generate(model, prime, args.length, not args.greedy)
    for piece in inference.text_of(vocabulary, words):
        print(piece, end='', flush=True)
    print()
    return 0


def inspect(args):
    with archives.open_archive(args.file) as archive:
        found = checkpoint.describe(archive)
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
        print(f'{entry["dtype"]:9}{"x".join(map(str, entry["shape"])) or "-":16}{name}')
    return 0


def load_model(args):
    """The model that args.model names, of the sizes in its file, and its words."""
    device = get_device(args.device)
    path, vocabulary = runs.find_model(args.model)
    with archives.open_archive(path) as npz:
        n_vocab, n_units, n_layers = checkpoint.model_sizes(npz)
    if vocabulary is not None and len(vocabulary) != n_vocab:
        raise rnnlm.InputError(
            f'{path}: expected a model of {len(vocabulary):,} words, as the '
            f'{runs.VOCABULARY} beside it has, found one of {n_vocab:,}')
    model = rnnlm.RNNForLM(n_vocab, n_units, n_layers)
    checkpoint.load_model(path, model)
    model.to_device(device)
    return model, vocabulary
