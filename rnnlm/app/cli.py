"""The console script `rnnlm`: its options, its errors, its exit status."""
import argparse
import contextlib
import os
import sys
import textwrap
from typing import Any, List, Optional

from rnnlm import parallel
from rnnlm._version import __version__
from rnnlm.app import commands, info
from rnnlm.app.console import complain, let_go, open_closed_streams
from rnnlm.app.recipes import PRESETS, add_recipe_options
from rnnlm.errors import InputError, NotFinite
from rnnlm.legacy import runner
from rnnlm.serializers.snapshot_files import snapshots_in

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
    given, of_script = runner.split_arguments(sys.argv[1:] if argv is None else argv)
    # A script finds its streams as python gives them to it.
    closed = [] if given[:1] == ['run'] else open_closed_streams()
    with parallel.only_root_reports():
        args = make_parser().parse_args(given)
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
        complain(f'rnnlm {args.name}: error: {message(e, args.parser)}')
        return 2
    except NotFinite as e:
        hint = ' (or use --on-nan rollback)' if args.name == 'train' else ''
        complain(f'rnnlm {args.name}: error: {e}{hint}')
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
        complain(f'rnnlm {args.name}: error: {what}{_hint(args, e)}')
        return 1


def _hint(args: argparse.Namespace, error: OSError) -> str:
    """How a training run goes on after an error, if it can."""
    if args.name != 'train' or not error.errno:  # those without say it themselves
        return ''
    with contextlib.suppress(InputError):
        if snapshots_in(args.out):
            return ('; earlier snapshots are intact: fix this and continue with '
                    '--resume')
    return ''


def _set_up_streams() -> None:
    """Standard input and output in UTF-8 where they are files or pipes."""
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')  # a terminal that lacks a character
    if os.name == 'nt' and 'PYTHONIOENCODING' not in os.environ:
        for stream in sys.stdin, sys.stdout:  # on Windows they have an old code page
            if hasattr(stream, 'reconfigure') and not stream.isatty():
                stream.reconfigure(encoding='utf-8')


def message(error: InputError, parser: argparse.ArgumentParser) -> str:
    """The message of an error, with the flag that sets the argument it is about.

    Args:
        error: An error about an argument or a field that has the name of an option's
            ``dest``, or about something else.
        parser: The parser with the option.
    """
    for action in parser._actions:  # argparse has no public way to its options
        if action.dest == error.name and action.option_strings:
            return f'{max(action.option_strings, key=len)}: {error.problem}'
    return str(error)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
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
        'rnnlm train --corpus ptb --out small --resume')
    add_corpus_options(train_parser)
    train_parser.add_argument(
        '--preset', choices=sorted(PRESETS),
        help="defaults of the options below (default: demo for the demo corpus, else "
             "chainer, the values of Chainer's example)")
    add_recipe_options(train_parser)
    train_parser.add_argument(
        '--seed', type=seed, help='random seed (default: 0)')
    train_parser.add_argument(
        '--out', '-o', default='result', help='output folder (default: result)')
    train_parser.add_argument(
        '--resume', '-r', nargs='?', const=True, metavar='SNAPSHOT',
        help='resume a snapshot (default: the newest in the --out folder)')
    train_parser.add_argument(
        '--overwrite', action='store_true',
        help='delete an earlier run in the --out folder')
    train_parser.add_argument(
        '--save-every', type=float, default=10.0, metavar='MINUTES',
        help='time between snapshots, which are also written after each epoch '
             '(default: 10; 0: after every window)')
    train_parser.add_argument(
        '--on-nan', choices=('stop', 'rollback'), default='stop',
        help='at NaN or infinity in the loss or a gradient: stop, or resume the last '
             'snapshot with half the learning rate (default: stop)')
    add_parallel_options(train_parser)
    train_parser.set_defaults(command=commands.train)

    evaluate_parser = add_command(
        subcommands, 'evaluate', 'compute the perplexity of a corpus',
        'Prints the perplexity of a part of a corpus.',
        'rnnlm evaluate', 'rnnlm evaluate small --corpus ptb --part valid',
        'rnnlm evaluate small --corpus ptb --dynamic sgd --json')
    add_model_argument(evaluate_parser)
    add_corpus_options(evaluate_parser)
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
        '--dynamic-decay', dest='decay', metavar='DECAY', type=float, default=0.002,
        help='rate of decay of --dynamic back to the trained parameters (default: '
             '0.002)')
    add_json_option(evaluate_parser)
    evaluate_parser.set_defaults(command=commands.evaluate)

    generate_parser = add_command(
        subcommands, 'generate', 'generate text',
        'Continues a text with words sampled from a model.',
        'rnnlm generate', "rnnlm generate novel -p 'It was ' --temperature 0.7",
        "rnnlm generate small -p 'the company' --beam 5 --length 10")
    add_model_argument(generate_parser)
    generate_parser.add_argument(
        '--primetext', '-p', help='text to continue (default: start a new sentence)')
    generate_parser.add_argument(
        '--length', type=int, default=100,
        help='number of words or characters to generate (default: 100)')
    generate_parser.add_argument(
        '--seed', '-s', type=seed,
        help='random seed (default: a different one each time)')
    generate_parser.add_argument(
        '--greedy', action='store_true',
        help='take the most probable word at each step')
    generate_parser.add_argument(
        '--temperature', type=float, default=1.0,
        help='divide the logits by this; below 1 likely words become likelier '
             '(default: 1)')
    generate_parser.add_argument(
        '--top-k', type=int, metavar='K',
        help='sample from the K most probable words')
    generate_parser.add_argument(
        '--top-p', type=float, metavar='P',
        help='sample from the smallest set of words with total probability P (nucleus '
             'sampling)')
    generate_parser.add_argument(
        '--samples', type=int, default=1, help='number of texts (default: 1)')
    generate_parser.add_argument(
        '--beam', type=int, metavar='WIDTH',
        help='find the most probable text by beam search of this width')
    add_device_option(generate_parser)
    generate_parser.set_defaults(command=commands.generate)

    score_parser = add_command(
        subcommands, 'score', 'compute log probabilities of sentences',
        'Reads sentences, one per line, and prints for each the logarithm (base 10) of '
        'its probability, the number of unknown words, and each word with its own log '
        'probability, end of sentence included.  Unknown words are scored as <unk>.',
        "echo 'a dog sleeps' | rnnlm score",
        'rnnlm score --srilm small sentences.txt',
        'rnnlm score --nbest --lm-weight 0.7 small < nbest.txt > best.txt')
    add_model_argument(score_parser)
    score_parser.add_argument(
        'file', nargs='?', help='a text file (default: standard input)')
    form = score_parser.add_mutually_exclusive_group()
    form.add_argument(
        '--srilm', action='store_true',
        help="output format of SRILM's ngram -debug 2 -ppl")
    form.add_argument(
        '--nbest', action='store_true',
        help="rescore n-best lists: lines 'ID ||| SENTENCE ||| ... ||| SCORE' get "
             'their new score and are sorted by it within each ID')
    add_json_option(form)
    score_parser.add_argument(
        '--lm-weight', type=float, default=1.0,
        help='with --nbest: weight of the natural log probability (default: 1)')
    score_parser.add_argument(
        '--word-penalty', type=float, default=0.0,
        help='with --nbest: added to the score for each word (default: 0)')
    add_device_option(score_parser)
    score_parser.set_defaults(command=commands.score)

    mix_parser = add_command(
        subcommands, 'interpolate', 'interpolate two models',
        'Prints the perplexities of two models with the same vocabulary, and of their '
        'linear interpolation, on the test part of a corpus.',
        'rnnlm interpolate small medium --corpus ptb')
    mix_parser.add_argument('model', help='the first model, as for evaluate')
    mix_parser.add_argument('other', help='the second model')
    mix_parser.add_argument(
        '--weight', type=float,
        help='weight of the first model (default: the best on the validation part)')
    add_corpus_options(mix_parser)
    add_json_option(mix_parser)
    mix_parser.set_defaults(command=commands.interpolate)

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
        help='run nothing; print, line by line, what the script uses that is gone or '
             'changed, since which release, and what to write today')
    run_parser.add_argument('script', help='Python script')
    run_parser.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='...', help='arguments of the script')
    run_parser.set_defaults(command=commands.run)

    inspect_parser = add_command(
        subcommands, 'inspect', 'show what a snapshot or a file of weights contains',
        'Prints the format of a file, what wrote it, the sizes of its model or why it '
        'is none, and the names, shapes and dtypes of its arrays; never executes code '
        'from the file.',
        'rnnlm inspect snapshot_iter_1000')
    inspect_parser.add_argument(
        'file', help='model or snapshot file, or one that convert reads')
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
        'input', help='the --out folder of a run, or a file: npz or HDF5 of '
                      'Chainer, .pt, .pth, .safetensors, .keras, .h5, .t7')
    convert_parser.add_argument(
        'output', help='a file ending in .npz, .pt, .pth, .safetensors, .weights.h5, '
                       '.keras, .t7, .onnx or .py')
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
    """The parser of a command, which is the value of the option ``parser`` too."""
    parser = subcommands.add_parser(
        name, help=summary, description=textwrap.fill(description, 78),
        epilog='\n  '.join(['examples:', *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(parser=parser)
    return parser


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--corpus', metavar='CORPUS',
        help="'demo', 'ptb', a folder with ptb.{train,valid,test}.txt, or a text file "
             '(default: the corpus of the run; for a new run demo)')
    parser.add_argument(
        '--tokens', choices=('word', 'char'),
        help='split the text into words or characters (default: word)')
    parser.add_argument(
        '--vocab-limit', type=int, metavar='N',
        help='vocabulary size: the N - 1 most frequent tokens, and <unk> for the rest')
    add_device_option(parser)


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'model', nargs='?', default='result',
        help='the --out folder of a run, or a model.npz or snapshot with '
             'vocabulary.json in the same folder (default: result)')


def add_json_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        '--json', action='store_true', help='print JSON')


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--device', '-d', default='-1',
        help='-1: CPU (default); 0, 1, ...: GPU, with CuPy')


def add_parallel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--communicator', choices=parallel.COMMUNICATORS,
        help='ChainerMN communicator of the processes that mpiexec started: naive for '
             'CPUs, pure_nccl for GPUs')
    parser.add_argument(
        '--timeout', type=float, default=300.0, metavar='SECONDS',
        help='with --communicator: end all processes when one has not answered for '
             'this long (default: 300)')


def seed(text: str) -> int:
    """A seed on the command line: an integer from 0 to 2**32 - 1."""
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value
