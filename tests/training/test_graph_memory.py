"""Updaters on a GPU release their memory."""
import ctypes
import gc
import weakref

from helpers import ON_HOST, make_gpu_trainer
import pytest

from rnnlm.kernels.cuda import blas

pytestmark = pytest.mark.gpu


def test_lanes_go_with_their_updater(tmp_path, monkeypatch):
    made, create = weakref.WeakSet(), blas.Blas.__init__

    def watched(self, xp):
        create(self, xp)
        made.add(self)

    def alive():
        gc.collect()
        return len(made), handles()

    def handles():
        if not ON_HOST:
            return 0
        return ctypes.CDLL('libcublas.so.13').handles_alive()

    def train():
        updater = make_gpu_trainer('@cupy:0', tmp_path).updater
        for _ in range(3):
            updater.update()
        assert updater._graph is not None

    monkeypatch.setattr(blas.Blas, '__init__', watched)
    train()  # compiles the kernels of the process
    before = alive()
    for _ in range(3):
        train()
    assert alive() == before
    assert before[0] <= 1
