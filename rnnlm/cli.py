"""The console script `rnnlm`: parse, call, print."""
import argparse
import dataclasses
import os
import sys

import numpy

import rnnlm
from rnnlm import checkpoint, corpus, experiment, inference
from rnnlm.devices import get_device
from rnnlm.training import PRESETS, PerplexityEvaluator

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
    try:
        return args.command(args)
    except rnnlm.InputError as e:
        print(f'rnnlm {args.name}: error: {e}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def make_parser():
    parser = argparse.ArgumentParser(
        prog='rnnlm', description=rnnlm.__doc__.strip(),
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
        '--seed', type=seed, default=0, help='of the random numbers (default: 0)')
    train_parser.add_argument(
        '--out', '-o', default='result', help='folder to write (default: result)')
    train_parser.add_argument(
        '--resume', '-r', nargs='?', const=True, metavar='SNAPSHOT',
        help='go on from a snapshot (default: the newest in the --out folder)')
    train_parser.set_defaults(command=train)

    evaluate_parser = commands.add_parser(
        'evaluate', help='perplexity of a corpus',
        description='Prints the perplexity of the test part of a corpus.')
    evaluate_parser.add_argument('model', help='model.npz, or a snapshot')
    add_corpus_options(evaluate_parser)
    evaluate_parser.set_defaults(command=evaluate)

    generate_parser = commands.add_parser(
        'generate', help='let a model write',
        description='Goes on with a text, word by word.')
    generate_parser.add_argument(
        'folder', nargs='?', default='result',
        help='the --out folder of a training (default: result)')
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
    preset = args.preset or ('demo' if args.corpus == 'demo' else 'chainer')
    given = {field: getattr(args, field) for _, _, field, _, _ in RECIPE_FLAGS
             if getattr(args, field) is not None}
    recipe = dataclasses.replace(PRESETS[preset], **given)
    resume = args.out if args.resume is True else args.resume
    result = experiment.train(
        load_corpus(args), recipe, args.out, args.device, args.seed, resume,
        progress_bar=sys.stdout.isatty())
    if result['signal']:
        return 128 + result['signal']
    print(f"valid    perplexity {result['valid']:.3f}"
          + share_of_limit(result['valid'], result['limit']))
    print(f"test     perplexity {result['test']:.3f}"
          + share_of_limit(result['test'], result['limit']))
    print(f'written  {args.out}/: model.npz, vocabulary.json, log, snapshots; let it '
          f'write with: rnnlm generate {args.out}')
    return 0


def share_of_limit(perplexity, limit):
    if limit is None:
        return ''
    return (f', {100 * (perplexity / limit - 1):+.1f}% from the {limit:.3f} of the '
            'best possible model')


def evaluate(args):
    model = load_model(args.model, args.device)
    text = load_corpus(args)
    if len(text.vocabulary) != model.n_vocab:
        raise rnnlm.InputError(
            f'{args.corpus}: expected a vocabulary of {model.n_vocab}, the one of '
            f'{args.model}, found {len(text.vocabulary)}')
    classifier = experiment.make_classifier(model)
    evaluator = PerplexityEvaluator(
        rnnlm.ParallelSequentialIterator(text.test, 1, repeat=False), classifier)
    perplexity = experiment.perplexity(evaluator)
    print(f'test     perplexity {perplexity:.3f}'
          + share_of_limit(perplexity, text.perplexity_limit))
    return 0


def generate(args):
    vocabulary = corpus.Vocabulary.load(
        os.path.join(args.folder, experiment.VOCABULARY))
    model = load_model(os.path.join(args.folder, experiment.MODEL), args.device)
    text = args.primetext
    if text is None:  # the beginning of a sentence
        text = '\n' if vocabulary.by_character else '<eos>'
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


def load_model(path, device):
    """The model in a file, of the sizes that it has there, on a device."""
    device = get_device(device)
    with checkpoint.Npz(path) as npz:
        sizes = checkpoint.model_sizes(npz)
    model = rnnlm.RNNForLM(*sizes)
    checkpoint.load_model(path, model)
    model.to_device(device)
    return model
