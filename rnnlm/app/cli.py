"""The console script `rnnlm`: parser, error messages and exit status."""
import argparse
import os
import sys
from typing import List, Optional

from rnnlm import _starting, parallel
from rnnlm.app.parsers import make_parser
from rnnlm.app.streams import complain, discard_unwritten, open_closed_streams
from rnnlm.errors import InputError, NotFinite, printable
from rnnlm.legacy import runner

# The commands whose only output is what they print.
PRINT_ONLY = ('evaluate', 'generate', 'score', 'interpolate', 'inspect', 'info')


def main(argv: Optional[List[str]] = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments; by default those of the process.

    Returns:
        The exit status: 0 for success, 1 for a failed run, 2 for invalid input, and
        128 + the number of the signal if one stopped the training.
    """
    given, of_script = runner.split_arguments(sys.argv[1:] if argv is None else argv)
    # A script gets the streams as Python set them up.
    closed = [] if given[:1] == ['run'] else open_closed_streams()
    with parallel.only_root_reports():
        args, unknown = make_parser().parse_known_args(given)
        if unknown:
            args.parser.error(f'unrecognized arguments: {" ".join(unknown)}')
    if args.name == 'run':
        args.args = of_script
    _starting.load()
    if 'stdout' in closed and args.name in PRINT_ONLY:
        complain(f'rnnlm {args.name}: error: expected a standard output for the '
                 'result, found it closed')
        return 1
    _set_up_streams()
    if args.name == 'run':
        return _status(args)
    try:
        return _status(args)
    finally:
        discard_unwritten(sys.stdout)


def _command(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    # Imported here because parsing needs neither Chainer nor NumPy.
    from rnnlm.app import commands, evaluate, generate, info, score
    run = {'train': commands.train, 'evaluate': evaluate.evaluate,
           'generate': generate.generate, 'score': score.score,
           'interpolate': evaluate.interpolate, 'run': commands.run,
           'inspect': commands.inspect, 'convert': commands.convert,
           'info': lambda args: info.main(args.json)}[args.name]
    if args.name == 'run':  # a script keeps NumPy's warnings
        return run(args)
    import numpy
    # The commands check what they compute; NumPy's warnings would only repeat it.
    with numpy.errstate(over='ignore', invalid='ignore'):
        return run(args)


def _status(args: argparse.Namespace) -> int:
    """Runs the command; prints its errors."""
    try:
        status = _command(args)
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
    except BrokenPipeError:  # the reader, such as `head`, has exited
        discard_unwritten(sys.stdout)
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
    return (f' (mpiexec started {size} processes, and each trains its own model; to '
            'train one model together, add --communicator naive)')


def _hint(args: argparse.Namespace, error: OSError) -> str:
    """Returns how to resume a training run after an error, or ''."""
    if not error.errno:  # the message of such an error says it
        return ''
    from rnnlm.app.prepare import resume_command_if_possible
    command = resume_command_if_possible(args)
    return command and (
        f'; earlier snapshots are intact: fix this and continue with: {command}')


def _after_nan(args: argparse.Namespace) -> str:
    """Returns a remedy for NaN in training, besides a lower learning rate."""
    if args.name != 'train' or args.on_nan == 'rollback':
        return ''
    from rnnlm.app.prepare import resume_command_if_possible
    command = resume_command_if_possible(args, '--on-nan', 'rollback')
    return (f', or resume the last snapshot with half the learning rate: {command}'
            if command else ' (or use --on-nan rollback)')


def _set_up_streams() -> None:
    """On Windows, sets standard input and output to UTF-8 if they are no terminals."""
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')  # a terminal that lacks a character
    if os.name == 'nt' and 'PYTHONIOENCODING' not in os.environ:
        for stream in sys.stdin, sys.stdout:  # on Windows they have an old code page
            if hasattr(stream, 'reconfigure') and not stream.isatty():
                stream.reconfigure(encoding='utf-8')


def message(error: InputError, parser: argparse.ArgumentParser) -> str:
    """Returns the message of an error, with the flag of the option that caused it.

    Args:
        error: The error.  Its name may be the ``dest`` of an option.
        parser: The parser with the options.
    """
    for action in parser._actions:  # argparse has no public list of its options
        if action.dest == error.name and action.option_strings:
            return f'{max(action.option_strings, key=len)}: {error.problem}'
    return str(error)
