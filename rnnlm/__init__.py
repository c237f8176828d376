"""Chainer's recurrent language model for current Python, NumPy and CuPy.

Import it before Chainer: Chainer 7.8.1 alone does not import on a current Python.

============  =====================================================================
use a model   `load`, `TrainedModel`, `SentenceScore`, `load_model`, `save_npz`,
              `generate`, `beam_search`, `score_text`, `score_sentences`,
              `DynamicEvaluation`
train one     `train`, `Recipe`, `PRESETS`, `add_options`; or `RNNForLM`,
              `BPTTUpdater` and `ParallelSequentialIterator` with Chainer's own
              Trainer, `run`, `resume`
text          `load_corpus`, `Corpus`, `Vocabulary`
extensions    `PerplexityEvaluator`, `Snapshot`, `BestModel`, `Log`, `add_perplexity`,
              `PerplexityPlot`, `LearningRateDecay`, `WeightAverage`, `DurableWriter`
triggers      `SnapshotTrigger`, `ReportTrigger`, `EarlyStoppingTrigger`
errors        `InputError`, `NotFinite`, `ProcessLost`
more          `LanguageModel`, a model made of any links; `links` and `parts`, the links
              that can be fused; `adaptive_model`, for large vocabularies;
              `get_device`; `functions`, the fused LSTM and loss; `parallel`, training
              with several processes; `v1`, the model of Chainer 1
============  =====================================================================
"""
from __future__ import annotations

import os as _os

from rnnlm import _starting

_starting.begin()

# Read when NumPy loads OpenBLAS: how long idle BLAS threads spin, as a power of 2
# of clock cycles.  The default, 26, keeps a core from the work between products.
_os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '16')

# flake8: noqa: E402
from rnnlm._version import __version__

if not _starting.waiting:  # only the command waits, until it has read its options
    from rnnlm._compat import patches as _patches

    _patches.apply()  # before anything imports Chainer

    from rnnlm import functions, links, parallel, parts, v1
    from rnnlm.app.experiment import train
    from rnnlm.app.options import add_options
    from rnnlm.app.recipes import PRESETS, Recipe
    from rnnlm.app.trained import SentenceScore, TrainedModel, load
    from rnnlm.chain import LanguageModel
    from rnnlm.data.corpus import Corpus, load as load_corpus
    from rnnlm.data.iterators import ParallelSequentialIterator
    from rnnlm.data.vocabulary import Vocabulary
    from rnnlm.devices import get_device
    from rnnlm.errors import InputError, NotFinite, ProcessLost
    from rnnlm.inference.dynamic import DynamicEvaluation
    from rnnlm.inference.generate import beam_search, generate
    from rnnlm.inference.scoring import score_sentences, score_text
    from rnnlm.model import RNNForLM, adaptive_model
    from rnnlm.serializers.model_files import load_model
    from rnnlm.serializers.npz import save_npz
    from rnnlm.serializers.snapshot_files import resume
    from rnnlm.training.averaging import WeightAverage
    from rnnlm.training.evaluator import PerplexityEvaluator
    from rnnlm.training.best_model import BestModel
    from rnnlm.training.extensions import Log, Snapshot, add_perplexity
    from rnnlm.training.learning_rate import LearningRateDecay
    from rnnlm.training.plotting import PerplexityPlot
    from rnnlm.training.run import run
    from rnnlm.training.triggers import (
        EarlyStoppingTrigger, ReportTrigger, SnapshotTrigger)
    from rnnlm.training.updater import BPTTUpdater
    from rnnlm.training.writers import DurableWriter

__all__ = [
    'BPTTUpdater', 'BestModel', 'Corpus', 'DurableWriter', 'DynamicEvaluation',
    'EarlyStoppingTrigger', 'InputError', 'LanguageModel', 'LearningRateDecay', 'Log',
    'NotFinite', 'PRESETS',
    'ParallelSequentialIterator', 'PerplexityEvaluator', 'PerplexityPlot',
    'ProcessLost', 'RNNForLM', 'Recipe', 'ReportTrigger', 'SentenceScore', 'Snapshot',
    'SnapshotTrigger', 'TrainedModel', 'Vocabulary', 'WeightAverage', 'adaptive_model',
    'add_options', 'add_perplexity', 'beam_search', 'functions', 'generate',
    'get_device', 'links', 'load', 'load_corpus', 'load_model', 'parallel', 'parts',
    'resume', 'run', 'save_npz', 'score_sentences', 'score_text', 'train', 'v1',
]

del annotations


def __dir__() -> list[str]:
    """Returns the public names; other modules can still be imported."""
    return sorted([*__all__, *(name for name in globals() if name.startswith('__'))])
