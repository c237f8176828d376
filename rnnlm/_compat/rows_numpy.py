"""Patches for what NumPy removed or deprecated."""
from rnnlm._compat.row import numpy_since, Row

ROWS = (
    Row('numpy.sctypes was removed',
        'chainer.functions.array.as_strided',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (("np.sctypes['int']", '(np.int8, np.int16, np.int32, np.int64)'),
         ("np.sctypes['float']",
          '(np.float16, np.float32, np.float64, np.longdouble)'))),

    Row('numpy.float was removed',
        'chainer.functions.array.resize_images',
        'NumPy 1.20 (January 2021: it warns; removed in 1.24, December 2022)',
        numpy_since(1, 20),
        (('dtype=numpy.float)', 'dtype=float)'),)),

    Row('an array of one element can no longer be converted to int',
        'chainermn.iterators.multi_node_iterator',
        'NumPy 1.25 (June 2023: it warns; an error with 2.4, December 2025)',
        numpy_since(1, 25),
        (('int(_size)', 'int(_size[0])'),)),

    Row("a third positional argument of numpy.maximum is deprecated",
        'chainer.dataset.convert',
        'NumPy 2.4 (December 2025)',
        numpy_since(2, 4),
        (('numpy.maximum(shape, array.shape, shape)',
          'numpy.maximum(shape, array.shape, out=shape)'),)),

    Row('an integer that does not fit an unsigned type is refused',
        'chainer.dataset.convert',
        'NumPy 2.0 (June 2024; 1.24, December 2022, warns)',
        numpy_since(1, 24),
        (('result = device.xp.full(shape, padding, dtype=arrays[0].dtype)',
          'result = device.xp.full(shape, _patches.fitted('
          'padding, arrays[0].dtype), dtype=arrays[0].dtype)'),)),

    Row('an integer that does not fit an unsigned type is refused',
        'chainer.functions.array.pad_sequence',
        'NumPy 2.0 (June 2024; 1.24, December 2022, warns)',
        numpy_since(1, 24),
        (('y[i, l:] = self.padding',
          'y[i, l:] = _patches.fitted(self.padding, y.dtype)'),)),

    Row('an integer that does not fit an unsigned type is refused',
        'chainer.functions.math.basic_math',
        'NumPy 2.0 (June 2024; 1.24, December 2022, warns)',
        numpy_since(1, 24),
        (('return x.dtype.type(value)',
          'return x.dtype.type(_patches.fitted(value, x.dtype))'),)),

    Row('an integer that does not fit an unsigned type is refused',
        'chainer.utils',
        'NumPy 2.0 (June 2024; 1.24, December 2022, warns)',
        numpy_since(1, 24),
        (('return dtype.type(value)',
          'return dtype.type(_patches.fitted(value, dtype))'),)),

    Row('numpy.fix is deprecated',
        'chainer.functions.math.fix',
        'NumPy 2.5 (2026)',
        numpy_since(2, 5),
        (('xp.fix(x)', 'xp.trunc(x)'),)),

    Row('numpy.meshgrid returns a tuple, to which Chainer adds a list',
        'chainer.distributions.categorical',
        'NumPy 2.0 (June 2024)',
        numpy_since(2),
        (('mg + [x.', 'list(mg) + [x.'),)),

    Row('setting the shape of an array is deprecated',
        'chainer.links.activation.maxout',
        'NumPy 2.5 (2026)',
        numpy_since(2, 5),
        # The array is contiguous, so the view writes into it.
        (('array.shape = (out_size, pool_size, in_size)',
          'view = array.reshape(out_size, pool_size, in_size)'),
         ('initialW_orig(array)', 'initialW_orig(view)'),
         ('                array.shape = (linear_out_size, in_size)\n', '\n'),
         ('array.shape = (out_size, pool_size)',
          'view = array.reshape(out_size, pool_size)'),
         ('initial_bias_orig(array)', 'initial_bias_orig(view)'),
         ('                array.shape = linear_out_size,\n', '\n'))),
)
