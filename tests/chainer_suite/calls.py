"""Calls of everything that Chainer has, with arguments by pattern, and what they give.

    python tests/chainer_suite/calls.py     # with Chainer 7.8.1 on NumPy 1.16

writes `calls.json` beside this script: of every call that works there, the types,
shapes and sums of its results and of its gradients.  It was recorded on Python 3.7.
"""
import inspect
import json
import os
import sys
import warnings

if __name__ == '__main__':
    sys.modules['scipy'] = None  # not every environment has it

import chainer
from chainer import distributions as D
from chainer import functions as F
from chainer import initializers
from chainer import links as L
from chainer import optimizer_hooks
from chainer import optimizers
import numpy as np

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'calls.json')
DTYPE = np.float32


def floats(*shape, **kwargs):
    seed = kwargs.get('seed', 0)
    return np.asarray(np.random.RandomState(seed).uniform(.1, .9, shape), DTYPE)


def integers(high, *shape):
    return np.random.RandomState(0).randint(0, high, shape).astype(np.int32)


def unit(*shape):
    x = floats(*shape)
    return x / x.sum(-1, keepdims=True)


# How a function may be called.
ARGUMENTS = {
    'vector': lambda: (floats(3),), 'scalar': lambda: (floats(),),
    'matrix': lambda: (floats(4, 3),), '3 axes': lambda: (floats(2, 3, 4),),
    'two': lambda: (floats(4, 3), floats(4, 3, seed=1)),
    'two scalars': lambda: (floats(), floats(seed=1)),
    'three': lambda: tuple(floats(4, 3, seed=k) for k in range(3)),
    'classes': lambda: (floats(4, 3), np.array([0, 2, 1, 1], np.int32)),
    'bytes': lambda: (floats(4, 3), np.array([0, 2, 1, 1], np.uint8)),
    'bits': lambda: (floats(4, 3), integers(2, 4, 3)),
    'product': lambda: (floats(4, 3), floats(3, 4)),
    'linear': lambda: (floats(4, 3), floats(2, 3), floats(2)),
    'integer': lambda: (floats(4, 3), 1), 'number': lambda: (floats(4, 3), .5),
    'float64': lambda: (floats(4, 3), np.float64(.5)),
    'range': lambda: (floats(4, 3), .25, .75),
    'shape': lambda: (floats(4, 3), (3, 4)),
    'image': lambda: (floats(2, 3, 4, 4), 2),
    'images': lambda: (floats(2, 3, 4, 4), 2, 2),
    'kernel': lambda: (floats(2, 3, 4, 4), floats(2, 3, 2, 2), floats(2)),
    'resize': lambda: (floats(2, 3, 4, 4), (6, 5)),
    'regions': lambda: (floats(2, 3, 8, 8), np.array(
        [[0, 0, 5, 5], [1, 1, 6, 7]], DTYPE), integers(2, 2), 2, .5),
    'moments': lambda: (floats(4, 3), floats(3), floats(3)),
    'fixed': lambda: (floats(4, 3),) + (floats(3),) * 4,
    'gates': lambda: (floats(4, 3), floats(4, 12)),
    'list': lambda: ([floats(2, 3), floats(2, 3, seed=1)],),
    'square': lambda: (floats(3, 3) + 2 * np.eye(3, dtype=DTYPE),),
    'table': lambda: (integers(5, 4), floats(5, 3)),
    'where': lambda: (integers(2, 4, 3) > 0, floats(4, 3), floats(4, 3, seed=1)),
}
SIZES = {'3, 4': (3, 4), '3': (3,), '3, 4, 2': (3, 4, 2), 'layers': (1, 3, 4, .5)}
INPUTS = {
    'x': lambda: (floats(4, 3),), 'image': lambda: (floats(2, 3, 5, 5),),
    'ids': lambda: (integers(3, 4),), 'classes': lambda: (floats(4, 3), integers(2, 4)),
    'sequences': lambda: (None, [floats(k, 3) for k in (3, 2, 4)]),
    'sequences of two': lambda: (None, None, [floats(k, 3) for k in (3, 2, 4)]),
    'state': lambda: (floats(4, 3), floats(4, 4)),
    'states': lambda: (None, None, floats(4, 3)),
}
PARAMETERS = {
    'p': lambda: (unit(2, 3),), 'two': lambda: (floats(2, 3), floats(2, 3, seed=1)),
    'scalars': lambda: (floats(), floats(seed=1)), 'range': lambda: (
        floats(2, 3), floats(2, 3) + 1),
    'counts': lambda: (np.array([3, 4]), floats(2)), 'trials': lambda: (3, unit(2, 3)),
    'matrix': lambda: (floats(3), np.eye(3, dtype=DTYPE)),
}
MOMENTS = ('mean', 'variance', 'stddev', 'entropy', 'mode', 'covariance')
OF_A_SAMPLE = ('log_prob', 'prob', 'cdf', 'icdf', 'survival_function')


def with_gradients(function, args):
    """The results of a call, and the gradients that the sum of their squares has."""
    xs = [chainer.Variable(a) if isinstance(a, np.ndarray) and a.dtype.kind == 'f'
          else a for a in args]
    ys = function(*xs)
    ys = list(ys) if isinstance(ys, (tuple, list)) else [ys]
    made = [y for y in ys if isinstance(y, chainer.Variable) and y.dtype.kind == 'f'
            and y.creator is not None]
    if made:
        sum(F.sum(F.cast(y * y, np.float64)) for y in made).backward()
    return ys + [x.grad for x in xs if isinstance(x, chainer.Variable)]


def of_link(cls, sizes, inputs):
    link = cls(*sizes)
    link.cleargrads()
    ys = with_gradients(link, inputs)
    return ys + [p.grad for _, p in sorted(link.namedparams())]


def of_optimizer(cls, hook, kind):
    """Parameters after three updates, the hyperparameters being of a kind."""
    link = chainer.Link()
    with link.init_scope():
        link.W, link.b = (chainer.Parameter(floats(*s)) for s in ((3, 2), (2,)))
    optimizer = cls().setup(link)
    for name, value in list(optimizer.hyperparam.get_dict().items()):
        if isinstance(value, float):
            setattr(optimizer.hyperparam, name, kind(value))
    if hook:
        bounds = {'GradientHardClipping': (-.1, .1), 'GradientLARS': ()}
        optimizer.add_hook(getattr(optimizer_hooks, hook)(
            *map(kind, bounds.get(hook, (.1,)))))
    for k in range(3):
        for param in link.params():
            param.grad = np.asarray(floats(*param.shape, seed=k) * 3, DTYPE)
        optimizer.update()
    states = [dict(p.update_rule.state or {}) for _, p in sorted(link.namedparams())]
    return [link.W.array, link.b.array] + [
        state[name] for state in states for name in sorted(state)]


def classes(module):
    return sorted(name for name in dir(module)
                  if inspect.isclass(getattr(module, name)))


def calls():
    """Yields (name, function without arguments)."""
    for name in sorted(dir(F)):
        function = getattr(F, name)
        # To these the arguments would be no permutations and no shapes.
        if inspect.isfunction(function) and name not in ('permutate', 'sum_to'):
            for kind, args in ARGUMENTS.items():
                yield ('functions.{} {}'.format(name, kind),
                       lambda f=function, a=args: with_gradients(f, a()))
    for name in classes(L):
        if name.startswith(('Caffe', 'GoogLeNet', 'ResNet', 'Theano', 'VGG')):
            continue
        for size, sizes in SIZES.items():
            for kind, inputs in INPUTS.items():
                yield ('links.{}({}) {}'.format(name, size, kind),
                       lambda c=getattr(L, name), s=sizes, i=inputs: of_link(c, s, i()))
    for name in classes(optimizers):
        for hook in [None] + classes(optimizer_hooks):
            for kind in (float, np.float32, np.float64):
                yield ('optimizers.{} {} {}'.format(name, hook, kind.__name__),
                       lambda c=getattr(optimizers, name), h=hook, k=kind:
                       of_optimizer(c, h, k))
    for name in classes(D):
        for kind, parameters in PARAMETERS.items():
            def made(c=getattr(D, name), p=parameters):
                return c(*p())
            of = 'distributions.{}({}) '.format(name, kind)
            for moment in MOMENTS:
                yield of + moment, lambda d=made, m=moment: [getattr(d(), m)]
            yield of + 'sample', lambda d=made: [d().sample(3), d().sample()]
            yield of + 'kl', lambda d=made: [chainer.kl_divergence(d(), d())]
            for method in OF_A_SAMPLE:
                yield of + method, lambda d=made, m=method: [
                    getattr(d(), m)(d().sample(3))]
    for name in classes(initializers):
        for scale in ((), (.5,)):
            for shape in ((3, 4), (4, 3), (2, 3, 4, 4), (3,)):
                yield ('initializers.{}{} {}'.format(name, [*scale], shape),
                       lambda i=getattr(initializers, name), a=scale, s=shape: [
                           initializers.generate_array(i(*a), s, np, dtype=DTYPE)])


def described(values):
    """[[type, shape, sum of the absolute values]] of arrays; others by their type."""
    found = []
    for value in values:
        value = value.array if isinstance(value, chainer.Variable) else value
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biuf':
            total = float(np.abs(np.asarray(value, np.float64)).sum())
            found.append([str(value.dtype), list(value.shape), float('%.6g' % total)])
        else:
            found.append([type(value).__name__])
    return found


def result(call):
    """What a call gives, always with the same random numbers."""
    np.random.seed(1)
    return described(call())


def record():
    warnings.simplefilter('ignore')
    found = {}
    for name, call in calls():
        try:
            values = result(call)
        except Exception:
            continue
        if all(value[2] < 1e9 for value in values if len(value) == 3):  # nor NaN
            found[name] = values
    with open(FILE, 'w') as f:
        f.write('{' + ',\n'.join('%s: %s' % (json.dumps(name), json.dumps(values))
                                 for name, values in sorted(found.items())) + '}\n')
    sys.stdout.write('%d calls\n' % len(found))


if __name__ == '__main__':
    record()
