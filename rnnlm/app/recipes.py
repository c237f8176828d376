"""The sizes and rates of training runs, and well-known sets of them."""
import contextlib
import dataclasses
from typing import Optional

import chainer

from rnnlm.errors import require, require_count, require_positive, require_ratio

# How one computes: as `chainer.config.dtype` says, which is float32; with products
# rounded to TF32 on a GPU; or with weights and products of float16, and sums, states
# and the weights' copy for the update in float32.
PRECISIONS = 'float32', 'tf32', 'mixed16'


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The sizes and rates of a training run.

    Attributes:
        n_units: Units in the embedding and in each layer.
        n_layers: LSTM layers.
        dropout: Ratio of elements dropped.
        init_scale: Parameters start in [-init_scale, init_scale].
        batch_size: Streams read in parallel, B.
        bprop_len: Steps of a window, T.
        epochs: Sweeps over the text.
        lr: Learning rate of SGD.
        decay, decay_after: After epoch `decay_after`, the learning rate is
            divided by `decay` in each epoch (`LearningRateDecay`).
        gradclip: Largest L2 norm of the gradients.
        n_embed: Units in the embedding, if not `n_units`.
        tied: Whether the output layer shares the embedding's matrix.
        precision: One of `PRECISIONS`.
    """
    n_units: int = 650
    n_layers: int = 2
    dropout: float = 0.5
    init_scale: float = 0.1
    batch_size: int = 20
    bprop_len: int = 35
    epochs: int = 39
    lr: float = 1.0
    decay: float = 1.0
    decay_after: int = 0
    gradclip: float = 5.0
    n_embed: Optional[int] = None
    tied: bool = False
    precision: str = 'float32'

    def __post_init__(self):
        for name in ('n_units', 'n_layers', 'batch_size', 'bprop_len', 'epochs'):
            require_count(name, getattr(self, name))
        require_count('decay_after', self.decay_after, least=0)
        require_ratio('dropout', self.dropout)
        for name in ('init_scale', 'lr', 'decay', 'gradclip'):
            require_positive(name, getattr(self, name))
        if self.n_embed is not None:
            require_count('n_embed', self.n_embed)
        require('precision', self.precision, f'one of {", ".join(PRECISIONS)}',
                lambda v: v in PRECISIONS)

    @contextlib.contextmanager
    def computing(self):
        """A context in which Chainer computes as `precision` says."""
        with contextlib.ExitStack() as stack:
            if self.precision == 'tf32':
                stack.enter_context(chainer.using_config('tf32', True))
            if self.precision == 'mixed16':
                stack.enter_context(chainer.using_config('dtype', chainer.mixed16))
            yield


PRESETS = {
    # Chainer's examples/ptb, versions 1.11 to 7.8.1.
    'chainer': Recipe(),
    # Learns the embedded corpus in half a minute.
    'demo': Recipe(n_units=96, dropout=0.1, bprop_len=20, epochs=10,
                   decay=2.0, decay_after=5),
    # Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization" (2014).
    'small': Recipe(n_units=200, dropout=0.0, init_scale=0.1, bprop_len=20, epochs=13,
                    decay=2.0, decay_after=4, gradclip=5.0),
    'medium': Recipe(n_units=650, dropout=0.5, init_scale=0.05, bprop_len=35,
                     epochs=39, decay=1.2, decay_after=6, gradclip=5.0),
    'large': Recipe(n_units=1500, dropout=0.65, init_scale=0.04, bprop_len=35,
                    epochs=55, decay=1.15, decay_after=14, gradclip=10.0),
}

# The options that set a field, spelled as in Chainer's examples/ptb.
RECIPE_FLAGS = (
    ('--unit', '-u', 'n_units', int, 'LSTM units in each layer'),
    ('--layer', None, 'n_layers', int, 'LSTM layers'),
    ('--embed', None, 'n_embed', int, 'units in the embedding, if not as many'),
    ('--dropout', None, 'dropout', float, 'ratio of elements dropped'),
    ('--init-scale', None, 'init_scale', float,
     'parameters start uniformly in [-SCALE, SCALE]'),
    ('--batchsize', '-b', 'batch_size', int, 'streams read in parallel'),
    ('--bproplen', '-l', 'bprop_len', int, 'steps of truncated BPTT'),
    ('--epoch', '-e', 'epochs', int, 'sweeps over the text'),
    ('--lr', None, 'lr', float, 'learning rate of SGD'),
    ('--decay', None, 'decay', float, 'divisor of the learning rate an epoch'),
    ('--decay-after', None, 'decay_after', int, 'last epoch without decay'),
    ('--gradclip', '-c', 'gradclip', float, 'largest L2 norm of the gradients'),
)
