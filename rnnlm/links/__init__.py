"""Links that Chainer lacks.

`forward` of each computes one step with Chainer's functions.  Their window functions
are in `rnnlm.parts`.
"""
from rnnlm.links.adaptive_softmax import AdaptiveSoftmax
from rnnlm.links.hard_sigmoid_lstm import HardSigmoidLSTM
from rnnlm.links.locked_dropout import LockedDropout
from rnnlm.links.masks import Masked
from rnnlm.links.output_bias import OutputBias
from rnnlm.links.weight_drop_lstm import DroppedLinear, WeightDropLSTM

__all__ = ['AdaptiveSoftmax', 'DroppedLinear', 'HardSigmoidLSTM', 'LockedDropout',
           'Masked', 'OutputBias', 'WeightDropLSTM']
