"""`Structure`: the links and sizes of a language model, derived from parameter names.

    embed/W         (V, m)     the embedding
    l1/upward/W     (4n, m)    layer 1, gates interleaved (`rnnlm.functions.gates`);
    l1/upward/b     (4n,)      l2, l3, ... take the output of the layer below
    l1/lateral/W    (4n, n)
    l1/slope        ()         only for a `HardSigmoidLSTM`
    l{N+1}/W        (V, n)     the output layer after N layers; absent if it is tied
    l{N+1}/b        (V,)

or, for an adaptive softmax with C words in the short list and K clusters:

    l{N+1}/head/W       (C + K, n)
    l{N+1}/head/b       (C + K,)      absent if the head has no bias
    l{N+1}/project1/W   (m1, n)       project2, project3, ... for the other clusters
    l{N+1}/tail1/W      (words, m1)
    l{N+1}/ranks        (V,)          the rank of each word by frequency
"""
from __future__ import annotations

from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

import chainer
from chainer import links as L
import numpy

from rnnlm.chain import LanguageModel
from rnnlm.errors import InputError
from rnnlm.links import AdaptiveSoftmax, HardSigmoidLSTM, OutputBias
from rnnlm.model import MOST_LAYERS, RNNForLM, make_embedding

Shape = Tuple[int, ...]
Shapes = Dict[str, Shape]

# Links that can be layers, and what they save in addition to the LSTM's parameters.
LAYERS = {'LSTM': (L.LSTM, ()), 'HardSigmoidLSTM': (HardSigmoidLSTM, ('slope',))}

# Saved values that are not parameters: a number, and a table of integers.
SETTINGS = 'slope', 'ranks'


class Adaptive(NamedTuple):
    """Sizes of an `AdaptiveSoftmax`: where its clusters start, and their units."""
    cutoffs: Tuple[int, ...]
    projected: Tuple[int, ...]
    head_bias: bool = True


class Layer(NamedTuple):
    """Recurrent layer: its link (a key of `LAYERS`) and its number of units."""
    link: str
    n_units: int


class Structure(NamedTuple):
    """Links of a `LanguageModel` and their sizes.

    Attributes:
        n_vocab (int): Size V of the vocabulary.
        n_embed (int): Size m of the embedding.
        layers (tuple of Layer): From the bottom up, at least one.
        tied (bool): Whether the output layer shares the embedding's weights.
        adaptive (Adaptive): The sizes of the output, if it is an `AdaptiveSoftmax`.

    Example:
        >>> structure = Structure(1000, 40, (Layer('LSTM', 150), Layer('LSTM', 100)))
        >>> print(structure)
        LSTM layers of 150, 100 units, embedding 40, vocabulary 1,000
        >>> structure.shapes()['l2/upward/W']
        (400, 150)
        >>> of_shapes(structure.shapes()) == structure
        True
    """
    n_vocab: int
    n_embed: int
    layers: Tuple[Layer, ...]
    tied: bool = False
    adaptive: Optional[Adaptive] = None

    def __str__(self) -> str:
        units = [layer.n_units for layer in self.layers]
        links = ' and '.join(sorted({layer.link for layer in self.layers}))
        if len(set(units)) == 1:
            text = f'{len(units)} x {units[0]} {links} units'
        else:
            text = f'{links} layers of {", ".join(map(str, units))} units'
        if self.n_embed != units[0]:
            text += f', embedding {self.n_embed}'
        text += f', vocabulary {self.n_vocab:,}{", tied" if self.tied else ""}'
        if self.adaptive:
            cutoffs = ', '.join(f'{cutoff:,}' for cutoff in self.adaptive.cutoffs)
            text += f', adaptive softmax with cutoffs {cutoffs}'
        return text

    def arguments(self) -> dict:
        """Returns the arguments of the `RNNForLM` with this structure.

        Raises:
            rnnlm.InputError: If no `RNNForLM` has this structure.
        """
        if not self.is_rnn_for_lm():
            raise InputError(
                f'expected LSTM layers of one size and a full softmax, found {self}')
        n_units = self.layers[0].n_units
        found = {'n_vocab': self.n_vocab, 'n_units': n_units,
                 'n_layers': len(self.layers)}
        if self.n_embed != n_units:
            found['n_embed'] = self.n_embed
        if self.tied:
            found['tied'] = True
        return found

    def is_rnn_for_lm(self) -> bool:
        """Returns whether an `RNNForLM` can have this structure: equal LSTM layers."""
        return (not self.adaptive
                and len({layer.n_units for layer in self.layers}) == 1
                and {layer.link for layer in self.layers} == {'LSTM'})

    def as_dict(self) -> dict:
        """Returns a dict for JSON: `arguments`, or a list of layers if they differ."""
        if self.is_rnn_for_lm():
            return self.arguments()
        found = {'n_vocab': self.n_vocab, 'n_embed': self.n_embed,
                 'layers': [layer._asdict() for layer in self.layers],
                 'tied': self.tied}
        if self.adaptive:
            found['adaptive'] = {
                **self.adaptive._asdict(), 'cutoffs': list(self.adaptive.cutoffs),
                'projected': list(self.adaptive.projected)}
        return found

    def shapes(self) -> Shapes:
        """Returns the shapes of all parameters and persistent values, by name."""
        shapes: Shapes = {'embed/W': (self.n_vocab, self.n_embed)}
        n_in = self.n_embed
        for k, (link, n) in enumerate(self.layers, 1):
            shapes.update((f'l{k}/{name}', shape)
                          for name, shape in layer_shapes(n_in, n).items())
            shapes.update((f'l{k}/{name}', ()) for name in LAYERS[link][1])
            n_in = n
        output = f'l{len(self.layers) + 1}'
        if self.adaptive:
            inside = adaptive_shapes(self.adaptive, n_in, self.n_vocab)
            shapes.update((f'{output}/{name}', inside[name]) for name in inside)
            return shapes
        if not self.tied:
            shapes[f'{output}/W'] = self.n_vocab, n_in
        shapes[f'{output}/b'] = self.n_vocab,
        return shapes

    def build(self, dropout: float = 0.5) -> LanguageModel:
        """Makes a new model with this structure, an `RNNForLM` if possible."""
        if self.is_rnn_for_lm():
            return RNNForLM(dropout=dropout, **self.arguments())
        sizes = [self.n_embed] + [layer.n_units for layer in self.layers]
        layers = [LAYERS[layer.link][0](n_in, layer.n_units)
                  for layer, n_in in zip(self.layers, sizes)]
        output: chainer.Link
        if self.adaptive:
            cutoffs, projected, head_bias = self.adaptive
            output = AdaptiveSoftmax(sizes[-1], self.n_vocab, cutoffs,
                                     head_bias=head_bias, projected=projected)
        elif self.tied:
            output = OutputBias(self.n_vocab)
        else:
            output = L.Linear(sizes[-1], self.n_vocab)
        return LanguageModel(
            make_embedding(self.n_vocab, self.n_embed), layers, output, dropout)


def of_shapes(shapes: Mapping[str, Shape], where: str = 'the model') -> Structure:
    """Returns the structure of a model whose parameters have these names and shapes.

    Args:
        shapes: Shapes of all parameters and persistent values, in the form that
            `Structure.shapes` returns.
        where: Name of the source, for messages.

    Raises:
        rnnlm.InputError: If they do not form a language model: a name is missing or
            unknown, or a shape does not fit the neighbouring layers.
    """
    # The sizes come from few shapes; all others must then agree with them.
    structure = guess(shapes, where)
    for name, shape in structure.shapes().items():
        if name not in shapes:
            raise InputError(
                f'{where}: expected {name!r} of shape {shape}, found nothing of that '
                'name')
        if tuple(shapes[name]) != shape:
            raise InputError(
                f'{where}: expected {name!r} of shape {shape}, that of a model of '
                f'{structure}, found {tuple(shapes[name])}')
    return structure


def guess(shapes: Mapping[str, Shape], where: str = 'the model') -> Structure:
    """Like `of_shapes`, but reads only the shapes that define sizes; others may be bad.
    """
    n_vocab, n_embed = _matrix(shapes, 'embed/W', where)
    n_layers = 0
    # Only LSTM layers have a lateral matrix; the output layer comes after the last one.
    while f'l{n_layers + 1}/lateral/W' in shapes and n_layers < MOST_LAYERS:
        n_layers += 1
    layers = []
    for k in range(1, max(1, n_layers) + 1):
        n_units = _matrix(shapes, f'l{k}/lateral/W', where)[1]
        # The type of gates is recognised by values saved with the matrices.
        link = next((link for link, (_, saved) in reversed(LAYERS.items())
                     if all(f'l{k}/{name}' in shapes for name in saved)))
        layers.append(Layer(link, n_units))
    output = f'l{n_layers + 1}'
    if f'{output}/head/W' in shapes:
        adaptive = _adaptive(shapes, output, n_vocab, where)
        return Structure(n_vocab, n_embed, tuple(layers), adaptive=adaptive)
    # A tied output layer has only a bias.
    tied = f'{output}/b' in shapes and f'{output}/W' not in shapes
    return Structure(n_vocab, n_embed, tuple(layers), tied)


def _adaptive(shapes: Mapping[str, Shape], output: str, n_vocab: int, where: str
              ) -> Adaptive:
    """Returns the sizes of an `AdaptiveSoftmax`, from the shapes of its tails."""
    words: List[int] = []
    units: List[int] = []
    while f'{output}/tail{len(words) + 1}/W' in shapes and len(words) < MOST_LAYERS:
        found = _matrix(shapes, f'{output}/tail{len(words) + 1}/W', where)
        words.append(found[0])
        units.append(found[1])
    first = n_vocab - sum(words)
    if first < 1 or not words:
        raise InputError(
            f'{where}: expected {output} to have at least one cluster and fewer than '
            f'{n_vocab:,} words in clusters, found {len(words)} with {sum(words):,}')
    cutoffs = [first + sum(words[:k]) for k in range(len(words))]
    return Adaptive(tuple(cutoffs), tuple(units), f'{output}/head/b' in shapes)


def of_model(model: LanguageModel) -> Structure:
    """Returns the structure of a model.

    Raises:
        rnnlm.InputError: If it has links other than those above.
    """
    shapes = {path.strip('/'): param.shape for path, param in model.namedparams()}
    for k, link in enumerate([*model.layers, model.output], 1):
        shapes.update((f'l{k}/{name}', numpy.shape(getattr(link, name)))
                      for name in link._persistent)
    return of_shapes(shapes)


def layer_shapes(n_in: int, n: int) -> Shapes:
    """Returns the shapes of an LSTM layer's parameters, by name."""
    return {'upward/W': (4 * n, n_in), 'upward/b': (4 * n,), 'lateral/W': (4 * n, n)}


def adaptive_shapes(sizes: Adaptive, n: int, n_vocab: int) -> Shapes:
    """Returns the shapes of an `AdaptiveSoftmax` with n inputs, by name."""
    n_clusters, ends = len(sizes.cutoffs), (*sizes.cutoffs[1:], n_vocab)
    shapes: Shapes = {'head/W': (sizes.cutoffs[0] + n_clusters, n)}
    if sizes.head_bias:
        shapes['head/b'] = sizes.cutoffs[0] + n_clusters,
    for k, (units, begin, end) in enumerate(
            zip(sizes.projected, sizes.cutoffs, ends), 1):
        shapes[f'project{k}/W'] = units, n
        shapes[f'tail{k}/W'] = end - begin, units
    shapes['ranks'] = n_vocab,
    return shapes


def _matrix(shapes: Mapping[str, Shape], name: str, where: str) -> Tuple[int, int]:
    if name not in shapes:
        raise InputError(
            f'{where}: expected the parameters of a language model, found no {name}')
    shape = tuple(shapes[name])
    if len(shape) != 2 or not all(shape):
        raise InputError(
            f'{where}: expected {name} of two dimensions, none of them 0, found '
            f'{shape}')
    return shape[0], shape[1]
