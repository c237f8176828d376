"""The command line options of Chainer's examples/ptb, shared by the scripts.

Their definitions are those of `rnnlm train`.
"""
import argparse
import contextlib
import dataclasses
import glob
import os
import shlex
import sys

import filelock
import numpy

import rnnlm

# The fields of `rnnlm.Recipe` that have an option here.
FIELDS = ('n_units', 'n_layers', 'n_embed', 'dropout', 'init_scale', 'batch_size',
          'bprop_len', 'epochs', 'lr', 'decay', 'decay_after', 'gradclip')


def training_options(description, parallel=False):
    """Makes a parser with the training options of Chainer's example and some more.

    Args:
        description (str): Description of the script.
        parallel (bool): Whether the script supports several processes.
    """
    parser = argparse.ArgumentParser(description=description)
    rnnlm.add_options(parser, *FIELDS, recipe=rnnlm.PRESETS['chainer'])
    rnnlm.add_options(parser, 'preset', 'out', 'seed', preset=None, out='result_ptb',
                      seed=None)
    add = parser.add_argument
    add('--resume', '-r', default='', help='snapshot to resume from')
    add('--test', action='store_true', help='tiny datasets, for a quick test')
    add('--model', '-m', default='model.npz',
        help='file for the trained model (default: model.npz)')
    if parallel:
        rnnlm.add_options(parser, 'communicator', 'timeout')
    rnnlm.add_options(parser, 'corpus', 'device', corpus='ptb')
    return parser


def recipe_of(args):
    """Returns the recipe; checks it, and that the outputs can be written."""
    given = {field: getattr(args, field) for field in FIELDS
             if getattr(args, field) is not None}
    recipe = dataclasses.replace(rnnlm.PRESETS[args.preset or 'chainer'], **given)
    other = [field.name for field in dataclasses.fields(recipe)
             if field.name not in FIELDS
             and getattr(recipe, field.name) != field.default]
    if other:
        raise rnnlm.InputError(
            f'--preset: expected a preset of the options of this script, found '
            f'{args.preset}, which also sets {", ".join(map(flag_of, other))}; use '
            f'rnnlm train --preset {args.preset}')
    if not getattr(args, 'timeout', 1) > 0:
        raise rnnlm.InputError(
            f'--timeout: expected seconds, more than 0, found {args.timeout}')
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as e:
        raise rnnlm.InputError(
            f'{args.out}: expected a folder that can be written, found: '
            f'{e.strerror}') from None
    if os.path.exists(os.path.join(args.out, 'run.json')):
        raise rnnlm.InputError(
            f'{args.out}: expected a folder for the results of this script, found a '
            'run of `rnnlm train`; choose another one with --out')
    if os.path.isdir(args.model) or not os.access(
            os.path.dirname(args.model) or '.', os.W_OK):
        raise rnnlm.InputError(
            f'{args.model}: expected a file that can be written, found a folder, or '
            'one that it cannot be written into')
    keep_text(args.model, args.corpus)
    return recipe


def keep_text(path, corpus):
    """Refuses a file to write that is a file of the corpus."""
    texts = [corpus] if os.path.isfile(corpus) else glob.glob(
        os.path.join(glob.escape(corpus), '**'), recursive=True)
    if os.path.exists(path) and any(
            os.path.isfile(text) and os.path.samefile(path, text) for text in texts):
        raise rnnlm.InputError(
            f'--model: expected a file that may be overwritten, found {path}, a text '
            'of the corpus; choose another one')


@contextlib.contextmanager
def locked(folder):
    """Context that locks a folder for one run; the system releases it at the end."""
    try:
        with filelock.FileLock(os.path.join(folder, '.lock'), timeout=0):
            yield
    except filelock.Timeout:
        raise rnnlm.InputError(
            f'{folder}: another run is writing to this folder; choose another one with '
            '--out') from None


def prepare(args, group=rnnlm.parallel.SINGLE_PROCESS):
    """Makes the device current, seeds random numbers; returns device and corpus."""
    device = rnnlm.get_device(group.device(args.device))
    device.use()
    if args.seed is not None:
        numpy.random.seed(args.seed)
        device.xp.random.seed(args.seed)
    text = rnnlm.load_corpus(args.corpus)
    print(f'#vocab = {len(text.vocabulary)}')
    return device, text


def resume_command(path):
    """Returns the command that resumes from a file, with the same options."""
    return shlex.join(['python', *sys.argv, '--resume', path])


def flag_of(name):
    """Returns the option that sets a field of the recipe, or else its name."""
    found = {field.name: field.metadata['flags'][0]
             for field in dataclasses.fields(rnnlm.Recipe)}
    return found.get(name, name)


def run(main):
    """Runs a script's main; an InputError ends it with a one-line message."""
    try:
        sys.exit(main())
    except rnnlm.InputError as e:
        # Messages about a field of the recipe name its option.
        name = flag_of(e.name)
        print(f'error: {f"{name}: " if name else ""}{e.problem}', file=sys.stderr)
        sys.exit(2)
    except (rnnlm.NotFinite, OSError) as e:  # NaN; a full disk
        print(f'error: {e}', file=sys.stderr)
        sys.exit(1)
    except MemoryError as e:
        print(f'error: out of memory ({e}); use smaller sizes', file=sys.stderr)
        sys.exit(1)
