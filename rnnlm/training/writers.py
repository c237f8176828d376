"""`DurableWriter`: Chainer's own snapshots, written so that nothing is lost."""
from __future__ import annotations

import os
from typing import Any, Callable, Optional

from chainer.training.extensions import snapshot_writers

from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.npz import save_npz


class DurableWriter(snapshot_writers.Writer):
    """Writer for Chainer's `snapshot` and `snapshot_object` extensions.

    A file appears under its name only when it is complete and on the disk.  If it
    cannot be written, because the disk is full say, a warning is logged, the training
    continues, and the older files are kept, also with ``n_retains``.

    Args:
        savefun: Function that writes the file: it is called with a path and the dict of
            arrays to save, as :func:`chainer.serializers.save_hdf5` is.  By default
            `save_npz`.
        kwds: Keyword arguments for `savefun`.

    Example:
        >>> writer = rnnlm.DurableWriter()
        >>> snapshot = chainer.training.extensions.snapshot(writer=writer, n_retains=2)
    """

    def __init__(self, savefun: Optional[Callable] = None, **kwds: Any) -> None:
        super().__init__()
        self._savefun = savefun
        self._kwds = kwds

    def __call__(self, filename: str, outdir: str, target: dict) -> None:
        """Writes a file; called by the extension.

        Args:
            filename: Its name.
            outdir: The folder that it is in.
            target: Its content, arrays by name.
        """
        path = os.path.join(outdir, filename)
        with best_effort(path):
            if self._savefun is None:
                save_npz(path, target, **self._kwds)
            else:
                with writing(path) as f:
                    self._savefun(f.name, target, **self._kwds)
            self._post_save()  # deletes what n_retains says
