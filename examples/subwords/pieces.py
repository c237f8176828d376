#!/usr/bin/env python
"""Trains a model of subwords, using the library sentencepiece.

    pip install sentencepiece
    python examples/subwords/pieces.py fit novel.txt pieces --size 2000
    rnnlm train --corpus pieces --vocab pieces/vocabulary.txt --out subwords
    python examples/subwords/pieces.py perplexity subwords pieces

`fit` learns the pieces on the first 90% of the lines, and writes the text in pieces,
which rnnlm treats as words.  A character without a piece is written as bytes, so no
word is unknown.  `perplexity` prints two numbers.  The perplexity per piece depends on
the number of pieces.  The perplexity per word divides the same log probability by the
number of words and ends of lines; it is comparable with a model of words that has no
unknown words.
"""
import argparse
import json
import math
import os
import shlex
import sys

import rnnlm

PARTS = 'train', 'valid', 'test'


def cut(lines):
    """Splits lines into {part: lines}: 90%, 5% and 5% of them."""
    held_out = max(1, len(lines) // 20)
    if len(lines) < 3:
        raise rnnlm.InputError(
            f'text: expected at least 3 lines, found {len(lines)}')
    return {'train': lines[:-2 * held_out] or lines[:1],
            'valid': lines[-2 * held_out:-held_out], 'test': lines[-held_out:]}


def fit(text, folder, size):
    """Learns pieces; writes them, and a text in pieces."""
    import sentencepiece  # needed only here

    with open(text, encoding='utf-8-sig') as f:
        lines = [' '.join(line.split()) for line in f if line.strip()]
    portions = cut(lines)
    os.makedirs(folder, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(portions['train']), vocab_size=size,
        model_prefix=os.path.join(folder, 'pieces'), byte_fallback=True,
        normalization_rule_name='identity', hard_vocab_limit=False,
        minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=os.path.join(folder, 'pieces.model'))
    words = {}
    for part, some in portions.items():
        words[part] = sum(len(line.split()) + 1 for line in some)
        with open(os.path.join(folder, f'{part}.txt'), 'w', encoding='utf-8',
                  newline='\n') as f:
            f.writelines(' '.join(pieces.encode(line, out_type=str)) + '\n'
                         for line in some)
    known = [pieces.id_to_piece(k) for k in range(pieces.get_piece_size())
             if not pieces.is_control(k) and not pieces.is_unknown(k)]
    with open(os.path.join(folder, 'vocabulary.txt'), 'w', encoding='utf-8',
              newline='\n') as f:
        f.writelines(f'{piece}\n' for piece in [*known, '<eos>'])
    with open(os.path.join(folder, 'words.json'), 'w', encoding='utf-8',
              newline='\n') as f:
        json.dump(words, f)
    print(f'written  {folder}/: {len(known):,} pieces; train with: rnnlm train '
          f'--corpus {shlex.quote(folder)} '
          f'--vocab {shlex.quote(os.path.join(folder, "vocabulary.txt"))}')


def perplexity(run, folder, part):
    """Returns the perplexity (per piece, per word) of a part of `fit`'s text."""
    trained = rnnlm.load(run)
    corpus = rnnlm.load_corpus(folder, vocabulary=trained.vocabulary)
    if corpus.vocabulary != trained.vocabulary or corpus.unknown_rate(part):
        raise rnnlm.InputError(
            f'{folder}: expected the pieces of {run}, found others')
    ids = getattr(corpus, part)
    with open(os.path.join(folder, 'words.json'), encoding='utf-8') as f:
        words = json.load(f)[part]
    per_piece = trained.perplexity(ids)
    return per_piece, math.exp(math.log(per_piece) * len(ids) / words)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    make = commands.add_parser('fit', help='write a text in pieces')
    make.add_argument('text', help='a text file in UTF-8')
    make.add_argument('folder', help='where to write')
    make.add_argument('--size', type=int, default=2000,
                      help='number of pieces, at most (default: 2000)')
    measure = commands.add_parser('perplexity', help='per piece and per word')
    measure.add_argument('run', help='the folder of a run')
    measure.add_argument('folder', help='the folder that fit wrote')
    measure.add_argument('--part', choices=PARTS, default='test')
    args = parser.parse_args()
    try:
        if args.command == 'fit':
            fit(args.text, args.folder, args.size)
        else:
            per_piece, per_word = perplexity(args.run, args.folder, args.part)
            print(f'{args.part:9}perplexity {per_piece:.3f} per piece, '
                  f'{per_word:.3f} per word')
    except (rnnlm.InputError, OSError) as e:
        sys.exit(f'pieces.py: error: {e}')
    except ImportError as e:
        sys.exit(f'pieces.py: error: {e}; pip install sentencepiece')


if __name__ == '__main__':
    main()
