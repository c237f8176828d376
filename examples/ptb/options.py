"""The command line of Chainer's examples/ptb, shared by the scripts beside."""
import argparse
import contextlib
import dataclasses
import os
import sys

import filelock
import numpy

import rnnlm

# The flags that set a field of `rnnlm.Recipe`.
FLAGS = {
    'n_units': ('--unit', '-u', 'LSTM units in each layer'),
    'n_layers': ('--layer', None, 'LSTM layers'),
    'n_embed': ('--embed', None, 'units in the embedding, if not as many'),
    'dropout': ('--dropout', None, 'ratio of elements dropped'),
    'init_scale': ('--init-scale', None,
                   'parameters start uniformly in [-SCALE, SCALE]'),
    'batch_size': ('--batchsize', '-b', 'streams read in parallel'),
    'bprop_len': ('--bproplen', '-l', 'steps of truncated BPTT'),
    'epochs': ('--epoch', '-e', 'sweeps over the text'),
    'lr': ('--lr', None, 'learning rate of SGD'),
    'decay': ('--decay', None, 'divisor of the learning rate an epoch'),
    'decay_after': ('--decay-after', None, 'last epoch without decay'),
    'gradclip': ('--gradclip', '-c', 'largest L2 norm of the gradients'),
}


def training_options(description, parallel=False):
    """Parser with the official flags of training, and a few of our own.

    Args:
        description (str): What the script does.
        parallel (bool): Whether several processes may do it together.
    """
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    for field, (flag, short, text) in FLAGS.items():
        default = getattr(rnnlm.PRESETS['chainer'], field)
        add(*filter(None, (flag, short)), dest=field,
            type=int if default is None else type(default),
            metavar=flag.strip('-').upper(),
            help=text + ('' if default is None else f' (default: {default:g})'))
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
        add('--communicator', choices=rnnlm.parallel.COMMUNICATORS,
            help="by which of ChainerMN's communicators the processes that mpiexec "
                 'started train together: naive for NumPy, pure_nccl for GPUs')
        add('--timeout', type=float, default=300.0, metavar='SECONDS',
            help='with --communicator: time after which a process that does not '
                 'answer is given up, and all end (default: 300)')
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


def seed(text):
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value


def recipe_of(args):
    """The recipe that the flags make; refuses it, and places that cannot be written."""
    given = {field: getattr(args, field) for field in FLAGS
             if getattr(args, field) is not None}
    recipe = dataclasses.replace(rnnlm.PRESETS[args.preset or 'chainer'], **given)
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as e:
        raise rnnlm.InputError(
            f'{args.out}: expected a folder that can be written, found: '
            f'{e.strerror}') from None
    if os.path.isdir(args.model) or not os.access(
            os.path.dirname(args.model) or '.', os.W_OK):
        raise rnnlm.InputError(
            f'{args.model}: expected a file that can be written, found a folder, or '
            'one that it cannot be written into')
    return recipe


@contextlib.contextmanager
def locked(folder):
    """Keeps a folder for one run; the system frees it however the run ends."""
    try:
        with filelock.FileLock(os.path.join(folder, '.lock'), timeout=0):
            yield
    except filelock.Timeout:
        raise rnnlm.InputError(
            f'{folder}: expected a folder that no other run is writing to, found one '
            'that is; choose another by --out') from None


def prepare(args, group=rnnlm.parallel.SINGLE_PROCESS):
    """Device made current, random numbers seeded, corpus loaded."""
    device = rnnlm.get_device(group.device(args.device))
    device.use()
    if args.seed is not None:
        numpy.random.seed(args.seed)
        device.xp.random.seed(args.seed)
    text = rnnlm.load_corpus(args.corpus)
    print(f'#vocab = {len(text.vocabulary)}')
    return device, text


def run(main):
    """Runs a script's main; input that cannot be used ends it with one line."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        # A message about a field of the recipe is one about its flag.
        name = FLAGS.get(e.name, (e.name,))[0]
        print(f'error: {f"{name}: " if name else ""}{e.problem}', file=sys.stderr)
        sys.exit(2)
    except (rnnlm.NotFinite, OSError) as e:  # NaN; a full disk
        print(f'error: {e}', file=sys.stderr)
        sys.exit(1)
