"""The console script `rnnlm`: parser, error messages and exit status."""
import argparse
import os
import sys
import textwrap
from typing import Any, List, NoReturn, Optional

import numpy

from rnnlm import _starting, parallel
from rnnlm._version import __version__
from rnnlm.app import commands, evaluate, generate, info, score
from rnnlm.app.console import a_name, complain, let_go, open_closed_streams
from rnnlm.app.prepare import possible_go_on_command
from rnnlm.app.options import (
    add_corpus_options, add_options, add_text_options, add_train_options, seed)
from rnnlm.errors import InputError, NotFinite, printable
from rnnlm.legacy import runner

# The commands that write nothing but what they print.
PRINT_ONLY = ('evaluate', 'generate', 'score', 'interpolate', 'inspect', 'info')


def main(argv: Optional[List[str]] = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments; those of the process if None.

    Returns:
        The exit status: 0; 1 for a failed run; 2 for input that cannot be used; 128 +
        the number of the signal that stopped the training.
    """
    _starting.over()
    given, of_script = runner.split_arguments(sys.argv[1:] if argv is None else argv)
    # A script finds its streams as python gives them to it.
    closed = [] if given[:1] == ['run'] else open_closed_streams()
    with parallel.only_root_reports():
        args, unknown = make_parser().parse_known_args(given)
        if unknown:
            args.parser.error(f'unrecognized arguments: {" ".join(unknown)}')
    if args.name == 'run':
        args.args = of_script
    if 'stdout' in closed and args.name in PRINT_ONLY:
        complain(f'rnnlm {args.name}: error: expected a standard output for the '
                 'result, found it closed')
        return 1
    _set_up_streams()
    if args.name == 'run':
        return _status(args)
    try:
        # The commands check what they compute; NumPy's warnings would only repeat it.
        with numpy.errstate(over='ignore', invalid='ignore'):
            return _status(args)
    finally:
        let_go(sys.stdout)


def _status(args: argparse.Namespace) -> int:
    """Runs the command; prints its errors."""
    try:
        status = args.command(args)
        if args.name in PRINT_ONLY:
            sys.stdout.flush()
        return status
    except InputError as e:
        complain(f'rnnlm {args.name}: error: {message(e, args.parser)}{_apart(args)}')
        return 2
    except NotFinite as e:
        complain(f'rnnlm {args.name}: error: {e}{_after_nan(args)}')
        return 1
    except MemoryError as e:
        complain(f'rnnlm {args.name}: error: out of memory ({e}); use fewer units, '
                 'a smaller batch, or a smaller vocabulary')
        return 2
    except KeyboardInterrupt:
        complain(f'rnnlm {args.name}: interrupted')
        return 130
    except BrokenPipeError:  # the reader, `head` say, has exited
        let_go(sys.stdout)
        return 1
    except OSError as e:  # a full disk, a folder that was deleted
        what = (f'{e.filename or "cannot write"}: {e.strerror}' if e.errno else str(e))
        complain(f'rnnlm {args.name}: error: {printable(what)}{_hint(args, e)}')
        return 1


def _apart(args: argparse.Namespace) -> str:
    """Returns a hint for independent runs started by mpiexec, perhaps by mistake."""
    size = parallel.launched_size()
    if args.name != 'train' or args.communicator or size == 1:
        return ''
    return (f' (mpiexec started {size} processes, and each trains a model of its own; '
            'to train one together, add --communicator naive)')


def _hint(args: argparse.Namespace, error: OSError) -> str:
    """Returns how to resume a training run after an error, or ''."""
    if not error.errno:  # those without say it themselves
        return ''
    command = possible_go_on_command(args)
    return command and (
        f'; earlier snapshots are intact: fix this and continue with: {command}')


def _after_nan(args: argparse.Namespace) -> str:
    """Returns a remedy for NaN in training, besides a lower learning rate."""
    if args.name != 'train' or args.on_nan == 'rollback':
        return ''
    command = possible_go_on_command(args, '--on-nan', 'rollback')
    return (f', or go back to the last snapshot at half of it with: {command}'
            if command else ' (or use --on-nan rollback)')


def _set_up_streams() -> None:
    """Sets standard input and output to UTF-8 where they are files or pipes."""
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')  # a terminal that lacks a character
    if os.name == 'nt' and 'PYTHONIOENCODING' not in os.environ:
        for stream in sys.stdin, sys.stdout:  # on Windows they have an old code page
            if hasattr(stream, 'reconfigure') and not stream.isatty():
                stream.reconfigure(encoding='utf-8')


def message(error: InputError, parser: argparse.ArgumentParser) -> str:
    """Returns the message of an error, with the flag that sets the argument at fault.

    Args:
        error: An error about an argument or a field that has the name of an option's
            ``dest``, or about something else.
        parser: The parser with the option.
    """
    for action in parser._actions:  # argparse has no public way to its options
        if action.dest == error.name and action.option_strings:
            return f'{max(action.option_strings, key=len)}: {error.problem}'
    return str(error)


class _Parser(argparse.ArgumentParser):
    """Parser whose error messages do not list all options.

    It also takes an argument that may be left out behind an option: ``score DIR --nbest
    FILE``.  argparse gives FILE its default as soon as it meets DIR.
    """

    def parse_known_args(self, args=None, namespace=None):  # type: ignore
        found, rest = super().parse_known_args(args, namespace)
        for action in self._get_positional_actions():
            if (action.nargs == '?' and getattr(found, action.dest) is None
                    and rest and (rest[0] == '-' or rest[0][:1] not in ('', '-'))):
                setattr(found, action.dest, rest.pop(0))
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n'{self.prog} --help' shows the "
                     'options and examples\n')


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = _Parser(
        prog='rnnlm',
        description="Chainer's recurrent language model on today's machines.",
        epilog="'rnnlm COMMAND --help' shows the options of a command.")
    parser.add_argument('--version', action='version', version=__version__)
    subcommands = parser.add_subparsers(dest='name', metavar='COMMAND', required=True)

    train_parser = add_command(
        subcommands, 'train', 'train a language model',
        'Trains a language model; by default on the built-in demo corpus, whose lowest '
        'possible perplexity is known.',
        'rnnlm train', 'rnnlm train --corpus novel.txt --tokens char --out novel',
        'rnnlm train --preset small --corpus ptb --out small',
        'rnnlm train --resume small --epoch 20 --lr 0.1',
        'rnnlm train --init-from novel --corpus other.txt --lr 0.1 --out tuned',
        'rnnlm train --config novel/run.json --seed 2 --out again')
    add_train_options(train_parser)
    train_parser.set_defaults(command=commands.train)

    evaluate_parser = add_command(
        subcommands, 'evaluate', 'compute the perplexity of a corpus',
        'Prints the perplexity of a part of a corpus.',
        'rnnlm evaluate', 'rnnlm evaluate novel --text other.txt',
        'rnnlm evaluate small --corpus ptb --part valid',
        'rnnlm evaluate small --corpus ptb --dynamic sgd --json')
    add_model_argument(evaluate_parser)
    add_corpus_options(evaluate_parser)
    add_text_options(evaluate_parser)
    add_options(evaluate_parser, 'device')
    evaluate_parser.add_argument(
        '--sentences', action='store_true',
        help='reset the recurrent state before each line, as score does (default: as '
             'in training)')
    evaluate_parser.add_argument(
        '--part', choices=('test', 'valid', 'train'), default='test',
        help='part of the corpus (default: test)')
    evaluate_parser.add_argument(
        '--dynamic', choices=('sgd', 'rms'),
        help='also print the perplexity with dynamic evaluation (Krause et al. 2018), '
             'with plain gradients or with gradients scaled by their RMS on the '
             'training text')
    evaluate_parser.add_argument(
        '--dynamic-lr', dest='lr', metavar='LR', type=float,
        help='learning rate of --dynamic (default: 0.07; rms: 0.0001)')
    evaluate_parser.add_argument(
        '--dynamic-decay', dest='decay', metavar='DECAY', type=float,
        help='rate of decay of --dynamic back to the trained parameters (default: '
             '0.002)')
    add_json_option(evaluate_parser)
    add_quiet_option(evaluate_parser)
    evaluate_parser.set_defaults(command=evaluate.evaluate)

    generate_parser = add_command(
        subcommands, 'generate', 'generate text',
        'Continues a text with words sampled from a model.',
        'rnnlm generate', "rnnlm generate novel -p 'It was ' --temperature 0.7",
        "rnnlm generate -p 'the king' --beam 5 --sentence",
        'rnnlm generate --samples 5 --sentence --no-unk')
    add_model_argument(generate_parser)
    generate.add_options(generate_parser)
    generate_parser.add_argument(
        '--seed', '-s', type=seed,
        help='random seed (default: a different one each time)')
    add_options(generate_parser, 'device')
    generate_parser.set_defaults(command=generate.generate)

    score_parser = add_command(
        subcommands, 'score', 'compute log probabilities of sentences',
        'Reads sentences, one per line, and prints for each the logarithm (base 10) of '
        'its probability, the number of unknown words, and each word with its own log '
        'probability, end of sentence included.  Unknown words are scored as <unk>; if '
        'the vocabulary has none, they are skipped and counted.',
        "echo 'a sleepy king sleeps' | rnnlm score",
        'rnnlm score --srilm small sentences.txt',
        'rnnlm score --nbest --lm-weight 0.7 small < nbest.txt > best.txt',
        'rnnlm score --total --mix other small sentences.txt')
    add_model_argument(score_parser)
    score.add_options(score_parser)
    add_options(score_parser, 'device')
    score_parser.set_defaults(command=score.score)

    mix_parser = add_command(
        subcommands, 'interpolate', 'interpolate two models',
        'Prints the perplexities of two models with the same vocabulary, and of their '
        'linear interpolation, on the test part of a corpus.',
        'rnnlm interpolate small medium --corpus ptb',
        'rnnlm interpolate one two --text other.txt --weight 0.5')
    mix_parser.add_argument(
        'model', type=a_name, help='the first model, as for evaluate')
    mix_parser.add_argument(
        'other', type=a_name, help='the second model')
    mix_parser.add_argument(
        '--weight', type=float,
        help='weight of the first model (default: the best on the validation part)')
    add_corpus_options(mix_parser)
    add_text_options(mix_parser)
    add_options(mix_parser, 'device')
    add_json_option(mix_parser)
    add_quiet_option(mix_parser)
    mix_parser.set_defaults(command=evaluate.interpolate)

    run_parser = add_command(
        subcommands, 'run', 'run a script written for Chainer 1 to 7, unmodified',
        'Runs a script as python would, with the API of the Chainer version that it '
        'was written for.',
        'rnnlm run train_ptb.py --epoch 5', 'rnnlm run --api 1.24 train.py',
        'rnnlm run --explain train.py')
    run_parser.add_argument(
        '--api', default='auto', metavar='RELEASE',
        help="the Chainer that it was written for: v1 (1.0 to 1.24), v2 (2.0 to 7.8), "
             "or a release such as 1.24 (default: auto, from the script's source)")
    run_parser.add_argument(
        '--explain', action='store_true',
        help='run nothing; print, line by line, what the script uses that was removed '
             'or changed, in which release, and what to write today')
    run_parser.add_argument('script', type=a_name, help='Python script')
    run_parser.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='...', help='arguments of the script')
    run_parser.set_defaults(command=commands.run)

    inspect_parser = add_command(
        subcommands, 'inspect', 'show what a snapshot or a file of weights contains',
        'Prints the format of a file, what wrote it, the sizes of its model or why it '
        'has none, and the names, shapes and dtypes of its arrays; never executes code '
        'from the file.',
        'rnnlm inspect result', 'rnnlm inspect --json result/model.npz')
    inspect_parser.add_argument(
        'file', type=a_name,
        help='a model or snapshot file, one that convert reads, or the folder of a run '
             'for its model')
    add_json_option(inspect_parser)
    inspect_parser.set_defaults(command=commands.inspect)

    convert_parser = add_command(
        subcommands, 'convert', 'convert weights from and to other frameworks',
        'Reads a model of Chainer, PyTorch, Keras or Torch7 and writes it for '
        'another of them, for ONNX, or as a PyTorch module in Python; never executes '
        'code from the input.',
        'rnnlm convert result model.safetensors', 'rnnlm convert trained.pt model.npz',
        'rnnlm convert model.keras model.npz', 'rnnlm convert result twin.py')
    convert_parser.add_argument(
        'input', type=a_name,
        help='the --out folder of a run, or a file: npz or HDF5 of Chainer, .pt, .pth, '
             '.safetensors, .keras, .h5, .t7')
    convert_parser.add_argument(
        'output', type=a_name,
        help='a file ending in .npz, .pt, .pth, .safetensors, .weights.h5, .keras, '
             '.t7, .onnx or .py')
    convert_parser.add_argument(
        '--overwrite', action='store_true', help='replace an output that exists')
    convert_parser.set_defaults(command=commands.convert)

    info_parser = add_command(
        subcommands, 'info', 'show versions, BLAS, compiled kernels and GPUs',
        'Prints versions, the processor, the BLAS with its kernel and threads, the '
        'environment variables that affect it, the compiled kernels and the GPUs; and '
        'notes on what slows training down.', 'rnnlm info')
    add_json_option(info_parser)
    info_parser.set_defaults(command=lambda args: info.main(args.json))
    return parser


def add_command(subcommands: Any, name: str, summary: str, description: str,
                *examples: str) -> argparse.ArgumentParser:
    """Adds a command; its parser is also the value of the option ``parser``."""
    parser = subcommands.add_parser(
        name, help=summary, description=textwrap.fill(description, 78),
        epilog='\n  '.join(['examples:', *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(parser=parser)
    return parser


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'model', nargs='?', type=a_name, default='result',
        help='the --out folder of a run, or a model.npz or snapshot with '
             'vocabulary.json in the same folder (default: result)')


def add_json_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        '--json', action='store_true', help='print JSON')


def add_quiet_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--quiet', '-q', action='store_true', help='show no progress')
