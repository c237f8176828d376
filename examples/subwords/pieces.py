#!/usr/bin/env python
"""A model of subwords, by the library sentencepiece.

    pip install sentencepiece
    python examples/subwords/pieces.py fit novel.txt pieces --size 2000
    rnnlm train --corpus pieces --vocab pieces/vocabulary.txt --out subwords
    python examples/subwords/pieces.py perplexity subwords pieces

`fit` finds the pieces on the first 90% of the lines, and writes the text in its pieces:
to rnnlm these are words.  A character that has no piece is written as bytes, so that no
word is unknown.  `perplexity` gives the perplexity per piece, which depends on how many
pieces there are, and per word, which can be compared with that of a model of words
without unknown ones: the logarithm of the text's probability over its words and ends
of lines.
"""
import argparse
import json
import math
import os
import sys

import rnnlm

PARTS = 'train', 'valid', 'test'


def cut(lines):
    """{part: lines}: 90%, 5% and 5% of them."""
    held_out = max(1, len(lines) // 20)
    if len(lines) < 3:
        raise rnnlm.InputError(
            f'text: expected at least 3 lines, found {len(lines)}')
    return {'train': lines[:-2 * held_out] or lines[:1],
            'valid': lines[-2 * held_out:-held_out], 'test': lines[-held_out:]}


def fit(text, folder, size):
    """Finds pieces; writes them, and a text in its pieces."""
    import sentencepiece  # only here

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
          f'--corpus {folder} --vocab {folder}/vocabulary.txt')


def perplexity(run, folder, part):
    """(per piece, per word) of a part of a text that `fit` wrote."""
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
    make = commands.add_parser('fit', help='write a text in its pieces')
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
