"""`DurableWriter`: atomic writing of Chainer's own snapshots."""
from __future__ import annotations

import os
from typing import Any, Callable, Optional

from chainer.training.extensions import snapshot_writers

from rnnlm.serializers.atomic import best_effort, writing
from rnnlm.serializers.npz import save_npz


class DurableWriter(snapshot_writers.Writer):
    """Writer for Chainer's `snapshot` and `snapshot_object` extensions.

    A file appears under its name only when it is complete and flushed to the disk.  If
    it cannot be written, for example because the disk is full, a warning is logged,
    training continues, and older files are kept, even with ``n_retains``.

    Args:
        savefun: Function that writes the file, called with a path and a dict of
            arrays, like :func:`chainer.serializers.save_hdf5`.  By default `save_npz`.
        kwds: Keyword arguments for `savefun`; without one, those of `rnnlm.save_npz`.

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
            filename: Name of the file.
            outdir: Folder of the file.
            target: Content: arrays by name.
        """
        path = os.path.join(outdir, filename)
        with best_effort(path):
            if self._savefun is None:
                save_npz(path, target, **self._kwds)
            else:
                with writing(path) as f:
                    self._savefun(f.name, target, **self._kwds)
            self._post_save()  # deletes old files, as n_retains requires
