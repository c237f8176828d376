"""The command `generate`: text sampled from a model."""
import argparse

import numpy

from rnnlm.app.trained import TrainedModel, load
from rnnlm.errors import InputError, printable, require, require_count
from rnnlm.inference import generate as generating

# Between two texts.
SEPARATOR = '-' * 10


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command but --device and the model."""
    parser.add_argument(
        '--primetext', '-p', dest='prime', metavar='TEXT',
        help='text to continue, in which a line feed ends a sentence (default: start a '
             'new sentence)')
    parser.add_argument(
        '--skip-unknown', action='store_true',
        help='skip the words of TEXT that are not in the vocabulary')
    parser.add_argument(
        '--length', type=int, default=100,
        help='number of words or characters to generate (default: 100)')
    parser.add_argument(
        '--sentence', action='store_true',
        help='end at the end of a sentence (by character: of a line)')
    parser.add_argument(
        '--no-unk', action='store_true', help='never generate <unk>')
    parser.add_argument(
        '--greedy', action='store_true',
        help='take the most probable word at each step')
    parser.add_argument(
        '--temperature', type=float,
        help='divide the logits by this; below 1 likely words become likelier '
             '(default: 1)')
    parser.add_argument(
        '--top-k', type=int, metavar='K',
        help='sample from the K most probable words')
    parser.add_argument(
        '--top-p', type=float, metavar='P',
        help='sample from the smallest set of words with total probability P (nucleus '
             'sampling)')
    parser.add_argument(
        '--samples', type=int, metavar='N',
        help=f'number of texts (default: 1), with a line {SEPARATOR} between them; '
             'with --sentence each is one line')
    parser.add_argument(
        '--beam', type=int, metavar='WIDTH',
        help='find the most probable text by beam search of this width')


def check(args: argparse.Namespace) -> None:
    """Refuses options that contradict each other or are out of range."""
    drawing = [flag for flag, value in (
        ('--temperature', args.temperature), ('--top-k', args.top_k),
        ('--top-p', args.top_p), ('--samples', args.samples), ('--seed', args.seed))
        if value is not None]
    if args.beam is not None:
        drawing += ['--greedy'] * args.greedy
        require_count('beam', args.beam)
    if drawing and (args.greedy or args.beam is not None):
        one = '--greedy' if args.beam is None else '--beam'
        raise InputError(
            f'{one} cannot be combined with {", ".join(drawing)}: it draws nothing at '
            'random' + ('' if '--greedy' not in drawing else
                        ', and --greedy is --beam 1'))
    require_count('length', args.length, least=0)
    if args.samples is not None:
        require_count('samples', args.samples)
    if args.top_k is not None:
        require_count('top_k', args.top_k)
    if args.top_p is not None:
        require('top_p', args.top_p, 'a probability above 0 and at most 1',
                lambda v: 0 < v <= 1)
    if args.temperature is not None:
        require('temperature', args.temperature,
                'a finite number greater than 0 (for the most probable words use '
                '--greedy)', lambda v: 0 < v < float('inf'))
    if args.skip_unknown and args.prime is None:
        raise InputError('--skip-unknown can only be used with --primetext')


def generate(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    check(args)
    trained = load(args.model, args.device)
    vocabulary, text = trained.require_vocabulary(), args.prime
    if args.sentence:
        trained.require_boundary()
    try:
        trained.encode_prime(text, args.skip_unknown)
    except InputError as e:
        if e.name == 'prime' and not args.skip_unknown and text.strip():
            raise InputError(
                f'{e.problem}; --skip-unknown skips such words', 'prime') from None
        raise
    if args.seed is not None:
        numpy.random.seed(args.seed)
    for k in range(1 if args.samples is None else args.samples):
        pieces = _pieces(args, trained)
        if k and not args.sentence:
            print(SEPARATOR)
        if text is not None:
            blank = '' if vocabulary.by_character or text[-1:].isspace() else ' '
            print(printable(text, keep='\n\t'), end=blank)
        for piece in pieces:
            print(printable(piece, keep='\n\t'), end='', flush=True)
        print()
    return 0


def _pieces(args: argparse.Namespace, trained: TrainedModel):
    """Returns an iterator over the generated tokens as text."""
    if args.beam is None:
        return trained.stream(
            args.prime, args.length,
            1.0 if args.temperature is None else args.temperature, args.top_k,
            args.top_p, sample=not args.greedy, one_sentence=args.sentence,
            no_unknown=args.no_unk, skip_unknown=args.skip_unknown)
    words, _ = generating.beam_search(
        trained.model, trained.encode_prime(args.prime, args.skip_unknown), args.length,
        args.beam, trained.require_boundary() if args.sentence else None,
        trained.unknown_ids() if args.no_unk else None, trained.fresh_after)
    return generating.text_of(trained.require_vocabulary(), words)
