#!/usr/bin/env python
"""Continues a text with a model saved by train_ptb.py.

The options are those of Chainer's examples/ptb/gentxt.py.
"""
import argparse
import dataclasses
import sys

import rnnlm

from chainer import links as L

import options


def main():
    parser = argparse.ArgumentParser(description='Continues a text with an RNNLM.')
    parser.add_argument(
        '--model', '-m', required=True, help='model saved by train_ptb.py')
    parser.add_argument(
        '--primetext', '-p', required=True, help='text to continue')
    rnnlm.add_options(parser, 'n_units', 'n_layers', n_units=650, n_layers=2)
    parser.add_argument(
        '--sample', type=int, default=1,
        help='0 or less: always the most probable word (default: 1)')
    parser.add_argument(
        '--length', type=int, default=20, help='words to add (default: 20)')
    rnnlm.add_options(parser, 'seed', 'corpus', 'device', seed=123, corpus='ptb')
    args = parser.parse_args()
    if args.length < 0:
        raise rnnlm.InputError(
            f'--length: expected a number of at least 0, found {args.length}')

    dataclasses.replace(  # checks the sizes
        rnnlm.PRESETS['chainer'], n_units=args.n_units, n_layers=args.n_layers)
    device, corpus = options.prepare(args)
    vocabulary = corpus.vocabulary
    words = args.primetext.split()
    for word in words:  # unlike in a corpus, unknown words are refused
        if word not in vocabulary:
            raise rnnlm.InputError(
                f'--primetext: expected words of the vocabulary, found {word!r}')
    rnn = rnnlm.RNNForLM(len(vocabulary), args.n_units, args.n_layers)
    model = L.Classifier(rnn)
    rnnlm.load_model(args.model, model)
    model.to_device(device)

    sys.stdout.write(args.primetext + ' ')
    prime = vocabulary.encode(words)
    for word in rnnlm.generate(rnn, prime, args.length, args.sample > 0):
        text, = vocabulary.decode([word])
        sys.stdout.write('.' if text == '<eos>' else text + ' ')
    sys.stdout.write('\n')


if __name__ == '__main__':
    options.run(main)
