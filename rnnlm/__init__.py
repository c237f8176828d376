"""Chainer's recurrent language model on today's machines."""
import os

# Read when NumPy loads OpenBLAS: how long idle BLAS threads spin, as a power of 2
# of clock cycles.  The default, 26, keeps a core from the work between products.
os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '16')

from rnnlm._compat import patches

patches.apply()  # before anything imports Chainer

# flake8: noqa: E402
from rnnlm import parallel, v1
from rnnlm._version import __version__
from rnnlm.app.recipes import Recipe
from rnnlm.data.iterators import ParallelSequentialIterator
from rnnlm.errors import InputError, NotFinite
from rnnlm.model import RNNForLM
from rnnlm.serializers.model_files import load_model
from rnnlm.serializers.npz import save_npz
from rnnlm.serializers.snapshot_files import resume
from rnnlm.training.evaluator import PerplexityEvaluator
from rnnlm.training.extensions import (
    BestModel, LearningRateDecay, Log, Snapshot, add_perplexity)
from rnnlm.training.run import run
from rnnlm.training.triggers import EarlyStoppingTrigger, SnapshotTrigger
from rnnlm.training.updater import BPTTUpdater

__all__ = [
    'BPTTUpdater', 'BestModel', 'EarlyStoppingTrigger', 'InputError',
    'LearningRateDecay', 'Log', 'NotFinite', 'ParallelSequentialIterator',
    'PerplexityEvaluator', 'RNNForLM', 'Recipe', 'Snapshot', 'SnapshotTrigger',
    'add_perplexity', 'load_model', 'parallel', 'resume', 'run', 'save_npz', 'v1',
]
