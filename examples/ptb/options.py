"""The command line of Chainer's examples/ptb, shared by the scripts beside."""
import argparse
import sys

import numpy

import rnnlm
from rnnlm import corpus, devices, runs
from rnnlm.cli import in_terms_of_flags, seed
from rnnlm.files import require_writable


def training_options(description):
    """Parser with the official flags of training, and a few of our own."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add('--batchsize', '-b', type=int, default=20,
        help='number of streams read in parallel (default: 20)')
    add('--bproplen', '-l', type=int, default=35,
        help='steps of a window of truncated BPTT (default: 35)')
    add('--epoch', '-e', type=int, default=39,
        help='number of sweeps over the text (default: 39)')
    add('--gradclip', '-c', type=float, default=5,
        help='largest L2 norm of the gradients (default: 5)')
    add('--out', '-o', default='result',
        help='folder for the results (default: result)')
    add('--resume', '-r', default='', help='snapshot to go on from')
    add('--test', action='store_true', help='tiny datasets, for a quick test')
    add('--unit', '-u', type=int, default=650,
        help='LSTM units in each layer (default: 650)')
    add('--layer', type=int, default=2, help='LSTM layers (default: 2)')
    add('--dropout', type=float, default=0.5,
        help='ratio of elements dropped (default: 0.5)')
    add('--model', '-m', default='model.npz',
        help='file for the trained model (default: model.npz)')
    add('--seed', type=seed, help='seed of numpy.random')
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


def check_training(args):
    """Refuses numbers that cannot be used, and results that could not be written."""
    rnnlm.Recipe(
        n_units=args.unit, n_layers=args.layer, dropout=args.dropout,
        batch_size=args.batchsize, bprop_len=args.bproplen, epochs=args.epoch,
        gradclip=args.gradclip)
    require_writable(args.model)
    runs.make(args.out)


def prepare(args):
    """Device made current, random numbers seeded, corpus loaded."""
    device = devices.get_device(args.device)
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
        print(f'error: {in_terms_of_flags(str(e))}', file=sys.stderr)
        sys.exit(2)
