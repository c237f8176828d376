"""The command `generate`: text sampled from a model."""
import argparse

import numpy

from rnnlm.app.parsers import SEPARATOR
from rnnlm.app.trained import TrainedModel, load
from rnnlm.errors import InputError, printable, require, require_count
from rnnlm.inference import generate as generating


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
            f'{one} cannot be combined with {", ".join(drawing)}: it does not sample'
            + ('' if '--greedy' not in drawing else ', and --greedy is --beam 1'))
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
    """Runs the command `generate`; returns the exit status."""
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
