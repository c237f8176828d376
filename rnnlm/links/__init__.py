"""Links that Chainer lacks: each one step in plain Chainer functions.

Their functions of a whole window are in `rnnlm.parts`.
"""
from rnnlm.links.hard_sigmoid_lstm import HardSigmoidLSTM
from rnnlm.links.locked_dropout import LockedDropout
from rnnlm.links.masks import Masked
from rnnlm.links.output_bias import OutputBias
from rnnlm.links.weight_drop_lstm import DroppedLinear, WeightDropLSTM

__all__ = ['DroppedLinear', 'HardSigmoidLSTM', 'LockedDropout', 'Masked', 'OutputBias',
           'WeightDropLSTM']
