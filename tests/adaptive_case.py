"""A small model with an adaptive softmax, and texts for it."""
import numpy

import rnnlm

V = 20
CUTOFFS = [3, 7, 15]


def counts(seed=0):
    return numpy.random.RandomState(seed).randint(0, 50, V)


def make(seed=0, dropout=0.0, n_units=6, **kwargs):
    numpy.random.seed(seed)
    arguments = {'cutoffs': CUTOFFS, 'counts': counts(), 'init_scale': 0.8, **kwargs}
    return rnnlm.adaptive_model(V, n_units, dropout=dropout, **arguments)


def words(n=203, top=V, seed=5):
    return numpy.random.RandomState(seed).randint(0, top, n).astype('i')


def window(T=6, B=3, seed=0):
    return numpy.random.RandomState(seed).randint(0, V, (T + 1, B)).astype('i')
