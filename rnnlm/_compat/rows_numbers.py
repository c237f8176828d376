"""Patches for changes in NumPy that silently change Chainer's results.

Since NumPy 2 (NEP 50) a Python number no longer widens a NumPy scalar, and a NumPy
scalar does widen an array.
"""
from rnnlm._compat.row import numpy_since, Row

ROWS = (
    Row('means of float32 and float16 scalars are summed in their own precision',
        'chainer.reporter',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('value = value.as_grad_stopped()\n\n',
          'value = value.as_grad_stopped()\n'
          '        value, weight = _patches.strong_scalars(self, value, weight)\n'),
         )),

    Row('MicroAverage sums numerator and denominator in their own precision',
        'chainer.training.extensions.micro_average',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('observation[self._numerator_key]\n',
          '_patches.wide(observation[self._numerator_key])\n'),
         ('observation[self._denominator_key]\n',
          '_patches.wide(observation[self._denominator_key])\n'))),

    Row('the clipping norm is summed over the parameters in float32',
        'chainer.optimizer_hooks.gradient_clipping',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('sum(dots)', 'sum(map(_patches.wide, dots))'),
         ('grad *= rate', 'grad *= _patches.weak(rate)'))),

    Row('1 / count is a NumPy scalar, and each gradient passes through float64',
        'chainer.functions.loss.softmax_cross_entropy',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('self._coeff = 1.0 / max(count, 1)',
          'self._coeff = _patches.weak(1.0 / max(count, 1))'),
         ('gx *= gloss * self.coeff',
          'gx *= _patches.weak(gloss) * self.coeff'))),

    Row("the sampler of NegativeSampling and BlackOut builds its table in float32",
        'chainer.utils.walker_alias',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('p = prob * len(probs)', 'p = _patches.wide(prob) * len(probs)'),
         ('1.0 - threshold[ir]', '1.0 - _patches.wide(threshold[ir])'))),

    Row('the rate of LARS is computed in float32',
        'chainer.optimizer_hooks.gradient_lars',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('xp.linalg.norm(p)', '_patches.wide(xp.linalg.norm(p))'),
         ('xp.linalg.norm(g)', '_patches.wide(xp.linalg.norm(g))'),
         ('g += self.weight_decay * p', 'g += _patches.weak(self.weight_decay) * p'),
         ('                g *= rate', '                g *= _patches.weak(rate)'))),

    Row('a decay rate that is a NumPy scalar turns float32 gradients into float64',
        'chainer.optimizer_hooks.weight_decay',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('g += rate * p', 'g += _patches.weak(rate) * p'),)),

    Row('a decay rate that is a NumPy scalar turns float32 gradients into float64',
        'chainer.optimizer_hooks.lasso',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('g += self.rate * sign', 'g += _patches.weak(self.rate) * sign'),)),

    Row('a hyperparameter that is a NumPy scalar turns float32 updates into float64',
        'chainer.optimizer',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('        self._parent = parent\n\n',
          '        self._parent = parent\n\n'
          '    def __setattr__(self, name, value):\n'
          '        self.__dict__[name] = _patches.weak(value)\n\n'),)),

    Row('sequences of equal length swap places, and so do their dropout masks',
        'chainer.links.rnn.n_step_rnn',
        'NumPy 1.25 (June 2023: argsort by AVX-512)',
        numpy_since(1, 25),
        (('numpy.argsort([-len(x) for x in lst])',
          "numpy.argsort([-len(x) for x in lst], kind='stable')"),)),
)
