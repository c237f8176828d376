"""The command line of Chainer's examples/ptb, shared by the scripts beside."""
import argparse
import dataclasses
import sys

import numpy

import rnnlm
from rnnlm import devices
from rnnlm.app import run_folder
from rnnlm.app.cli import add_parallel_options, message, seed
from rnnlm.app.recipes import PRESETS, add_recipe_options, recipe_options
from rnnlm.data import corpus
from rnnlm.parallel import SINGLE_PROCESS
from rnnlm.serializers.atomic import require_writable


def training_options(description, parallel=False):
    """Parser with the official flags of training, and a few of our own.

    Args:
        description (str): What the script does.
        parallel (bool): Whether several processes may do it together.
    """
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add_recipe_options(parser, PRESETS['chainer'], leave_out=('tied', 'precision'))
    add('--preset', choices=('small', 'medium', 'large'),
        help='sizes, rates and falling learning rate of Zaremba et al. (2014); flags '
             'beside it win, and the model of the best validation is kept')
    add('--out', '-o', default='result',
        help='folder for the results (default: result)')
    add('--resume', '-r', default='', help='snapshot to go on from')
    add('--test', action='store_true', help='tiny datasets, for a quick test')
    add('--model', '-m', default='model.npz',
        help='file for the trained model (default: model.npz)')
    add('--seed', type=seed, help='seed of numpy.random')
    if parallel:
        add_parallel_options(parser)
    add_common_options(parser)
    return parser


def add_common_options(parser):
    parser.add_argument(
        '--corpus', default='ptb',
        help="'ptb' (default), 'demo', a folder with ptb.{train,valid,test}.txt, or "
             'a text file')
    parser.add_argument(
        '--device', '-d', default='-1',
        help='-1: NumPy (default); 0, 1, ...: a GPU through CuPy')
    parser.add_argument(
        '--gpu', '-g', dest='device', nargs='?', const='0',
        help='as --device; the old spelling')


def recipe_of(args):
    """The recipe that the flags make; refuses it, and places that cannot be written."""
    recipe = dataclasses.replace(
        PRESETS[args.preset or 'chainer'], **recipe_options(args))
    require_writable(args.model)
    run_folder.make(args.out)
    return recipe


def prepare(args, group=SINGLE_PROCESS):
    """Device made current, random numbers seeded, corpus loaded."""
    device = devices.get_device(group.device(args.device))
    device.use()
    if args.seed is not None:
        numpy.random.seed(args.seed)
        device.xp.random.seed(args.seed)
    text = corpus.load(args.corpus)
    print(f'#vocab = {len(text.vocabulary)}')
    return device, text


def run(main):
    """Runs a script's main; input that cannot be used ends it with one line."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        print(f'error: {message(e, training_options("", parallel=True))}',
              file=sys.stderr)
        sys.exit(2)
    except (rnnlm.NotFinite, OSError) as e:  # NaN; a full disk
        print(f'error: {e}', file=sys.stderr)
        sys.exit(1)
