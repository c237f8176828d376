"""Command line options shared by the scripts of this folder."""
import argparse
import os
import sys

import rnnlm

import numpy

# The options of awd-lstm-lm, with the defaults of its paper for the Penn Treebank.
FLAGS = [
    ('emsize', 400, 'size of the embedding and of the last layer'),
    ('nhid', 1150, 'units of the other layers'),
    ('nlayers', 3, 'LSTM layers'),
    ('lr', 30.0, 'learning rate for a window of --bptt steps'),
    ('clip', 0.25, 'clip gradients to this L2 norm; 0: no clipping'),
    ('epochs', 750, 'number of epochs'),
    ('batch_size', 40, 'streams read in parallel'),
    ('bptt', 70, 'mean length of a window, in steps'),
    ('dropout', 0.4, 'dropout ratio of the last layer'),
    ('dropouth', 0.25, 'dropout ratio between the layers'),
    ('dropouti', 0.4, 'dropout ratio of the embedding, of units'),
    ('dropoute', 0.1, 'dropout ratio of the embedding, of words'),
    ('wdrop', 0.5, 'dropout ratio of the lateral weights'),
    ('alpha', 2.0, 'activation regularisation'),
    ('beta', 1.0, 'temporal activation regularisation'),
    ('wdecay', 1.2e-6, 'weight decay'),
    ('nonmono', 5, 'epochs without improvement after which averaging starts'),
    ('log-interval', 200, 'windows between two lines of the table'),
]

# Maximum values of counts; the others must fit into 32 bits.
MOST = {'nlayers': 1000}

# A small model on a short text, which trains in seconds.
DEMO = dict(emsize=40, nhid=60, nlayers=2, epochs=5, batch_size=20, bptt=20, clip=1.0,
            dropout=0.1, dropouth=0.1, dropouti=0.1, dropoute=0.0, wdrop=0.2, alpha=0.5,
            beta=0.5, nonmono=1, log_interval=50)
DEMO_WORDS = 20000, 2000, 2000


def bare_parser(text):
    """Makes a parser with the options of all scripts."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add('--data', help="'ptb' (default), 'demo', or a folder with train.txt, valid.txt "
                       'and test.txt')
    add('--save', default='awd.npz', help='file of the best model (default: awd.npz)')
    rnnlm.add_options(made, 'seed', seed=141)
    add('--device', default='-1', help='-1: NumPy (default); 0, 1, ...: a GPU')
    add('--demo', action='store_true',
        help='a small model and a short text, which take seconds')
    return made


def parser(text):
    """Makes a parser that also has the options of training."""
    made = bare_parser(text)
    for name, default, what in FLAGS:
        made.add_argument(f'--{name}', type=type(default), default=default,
                          help=f'{what} (default: {default:g})')
    return made


def parse(made, argv):
    """Parses and checks the options of training."""
    if made.parse_args(argv).demo:
        made.set_defaults(**DEMO)
    args = made.parse_args(argv)
    for name in ('emsize', 'nhid', 'nlayers', 'epochs', 'batch_size', 'bptt',
                 'log_interval'):
        require(name, 1 <= getattr(args, name) <= MOST.get(name, 2 ** 31 - 1),
                f'an integer from 1 to {MOST.get(name, 2 ** 31 - 1)}',
                getattr(args, name))
    for name in 'dropout', 'dropouth', 'dropouti', 'dropoute', 'wdrop':
        value = getattr(args, name)
        require(name, 0 <= value < 1, 'a ratio of at least 0 and below 1', value)
    for name in 'lr', 'clip', 'alpha', 'beta', 'wdecay', 'nonmono':
        value = getattr(args, name)
        require(name, 0 <= value < float('inf'), 'a finite number of at least 0', value)
    folder = os.path.dirname(os.path.abspath(args.save))
    require('save', os.path.isdir(folder) and not os.path.isdir(args.save),
            'a file in a folder that exists', args.save)
    texts = [os.path.join(args.data or '', f'{part}.txt')
             for part in ('train', 'valid', 'test')]
    require('save', not os.path.exists(args.save) or not any(
        os.path.exists(text) and os.path.samefile(text, args.save) for text in texts),
            'a file other than the texts', args.save)
    return args


def require(name, good, expected, found):
    """Raises InputError for an option unless its value is `good`."""
    if not good:
        flag = name.replace('log_', 'log-')
        raise rnnlm.InputError(f'--{flag}: expected {expected}, found {found}')


def prepare(args):
    """Returns the device, the vocabulary and the ids of the three parts.

    Makes the device current, and seeds `numpy.random`.
    """
    require('data', not args.demo or args.data is None, 'none with --demo', args.data)
    data = 'demo' if args.demo else 'ptb' if args.data is None else args.data
    device = rnnlm.get_device(args.device)
    device.use()
    numpy.random.seed(args.seed)
    corpus = rnnlm.load_corpus(data)
    texts = [corpus.train, corpus.valid, corpus.test]
    if args.demo:
        texts = [words[:n] for words, n in zip(texts, DEMO_WORDS)]
    return device, corpus.vocabulary, texts


def run(main):
    """Runs a script's main; an InputError ends it with a one-line message."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
    except (rnnlm.NotFinite, OSError) as e:  # NaN; a full disk
        print(f'error: {e}', file=sys.stderr)
        sys.exit(1)
    except MemoryError as e:
        print(f'error: out of memory ({e}); use smaller sizes', file=sys.stderr)
        sys.exit(1)
