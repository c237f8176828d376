#!/usr/bin/env python
"""Lets a model that train_ptb.py saved go on with a text.

The flags are those of Chainer's examples/ptb/gentxt.py.
"""
import argparse
import sys

import rnnlm

from chainer import links as L

from rnnlm.inference.generate import encode_prime, generate

import options


def main():
    parser = argparse.ArgumentParser(description='Lets an RNNLM go on with a text.')
    parser.add_argument(
        '--model', '-m', required=True, help='model that train_ptb.py saved')
    parser.add_argument(
        '--primetext', '-p', required=True, help='words to begin with')
    parser.add_argument(
        '--seed', '-s', type=options.seed, default=123,
        help='seed of the random choices (default: 123)')
    parser.add_argument(
        '--unit', '-u', type=int, default=650,
        help='LSTM units in each layer (default: 650)')
    parser.add_argument('--layer', type=int, default=2, help='LSTM layers (default: 2)')
    parser.add_argument(
        '--sample', type=int, default=1,
        help='0 or less: always the most probable word (default: 1)')
    parser.add_argument(
        '--length', type=int, default=20, help='words to add (default: 20)')
    options.add_common_options(parser)
    args = parser.parse_args()

    device, corpus = options.prepare(args)
    vocabulary = corpus.vocabulary
    prime = encode_prime(vocabulary, args.primetext)
    rnn = rnnlm.RNNForLM(len(vocabulary), args.unit, args.layer)
    model = L.Classifier(rnn)
    rnnlm.load_model(args.model, model)
    model.to_device(device)

    sys.stdout.write(args.primetext + ' ')
    for word in generate(rnn, prime, args.length, args.sample > 0):
        text, = vocabulary.decode([word])
        sys.stdout.write('.' if text == '<eos>' else text + ' ')
    sys.stdout.write('\n')


if __name__ == '__main__':
    options.run(main)
