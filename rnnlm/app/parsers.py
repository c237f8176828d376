"""The parsers of all commands.

They import neither Chainer nor NumPy, so that help, the version and errors in options
are printed quickly (`rnnlm._starting`).
"""
import argparse
import textwrap
from typing import Any, NoReturn

from rnnlm._version import __version__
from rnnlm.app.options import (
    a_name, add_corpus_options, add_options, add_text_options, add_train_options, seed)

# Printed between two generated texts.
SEPARATOR = '-' * 10


class _Parser(argparse.ArgumentParser):
    """Parser that prints errors without the list of all options.

    It also accepts an optional positional argument after an option, as in ``score DIR
    --nbest FILE``.  argparse sets FILE to its default as soon as it reads DIR.
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
    """Creates the parser of all commands."""
    parser = _Parser(
        prog='rnnlm',
        description="Chainer's recurrent language model for current Python, NumPy and "
                    'CuPy.',
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
             'training text; it is lower if topics change along the text, as in the '
             'Penn Treebank, but higher on the demo corpus')
    evaluate_parser.add_argument(
        '--dynamic-lr', dest='lr', metavar='LR', type=float,
        help='learning rate of --dynamic (default: 0.07; rms: 0.0001)')
    evaluate_parser.add_argument(
        '--dynamic-decay', dest='decay', metavar='DECAY', type=float,
        help='rate at which --dynamic decays towards the trained parameters (default: '
             '0.002)')
    add_json_option(evaluate_parser)
    add_quiet_option(evaluate_parser)

    generate_parser = add_command(
        subcommands, 'generate', 'generate text',
        'Continues a text with words sampled from a model.',
        'rnnlm generate', "rnnlm generate novel -p 'It was ' --temperature 0.7",
        "rnnlm generate -p 'the king' --beam 5 --sentence",
        'rnnlm generate --samples 5 --sentence --no-unk')
    add_model_argument(generate_parser)
    add_generate_options(generate_parser)
    generate_parser.add_argument(
        '--seed', '-s', type=seed,
        help='random seed (default: a different one each time)')
    add_options(generate_parser, 'device')

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
    add_score_options(score_parser)
    add_options(score_parser, 'device')

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
        help='weight of the first model (default: the best one on the validation part)')
    add_corpus_options(mix_parser)
    add_text_options(mix_parser)
    add_options(mix_parser, 'device')
    add_json_option(mix_parser)
    add_quiet_option(mix_parser)

    run_parser = add_command(
        subcommands, 'run', 'run a script written for Chainer 1 to 7, unmodified',
        'Runs a script as python would, with the API of the Chainer version that it '
        'was written for.',
        'rnnlm run train_ptb.py --epoch 5', 'rnnlm run --api 1.24 train.py',
        'rnnlm run --explain train.py')
    run_parser.add_argument(
        '--api', default='auto', metavar='RELEASE',
        help="the Chainer version that it was written for: v1 (1.0 to 1.24), v2 (2.0 "
             "to 7.8), or a release such as 1.24 (default: auto, detected from the "
             "script's source)")
    run_parser.add_argument(
        '--explain', action='store_true',
        help='do not run the script; list, by line, the removed or changed API that it '
             'uses, with the release and the replacement')
    run_parser.add_argument('script', type=a_name, help='Python script')
    run_parser.add_argument(
        'args', nargs=argparse.REMAINDER, metavar='...', help='arguments of the script')

    inspect_parser = add_command(
        subcommands, 'inspect', 'show what a snapshot or a file of weights contains',
        'Prints the format of a file, the program that wrote it, the sizes of its '
        'model or why it contains none, and the names, shapes and dtypes of its '
        'arrays.  Never executes code from the file.',
        'rnnlm inspect result', 'rnnlm inspect --json result/model.npz')
    inspect_parser.add_argument(
        'file', type=a_name,
        help='a model or snapshot file, any file that convert reads, or the folder of '
             'a run, for its model')
    add_json_option(inspect_parser)

    convert_parser = add_command(
        subcommands, 'convert', 'convert weights from and to other frameworks',
        'Reads a model of Chainer, PyTorch, Keras or Torch7 and writes it for another '
        'of them, for ONNX, or as a PyTorch module in Python.  Never executes code '
        'from the input.',
        'rnnlm convert result model.safetensors', 'rnnlm convert trained.pt model.npz',
        'rnnlm convert model.keras model.npz', 'rnnlm convert result exported.py')
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

    info_parser = add_command(
        subcommands, 'info', 'show versions, BLAS, compiled kernels and GPUs',
        'Prints versions, the processor, the BLAS with its kernel and threads, the '
        'environment variables that affect it, the compiled kernels and the GPUs, with '
        'notes on anything that slows training down.', 'rnnlm info')
    add_json_option(info_parser)
    return parser


def add_command(subcommands: Any, name: str, summary: str, description: str,
                *examples: str) -> argparse.ArgumentParser:
    """Adds the parser of a command, which the parsed arguments have as ``parser``."""
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
        '--quiet', '-q', action='store_true', help='do not show progress')


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``rnnlm generate``, except --device and the model."""
    parser.add_argument(
        '--primetext', '-p', dest='prime', metavar='TEXT',
        help='text to continue; a line feed in it ends a sentence (default: start a '
             'new sentence)')
    parser.add_argument(
        '--skip-unknown', action='store_true',
        help='skip the words of TEXT that are not in the vocabulary')
    parser.add_argument(
        '--length', type=int, default=100,
        help='number of words or characters to generate (default: 100)')
    parser.add_argument(
        '--sentence', action='store_true',
        help='stop at the end of the sentence (characters: of the line)')
    parser.add_argument(
        '--no-unk', action='store_true', help='never generate <unk>')
    parser.add_argument(
        '--greedy', action='store_true',
        help='choose the most probable word at each step')
    parser.add_argument(
        '--temperature', type=float,
        help='divide the logits by this; values below 1 favour likely words (default: '
             '1)')
    parser.add_argument(
        '--top-k', type=int, metavar='K',
        help='sample from the K most probable words')
    parser.add_argument(
        '--top-p', type=float, metavar='P',
        help='sample from the smallest set of words with total probability P (nucleus '
             'sampling)')
    parser.add_argument(
        '--samples', type=int, metavar='N',
        help=f'number of texts (default: 1), separated by a line {SEPARATOR}; with '
             '--sentence each is one line')
    parser.add_argument(
        '--beam', type=int, metavar='WIDTH',
        help='find the most probable text by beam search of this width')


def add_score_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``rnnlm score``, except --device and the model."""
    parser.add_argument(
        'file', nargs='?', metavar='FILE', type=a_name,
        help='a text file in UTF-8 (default or -: standard input)')
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        '--srilm', action='store_true',
        help="output format of SRILM's ngram -debug 2 -ppl, which excludes unknown "
             'words from logprob and perplexity')
    form.add_argument(
        '--nbest', action='store_true',
        help="rescore n-best lists: lines 'ID ||| SENTENCE ||| ... ||| SCORE' get "
             'their new score and are sorted by it within each ID')
    form.add_argument(
        '--json', action='store_true', help='print JSON, one object per line')
    parser.add_argument(
        '--unk', action='store_true',
        help="with --srilm: score unknown words as <unk>, like SRILM's -unk")
    parser.add_argument(
        '--total', action='store_true',
        help='print only the total (which otherwise goes to standard error)')
    parser.add_argument(
        '--mix', metavar='DIR', type=a_name,
        help='interpolate with this model, which must have the same vocabulary')
    parser.add_argument(
        '--weight', type=float,
        help='with --mix: weight of the first model (default: 0.5)')
    parser.add_argument(
        '--lm-weight', type=float,
        help='with --nbest: weight of the natural log probability (default: 1)')
    parser.add_argument(
        '--word-penalty', type=float,
        help='with --nbest: added to the score for each word (default: 0)')
    parser.add_argument(
        '--quiet', '-q', action='store_true',
        help='do not print the total and the progress on standard error')
