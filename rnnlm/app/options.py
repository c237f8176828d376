"""The options of `rnnlm train`: each is defined here, or as a field of `Recipe`.

Other commands, and scripts through `rnnlm.add_options`, share these definitions.
"""
from __future__ import annotations

import argparse
import dataclasses
from typing import Any, Optional, Union

from rnnlm import parallel
from rnnlm.app.recipes import PRESETS, Recipe, preset_table
from rnnlm.errors import require

# In the order of the help.
GROUPS = {
    'text': 'what is read, and its vocabulary; a new run reads words, and by default '
            'the demo corpus',
    'model': 'sizes of a new model; the defaults are those of the preset, see below',
    'training': 'options without a default here take it from the preset, see below',
    'output': 'where results are written, and how to resume',
    'several processes': 'started by mpiexec',
}


def a_name(text: str) -> str:
    """Parses the name of a file or folder on the command line; refuses an empty one."""
    if not text:
        raise argparse.ArgumentTypeError('expected a name, found an empty one')
    return text


def seed(text: str) -> int:
    """Parses a seed on the command line, an integer from 0 to 2**32 - 1."""
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value


class _OnceIfSeveral(argparse.Action):
    """Stores the value of an option; refuses to repeat one that takes several values.

    argparse keeps the last only, but a repeated one may look as if it added values.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: Optional[str] = None) -> None:
        if self.nargs and getattr(namespace, self.dest) is not self.default:
            raise argparse.ArgumentError(
                self, 'expected once, with all values, found twice')
        setattr(namespace, self.dest, values)


@dataclasses.dataclass(frozen=True)
class Option:
    """Option of the command line.

    Attributes:
        group: A key of `GROUPS`.
        flags: Its spellings.
        options: Arguments of ``argparse.ArgumentParser.add_argument``; 'help' does not
            include the default.
        shown: Description of the default.
    """
    group: str
    flags: tuple[str, ...]
    options: dict[str, Any]
    shown: str = ''


def _option(group: str, *flags: str, shown: str = '', **options: Any) -> Option:
    return Option(group, flags, options, shown)


OPTIONS = {
    'corpus': _option(
        'text', '--corpus', metavar='CORPUS', type=a_name, action=_OnceIfSeveral,
        help="'demo', 'ptb', a folder with {,ptb.}{train,valid,test}.txt or "
             'wiki.{train,valid,test}.tokens, a folder of documents (*.txt), or a text '
             "file, also .gz; '-' for standard input",
        shown='that of the run'),
    'tokens': _option(
        'text', '--tokens', choices=('word', 'char'),
        help='split the text into words or characters',
        shown='as in the run'),
    'cache': _option(
        'text', '--no-cache', action='store_false',
        help='keep the ids of a long text in memory, not in ~/.cache/rnnlm'),
    'vocab_limit': _option(
        'text', '--vocab-limit', type=int, metavar='N',
        help='vocabulary size: the N - 1 most frequent tokens, and <unk> for the rest'),
    'min_count': _option(
        'text', '--min-count', type=int, metavar='N',
        help='replace tokens that occur fewer than N times in the training part by '
             '<unk>',
        shown='2; 1 for ptb, demo and texts that have <unk>'),
    'vocabulary': _option(
        'text', '--vocab', metavar='FILE', type=a_name,
        help='use this vocabulary: vocabulary.json of a run, or a list of tokens, one '
             'per line'),
    'init_from': _option(
        'model', '--init-from', metavar='DIR', type=a_name,
        help='start from the weights of a trained model (the --out folder of a run, or '
             'a model.npz), with its sizes and vocabulary; other words of the text '
             'become <unk>'),
    'extend_vocab': _option(
        'model', '--extend-vocab', action='store_true',
        help='with --init-from: add the words that its vocabulary lacks and that '
             '--min-count keeps, with weights near the mean of the others'),
    'preset': _option(
        'training', '--preset', choices=sorted(PRESETS),
        help='a set of defaults, listed below',
        shown="demo for the demo corpus; chainer, the values of Chainer's example, for "
              'the Penn Treebank; for any other text, values for a few minutes to an '
              'hour on a CPU, chosen by its length'),
    'config': _option(
        'training', '--config', metavar='FILE', type=a_name,
        help='repeat the run that a run.json describes, on a CPU bit-identically; '
             'other options override it'),
    'seed': _option(
        'training', '--seed', '-s', type=seed, help='random seed', shown='0'),
    'device': _option(
        'training', '--device', '-d', '--gpu', '-g', nargs='?', const='0',
        default='-1', metavar='ID',
        help='-1 or cpu: CPU (default); 0, 1, ...: GPU, with CuPy; without ID: GPU 0'),
    'on_nan': _option(
        'training', '--on-nan', choices=('stop', 'rollback'), default='stop',
        help='at NaN or infinity in the loss or a gradient: stop, or resume the last '
             'snapshot with half the learning rate', shown='stop'),
    'out': _option(
        'output', '--out', '-o', type=a_name, metavar='DIR',
        help='output folder', shown='result; with --resume, the folder of the run'),
    'resume': _option(
        'output', '--resume', '-r', type=a_name, nargs='?', const=True, metavar='DIR',
        help='resume the run in DIR, or one snapshot file, with its text and options; '
             'changed options apply from that snapshot on',
        shown='the newest snapshot in the --out folder'),
    'overwrite': _option(
        'output', '--overwrite', action='store_true',
        help='delete an earlier run in the --out folder'),
    'save_every': _option(
        'output', '--save-every', type=float, default=10.0, metavar='MINUTES',
        help='time between snapshots, which are also written after each epoch; 0: '
             'after every window', shown='10'),
    'communicator': _option(
        'several processes', '--communicator', choices=parallel.COMMUNICATORS,
        help='ChainerMN communicator of the processes that mpiexec started: naive for '
             'CPUs, pure_nccl for GPUs'),
    'timeout': _option(
        'several processes', '--timeout', type=float, default=300.0, metavar='SECONDS',
        help='with --communicator: end all processes when one has not answered for '
             'this long', shown='300'),
}


def _of_field(field: dataclasses.Field) -> Option:
    flags, options = field.metadata['flags'], dict(field.metadata['options'])
    if 'type' in options:
        options.setdefault('metavar', flags[0].strip('-').upper().replace('-', '_'))
    return Option(field.metadata['group'], flags, options)


OPTIONS.update((field.name, _of_field(field)) for field in dataclasses.fields(Recipe))
OPTIONS['no_sentences'] = _option(
    'training', '--no-sentences', dest='sentences', action='store_const', const=False,
    help='train on running text, even with --init-from a model trained with '
         '--sentences')
OPTIONS['no_tied'] = _option(
    'model', '--no-tied', dest='tied', action='store_const', const=False,
    help='do not share these weights, with a preset that does')


def add_options(parser: Union[argparse.ArgumentParser, argparse._ArgumentGroup],
                *names: str, recipe: Optional[Recipe] = None, **defaults: Any) -> None:
    """Adds options of ``rnnlm train`` to the parser of a script of your own.

    Options of `Recipe` have the names of its fields, and are None unless given on the
    command line.  The others are 'corpus', 'preset', 'seed', 'device', 'out',
    'communicator' and 'timeout', and some that only make sense for ``rnnlm train``.

    Args:
        parser: The parser, or one of its argument groups.
        names: Names of the options, which are also their names in the parsed arguments.
        recipe: If given, the help shows its values as defaults.
        defaults: Defaults that replace those of ``rnnlm train``, by name.

    Raises:
        rnnlm.InputError: If there is no option with a given name.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> rnnlm.add_options(parser, 'n_units', 'lr', 'seed')
        >>> args = parser.parse_args(['--unit', '20', '--seed', '3'])
        >>> args.n_units, args.lr, args.seed
        (20, None, 3)
    """
    for name in names:
        require('names', name, 'names of options', lambda v: v in OPTIONS)
        option = OPTIONS[name]
        options, shown = dict(option.options), option.shown
        default = getattr(recipe, name, None)
        if default is not None and not isinstance(default, (bool, str)):
            shown = f'{default:g}'
        if name in defaults:
            options['default'] = defaults[name]
            shown = '' if defaults[name] is None else str(defaults[name])
        if shown:
            options['help'] += f' (default: {shown})'
        parser.add_argument(*option.flags, **{'dest': name, **options})


# Options of every command that reads a corpus.
_OF_CORPUS = 'corpus', 'tokens', 'cache'


def add_corpus_options(
        parser: Union[argparse.ArgumentParser, argparse._ArgumentGroup],
        several: bool = False) -> None:
    """Adds the options of a corpus; `several` files may follow --corpus."""
    add_options(parser, *_OF_CORPUS)
    if several:
        action = next(one for one in parser._actions if one.dest == 'corpus')
        action.nargs = '+'


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds --text, a text other than the model's corpus."""
    parser.add_argument(
        '--text', metavar='FILE', type=a_name,
        help="another text: a file (also .gz), a folder of documents, or '-' for "
             "standard input; all of it is read with the model's vocabulary, and "
             'unknown words are counted')


_OTHER_TEXT = (
    'any other text: as chainer, but 96 units for less than 50,000 tokens, else 200;',
    'dropout 0.2; windows of 20 words or 50 characters; 13 to 40 epochs, fewer for a',
    'long text; in the second half of these, even with --epoch, the learning rate',
    'falls to 1/64')


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options, in groups."""
    for title, description in GROUPS.items():
        group = parser.add_argument_group(title, description)
        if title == 'text':
            add_corpus_options(group, several=True)
        add_options(group, *(
            name for name, option in OPTIONS.items()
            if option.group == title and name not in _OF_CORPUS))
    parser.add_argument_group('presets', '\n'.join([*preset_table(), *_OTHER_TEXT]))
