"""The table of names that Chainer 7.8.1 lacks or changed, and their replacements.

`ROWS` is the table.  `install()` installs its rows in this process, permanently.  Using
a name of `GONE` raises an error that says when it was removed and what replaces it.
"""
import functools
import importlib
import re
import sys
import types
import typing

from rnnlm.legacy import (
    arrays, cuda, formulas, links, mixed, names_of_links, optimizers, pickles,
    snapshots, training, update_one, variables)
from rnnlm.legacy.arguments import (
    adam_of_1_2, arguments, bias_if_given, embed_id_of_1_8, eps_of_1_13,
    get_initializer, init_weight, lstm_of_1_5, matmul, mlp_convolution)


class Row(typing.NamedTuple):
    name: str      # dotted, from the module
    since: str     # first release that lacks or changed it
    instead: str   # what replaced it
    serve: typing.Callable  # maps the current object, or None, to the old one


def _same(value):
    return lambda original: value


CONFIG = "chainer.using_config('train', ...)"
CUDNN = "chainer.using_config('use_cudnn', ...)"
NO_BIAS = 'nobias=True for initial_bias=None; ' + CUDNN
BACKEND = 'CuPy itself, cuda.cupy'


def _functions(since, instead, *signatures):
    """Yields rows for functions with signatures like 'tanh(x, use_cudnn=True)'."""
    for signature in signatures:
        name, given = signature[:-1].split('(', 1)
        yield Row(f'chainer.functions.{name}', since, instead, arguments(given))


def _link(name, init, instead='initialW and initial_bias'):
    return Row(f'chainer.links.{name}.__init__', '2.0', instead,
               arguments('self, ' + init))


def _n_step(name, states):
    yield _link(name, 'n_layers, in_size, out_size, dropout, use_cudnn=True', CUDNN)
    yield Row(f'chainer.links.{name}.forward', '2.0', CONFIG,
              arguments(f'self, {states}, xs, train=True'))


_BN = ('eps=2e-5, running_mean=None, running_var=None, decay=0.9, use_cudnn=True')
_CONV = ('in_channels, out_channels, ksize, stride=1, pad=0, wscale=1, bias=0, '
         'nobias=False, {outsize}use_cudnn=True, initialW=None, initial_bias=None, '
         'deterministic=False')

ROWS = (
    # Variables.
    Row('chainer.Variable.__init__', '2.0', 'chainer.no_backprop_mode()',
        variables.variable),
    Row('chainer.Variable.volatile', '2.0', 'chainer.no_backprop_mode()',
        variables.volatile),
    Row('chainer.FunctionNode.apply', '2.0', 'chainer.no_backprop_mode()',
        variables.apply),
    Row('chainer.FunctionNode.apply', '1.2', 'F.cast', mixed.apply),
    *(Row(f'chainer.{name}', '2.0', 'chainer.no_backprop_mode()',
          _same(getattr(variables, name))) for name in ('Flag', 'ON', 'OFF', 'AUTO')),
    Row('chainer.Variable.backward', '6.0', 'retain_grad=True', variables.backward),
    Row('chainer.Function.__call__', '1.5', 'a new object', variables.call_copy),
    Row('chainer.function.FunctionAdapter.check_type_forward', '2.0',
        'numbers instead of expressions', variables.check_type_forward),
    Row('chainer.Variable.__hash__', '3.0', 'id(variable)', variables.hashed),
    Row('chainer.links.Parameter.forward', '2.0', 'link.W',
        variables.parameter_forward),

    # Functions.
    *_functions(
        '2.0', CONFIG,
        'dropout(x, ratio=0.5, train=True)', 'zoneout(h, x, ratio=0.5, train=True)',
        'n_step_lstm(n_layers, dropout_ratio, hx, cx, ws, bs, xs, train=True, '
        'use_cudnn=True)',
        'n_step_bilstm(n_layers, dropout_ratio, hx, cx, ws, bs, xs, train=True, '
        'use_cudnn=True)',
        'n_step_gru(n_layers, dropout_ratio, hx, ws, bs, xs, train=True, '
        'use_cudnn=True)',
        'n_step_bigru(n_layers, dropout_ratio, hx, ws, bs, xs, train=True, '
        'use_cudnn=True)',
        "n_step_rnn(n_layers, dropout_ratio, hx, ws, bs, xs, train=True, "
        "use_cudnn=True, activation='tanh')",
        "n_step_birnn(n_layers, dropout_ratio, hx, ws, bs, xs, train=True, "
        "use_cudnn=True, activation='tanh')"),
    *_functions(
        '2.0', CUDNN,
        'log_softmax(x, use_cudnn=True)', 'relu(x, use_cudnn=True)',
        'sigmoid(x, use_cudnn=True)', 'tanh(x, use_cudnn=True)',
        'softmax(x, use_cudnn=True, axis=1)',
        'sigmoid_cross_entropy(x, t, use_cudnn=True, normalize=True, reduce="mean")',
        'softmax_cross_entropy(x, t, use_cudnn=True, normalize=True, '
        'cache_score=True, class_weight=None, ignore_label=-1, reduce="mean")',
        f'batch_normalization(x, gamma, beta, {_BN})',
        'fixed_batch_normalization(x, gamma, beta, mean, var, eps=2e-5, '
        'use_cudnn=True)',
        *(f'max_pooling_{n}d(x, ksize, stride=None, pad=0, cover_all=True, '
          'use_cudnn=True)' for n in '2n'),
        *(f'average_pooling_{n}d(x, ksize, stride=None, pad=0, use_cudnn=True)'
          for n in '2n'),
        'convolution_2d(x, W, b=None, stride=1, pad=0, use_cudnn=True, '
        'cover_all=False, deterministic=False)',
        'deconvolution_2d(x, W, b=None, stride=1, pad=0, outsize=None, '
        'use_cudnn=True, deterministic=False)',
        'convolution_nd(x, W, b=None, stride=1, pad=0, use_cudnn=True, '
        'cover_all=False)',
        'deconvolution_nd(x, W, b=None, stride=1, pad=0, outsize=None, '
        'use_cudnn=True)',
        'dilated_convolution_2d(x, W, b=None, stride=1, pad=0, dilate=1, '
        'use_cudnn=True, cover_all=False)'),
    *_functions('2.0', 'force_tuple=True by default',
                'split_axis(x, indices_or_sections, axis, force_tuple=False)'),
    Row('chainer.functions.matmul', '3.0', 'the rules of numpy.matmul', matmul),

    *(Row(*row) for row in formulas.ROWS),

    # Links.
    *(Row(f'chainer.link.{owner}.{name}', '2.0', 'an order of its own', serve)
      for owner, name, serve in (
          *((owner, 'params', links.params)
            for owner in ('Link', 'Chain', 'ChainList')),
          *((owner, 'namedparams', links.namedparams)
            for owner in ('Link', 'Chain', 'ChainList')),
          ('Chain', 'children', links.children),
          ('Chain', 'links', links.links),
          ('Chain', 'namedlinks', links.namedlinks))),
    Row('chainer.Link.__setattr__', '1.5', 'param.array', links.set_attribute),
    Row('chainer.Link._cpu', '2.0', 'link.xp', links.on_cpu),
    Row('chainer.Link.add_uninitialized_param', '2.0', 'chainer.Parameter()',
        links.add_uninitialized_param),
    Row('chainer.Link.has_uninitialized_params', '2.0', 'param.is_initialized',
        links.has_uninitialized_params),
    Row('chainer.FunctionSet', '2.0', 'chainer.Chain', _same(links.FunctionSet)),
    _link('Linear', 'in_size, out_size=None, wscale=1, bias=0, nobias=False, '
                    'initialW=None, initial_bias=None'),
    _link('Convolution2D', _CONV.format(outsize='')),
    _link('Deconvolution2D', _CONV.format(outsize='outsize=None, ')),
    _link('DilatedConvolution2D', _CONV.format(outsize='').replace(
        'wscale', 'dilate=1, wscale')),
    *(Row(f'chainer.links.{name}.__init__', '2.0', NO_BIAS, bias_if_given)
      for name in ('ConvolutionND', 'DeconvolutionND')),
    _link('ConvolutionND', 'ndim, in_channels, out_channels, ksize, stride=1, pad=0, '
          'initialW=None, initial_bias=None, use_cudnn=True, cover_all=False', NO_BIAS),
    _link('DeconvolutionND', 'ndim, in_channels, out_channels, ksize, stride=1, pad=0, '
          'outsize=None, initialW=None, initial_bias=0, use_cudnn=True', NO_BIAS),
    Row('chainer.links.EmbedID.__init__', '1.9', 'ignore_label=', embed_id_of_1_8),
    _link('Maxout', 'in_size, out_size, pool_size, wscale=1, initialW=None, '
                    'initial_bias=0'),
    _link('BatchNormalization',
          'size=None, decay=0.9, eps=2e-5, dtype=None, use_gamma=True, '
          'use_beta=True, initial_gamma=None, initial_beta=None, use_cudnn=True, '
          'initial_avg_var=0', CUDNN + '; avg_var started at 0'),
    *(Row(f'chainer.{name}', '1.14', f'{CUDNN}{also}; eps was 1e-5 until 1.13',
          eps_of_1_13(place))
      for name, place, also in (
          ('links.BatchNormalization.__init__', 3, '; avg_var started at 0'),
          ('functions.batch_normalization', 3, ''),
          ('functions.fixed_batch_normalization', 5, ''))),
    Row('chainer.links.BatchNormalization.forward', '2.0', CONFIG,
        arguments('self, x, test=False, finetune=False')),
    _link('LSTM', 'in_size, out_size=None, lateral_init=None, upward_init=None, '
                  'bias_init=0, forget_bias_init=0', 'forget_bias_init=1'),
    Row('chainer.links.LSTM.__init__', '1.9', 'lateral_init and upward_init',
        lstm_of_1_5),
    _link('StatelessLSTM', 'in_size, out_size=None, lateral_init=None, '
          'upward_init=None, bias_init=0, forget_bias_init=0', 'forget_bias_init=1'),
    Row('chainer.links.StatefulZoneoutLSTM.__init__', '2.0', CONFIG,
        links.zoneout_init),
    Row('chainer.links.StatefulZoneoutLSTM.forward', '2.0', CONFIG,
        links.zoneout_forward),
    Row('chainer.links.GRU', '2.0', 'StatelessGRU(n_inputs, n_units); GRU has a state',
        _same(links.GRU)),
    Row('chainer.links.MLPConvolution2D.__init__', '2.0', 'conv_init and bias_init',
        mlp_convolution),
    *_n_step('NStepLSTM', 'hx, cx'), *_n_step('NStepBiLSTM', 'hx, cx'),
    *(row for name in ('GRU', 'BiGRU', 'RNNTanh', 'RNNReLU', 'BiRNNTanh', 'BiRNNReLU')
      for row in _n_step('NStep' + name, 'hx')),

    # Until 1.5 links were functions, until 2.0 they had a second name there.
    *(Row(f'chainer.functions.{name}', '2.0', f'chainer.links.{name}',
          functools.partial(lambda name, _: _find('chainer.links.' + name), name))
      for name in ('BatchNormalization', 'Bilinear', 'BinaryHierarchicalSoftmax',
                   'Convolution2D', 'EmbedID', 'Inception', 'Linear',
                   'NegativeSampling', 'PReLU', 'Parameter')),
    *(Row(f'chainer.links.{owner}.g{name}', '1.5', f'link.{name}.grad',
          links.gradient_of(name))
      for names, owners in (
          ('W b', 'Linear Convolution2D Bilinear'),
          ('gamma beta', 'BatchNormalization'),
          ('W', 'EmbedID Parameter PReLU NegativeSampling BinaryHierarchicalSoftmax'))
      for owner in owners.split() for name in names.split()),

    # Optimizers.
    Row('chainer.optimizers.Adam.__init__', '1.3', 'eps=', adam_of_1_2),
    *(Row(f'chainer.Optimizer.{serve.__name__}', '2.0', instead, serve)
      for serve, instead in (
          (optimizers.zero_grads, 'link.cleargrads()'),
          (optimizers.compute_grads_norm, 'a hook'),
          (optimizers.clip_grads, 'optimizer_hooks.GradientClipping'),
          (optimizers.weight_decay, 'optimizer_hooks.WeightDecay'),
          (optimizers.accumulate_grads, 'link.addgrads()'),
          (optimizers.prepare, 'nothing, it is not needed'),
          (optimizers.serialize, 'a t in each rule'))),
    *(Row(f'chainer.optimizer_hooks.{name}.__call__', '4.0', 'optimizer.add_hook()',
          optimizers.hook_call)
      for name in ('WeightDecay', 'Lasso', 'GradientNoise', 'GradientHardClipping')),
    *(Row(f'chainer.GradientMethod.{serve.__name__}', '2.0', 'a chainer.UpdateRule',
          serve)
      for serve in (update_one.setup, update_one.create_update_rule,
                    update_one.update)),
    Row('chainer.Optimizer.tuples', '1.5', 'optimizer.target.params()',
        update_one.tuples),
    *(Row(name, '1.5', 'chainer.GradientMethod', update_one.base)
      for name in ('chainer.Optimizer', 'chainer.optimizer.Optimizer')),
    Row('chainer.init_weight', '2.0', 'an initializer', init_weight),
    Row('chainer.initializers.init_weight', '2.0', 'an initializer', init_weight),
    Row('chainer.initializers._get_initializer', '2.0', 'an initializer',
        get_initializer),

    *(Row(*row) for row in (
        *training.ROWS, *links.ROWS, *names_of_links.ROWS, *arrays.ROWS)),

    # The GPU.
    Row('chainer.cuda.init', '2.0', 'cuda.get_device_from_id(gpu).use()', cuda.init),
    *(Row(f'chainer.cuda.{name}', '2.0', BACKEND, cuda.filled(name))
      for name in ('empty', 'zeros', 'ones', 'full')),
    *(Row(f'chainer.cuda.{name}', '2.0', BACKEND, cuda.like(name))
      for name in ('empty_like', 'zeros_like', 'ones_like', 'full_like')),
)

# Names that are not supported: (names, since, what replaced them).
GONE = (
    ('chainer.cuda.copy_async get_context get_cublas_handle get_generator generator '
     'mem_alloc seed shutdown to_cpu_async to_gpu_async use_device using_cumisc '
     'using_device Context CumiscUser DeviceUser GPUArray', '1.3', BACKEND),
    ('chainer.functions.NonparameterizedConvolution2D NonparameterizedLinear Pooling2D '
     'create_huffman_tree', '1.3', 'the function in lower case'),
    ('chainer.functions.DilatedConvolution2D InceptionBN', '2.0',
     'the link of this name in chainer.links'),
    ('chainer.Function.type_check_enable', '2.0',
     "chainer.using_config('type_check', ...)"),
    ('chainer.Optimizer.init_state init_state_cpu init_state_gpu update_one '
     'update_one_cpu update_one_gpu', '2.0', 'a chainer.UpdateRule'),
    ('chainer.optimizer.exponential_decay_noise', '4.0',
     'chainer.optimizer_hooks.gradient_noise.exponential_decay_noise'),
)

# Modules removed with v1, and modules that moved: (old, new).
MOVED_OF_V1 = (
    ('chainer.flag', 'rnnlm.legacy.variables'),
    ('chainer.function_set', 'rnnlm.legacy.links'),
)
MOVED = (
    *((f'chainer.functions.{old}', f'chainer.functions.rnn.{old.split(".")[1]}')
      for old in ('activation.lstm', 'activation.slstm', 'activation.tree_lstm',
                  'connection.n_step_lstm', 'connection.n_step_gru',
                  'connection.n_step_rnn')),
    *((f'chainer.links.connection.{name}', f'chainer.links.rnn.{name}')
      for name in ('gru', 'lstm', 'mgu', 'peephole', 'tree_lstm', 'n_step_lstm',
                   'n_step_gru', 'n_step_rnn', 'zoneoutlstm')),
    ('chainer.training.triggers.interval',
     'chainer.training.triggers.interval_trigger'),
)

# Rows for reading files of old releases, installed for scripts of any release.
FILES = tuple(Row(*row) for row in (*snapshots.ROWS, *pickles.ROWS))


# Values of `since` of the rows that also serve releases from 2.0 on.
LATER = '3.0', '4.0', '5.0', '6.0'


def install(version=(1, 24, 0)):
    """Installs `ROWS`: makes this process behave like an older Chainer.

    Args:
        version (tuple of int): The release.  All of v1 uses the same rows; they look
            up changes within v1 in `release`.
    """
    functions = importlib.import_module('chainer.functions')
    functions.__getattr__ = functools.partial(_function_class, functions)
    if version >= (2,):
        for row in ROWS:
            if row.since in LATER and tuple(map(int, row.since.split('.'))) > version:
                _put(row)
        return
    for row in ROWS:
        _put(row)
    _move(MOVED_OF_V1)
    for names, since, instead in GONE:
        first, *rest = names.split()
        owner, _, name = first.rpartition('.')
        for name in (name, *rest):
            _refuse(_find(owner), owner, name, since, instead)
    for module in functions, _find('chainer.links'):
        module.__getattr__ = functools.partial(_of_v1, module)


def install_files():
    """Installs `FILES` and `MOVED`."""
    for row in FILES:
        _put(row)
    _move(MOVED)


def _move(modules):
    for old, new in modules:
        module = importlib.import_module(new)
        sys.modules[old] = module
        parent, _, name = old.rpartition('.')
        if not hasattr(_find(parent), name):
            setattr(_find(parent), name, module)


def _find(path):
    """Resolves a dotted name to a module, or to a class in one."""
    if path == 'chainer.cuda':
        path = 'chainer.backends.cuda'
    try:
        return importlib.import_module(path)
    except ImportError:
        owner, _, name = path.rpartition('.')
        return getattr(_find(owner), name)


def _put(row):
    owner, _, name = row.name.rpartition('.')
    owner = _find(owner)
    # For modules, vars(): NumPy's getattr would warn about names that it lacks.
    there = (getattr(owner, name, None) if isinstance(owner, type)
             else vars(owner).get(name))
    served = row.serve(there)
    if served is not there:
        setattr(owner, name, served)


def _refuse(owner, path, name, since, instead):
    def fail(*_):
        raise AttributeError(message(f'{path}.{name}', since, instead))

    if isinstance(owner, type):
        setattr(owner, name, property(fail))
        return
    refused = vars(owner).setdefault('_refused', {})
    refused[name] = fail
    owner.__getattr__ = functools.partial(_gone_from, owner)


def message(name, since, instead):
    return (f'{name}: removed in Chainer {since}, and not supported here; '
            f'instead: {instead}')


def _gone_from(module, name):
    if name in vars(module).get('_refused', ()):
        vars(module)['_refused'][name]()
    raise AttributeError(f'module {module.__name__!r} has no attribute {name!r}')


def _of_v1(module, name):
    """Imports ``F.caffe`` and ``L.caffe`` only when they are used."""
    return links.caffe() if name == 'caffe' else _function_class(module, name)


def _function_class(module, name):
    """Explains ``F.Tanh``: classes of functions were public until 5.0."""
    snake = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()
    for lower in (name.lower(), snake):
        found = vars(module).get(lower)
        if lower != name and isinstance(found, types.FunctionType):
            raise AttributeError(message(
                f'chainer.functions.{name}', '5.0', f'the function {lower}'))
    return _gone_from(module, name)
