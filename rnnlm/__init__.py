"""Chainer's recurrent language model on today's machines."""
import os

# Read when NumPy loads OpenBLAS: how long idle BLAS threads spin, as a power of 2
# of clock cycles.  The default, 26, keeps a core from the work between products.
os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '16')

from rnnlm import _platform

_platform.apply()  # before anything imports Chainer

# flake8: noqa: E402
from rnnlm.checkpoint import load_model, resume
from rnnlm.errors import InputError, NotFinite
from rnnlm.iterators import ParallelSequentialIterator
from rnnlm.model import RNNForLM
from rnnlm.recipes import Recipe
from rnnlm.running import run
from rnnlm.snapshots import (
    BestModel, EarlyStoppingTrigger, Log, Snapshot, SnapshotTrigger, save_npz)
from rnnlm.schedules import LearningRateDecay, add_perplexity
from rnnlm.training import BPTTUpdater, PerplexityEvaluator
from rnnlm import parallel, v1

__version__ = '0.2.0'  # stands only here; setup.cfg reads it
__all__ = [
    'BPTTUpdater', 'BestModel', 'EarlyStoppingTrigger', 'InputError',
    'LearningRateDecay', 'Log', 'NotFinite', 'ParallelSequentialIterator',
    'PerplexityEvaluator', 'RNNForLM', 'Recipe', 'Snapshot', 'SnapshotTrigger',
    'add_perplexity', 'load_model', 'parallel', 'resume', 'run', 'save_npz', 'v1',
]
