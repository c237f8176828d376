"""The console script `rnnlm`: its options, its errors, its exit status."""
import argparse
import os
import sys
import textwrap

from rnnlm import parallel
from rnnlm._version import __version__
from rnnlm.app import commands, info
from rnnlm.app.recipes import PRECISIONS, PRESETS, RECIPE_FLAGS
from rnnlm.errors import InputError, NotFinite
from rnnlm.legacy import runner


def main(argv=None):
    """Runs one command.

    Args:
        argv (list of str): Arguments; those of the process if None.

    Returns:
        int: exit status: 0; 2 for input that cannot be used; 128 + the number of
        the signal that stopped the training.
    """
    with parallel.only_root_reports():
        args = make_parser().parse_args(argv)
    _set_up_streams()
    try:
        return args.command(args)
    except InputError as e:
        print(f'rnnlm {args.name}: error: {in_terms_of_flags(str(e))}',
              file=sys.stderr)
        return 2
    except NotFinite as e:
        hint = '; --on-nan rollback does so' if args.name == 'train' else ''
        print(f'rnnlm {args.name}: error: {e}{hint}', file=sys.stderr)
        return 1
    except MemoryError as e:
        print(f'rnnlm {args.name}: error: not enough memory ({e}); take fewer units, '
              'a smaller batch, or a smaller vocabulary', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'rnnlm {args.name}: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:  # a full disk, a folder that went away
        hint = ('; the snapshots are as they were: go on with --resume when that is '
                'mended' if args.name == 'train' else '')
        print(f'rnnlm {args.name}: error: {e.filename or "writing"}: '
              f'{e.strerror or e}{hint}', file=sys.stderr)
        return 1


def _set_up_streams():
    """Standard input and output that fit the files, which are UTF-8."""
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='replace')  # a terminal that lacks a letter
    if os.name == 'nt' and 'PYTHONIOENCODING' not in os.environ:
        for stream in sys.stdin, sys.stdout:  # Windows takes pipes for an old codepage
            if hasattr(stream, 'reconfigure') and not stream.isatty():
                stream.reconfigure(encoding='utf-8')


def in_terms_of_flags(message):
    """A message about a field of the recipe, about the flag that sets it."""
    for flag, _, field, _, _ in RECIPE_FLAGS:
        if message.startswith(f'{field}: '):
            return flag + message[len(field):]
    for name in 'save_every', 'communicator', 'timeout':
        if message.startswith(f'{name}: '):
            return f'--{name.replace("_", "-")}' + message[len(name):]
    return message


def make_parser():
    parser = argparse.ArgumentParser(
        prog='rnnlm',
        description="Chainer's recurrent language model on today's machines.",
        epilog="'rnnlm COMMAND --help' shows the options of a command.")
    parser.add_argument('--version', action='version', version=__version__)
    subcommands = parser.add_subparsers(dest='name', metavar='COMMAND', required=True)

    train_parser = add_command(
        subcommands, 'train', 'train a language model',
        'Trains a language model; by default on the embedded demo corpus, whose best '
        'possible perplexity is known.',
        'rnnlm train', 'rnnlm train --corpus novel.txt --tokens char --out novel',
        'rnnlm train --preset small --corpus ptb --out small',
        'rnnlm train --corpus ptb --out small --resume')
    add_corpus_options(train_parser)
    train_parser.add_argument(
        '--preset', choices=sorted(PRESETS),
        help="sizes and rates to begin with (default: demo for the demo corpus, "
             "else chainer, those of Chainer's example)")
    for flag, short, field, kind, text in RECIPE_FLAGS:
        train_parser.add_argument(
            *filter(None, (flag, short)), dest=field, type=kind,
            metavar=flag.strip('-').upper().replace('-', '_'), help=text)
    train_parser.add_argument(
        '--tied', action='store_const', const=True,
        help="the output layer shares the embedding's matrix (Press and Wolf 2017)")
    train_parser.add_argument(
        '--precision', choices=PRECISIONS,
        help='float32 (default); tf32, on a GPU: products of fewer digits, faster; '
             'mixed16: products of float16, sums and updates of float32')
    train_parser.add_argument(
        '--seed', type=seed, help='of the random numbers (default: 0)')
    train_parser.add_argument(
        '--out', '-o', default='result', help='folder to write (default: result)')
    train_parser.add_argument(
        '--resume', '-r', nargs='?', const=True, metavar='SNAPSHOT',
        help='go on from a snapshot (default: the newest in the --out folder)')
    train_parser.add_argument(
        '--overwrite', action='store_true',
        help='delete an earlier run in the --out folder')
    train_parser.add_argument(
        '--save-every', type=float, default=10.0, metavar='MINUTES',
        help='time between snapshots, which are also written after each epoch '
             '(default: 10; 0: every window)')
    train_parser.add_argument(
        '--on-nan', choices=('stop', 'rollback'), default='stop',
        help='when the numbers become NaN or infinite: end the run, or go back to the '
             'last snapshot at half the learning rate (default: stop)')
    add_parallel_options(train_parser)
    train_parser.set_defaults(command=commands.train)

    evaluate_parser = add_command(
        subcommands, 'evaluate', 'perplexity of a corpus',
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
        help='also the perplexity of a copy that goes on learning as it reads (Krause '
             'et al. 2018), by plain gradients or by ones scaled on the training text')
    evaluate_parser.add_argument(
        '--dynamic-lr', type=float,
        help='its learning rate (default: 0.07; rms: 0.0001)')
    evaluate_parser.add_argument(
        '--dynamic-decay', type=float, default=0.002,
        help='its pull back to the model as it was (default: 0.002)')
    add_json_option(evaluate_parser)
    evaluate_parser.set_defaults(command=commands.evaluate)

    generate_parser = add_command(
        subcommands, 'generate', 'let a model write',
        'Goes on with a text, word by word.',
        'rnnlm generate', "rnnlm generate novel -p 'It was ' --temperature 0.7",
        "rnnlm generate small -p 'the company' --beam 5 --length 10")
    add_model_argument(generate_parser)
    generate_parser.add_argument(
        '--primetext', '-p', help='text to begin with (default: a new sentence)')
    generate_parser.add_argument(
        '--length', type=int, default=100,
        help='words or characters to add (default: 100)')
    generate_parser.add_argument(
        '--seed', '-s', type=seed, default=None, help='of the random numbers')
    generate_parser.add_argument(
        '--greedy', action='store_true', help='always the most probable word')
    generate_parser.add_argument(
        '--temperature', type=float, default=1.0,
        help='below 1 likely words become likelier (default: 1)')
    generate_parser.add_argument(
        '--top-k', type=int, help='draw from the K most probable words only')
    generate_parser.add_argument(
        '--top-p', type=float,
        help='draw from the fewest words that together have the probability P')
    generate_parser.add_argument(
        '--samples', type=int, default=1, help='how many texts (default: 1)')
    generate_parser.add_argument(
        '--beam', type=int, metavar='WIDTH',
        help='the most probable text that a beam search of this width finds')
    add_device_option(generate_parser)
    generate_parser.set_defaults(command=commands.generate)

    score_parser = add_command(
        subcommands, 'score', 'probabilities of sentences',
        'Reads sentences, one a line, and prints for each the logarithm (base 10) of '
        'its probability, the number of unknown words, and every word with its own, '
        'the end included.  Unknown words are scored as <unk>.',
        "echo 'a dog sleeps' | rnnlm score",
        'rnnlm score --srilm small sentences.txt',
        'rnnlm score --nbest --lm-weight 0.7 small < nbest.txt > best.txt')
    add_model_argument(score_parser)
    score_parser.add_argument(
        'file', nargs='?', help='a text file (default: standard input)')
    form = score_parser.add_mutually_exclusive_group()
    form.add_argument(
        '--srilm', action='store_true', help="the form of SRILM's ngram -debug 2 -ppl")
    form.add_argument(
        '--nbest', action='store_true',
        help="lines 'ID ||| SENTENCE ||| ... ||| SCORE' are given their new score and "
             'sorted by it within each ID')
    add_json_option(form)
    score_parser.add_argument(
        '--lm-weight', type=float, default=1.0,
        help="--nbest: of the model's natural logarithm (default: 1)")
    score_parser.add_argument(
        '--word-penalty', type=float, default=0.0,
        help='--nbest: added for each word (default: 0)')
    add_device_option(score_parser)
    score_parser.set_defaults(command=commands.score)

    mix_parser = add_command(
        subcommands, 'interpolate', 'perplexity of a mixture of two models',
        'Prints the perplexities of two models of one vocabulary and of their '
        'mixture, word by word, on the test part of a corpus.',
        'rnnlm interpolate small medium --corpus ptb')
    mix_parser.add_argument('model', help='the first model, as for evaluate')
    mix_parser.add_argument('other', help='the second one')
    mix_parser.add_argument(
        '--weight', type=float,
        help='of the first (default: what is best on the validation part)')
    add_corpus_options(mix_parser)
    add_json_option(mix_parser)
    mix_parser.set_defaults(command=commands.interpolate)

    run_parser = add_command(
        subcommands, 'run', 'run a script written for Chainer 1 to 7, as it is',
        'Runs a script as python would, with the names of the Chainer that it was '
        'written for.',
        'rnnlm run train_ptb.py --epoch 5', 'rnnlm run --api v1 train.py')
    run_parser.add_argument(
        '--api', choices=runner.APIS, default='auto',
        help="v1 for Chainer 1.0 to 1.24, v2 for later ones (default: auto, by the "
             "script's source)")
    run_parser.add_argument('script', help='the script, unchanged')
    run_parser.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='...', help='its arguments')
    run_parser.set_defaults(
        command=lambda args: runner.run(args.script, args.args, args.api))

    inspect_parser = add_command(
        subcommands, 'inspect', 'what a snapshot holds',
        'Prints the names, shapes and dtypes in an npz or HDF5 file, the sizes of its '
        'model and what wrote it; runs nothing in it.',
        'rnnlm inspect snapshot_iter_1000')
    inspect_parser.add_argument('file', help='a model or a snapshot of a trainer')
    add_json_option(inspect_parser)
    inspect_parser.set_defaults(command=commands.inspect)

    convert_parser = add_command(
        subcommands, 'convert', 'weights from and for other systems',
        'Reads a model of Chainer, PyTorch, Keras or char-rnn and writes it for '
        'another of them, or as a module of PyTorch in Python; runs nothing in what '
        'it reads.',
        'rnnlm convert result model.safetensors', 'rnnlm convert trained.pt model.npz',
        'rnnlm convert model.keras model.npz', 'rnnlm convert result twin.py')
    convert_parser.add_argument(
        'input', help='the --out folder of a training, or a file: npz or HDF5 of '
                      'Chainer, .pt, .pth, .safetensors, .keras, .h5, .t7')
    convert_parser.add_argument(
        'output', help='a file ending in .npz, .pt, .pth, .safetensors, .weights.h5, '
                       '.t7, .onnx or .py')
    convert_parser.set_defaults(command=commands.convert)

    info_parser = add_command(
        subcommands, 'info', 'what this machine and this environment give',
        'Prints versions, the processor, the BLAS with its kernel and threads, the '
        'variables that change it, the compiled kernels and the GPUs; and what makes '
        'a training slower than it need be.', 'rnnlm info')
    add_json_option(info_parser)
    info_parser.set_defaults(command=lambda args: info.main(args.json))
    return parser


def add_command(subcommands, name, summary, description, *examples):
    return subcommands.add_parser(
        name, help=summary, description=textwrap.fill(description, 78),
        epilog='\n  '.join(['examples:', *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter)


def add_corpus_options(parser):
    parser.add_argument(
        '--corpus', metavar='CORPUS',
        help="'demo', 'ptb', a folder with ptb.{train,valid,test}.txt, or a text file "
             '(default: that of the run, for a new one demo)')
    parser.add_argument(
        '--tokens', choices=('word', 'char'),
        help='what a text is split into (default: word)')
    parser.add_argument(
        '--vocab-limit', type=int, metavar='N',
        help='keep the N - 1 most frequent tokens, the others become <unk>')
    add_device_option(parser)


def add_model_argument(parser):
    parser.add_argument(
        'model', nargs='?', default='result',
        help='the --out folder of a training, or a model.npz or snapshot with its '
             'vocabulary.json beside it (default: result)')


def add_json_option(parser):
    parser.add_argument(
        '--json', action='store_true', help='the same as JSON, for a program')


def add_device_option(parser):
    parser.add_argument(
        '--device', '-d', default='-1',
        help='-1: NumPy on the CPU (default); 0, 1, ...: a GPU through CuPy')


def add_parallel_options(parser):
    parser.add_argument(
        '--communicator', choices=parallel.COMMUNICATORS,
        help="by which of ChainerMN's communicators the processes that mpiexec started "
             'train together: naive for NumPy, pure_nccl for GPUs')
    parser.add_argument(
        '--timeout', type=float, default=300.0, metavar='SECONDS',
        help='with --communicator: time after which a process that does not answer is '
             'given up, and all end (default: 300)')


def seed(text):
    value = int(text)
    if not 0 <= value < 2 ** 32:
        raise argparse.ArgumentTypeError(
            f'expected an integer from 0 to 2**32 - 1, found {text}')
    return value
