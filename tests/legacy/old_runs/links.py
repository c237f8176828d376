#!/usr/bin/env python
"""Links and optimizers of Chainer 1.11 to 7.8: pickled, saved, and used again.

``save FOLDER`` writes them; ``use FOLDER`` loads them and prints what they compute.
"""
from __future__ import print_function
import gzip
import os
import pickle
import sys

import numpy as np

import chainer
import chainer.links as L


def image(n):
    return np.linspace(-1, 1, 2 * n * 16).reshape(2, n, 4, 4).astype('f')


def rows(n):
    return np.linspace(-1, 1, 3 * n).reshape(3, n).astype('f')


CELL = np.ones((1, 1, 2), 'f')
IDS = np.array([0, 2, 1], 'i')
# name: (makes it, what it is called with)
LINKS = {
    'Linear': (lambda: L.Linear(3, 2), (rows(3),)),
    'Bilinear': (lambda: L.Bilinear(2, 3, 2), (rows(2), rows(3))),
    'Bias': (lambda: L.Bias(shape=(3,)), (rows(3),)),
    'Scale': (lambda: L.Scale(W_shape=(3,), bias_term=True), (rows(3),)),
    'EmbedID': (lambda: L.EmbedID(4, 2), (IDS,)),
    'Highway': (lambda: L.Highway(3), (rows(3),)),
    'LSTM': (lambda: L.LSTM(3, 2), (rows(3),)),
    'StatelessLSTM': (lambda: L.StatelessLSTM(3, 2), (rows(2), rows(2), rows(3))),
    'StatefulPeepholeLSTM': (lambda: L.StatefulPeepholeLSTM(3, 2), (rows(3),)),
    'StatefulGRU': (lambda: L.StatefulGRU(3, 2), (rows(3),)),
    'Maxout': (lambda: L.Maxout(3, 2, 2), (rows(3),)),
    'PReLU': (lambda: L.PReLU(), (rows(3),)),
    'Convolution2D': (lambda: L.Convolution2D(2, 3, 3, pad=1), (image(2),)),
    'Deconvolution2D': (lambda: L.Deconvolution2D(2, 3, 3), (image(2),)),
    'DilatedConvolution2D': (
        lambda: L.DilatedConvolution2D(2, 3, 2, dilate=2), (image(2),)),
    'ConvolutionND': (lambda: L.ConvolutionND(2, 2, 3, 2), (image(2),)),
    'DeconvolutionND': (lambda: L.DeconvolutionND(2, 2, 3, 2), (image(2),)),
    'MLPConvolution2D': (lambda: L.MLPConvolution2D(2, (2, 2), 3), (image(2),)),
    'Inception': (lambda: L.Inception(2, 1, 1, 1, 1, 1, 1), (image(2),)),
    'BatchNormalization': (lambda: L.BatchNormalization(3), (rows(3),)),
    'LayerNormalization': (lambda: L.LayerNormalization(3), (rows(3),)),
    'BinaryHierarchicalSoftmax': (
        lambda: L.BinaryHierarchicalSoftmax(3, ((0, 1), 2)), (rows(3), IDS)),
    'CRF1d': (lambda: L.CRF1d(3), ([rows(3)], [IDS])),
    'SimplifiedDropconnect': (lambda: L.SimplifiedDropconnect(3, 2, ratio=0.), (
        rows(3),)),
    'StatefulMGU': (lambda: L.StatefulMGU(3, 2), (rows(3),)),
    'NStepLSTM': (lambda: L.NStepLSTM(1, 3, 2, 0.), (CELL, CELL, [rows(3)])),
    'Classifier': (lambda: L.Classifier(L.Linear(3, 3)), (rows(3), IDS)),
    'ChainList': (lambda: chainer.ChainList(L.Linear(3, 2), L.Linear(3, 2)), None),
}
OPTIMIZERS = ('SGD', 'MomentumSGD', 'NesterovAG', 'AdaGrad', 'AdaDelta', 'Adam',
              'RMSprop', 'RMSpropGraves', 'SMORMS3')


def variable(x):
    if isinstance(x, list):
        return [variable(each) for each in x]
    return x if x is None else chainer.Variable(x)


def arrays(y):
    if isinstance(y, (list, tuple)):
        return [array for each in y for array in arrays(each)]
    return [] if y is None else [y.data]


def number(y):
    return repr(sum(float((a.astype('d') * np.arange(1, 1 + a.size).reshape(a.shape))
                          .sum()) for a in arrays(y)))


def step(optimizer):
    model = optimizer.target
    for param in model.params():
        param.zerograd() if hasattr(param, 'zerograd') else param.cleargrad()
    loss = model(chainer.Variable(rows(3)), chainer.Variable(IDS))
    loss.backward()
    optimizer.update()
    return repr(float(loss.data))


def save(folder):
    np.random.seed(0)
    links = {}
    for name in sorted(LINKS):
        try:
            links[name] = LINKS[name][0]()
        except AttributeError:
            continue  # a later release's
        for _, param in sorted(links[name].namedparams()):
            param.data[...] = np.random.uniform(-1, 1, param.data.shape)
    made = {}
    for name in OPTIMIZERS:
        made[name] = getattr(chainer.optimizers, name)()
        made[name].setup(links['Classifier'].copy())
        for param in made[name].target.params():
            param.data = param.data.copy()
        made[name].add_hook(chainer.optimizer.WeightDecay(0.01))
        step(made[name])
    model = made['Adam'].target
    for name, thing in ('model', model), ('state', made['Adam']):
        path = os.path.join(folder, name)
        chainer.serializers.save_npz(path + '.npz', thing)
        if chainer.__version__ in ('1.24.0', '2.0.0'):  # they are large
            chainer.serializers.save_hdf5(path + '.h5', thing)
    with gzip.open(os.path.join(folder, 'links.pickle.gz'), 'wb') as f:
        pickle.dump((links, made), f, 2)


def use(folder):
    with gzip.open(os.path.join(folder, 'links.pickle.gz'), 'rb') as f:
        links, made = pickle.load(f)
    for name in sorted(links):
        link = links[name]
        print(name, *['%s:%s' % (path, number(param))
                      for path, param in sorted(link.namedparams())])
        if LINKS[name][1] is not None:
            for _ in range(2):
                print('call', name, number(link(*map(variable, LINKS[name][1]))))
    for name in OPTIMIZERS:
        print('step', name, step(made[name]), step(made[name]))
    for ending in 'npz', 'h5':
        if not os.path.exists(os.path.join(folder, 'model.' + ending)):
            continue
        load = (chainer.serializers.load_npz if ending == 'npz'
                else chainer.serializers.load_hdf5)
        optimizer = chainer.optimizers.Adam()
        optimizer.setup(LINKS['Classifier'][0]())
        optimizer.add_hook(chainer.optimizer.WeightDecay(0.01))
        load(os.path.join(folder, 'model.' + ending), optimizer.target)
        load(os.path.join(folder, 'state.' + ending), optimizer)
        print('step', ending, step(optimizer), step(optimizer))


{'save': save, 'use': use}[sys.argv[1]](sys.argv[2])
