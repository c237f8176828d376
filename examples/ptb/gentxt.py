#!/usr/bin/env python
"""Continues a text with a model that train_ptb.py saved.

The flags are those of Chainer's examples/ptb/gentxt.py.
"""
import argparse
import sys

import rnnlm

from chainer import links as L

import options


def main():
    parser = argparse.ArgumentParser(description='Continues a text with an RNNLM.')
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
    words = args.primetext.split()
    for word in words:  # unlike in a corpus, an unknown one does not become <unk>
        if word not in vocabulary:
            raise rnnlm.InputError(
                f'--primetext: expected words of the vocabulary, found {word!r}')
    rnn = rnnlm.RNNForLM(len(vocabulary), args.unit, args.layer)
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
