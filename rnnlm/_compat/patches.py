"""What Chainer 7.8.1 (January 2022) needs on today's Python, NumPy and CuPy.

`ROWS` is the whole of it: each row names what broke, the Chainer module, since
which release of what, whether this machine needs the row, and the patch, which
is one line of Chainer's source beside the line that stands in for it.

`apply()` puts the rows that are needed in place and imports Chainer.  NumPy,
setuptools and `sys.modules` look the same afterwards as before: a patch changes
the code of the module it names, of Chainer's or of the ChainerMN that comes with it,
and of nothing else.  Chainer's files stay as they are, so a traceback through a patched
line shows the line that was there.
"""

import importlib
import importlib.metadata
import operator
import re
import sys
import typing
import warnings

import numpy

from rnnlm._compat import import_hook, snapshots, windows


def _release(distribution):
    """The version of a distribution as four integers; None if not installed."""
    try:
        return _numbers(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version):
    numbers = [int(n) for n in re.findall(r'\d+', version)[:4]]
    return tuple(numbers + [0] * (4 - len(numbers)))


def _python(*version):
    return lambda: sys.version_info >= version


def _numpy(*version):
    return lambda: _numbers(numpy.__version__) >= version


def _h5py(*version):
    return lambda: (_release('h5py') or ()) >= version


def _cupy(*version):
    def needed():
        try:
            import cupy  # Chainer imports it anyway, and lives with any failure
        except Exception:
            return False
        return _numbers(cupy.__version__) >= version
    return needed


def _no_quiet_pkg_resources():
    release = _release('setuptools')
    return (release is None or release >= (67, 5)  # absent, or it warns
            or sys.version_info >= (3, 12))        # older ones need pkgutil.ImpImporter


# The table ------------------------------------------------------------------

class Row(typing.NamedTuple):
    what: str        # what broke
    module: str      # in which Chainer module
    since: str       # since which release of what
    needed: typing.Callable[[], bool]
    edits: typing.Tuple[typing.Tuple[str, str], ...]  # (Chainer's text, ours)


ROWS = (
    # What stops the import.

    Row('the environment check imports numpy.distutils and pkg_resources',
        'chainer._environment_check',
        'NumPy 1.23 (June 2022: it warns; gone with Python 3.12) and '
        'setuptools 67.5 (March 2023: it warns; gone with 82)',
        _numpy(1, 23),
        # What they served is as old: Accelerate on macOS, CuPy 7 or older.
        (('import numpy.distutils.system_info\nimport pkg_resources\n', '\n\n'),
         ('    _check_osx_numpy_backend()\n'
          '    _check_optional_dependencies()\n', '\n\n'))),

    Row('numpy.sctypes is gone',
        'chainer.functions.array.as_strided',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (("np.sctypes['int']", '(np.int8, np.int16, np.int32, np.int64)'),
         ("np.sctypes['float']",
          '(np.float16, np.float32, np.float64, np.longdouble)'))),

    Row('chainer.testing imports pkg_resources',
        'chainer.testing.helper',
        'setuptools 67.5 (March 2023: it warns; gone with 82)',
        _no_quiet_pkg_resources,
        (('import pkg_resources', 'pkg_resources = _patches.pkg_resources'),)),

    Row('chainer.testing imports pkg_resources',
        'chainer.testing.doctest_helper',
        'setuptools 67.5 (March 2023: it warns; gone with 82)',
        _no_quiet_pkg_resources,
        (('import pkg_resources', 'pkg_resources = _patches.pkg_resources'),)),

    # What stops a run.

    Row('numpy.float is gone',
        'chainer.functions.array.resize_images',
        'NumPy 1.20 (January 2021: it warns; gone with 1.24, December 2022)',
        _numpy(1, 20),
        (('dtype=numpy.float)', 'dtype=float)'),)),

    Row('HDF5 strings come back as bytes',
        'chainer.serializers.hdf5',
        'h5py 3.0 (October 2020)',
        _h5py(3),
        (('value = type(value)(numpy.asarray(dataset))',
          'value = type(value)(_patches.hdf5_value(dataset))'),)),

    Row('an array of one element is no number any more',
        'chainermn.iterators.multi_node_iterator',
        'NumPy 1.25 (June 2023: it warns; an error with 2.4, December 2025)',
        _numpy(1, 25),
        (('int(_size)', 'int(_size[0])'),)),

    Row('copy=False refuses to copy, and cupy/carray.cuh brings no half with it',
        'chainermn.communicators._memory_utility',
        'CuPy 14.0 (February 2026)',
        _cupy(14),
        (('v = xp.array(v, copy=False, dtype=transfer_dtype)',
          'v = v.astype(transfer_dtype, copy=False)'),
         ('#include <cupy/carray.cuh>', '#include <cuda_fp16.h>'))),

    # What changes numbers in silence: since NumPy 2 (NEP 50) a Python number
    # no longer widens a NumPy scalar, and a NumPy scalar does widen an array.

    Row('means of float32 and float16 scalars are summed in their own precision',
        'chainer.reporter',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('value = value.as_grad_stopped()\n\n',
          'value = value.as_grad_stopped()\n'
          '        value, weight = _patches.strong_scalars(self, value, weight)\n'),
         )),

    Row('the numerator and denominator of MicroAverage likewise',
        'chainer.training.extensions.micro_average',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('observation[self._numerator_key]\n',
          '_patches.wide(observation[self._numerator_key])\n'),
         ('observation[self._denominator_key]\n',
          '_patches.wide(observation[self._denominator_key])\n'))),

    Row('the clipping norm is summed over the parameters in float32',
        'chainer.optimizer_hooks.gradient_clipping',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('sum(dots)', 'sum(map(_patches.wide, dots))'),
         ('grad *= rate', 'grad *= _patches.weak(rate)'))),

    Row('1 / count is a NumPy scalar, and each gradient passes through float64',
        'chainer.functions.loss.softmax_cross_entropy',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('self._coeff = 1.0 / max(count, 1)',
          'self._coeff = _patches.weak(1.0 / max(count, 1))'),
         ('gx *= gloss * self.coeff',
          'gx *= _patches.weak(gloss) * self.coeff'))),

    Row("the sampler of NegativeSampling and BlackOut builds its table in float32",
        'chainer.utils.walker_alias',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('p = prob * len(probs)', 'p = _patches.wide(prob) * len(probs)'),
         ('1.0 - threshold[ir]', '1.0 - _patches.wide(threshold[ir])'))),

    Row('the rate of LARS is computed in float32',
        'chainer.optimizer_hooks.gradient_lars',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('xp.linalg.norm(p)', '_patches.wide(xp.linalg.norm(p))'),
         ('xp.linalg.norm(g)', '_patches.wide(xp.linalg.norm(g))'),
         ('g += self.weight_decay * p', 'g += _patches.weak(self.weight_decay) * p'),
         ('                g *= rate', '                g *= _patches.weak(rate)'))),

    Row('a NumPy scalar as rate of decay makes float64 of float32 gradients',
        'chainer.optimizer_hooks.weight_decay',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('g += rate * p', 'g += _patches.weak(rate) * p'),)),

    Row('a NumPy scalar as rate of decay makes float64 of float32 gradients',
        'chainer.optimizer_hooks.lasso',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('g += self.rate * sign', 'g += _patches.weak(self.rate) * sign'),)),

    Row('a NumPy scalar as hyperparameter makes float64 of float32 updates',
        'chainer.optimizer',
        'NumPy 2.0 (June 2024)',
        _numpy(2),
        (('        self._parent = parent\n\n',
          '        self._parent = parent\n\n'
          '    def __setattr__(self, name, value):\n'
          '        self.__dict__[name] = _patches.weak(value)\n\n'),)),

    Row('sequences of the same length change places, and so do their dropout masks',
        'chainer.links.rnn.n_step_rnn',
        'NumPy 1.25 (June 2023: argsort by AVX-512)',
        _numpy(1, 25),
        (('numpy.argsort([-len(x) for x in lst])',
          "numpy.argsort([-len(x) for x in lst], kind='stable')"),)),

    Row('without NCCL its module is an empty one, and Chainer takes it for NCCL',
        'chainer.training.updaters.multiprocess_parallel_updater',
        'CuPy 9.0 (April 2021: it warns too, and Chainer always imports it)',
        _cupy(9),
        (('    from cupy.cuda import nccl\n', '    nccl = _patches.nccl()\n'),)),

    # What warns.

    Row('Thread.setDaemon is deprecated',
        'chainer.iterators.multiprocess_iterator',
        'Python 3.10 (October 2021)',
        _python(3, 10),
        (('thread.setDaemon(True)', 'thread.daemon = True'),)),

    Row("a third positional argument of numpy.maximum is deprecated",
        'chainer.dataset.convert',
        'NumPy 2.4 (December 2025)',
        _numpy(2, 4),
        (('numpy.maximum(shape, array.shape, shape)',
          'numpy.maximum(shape, array.shape, out=shape)'),)),

    Row('cupy.cuda.nvtx_enabled is deprecated',
        'chainer.function_hooks.cuda_profile',
        'CuPy 8.0 (2020)',
        _cupy(8),
        (('cupy.cuda.nvtx_enabled', 'cupy.cuda.nvtx.available'),)),

    Row('CuPy comes without cuDNN: at its import it says how to install that, and '
        'Chainer asks to reinstall CuPy',
        'chainer.backends.cuda',
        'CuPy 9.0 (April 2021; gone with 14.0, February 2026)',
        _cupy(9),
        # A language model has no use for it, and the right advice is in CuPy's manual.
        (('            import cupy.cuda.cudnn\n        import cupy.cudnn\n',
          "            _patches.quietly('cupy.cuda.cudnn')\n"
          "        _patches.quietly('cupy.cudnn')\n"),
         ('not _cudnn_disabled_by_user and\n',
          'not _cudnn_disabled_by_user and _cupy_major < 9 and\n'))),

    # What Chainer itself forgets in a snapshot, or cannot write or read; and a wish.

    *(Row(what, module, 'always', lambda: True, edits)
      for what, module, edits in snapshots.ROWS + windows.ROWS),
)


# What the edited lines call -------------------------------------------------

def weak(value):
    """A NumPy scalar as a Python number, which does not widen an array."""
    if isinstance(value, (numpy.number, numpy.ndarray)) and value.ndim == 0:
        return value.item()
    return value


def wide(value):
    """A NumPy floating scalar as float64; anything else as it is."""
    if (isinstance(value, (numpy.floating, numpy.ndarray)) and value.ndim == 0
            and value.dtype.kind == 'f'):
        return numpy.float64(value)
    return value


def strong_scalars(summary, value, weight):
    """What `Summary.add` adds, its Python numbers as wide as NumPy 1 took them.

    Device arrays are left alone: they never followed NumPy's rules for scalars.
    """
    if any(isinstance(v, (numpy.generic, numpy.ndarray)) and v.ndim == 0
           for v in (value, weight)):
        summary._x, summary._x2, summary._n, value, weight = map(
            _strong, (summary._x, summary._x2, summary._n, value, weight))
    return value, weight


def _strong(value):
    dtype = {float: numpy.float64, int: numpy.int_}.get(type(value))
    return value if dtype is None else dtype(value)


def hdf5_value(dataset):
    """The content of an HDF5 dataset, its strings as `str`."""
    value = numpy.asarray(dataset)
    if value.dtype.kind in 'OS' and isinstance(value[()], bytes):
        return value[()].decode('utf-8')
    return value


def quietly(name):
    """A module whose import may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return importlib.import_module(name)


def nccl():
    """CuPy's module of that name; ImportError if NCCL is missing."""
    module = quietly('cupy.cuda.nccl')
    if not module.available:
        raise ImportError('NCCL is not installed')
    return module


class pkg_resources:
    """As much of the module of this name as `chainer.testing` uses."""

    class ResolutionError(Exception):
        pass

    class WorkingSet:
        def require(self, *requirements):
            compare = {'<': operator.lt, '<=': operator.le, '==': operator.eq,
                       '!=': operator.ne, '>=': operator.ge, '>': operator.gt}
            for requirement in requirements:
                found = _release(re.match(r'[\w.-]+', requirement).group())
                clauses = re.findall(r'([<>=!]=?)\s*([\d.]+)', requirement)
                if found is None or not all(compare[relation](found, _numbers(v))
                                            for relation, v in clauses):
                    raise pkg_resources.ResolutionError(requirement)


# A build of its own would fetch a newer setuptools, which has no pkg_resources.
INSTALL = ("Install it: pip install 'setuptools>=70.1,<81' wheel, and then "
           'pip install --no-build-isolation chainer==7.8.1.')

# At the import --------------------------------------------------------------


def apply():
    """Patch what is missing and import Chainer.

    Raises:
        ImportError: Chainer is not installed, is not 7.x, or was imported
            before and failed.
    """
    _require_chainer_7()
    edits = {}
    for row in ROWS:
        if row.needed():
            edits[row.module] = edits.get(row.module, ()) + row.edits
    import_hook.install(edits, sys.modules[__name__])
    importlib.import_module('chainer')


def report():
    """Every row's (module: what broke, whether it is in place here)."""
    return [('{}: {}'.format(row.module, row.what),
             set(row.edits) <= set(import_hook.active.get(row.module, ())))
            for row in ROWS]


def _require_chainer_7():
    chainer = sys.modules.get('chainer')
    if chainer is None and any(n.startswith('chainer.') for n in sys.modules):
        raise ImportError(
            'chainer: an earlier import of it failed in this process and left its '
            'parts behind.  Start anew and import rnnlm before chainer.',
            name='chainer')
    version = getattr(chainer, '__version__', None)
    if version is None:
        try:
            version = importlib.metadata.version('chainer')
        except importlib.metadata.PackageNotFoundError:
            raise ImportError('chainer: expected release 7.8.1, found none installed.  '
                              + INSTALL, name='chainer') from None
    if not version.startswith('7.'):
        raise ImportError(
            'chainer: expected release 7.x (7.8.1 is the last), found {}.  '.format(
                version) + INSTALL, name='chainer')
