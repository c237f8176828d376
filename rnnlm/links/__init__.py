"""Links that Chainer lacks: each one step in plain Chainer functions.

Their functions of a whole window are in `rnnlm.parts`.
"""
from rnnlm.links.adaptive_softmax import AdaptiveSoftmax
from rnnlm.links.hard_sigmoid_lstm import HardSigmoidLSTM
from rnnlm.links.output_bias import OutputBias

__all__ = ['AdaptiveSoftmax', 'HardSigmoidLSTM', 'OutputBias']
