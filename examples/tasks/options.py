"""The command line that the examples of this folder have in common."""
import argparse
import sys

import numpy

import rnnlm
from rnnlm.app.cli import seed
from rnnlm.errors import require_count


def parser(text, epochs=None):
    """Parser with --seed and, where there is a default for it, --epochs."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--seed', type=seed, default=0,
                      help='seed of the random numbers (default: 0)')
    if epochs is not None:
        made.add_argument('--epochs', type=int, default=epochs,
                          help=f'sweeps over the data (default: {epochs})')
    return made


def parse(made, argv):
    """The arguments, after which the random numbers are those of --seed."""
    args = made.parse_args(argv)
    if 'epochs' in args:
        require_count('--epochs', args.epochs)
    numpy.random.seed(args.seed)
    return args


def run(main):
    """Runs a script's main; input that cannot be used ends it with one line."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
