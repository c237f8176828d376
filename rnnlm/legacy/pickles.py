"""Unpickling of links, variables and optimizers of Chainer 1.5 to 7.8, in scripts.

A pickle holds the attributes of its objects.  This module converts attributes that
later releases renamed, and adds those that they expect.  Only the script unpickles.
"""
import functools
import sys

import chainer
from chainer import device_resident, optimizer
from chainer import links as L
from chainer.backends import cuda
from chainer.links.rnn import n_step_rnn
import numpy

_CONVOLUTION = {
    'dilate': (1, 1), 'groups': 1, 'x_layout': None, 'cudnn_fast': False}
# Attributes that links gained in later releases: class -> default values.
LATER = {
    L.Convolution2D: _CONVOLUTION,
    L.Deconvolution2D: _CONVOLUTION,
    L.ConvolutionND: {'groups': 1},
    L.DeconvolutionND: {'groups': 1},
    L.BatchNormalization: {'axis': None, '_initial_avg_mean': None,
                           '_initial_avg_var': None},
    L.Classifier: {'label_key': -1},
}
# Attributes that links had only until 1.24, or until 5.
OLD = '_cpu', '_device_id', '_uninitialized_params'


def link_setstate(original):
    """Restores a `Link` from its pickled attributes."""
    def __setstate__(self, state):
        for cls in type(self).__mro__:
            vars(self).update(LATER.get(cls, {}))
        if '_Link__init_done' in state:
            vars(self).update(state)
            _complete(self)
            return
        device_resident.DeviceResident.__init__(self)
        order = [*state['_params'], *state['_persistent']]
        if not isinstance(self, chainer.ChainList):
            order += state.get('_children', ())
        ordered = {name: state[name] for name in order if name in state}
        vars(self).update((name, value) for name, value in state.items()
                          if name not in OLD and name not in ordered)
        vars(self).update(ordered)
        self._Link__init_done = True
        self._within_init_scope = False
        self._params, self._persistent = map(set, (self._params, self._persistent))
        if '_children' in state and not isinstance(self, chainer.ChainList):
            self._children = set(self._children)
        for name in self._params:
            _make_parameter(vars(self)[name], name)
        _complete(self)
        for name in state.get('_uninitialized_params', {}):  # shape not known yet
            with self.init_scope():
                setattr(self, name, chainer.Parameter(
                    state['_uninitialized_params'][name], name=name))
    return __setstate__


def _complete(link):
    """Adds attributes that depend on the link's sizes."""
    has = vars(link)
    if isinstance(link, (L.ConvolutionND, L.DeconvolutionND)) and 'dilate' not in has:
        link.dilate = (1,) * (link.W.ndim - 2)
    elif isinstance(link, L.BatchNormalization) and '_highprec_dtype' not in has:
        link._highprec_dtype = getattr(link.avg_mean, 'dtype', numpy.dtype('f'))
    elif isinstance(link, n_step_rnn.NStepRNNBase) and 'ws' not in has:
        has.pop('rnn', None)  # a method since
        for short, name in ('w', 'ws'), ('b', 'bs'):
            setattr(link, name, [[getattr(layer, f'{short}{k}')
                                  for k in range(link.n_weights)] for layer in link])


def _make_parameter(param, name):
    """Turns a variable into a `Parameter` in place, because others may refer to it."""
    if isinstance(param, chainer.Parameter):
        return
    vars(param).pop('_volatile', None)
    param.__class__ = chainer.Parameter
    param.name = name
    param.update_rule = None
    param.initializer = None
    param._initial_device = param.device


def parameter(original):
    """Restores a `Parameter`, which was pickled without its device until 5.4."""
    @functools.wraps(original)  # today's pickles refer to it by name
    def recover(*args):
        return original(*args, *([_device_of(args[0])] if len(args) == 5 else []))
    return recover


def variable_(original):
    """Restores a `Variable`, which was pickled without its device until 5.4."""
    @functools.wraps(original)
    def create(*args):
        return original(*args, *([_device_of(args[0])] if len(args) == 4 else []))
    return create


def _device_of(array):
    if isinstance(array, cuda.ndarray):
        return chainer.get_device(array)
    return chainer.backend.CpuDevice()


def rule_setstate(original):
    """Restores an `UpdateRule`, whose hooks were dicts until 7.0."""
    def __setstate__(self, state):
        if '_hookable' not in state:
            state = {'_use_fp32_update': False, '_fp32_param': None, **state}
            state['_hookable'] = optimizer._Hookable()
            _move_hooks(state, state['_hookable'])
            for base in type(self).__mro__:
                _fill(state['hyperparam'], sys.modules[base.__module__])
        vars(self).update(state)
    return __setstate__


def optimizer_setstate(original):
    """Restores an `Optimizer`, which held all parameters' states until 1.24."""
    def __setstate__(self, state):
        state = dict(state)
        if '_states' in state:
            _set_up_as_v1(self, state)
            return
        if '_hookable' not in state and state.get('target') is not None:
            hookable = state['_hookable'] = optimizer._OptimizerHookable(self)
            _move_hooks(state, hookable)
        vars(self).update({'_use_fp32_update': False, **state})
    return __setstate__


def _set_up_as_v1(self, state):
    states = state.pop('_states')
    optimizer.GradientMethod.__init__(self)
    hooks, target = state.pop('_hooks', {}), state.pop('target')
    counts = {name: state.pop(name) for name in ('t', 'epoch')}
    for base in type(self).__mro__:
        _fill(self.hyperparam, sys.modules[base.__module__])
    for name, value in state.items():
        setattr(self, name, value)
    self.setup(target)
    vars(self).update(counts)
    for name, hook in hooks.items():
        self.add_hook(hook, name)
    for path, param in target.namedparams():
        param.update_rule.t = self.t
        param.update_rule._state = states.get(path)


def _fill(hyperparam, module):
    """Adds the hyperparameters of a module that an old release lacked."""
    defaults = getattr(module, '_default_hyperparam', None)
    if defaults is None:
        return
    while hyperparam.parent is not None:
        hyperparam = hyperparam.parent
    for name, value in defaults.get_dict().items():
        if name not in vars(hyperparam):
            setattr(hyperparam, name, value)


def _move_hooks(state, hookable):
    hookable._pre_update_hooks.update(state.pop('_hooks', {}))
    hookable._pre_update_hooks.update(state.pop('_pre_update_hooks', None) or {})
    hookable._post_update_hooks.update(state.pop('_post_update_hooks', None) or {})


# Rows of the same form as in `table`.
ROWS = (
    ('chainer.Link.__setstate__', '6.0', 'saving with save_npz', link_setstate),
    ('chainer.variable._recover_parameter', '6.0', 'a device', parameter),
    ('chainer.variable._create_variable', '6.0', 'a device', variable_),
    ('chainer.UpdateRule.__setstate__', '7.0', 'saving with save_npz', rule_setstate),
    ('chainer.Optimizer.__setstate__', '7.0', 'saving with save_npz',
     optimizer_setstate),
)
