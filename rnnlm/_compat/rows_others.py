"""Patches for changes in setuptools and h5py."""
import sys

from rnnlm._compat.row import h5py_since, numpy_since, release, Row


def no_quiet_pkg_resources():
    installed = release('setuptools')
    return (installed is None or installed >= (67, 5)  # missing, or it warns
            or sys.version_info >= (3, 12))        # older ones need pkgutil.ImpImporter


ROWS = (
    Row('the environment check imports numpy.distutils and pkg_resources',
        'chainer._environment_check',
        'NumPy 1.23 (June 2022: it warns; removed in Python 3.12) and '
        'setuptools 67.5 (March 2023: it warns; removed in 82)',
        numpy_since(1, 23),
        # They serve checks that are obsolete: Accelerate on macOS, CuPy 7 or older.
        (('import numpy.distutils.system_info\nimport pkg_resources\n', '\n\n'),
         ('    _check_osx_numpy_backend()\n'
          '    _check_optional_dependencies()\n', '\n\n'))),

    Row('chainer.testing imports pkg_resources',
        'chainer.testing.helper',
        'setuptools 67.5 (March 2023: it warns; removed in 82)',
        no_quiet_pkg_resources,
        (('import pkg_resources', 'pkg_resources = _patches.pkg_resources'),)),

    Row('chainer.testing imports pkg_resources',
        'chainer.testing.doctest_helper',
        'setuptools 67.5 (March 2023: it warns; removed in 82)',
        no_quiet_pkg_resources,
        (('import pkg_resources', 'pkg_resources = _patches.pkg_resources'),)),

    Row('HDF5 strings are read as bytes',
        'chainer.serializers.hdf5',
        'h5py 3.0 (October 2020)',
        h5py_since(3),
        (('value = type(value)(numpy.asarray(dataset))',
          'value = type(value)(_patches.hdf5_value(dataset))'),)),
)
