"""What Chainer 7.8.1 (January 2022) needs on today's Python, NumPy and CuPy.

`ROWS` is the whole of it, put together from the modules `rows_*`, one for each cause:
a row names what broke, the Chainer module, since which release of what, whether this
machine needs the row, and the patch, which is one line of Chainer's source beside the
line that stands in for it.  What those lines call is in `edited`.

`apply()` puts the rows that are needed in place and imports Chainer.  NumPy,
setuptools and `sys.modules` look the same afterwards as before: a patch changes
the code of the module it names, of Chainer's or of the ChainerMN that comes with it,
and of nothing else.  Chainer's files stay as they are, so a traceback through a patched
line shows the line that was there.
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
        # What Chainer itself forgets in a snapshot; and a wish.
        *(Row(what, module, 'always', lambda: True, edits)
          for what, module, edits in snapshots.ROWS + windows.ROWS))

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
    edits: dict = {}
    for row in ROWS:
        if row.needed():
            edits[row.module] = edits.get(row.module, ()) + row.edits
    import_hook.install(edits, edited)
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
