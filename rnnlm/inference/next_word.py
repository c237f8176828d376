"""The logits of the next word of one stream, by compiled kernels."""
from __future__ import annotations

from typing import Optional

import chainer
from chainer import links as L
import numpy

from rnnlm import kernels, unaltered
from rnnlm.chain import LanguageModel
from rnnlm.links import OutputBias


def logits_of_next_word(model: LanguageModel, word: int) -> Optional[numpy.ndarray]:
    """Computes the same as ``model([word])``, without a graph.

    Args:
        model: The model; its recurrent state is used and updated.
        word: The id of the current word.

    Returns:
        float32 (V,); None, with the state unchanged, for models that the kernels do
        not support: they need links of exactly Chainer's types, unaltered, float32 on
        NumPy, and no dropout.
    """
    layers, output = model._layers(), model._output()
    if type(model.embed) is not L.EmbedID or type(output) not in (
            L.Linear, OutputBias) or any(type(layer) is not L.LSTM for layer in layers):
        return None
    one_stream = kernels.compiled('one_stream', model.xp, model.embed.W.dtype)
    if not one_stream or model.why_steps(1, code=unaltered.ONE_STEP) or (
            not 0 <= word < len(model.embed.W)) or (
            model.dropout and model._is_training()):
        return None
    W = (model.embed if model.tied else output).W.array
    matrices = [W] + [link.W.array for layer in layers
                      for link in (layer.upward, layer.lateral)]
    if not one_stream.fits(*model.widths) or not all(
            matrix.flags.c_contiguous for matrix in matrices):
        return None
    step, states = one_stream.Step(), []
    x = numpy.ascontiguousarray(model.embed.W.array[word])
    for layer in layers:
        c, h = (numpy.zeros(layer.state_size, 'f') if state is None
                else numpy.ascontiguousarray(state.array[0])
                for state in (layer.c, layer.h))
        states.append(step.layer(x, c, h, layer.upward.W.array, numpy.ascontiguousarray(
            layer.upward.b.array), layer.lateral.W.array))
        x = states[-1][1]
    y = step.output(x, W, numpy.ascontiguousarray(output.b.array))
    step.run()
    for layer, (c, h) in zip(layers, states):
        layer.c, layer.h = chainer.Variable(c[None]), chainer.Variable(h[None])
    return y
