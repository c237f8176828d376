"""Command line options shared by the examples of this folder."""
import argparse
import os
import sys

import rnnlm

import chainer
import numpy


def require_count(name, value, least=1):
    """Raises InputError for a count that is less than `least`."""
    if value < least:
        raise rnnlm.InputError(
            f'{name}: expected an integer of at least {least}, found {value}')


def read_book(path):
    """Returns the text of a UTF-8 file, with `\\n` as line ends."""
    try:
        with open(path, encoding='utf-8-sig') as f:
            return f.read()
    except (OSError, ValueError) as e:
        raise rnnlm.InputError(
            f'{path}: expected a text in UTF-8, found: {e}') from None


def classifier(model):
    """Returns a Classifier of a model that computes only the loss."""
    made = chainer.links.Classifier(model)
    made.compute_accuracy = False
    return made


def check_folder(out):
    """Refuses a folder where another program has trained: its log would be replaced."""
    names = os.listdir(out) if os.path.isdir(out) else []
    there = [name for name in names
             if name == 'run.json' or name.startswith('snapshot_iter_')]
    if there:
        raise rnnlm.InputError(
            f'{out}: expected a folder for the results of this script, found the run '
            f'of another program ({there[0]}); choose another one with --out')


def save_vocabulary(out, vocabulary):
    """Makes the folder of a run, and writes vocabulary.json there."""
    check_folder(out)
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as e:
        raise rnnlm.InputError(
            f'{out}: expected a folder that can be written, found: {e.strerror}'
        ) from None
    vocabulary.save(os.path.join(out, 'vocabulary.json'))


def progress(text=''):
    """Shows a text in the last line of a terminal; the next call replaces it."""
    if sys.stderr.isatty():
        sys.stderr.write(f'\r{text}\033[K')
        sys.stderr.flush()


def show_progress(trainer):
    """A trainer extension: shows the epoch and the loss."""
    loss = float(trainer.observation['main/loss'].array)
    progress(f'epoch {trainer.updater.epoch_detail:.2f}, loss {loss:.3f}')


def parser(text, epochs=None):
    """Returns a parser with --seed and, if it has a default, --epochs."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    rnnlm.add_options(made, 'seed', seed=0)
    if epochs is not None:
        made.add_argument('--epochs', type=int, default=epochs,
                          help=f'sweeps over the data (default: {epochs})')
    return made


def parse(made, argv):
    """Parses the arguments, and seeds the random numbers."""
    args = made.parse_args(argv)
    if 'epochs' in args:
        require_count('--epochs', args.epochs)
    numpy.random.seed(args.seed)
    return args


def run(main):
    """Runs a script's main; an InputError ends it with a one-line message."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
