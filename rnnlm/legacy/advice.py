"""What to write today instead of what Chainer has removed or changed.

`NAMES` and `ARGUMENTS` are about what was removed, `BEHAVIOURS` about what still exists
but behaves differently.  For names that `rnnlm run` supports, `table` has the advice.
"""

INIT_SCOPE = ('with self.init_scope(): self.l1 = L.Linear(...), after '
              'super().__init__()')
NO_BACKPROP = 'with chainer.no_backprop_mode(): around the computation'
TRAIN = "with chainer.using_config('train', False): around the computation"
CUDNN = "with chainer.using_config('use_cudnn', 'never'): around the computation"
INITIAL = ('initialW=chainer.initializers.LeCunNormal(scale); until 1.8 the scale was '
           'wscale itself, from 1.9 on its root')

# Replacements for names that were removed.
NAMES = {
    'chainer.FunctionSet': 'a class derived from chainer.Chain; ' + INIT_SCOPE,
    'chainer.FunctionSet.collect_parameters': 'optimizer.setup(model)',
    'chainer.FunctionSet.parameters': 'model.params()',
    'chainer.FunctionSet.gradients': '[param.grad for param in model.params()]',
    'chainer.FunctionSet.copy_parameters_from': 'model.copyparams(other)',
    'chainer.Variable.volatile': NO_BACKPROP,
    'chainer.Variable.splitter': 'nothing, it was internal',
    'chainer.Optimizer.zero_grads': 'model.cleargrads()',
    'chainer.Optimizer.clip_grads':
        'optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(threshold))',
    'chainer.Optimizer.weight_decay':
        'optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(rate))',
    'chainer.Optimizer.accumulate_grads': 'model.addgrads(other)',
    'chainer.Optimizer.compute_grads_norm':
        'chainer.optimizer_hooks.GradientClipping, or your own hook',
    'chainer.Optimizer.prepare': 'nothing: update() does it',
    'chainer.Optimizer.init_state': 'a chainer.UpdateRule with init_state(param)',
    'chainer.Optimizer.tuples': 'optimizer.target.params()',
    'chainer.GradientMethod.update_one': 'a chainer.UpdateRule with update_core(param)',
    'chainer.GradientMethod.update_one_cpu':
        'a chainer.UpdateRule with update_core_cpu(param)',
    'chainer.GradientMethod.update_one_gpu':
        'a chainer.UpdateRule with update_core_gpu(param)',
    'chainer.Optimizer.update_one': 'a chainer.UpdateRule with update_core(param)',
    'chainer.Optimizer.update_one_cpu':
        'a chainer.UpdateRule with update_core_cpu(param)',
    'chainer.Optimizer.update_one_gpu':
        'a chainer.UpdateRule with update_core_gpu(param)',
    'chainer.Link.add_uninitialized_param':
        'self.W = chainer.Parameter(initializer) in init_scope()',
    'chainer.Link.has_uninitialized_params': 'param.is_initialized of each parameter',
    'chainer.Flag': NO_BACKPROP, 'chainer.ON': NO_BACKPROP, 'chainer.OFF': NO_BACKPROP,
    'chainer.AUTO': NO_BACKPROP, 'chainer.flag': NO_BACKPROP,
    'chainer.function_set': 'chainer.Chain',
    'chainer.cuda.init': 'chainer.get_device(gpu).use()',
    'chainer.cuda.get_device': 'chainer.get_device(gpu)',
    'chainer.cuda.use_device': 'chainer.get_device(gpu).use()',
    'chainer.cuda.using_device': 'with chainer.using_device(gpu):',
    'chainer.cuda.seed': 'cupy.random.seed(seed)',
    'chainer.cuda.to_gpu_async': 'cuda.to_gpu(array, stream=stream)',
    'chainer.cuda.to_cpu_async': 'cuda.to_cpu(array, stream=stream)',
    'chainer.cuda.GPUArray': 'cuda.ndarray, which is cupy.ndarray',
    'chainer.functions.caffe': 'chainer.links.caffe',
    'chainer.training.triggers.interval': 'chainer.training.triggers.IntervalTrigger',
    'chainer.cudnn': 'cupy.cudnn, or chainer.config.use_cudnn',
    'chainer.gradient_check.numerical_grad_cpu': 'gradient_check.numerical_grad',
    'chainer.gradient_check.numerical_grad_gpu': 'gradient_check.numerical_grad',
    'chainer.functions.BatchMatMul': 'F.matmul',
    'chainer.functions.NormalizeL2': 'F.normalize',
    'chainer.function.Split': 'nothing, it was internal',
    'chainer.Function.parameter_names': 'a chainer.Link with its parameters',
    'chainer.Function.gradient_names': 'a chainer.Link with its parameters',
    'chainer.Function.parameters': 'link.params()',
    'chainer.Function.gradients': '[param.grad for param in link.params()]',
    'chainer.init_weight': 'chainer.initializers, by initialW of a link',
    'chainer.Function.type_check_enable': "chainer.using_config('type_check', ...)",
}

# Replacements for arguments that were removed: by (name, argument), or by argument.
ARGUMENTS = {
    'volatile': NO_BACKPROP,
    'train': TRAIN + '; training is the default',
    'test': "chainer.using_config('train', not test) around the computation",
    'finetune': 'given when the link is called, not when it is made',
    'use_cudnn': CUDNN,
    'deterministic': "with chainer.using_config('cudnn_deterministic', True):",
    'wscale': INITIAL,
    'bias': 'initial_bias=bias',
    'filename': 'the first argument, without its name; it is called file since 4.0',
    'trigger': 'trainer.extend(extension, trigger=(n, unit))',
    'invoke_before_training': 'call_before_training=True of trainer.extend',
    'retain_grad': 'retain_grad=True of backward()',
    'grad': 'variable.grad = grad',
    'n_inputs': 'in_size', 'n_units': 'out_size',
    ('chainer.training.extensions.snapshot', 'num_retain'): 'n_retains=',
    ('chainer.training.Trainer.extend', 'invoke_before_training'):
        'call_before_training=True',
    ('chainer.training.make_extension', 'invoke_before_training'):
        'initializer=, a function of the trainer',
    ('chainer.training.extensions.LogReport.__init__', 'log_name'): 'filename=',
    ('chainer.training.extensions.PlotReport.__init__', 'file_name'): 'filename=',
    ('chainer.training.extensions.dump_graph', 'out_name'): 'filename=',
}

# Changes of behaviour: (first release, description, what to write).
BEHAVIOURS = {
    'chainer.links.LSTM': (
        '2.0', 'the forget gate starts with a bias of 1, not 0',
        'forget_bias_init=0 for the old one'),
    'chainer.links.StatelessLSTM': (
        '2.0', 'the forget gate starts with a bias of 1, not 0',
        'forget_bias_init=0 for the old one'),
    'chainer.links.GRU': (
        '2.0', 'L.GRU(in_size, out_size) is stateful; it was a stateless '
        'L.GRU(n_units, n_inputs)', 'L.StatelessGRU(n_inputs, n_units)'),
    'chainer.functions.dropout': (
        '2.0', 'chainer.config.train, not an argument, decides whether it is applied',
        TRAIN + ' where it must not'),
    'chainer.functions.split_axis': (
        '2.0', 'a single part is returned as a tuple, not a variable',
        'force_tuple=False'),
    'chainer.functions.matmul': (
        '3.0', 'a vector is treated as by numpy.matmul, not as a column',
        'F.reshape(v, (-1, 1)) for a column'),
    'chainer.links.BatchNormalization': (
        '2.0', 'chainer.config.train decides which statistics are used, and since 5.0 '
        'avg_var starts with 1, not 0; eps was 1e-5 until 1.13',
        TRAIN + ' for the fixed ones'),
    'chainer.links.ConvolutionND': (
        '2.0', 'it has a bias unless nobias=True', 'nobias=True for the old default'),
    'chainer.training.StandardUpdater': (
        '2.0', 'the model is called with arrays, not variables',
        'chainer.Variable(x) in the model where it needs one'),
    'chainer.training.extensions.Evaluator': (
        '2.0', 'it sets chainer.config.train to False, and passes arrays to the model',
        'the model itself, not a copy with train = False'),
    'chainer.iterators.SerialIterator': (
        '5.0', 'each epoch draws a new order, and does not shuffle the last one',
        'order_sampler=, if a seed must give the old order'),
    'chainer.training.StandardUpdater.device': (
        '6.0', 'it is a device, not the number that was given', 'updater.device.use()'),
    'chainer.links.NStepLSTM': (
        '2.0', 'dropout is decided by chainer.config.train', TRAIN),
    'chainer.FunctionSet.__init__': (
        '2.0', 'links became children of a chain', INIT_SCOPE),
    'chainer.Link.params': (
        '2.0', 'they are sorted by name, not in the order of registration',
        'nothing, if the order does not matter'),
    'chainer.optimizer_hooks.WeightDecay.__call__': (
        '4.0', 'it is called for each parameter, not for the optimizer',
        'optimizer.add_hook(hook)'),
}

# Replacements for what still exists, but was deprecated in some release.
DEPRECATED = {
    'chainer.Variable.zerograd': 'cleargrad()',
    'chainer.Link.zerograds': 'model.cleargrads()',
    'chainer.backends.cuda.get_device': 'chainer.get_device(gpu)',
    'chainer.cuda.get_device': 'chainer.get_device(gpu)',
    'chainer.Link.add_param': 'self.W = chainer.Parameter(...) in init_scope()',
    'chainer.Chain.add_link': INIT_SCOPE,
    'chainer.GradientMethod.use_cleargrads': 'nothing: it is always so',
}
HABITS = {
    'links as arguments of __init__': INIT_SCOPE,
    '.zerograds': 'cleargrads()',
}
