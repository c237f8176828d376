"""The command line that the scripts of this folder have in common."""
import argparse
import sys

import rnnlm

import numpy

# The flags of awd-lstm-lm and, as defaults, the Penn Treebank run of its paper.
FLAGS = [
    ('emsize', 400, 'size of the embedding and of the last layer'),
    ('nhid', 1150, 'units of the other layers'),
    ('nlayers', 3, 'LSTM layers'),
    ('lr', 30.0, 'learning rate of a window of --bptt steps'),
    ('clip', 0.25, 'largest L2 norm of the gradients; 0 for any'),
    ('epochs', 750, 'sweeps over the text'),
    ('batch_size', 40, 'streams read in parallel'),
    ('bptt', 70, 'usual steps of a window'),
    ('dropout', 0.4, 'dropped of the last layer'),
    ('dropouth', 0.25, 'dropped between the layers'),
    ('dropouti', 0.4, 'dropped of the embedding, its units'),
    ('dropoute', 0.1, 'dropped of the embedding, whole words'),
    ('wdrop', 0.5, 'dropped of the lateral weights'),
    ('alpha', 2.0, 'activation regularisation'),
    ('beta', 1.0, 'temporal activation regularisation'),
    ('wdecay', 1.2e-6, 'weight decay'),
    ('nonmono', 5, 'epochs without a better validation before the averaging begins'),
    ('log-interval', 200, 'windows between two lines of report'),
]

# A model and a text of seconds, in the place of the defaults.
DEMO = dict(emsize=40, nhid=60, nlayers=2, epochs=5, batch_size=20, bptt=20, clip=1.0,
            dropout=0.1, dropouth=0.1, dropouti=0.1, dropoute=0.0, wdrop=0.2, alpha=0.5,
            beta=0.5, nonmono=1, log_interval=50)
DEMO_WORDS = 20000, 2000, 2000


def bare_parser(text):
    """Parser with the flags of all scripts."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add('--data', default='ptb',
        help="'ptb' (default), 'demo', or a folder with train.txt, valid.txt, test.txt")
    add('--save', default='awd.npz', help='file of the best model (default: awd.npz)')
    add('--seed', type=seed, default=141, help='seed of numpy.random (default: 141)')
    add('--device', default='-1', help='-1: NumPy (default); 0, 1, ...: a GPU')
    add('--demo', action='store_true', help='a small model of a small text, in seconds')
    return made


def parser(text):
    """Parser with the flags of training too."""
    made = bare_parser(text)
    for name, default, what in FLAGS:
        made.add_argument(f'--{name}', type=type(default), default=default,
                          help=f'{what} (default: {default:g})')
    return made


def seed(text):
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value


def parse(made, argv):
    """The arguments of training."""
    if made.parse_args(argv).demo:
        made.set_defaults(**DEMO)
    args = made.parse_args(argv)
    for name in ('emsize', 'nhid', 'nlayers', 'epochs', 'batch_size', 'bptt',
                 'log_interval'):
        require(name, getattr(args, name) >= 1, 'at least 1', getattr(args, name))
    for name in 'dropout', 'dropouth', 'dropouti', 'dropoute', 'wdrop':
        value = getattr(args, name)
        require(name, 0 <= value < 1, 'a ratio of at least 0 and below 1', value)
    for name in 'lr', 'clip', 'alpha', 'beta', 'wdecay', 'nonmono':
        value = getattr(args, name)
        require(name, 0 <= value < float('inf'), 'a finite number of at least 0', value)
    return args


def require(name, good, expected, found):
    """Refuses the value of a flag."""
    if not good:
        flag = name.replace('log_', 'log-')
        raise rnnlm.InputError(f'--{flag}: expected {expected}, found {found}')


def prepare(args):
    """The device, the size of the vocabulary, and the ids of the three texts.

    The device is made current, and `numpy.random` is seeded.
    """
    device = rnnlm.get_device(args.device)
    device.use()
    numpy.random.seed(args.seed)
    corpus = rnnlm.load_corpus('demo' if args.demo else args.data)
    texts = [corpus.train, corpus.valid, corpus.test]
    if args.demo:
        texts = [words[:n] for words, n in zip(texts, DEMO_WORDS)]
    return device, len(corpus.vocabulary), texts


def run(main):
    """Runs a script's main; input that cannot be used ends it with one line."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
    except (rnnlm.NotFinite, OSError) as e:  # NaN; a full disk
        print(f'error: {e}', file=sys.stderr)
        sys.exit(1)
