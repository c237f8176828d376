#!/usr/bin/env python
"""Evaluates a model with a neural cache (Grave, Joulin and Usunier 2017).

    python examples/awd/cache.py --save awd.npz

The cache gives a higher probability to words that followed states similar to the
current one.  Each of the last --window words has a weight proportional to exp(--theta
times the inner product of the two states).  The options are those of awd-lstm-lm's
pointer.py, the defaults those of its command for the Penn Treebank.  Any file that
`rnnlm.load` reads can be evaluated.
"""
import rnnlm  # first: it makes Chainer importable

import chainer
from chainer import functions as F
import numpy

import options

# Options of training are omitted: the results do not depend on them.
FLAGS = [('window', 500, 'words in the cache'),
         ('theta', 1.0, 'factor of the inner products; higher: a sharper distribution'),
         ('lambdasm', 0.1, 'weight of the cache, in [0, 1]'),
         ('bptt', 1000, 'words computed at a time')]


def log_probabilities(model, ids, window, theta, weight, length=1000):
    """Returns the log probabilities (N - 1,) of ids[1:], each given those before it.

    Args:
        model: `rnnlm.LanguageModel`.
        ids: int (N,), the text.
        window (int): Words in the cache.
        theta (float): Factor of the inner products of states.
        weight (float): Weight of the cache, in [0, 1]; 0 while the cache is empty.
        length (int): Words computed at a time.
    """
    xp, found = model.xp, []
    keys, words = None, xp.zeros(0, 'i')  # states, and the words after them
    matrix = [model.embed.W] if model.tied else []
    model.reset_state()
    with chainer.no_backprop_mode(), chainer.using_config('train', False), (
            chainer.using_device(model.device)):
        for start in range(0, len(ids) - 1, length):
            x = xp.asarray(ids[start:start + length + 1])
            x, t = x[:-1], x[1:]
            h = model.features(x[:, None])  # (T, 1, n)
            states = h.array[:, 0]
            # Of an adaptive softmax it is the identity.
            log_p = F.log_softmax(model.output(h[:, 0], *matrix)).array
            log_p = log_p[xp.arange(len(t)), t]
            keys = states if keys is None else xp.concatenate([keys, states])
            words = xp.concatenate([words, t])
            p = _in_cache(xp, states, keys, words, window, theta)
            known = xp.arange(len(keys) - len(states), len(keys)) > 0
            w = weight * known
            found.append((1 - w) * xp.exp(log_p.astype('d')) + w * p)
            keys, words = keys[-window:], words[-window:]
        with numpy.errstate(divide='ignore'):
            return chainer.backends.cuda.to_cpu(xp.log(xp.concatenate(found)))


def _in_cache(xp, states, keys, words, window, theta):
    """Returns the probabilities (T,) of the next words by the cache.

    The last T keys and words belong to the states themselves.  Each state is compared
    with the `window` keys before its own.
    """
    T, K = len(states), len(keys)
    own = xp.arange(K - T, K)[:, None]
    there = xp.arange(K)[None]
    seen = (there < own) & (there >= own - window)  # (T, K)
    products = states.astype('d').dot(keys.astype('d').T)
    score = xp.where(seen, theta * products, -numpy.inf)
    highest = score.max(axis=1, keepdims=True)
    e = xp.exp(score - xp.where(seen.any(axis=1, keepdims=True), highest, 0))
    right = words[None] == words[K - T:, None]
    return (e * right).sum(axis=1) / xp.maximum(e.sum(axis=1), 1e-300)


def main(argv=None):
    parser = options.bare_parser(__doc__)
    for name, default, what in FLAGS:
        parser.add_argument(f'--{name}', type=type(default), default=default,
                            help=f'{what} (default: {default:g})')
    args = parser.parse_args(argv)
    options.require('window', args.window >= 1, 'at least 1', args.window)
    options.require('bptt', args.bptt >= 1, 'at least 1', args.bptt)
    options.require('lambdasm', 0 <= args.lambdasm <= 1, 'from 0 to 1', args.lambdasm)
    options.require('theta', abs(args.theta) < float('inf'), 'a finite number',
                    args.theta)
    device, vocabulary, texts = options.prepare(args)
    trained = rnnlm.load(args.save)
    model = trained.model
    if model.n_vocab != len(vocabulary):
        raise rnnlm.InputError(
            f'--save: expected a model of {len(vocabulary)} words as --data has, found '
            f'one of {model.n_vocab}')
    if trained.vocabulary is not None and trained.vocabulary != vocabulary:
        raise rnnlm.InputError(
            '--save: expected a model with the vocabulary of --data, found one with '
            'other words')
    model.to_device(device)
    for name, words in zip(('valid', 'test'), texts[1:]):
        for what, weight in ('', 0.0), (' with the cache', args.lambdasm):
            log_p = log_probabilities(model, words, args.window, args.theta, weight,
                                      args.bptt)
            print(f'{name} perplexity{what}: {numpy.exp(-log_p.mean()):.2f}',
                  flush=True)


if __name__ == '__main__':
    options.run(main)
