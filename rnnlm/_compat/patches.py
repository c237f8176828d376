"""The table of patches that Chainer 7.8.1 (January 2022) needs today.

`ROWS` is the complete table, from the modules `rows_*` (one for each cause).  A
row says what broke, in which Chainer module, since which release of which package,
whether this machine needs the patch, and the edits: a piece of Chainer's source and its
replacement.  The replacements may call functions of `edited`.

`apply()` installs the patches that are needed and imports Chainer.  NumPy, setuptools
and `sys.modules` are not touched: a patch changes only the code of the module that it
names, which belongs to Chainer or to the ChainerMN that comes with it.  Chainer's files
are not changed, so a traceback through a patched line shows the original line.
"""
import importlib
import importlib.metadata
import sys

from rnnlm._compat import (
    edited, import_hook, rows_cupy, rows_numbers, rows_numpy, rows_others, rows_python,
    snapshots, windows)
from rnnlm._compat.row import Row

ROWS = (*rows_others.ROWS, *rows_numpy.ROWS, *rows_numbers.ROWS, *rows_python.ROWS,
        *rows_cupy.ROWS,
        # What Chainer itself leaves out of snapshots; and an added feature.
        *(Row(what, module, 'always', lambda: True, edits)
          for what, module, edits in snapshots.ROWS + windows.ROWS))

# An isolated build would fetch a newer setuptools, which has no pkg_resources.
INSTALL = ("Install it: pip install 'setuptools>=70.1,<81' wheel, and then "
           'pip install --no-build-isolation chainer==7.8.1.')

# At import ------------------------------------------------------------------


def apply():
    """Applies the patches that are needed, and imports Chainer.

    Raises:
        ImportError: If Chainer is not installed, is not 7.x, or was imported before
            and failed.
    """
    _require_chainer_7()
    edits: dict = {}
    for row in ROWS:
        if row.needed():
            edits[row.module] = edits.get(row.module, ()) + row.edits
    import_hook.install(edits, edited)
    importlib.import_module('chainer')


def report():
    """Returns a list of (module: what broke, whether it is patched here)."""
    return [('{}: {}'.format(row.module, row.what),
             set(row.edits) <= set(import_hook.active.get(row.module, ())))
            for row in ROWS]


def _require_chainer_7():
    chainer = sys.modules.get('chainer')
    if chainer is None and any(n.startswith('chainer.') for n in sys.modules):
        raise ImportError(
            'chainer: an earlier import of it failed in this process and left it half '
            'imported.  Restart Python and import rnnlm before chainer.',
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
