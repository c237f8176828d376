"""Recipes: the sizes and rates of training runs, their flags, and presets.

The parsers are made of them, before Chainer and NumPy are imported.
"""
import argparse
import contextlib
import dataclasses
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from rnnlm.errors import (
    checked_cutoffs, counted, require, require_count, require_divisor, require_positive,
    require_ratio, short_repr)

# How one computes: as `chainer.config.dtype` says, which is float32; with products
# rounded to TF32 on a GPU; or with weights and products of float16, and sums, states
# and the weights' copy for the update in float32.
PRECISIONS = 'float32', 'tf32', 'mixed16'

SOFTMAXES = 'full', 'adaptive'

# A vocabulary has fewer.
MOST_WORDS = 2 ** 31 - 1

# Optimizers, and their learning rates unless one is given.
RATES = {'sgd': 1.0, 'adam': 1e-3}


def _field(default: Any, check: Callable[[str, Any], None], *flags: str,
           group: str = 'training', **options: Any) -> Any:
    """Returns a dataclass field of a recipe.

    Args:
        default: Its value unless one is given.
        check: Called with the field's name and a value, which it may refuse.
        flags: The options of the command line that set it, spelled as in Chainer's
            examples/ptb.
        group: Of the options in the help, a key of `rnnlm.app.options.GROUPS`.
        options: Of ``argparse.ArgumentParser.add_argument``.
    """
    return dataclasses.field(default=default, metadata={
        'check': check, 'flags': flags, 'group': group, 'options': options})


def _optional(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


def _count_or_0(name: str, value: Any) -> None:
    require_count(name, value, least=0)


def _switch(name: str, value: Any) -> None:
    require(name, value, 'True or False', lambda v: v in (True, False))


def _one_of(values: Any) -> Callable[[str, Any], None]:
    return lambda name, value: require(
        name, value, f'one of {", ".join(values)}', lambda v: v in values)


def _cutoffs(name: str, value: Any) -> None:
    checked_cutoffs(value, MOST_WORDS)


def cutoffs_of(text: str) -> Tuple[int, ...]:
    """Parses the cutoffs on the command line, 2000,10000 for example."""
    try:
        return checked_cutoffs([int(part) for part in text.split(',')], MOST_WORDS)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected numbers that go up, with commas between them, as in 2000,10000, '
            f'found {short_repr(text)}') from None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Sizes and rates of a training run.

    Attributes:
        n_units: Units in the embedding and in each layer.
        n_layers: LSTM layers.
        dropout: Ratio of elements dropped.
        init_scale: Parameters start in [-init_scale, init_scale].
        batch_size: Streams read in parallel, B.
        bprop_len: Steps of a window, T.
        epochs: Sweeps over the text.
        lr: Learning rate; None for that of the optimizer in `RATES`.
        decay, decay_after: After epoch `decay_after`, the learning rate is
            divided by `decay` in each epoch (`LearningRateDecay`).
        gradclip: Largest L2 norm of the gradients.
        n_embed: Units in the embedding, if not `n_units`.
        tied: Whether the output layer shares the embedding's matrix.
        precision: One of `PRECISIONS`.
        softmax: One of `SOFTMAXES`; see `rnnlm.adaptive_model`.
        cutoffs: The numbers of most frequent words at which the clusters of an adaptive
            softmax begin; by default those that make up 80 and 95 % of the text.
        optimizer: A key of `RATES`.
        plateau_decay: The learning rate is divided by it after each epoch without a
            lower validation loss.
        patience: Epochs in a row without a lower validation loss after which the run
            ends; None for all epochs.
        log_interval: Windows between two entries of the log, beside those at the ends
            of epochs; None for 500 where an epoch has more than 1,000, else none.
        sentences: Whether each sentence is read from a fresh state, rather than the
            text as one stream; evaluation too.

    Raises:
        rnnlm.errors.InputError: if a value is out of its range.
    """
    n_units: int = _field(
        650, require_count, '--unit', '-u', group='model', type=int,
        help='LSTM units per layer')
    n_layers: int = _field(
        2, require_count, '--layer', group='model', type=int,
        help='number of LSTM layers')
    dropout: float = _field(
        0.5, require_ratio, '--dropout', type=float, help='dropout ratio')
    init_scale: float = _field(
        0.1, require_positive, '--init-scale', group='model', type=float,
        help='initialize parameters uniformly in [-INIT_SCALE, INIT_SCALE]')
    batch_size: int = _field(
        20, require_count, '--batchsize', '-b', type=int, help='minibatch size')
    bprop_len: int = _field(
        35, require_count, '--bproplen', '-l', type=int,
        help='length of truncated BPTT, in time steps')
    epochs: int = _field(
        39, require_count, '--epoch', '-e', type=int, help='number of epochs')
    lr: float = _field(
        None, require_positive, '--lr', type=float,
        help='learning rate (Adam: alpha); with --resume, from there on')
    decay: float = _field(
        1.0, require_positive, '--decay', type=float,
        help='divide the learning rate by this after each epoch past DECAY_AFTER')
    decay_after: int = _field(
        0, _count_or_0, '--decay-after', type=int,
        help='number of epochs at the full learning rate')
    gradclip: float = _field(
        5.0, require_positive, '--gradclip', '-c', type=float,
        help='clip gradients to this L2 norm')
    n_embed: Optional[int] = _field(
        None, _optional(require_count), '--embed', group='model', type=int,
        help='embedding size (default: that of the layers)')
    tied: bool = _field(
        False, _switch, '--tied', group='model', action='store_const', const=True,
        help='share the weights of the embedding and the output layer (Press and '
             'Wolf 2017)')
    precision: str = _field(
        'float32', _one_of(PRECISIONS), '--precision', choices=PRECISIONS,
        help='float32; tf32: TF32 matrix products, on a GPU; mixed16: float16 products '
             'with float32 accumulation and master weights (default: float32)')
    softmax: str = _field(
        'full', _one_of(SOFTMAXES), '--softmax', choices=SOFTMAXES,
        help='full; adaptive: rare words cost little, for large vocabularies (Grave et '
             'al. 2017; default: full)')
    cutoffs: Optional[Tuple[int, ...]] = _field(
        None, _optional(_cutoffs), '--cutoffs', type=cutoffs_of,
        help='--softmax adaptive: numbers of most frequent words at which its clusters '
             'begin, 2000,10000 for example (default: those that make up 80 and 95 '
             'percent of the text)')
    optimizer: str = _field(
        'sgd', _one_of(RATES), '--optimizer', choices=tuple(RATES),
        help='sgd, plain, at the learning rate 1 unless one is given; or adam, with '
             "Chainer's values, at 0.001 (default: sgd)")
    plateau_decay: float = _field(
        1.0, require_divisor, '--decay-on-plateau', type=float,
        help='divide the learning rate by this, 2 or 4 say, after each epoch without a '
             'lower validation perplexity; in place of --decay, unless that is given '
             'too (default: 1, not at all)')
    patience: Optional[int] = _field(
        None, _optional(require_count), '--patience', type=int,
        help='stop after this many epochs in a row without a lower validation '
             'perplexity (default: train all epochs)')
    log_interval: Optional[int] = _field(
        None, _optional(require_count), '--log-interval', group='output', type=int,
        metavar='N',
        help='windows between two lines of the table and entries of the log, which '
             'also have the ends of epochs (default: 500 where an epoch has more than '
             '1,000 windows, else none)')
    sentences: bool = _field(
        False, _switch, '--sentences', action='store_const', const=True,
        help='reset the recurrent state before each line in training, validation and '
             'test, as score does (for rescoring in speech recognition, for example); '
             '--batchsize then counts sentences')

    def __post_init__(self) -> None:
        if self.lr is None:
            object.__setattr__(self, 'lr', RATES.get(str(self.optimizer), 1.0))
        if self.cutoffs is not None:  # a list in a file, or an iterator
            object.__setattr__(
                self, 'cutoffs', checked_cutoffs(self.cutoffs, MOST_WORDS))
        for field in dataclasses.fields(self):
            field.metadata['check'](field.name, getattr(self, field.name))
        if self.cutoffs is not None:
            require('cutoffs', self.softmax, 'none beside a full softmax; give '
                    '--softmax adaptive', lambda v: v == 'adaptive')
        if self.softmax == 'adaptive':
            require('tied', self.tied, 'False with an adaptive softmax, whose matrices '
                    'are of other sizes than the embedding', lambda v: not v)

    def summary(self) -> str:
        """Returns the sizes and rates in a few words."""
        decay = (f', divided by {self.decay:g} after each epoch past '
                 f'{self.decay_after}' if self.decay != 1 else '')
        adam = ' of Adam' if self.optimizer == 'adam' else ''
        softmax = ', adaptive softmax' if self.softmax == 'adaptive' else ''
        return (f'{self.n_layers} x {self.n_units} units{softmax}, dropout '
                f'{self.dropout:g}, {counted(self.epochs, "epoch")}, learning rate '
                f'{self.lr:g}{adam}{decay}')

    def operations(self, n_vocab: int) -> float:
        """Estimates the floating point operations of training on one token.

        Twice those of the matrix products, forward and back in three equal parts.
        """
        n_in, products = self.n_embed or self.n_units, 0
        for _ in range(self.n_layers):
            products += 4 * self.n_units * (n_in + self.n_units)
            n_in = self.n_units
        return 6.0 * (products + self._output_products(n_in, n_vocab))

    def _output_products(self, n: int, n_vocab: int) -> float:
        """Estimates the multiplications of the output layer for one word."""
        if self.softmax == 'full' or n_vocab < 2:
            return float(n * n_vocab)
        import numpy
        from rnnlm.links.adaptive_softmax import default_cutoffs
        counts = 1 / numpy.arange(1.0, n_vocab + 1)  # Zipf's law
        cutoffs = self.cutoffs or default_cutoffs(counts)
        products = float(n * (cutoffs[0] + len(cutoffs)))
        for k, (begin, end) in enumerate(zip(cutoffs, (*cutoffs[1:], n_vocab)), 1):
            units = max(1, n // 4 ** k)
            part = counts[begin:end].sum() / counts.sum()
            products += part * units * (n + end - begin)
        return products

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """A context in which Chainer computes as `precision` says."""
        import chainer
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


# What a training run may cost unless its sizes are given, in floating point
# operations: on two cores of today ten minutes to an hour.
BUDGET = 2e14


def recipe_for(n_words: int, n_vocab: int, tokens: str,
               n_sentences: Optional[int] = None, **given: Any) -> Recipe:
    """Returns the recipe for a text of one's own, by its size alone.

    Args:
        n_words: Tokens of the training part.
        n_vocab: Size of the vocabulary.
        tokens: 'word' or 'char'.
        n_sentences: Sentences of the training part, if they are what a batch has.
        given: Sizes that are known, by the names of a recipe's fields.

    Returns:
        At least 13 epochs, and up to 40 of a short text, at least 1 and as many as
        `BUDGET` allows of a long one; in their second half the learning rate falls
        to a 64th.

    Example:
        >>> recipe_for(929_589, 10_000, 'word').summary()
        '2 x 200 units, dropout 0.2, 13 epochs, learning rate 1, divided by 2 after \
each epoch past 7'
    """
    sizes: Dict[str, Any] = dict(
        n_units=96 if n_words < 50_000 else 200, dropout=0.2,
        bprop_len=50 if tokens == 'char' else 20,
        batch_size=max(1, min(20, n_words // 20 if n_sentences is None
                              else n_sentences)))
    sizes.update(given)
    # A sentence that is shorter than a window has one of its own.
    steps = max(n_words / sizes['bprop_len'], n_sentences or 0)
    windows = steps / sizes['batch_size']
    wanted = min(40, max(13, 2500 / windows))
    affordable = BUDGET / (Recipe(**sizes).operations(n_vocab) * n_words)
    epochs = int(max(1, min(wanted, affordable)))
    half = (epochs + 1) // 2
    decay = round(64 ** (1 / (epochs - half)), 2) if epochs > half else 1.0
    return Recipe(**sizes, epochs=epochs, decay=decay, decay_after=half)


def flag_of(name: str) -> str:
    """Returns the flag that sets a field of a recipe: '--lr' for 'lr'."""
    field, = (field for field in dataclasses.fields(Recipe) if field.name == name)
    return str(field.metadata['flags'][0])


def preset_table() -> List[str]:
    """Returns the lines of a table of what each preset sets, by flag."""
    rows = [['', *PRESETS]]
    for field in dataclasses.fields(Recipe):
        values = [getattr(recipe, field.name) for recipe in PRESETS.values()]
        if all(type(value) in (int, float) for value in values):
            rows.append(
                [field.metadata['flags'][0], *(f'{value:g}' for value in values)])
    return ['  '.join([f'{first:18}', *(f'{cell:>7}' for cell in cells)]).rstrip()
            for first, *cells in rows]


def recipe_options(args: argparse.Namespace) -> Dict[str, Any]:
    """Returns the fields of a recipe that were set on the command line, by name."""
    given = {field.name: getattr(args, field.name, None)
             for field in dataclasses.fields(Recipe)}
    return {name: value for name, value in given.items() if value is not None}


def check_options(args: argparse.Namespace) -> None:
    """Refuses values of `recipe_options` that no recipe can have."""
    checks = {field.name: field.metadata['check']
              for field in dataclasses.fields(Recipe)}
    for name, value in recipe_options(args).items():
        checks[name](name, value)


def changed(recipe: Recipe, given: Dict[str, Any]) -> Recipe:
    """Returns a recipe with changed values, and with what they imply.

    Another optimizer has a learning rate of its own, and a decay on a plateau takes the
    place of that by the epoch.

    Args:
        recipe: The recipe.
        given: The values, by the names of the fields.

    Example:
        >>> changed(PRESETS['demo'], {'optimizer': 'adam'}).lr
        0.001
    """
    more: Dict[str, Any] = {}
    if given.get('optimizer', recipe.optimizer) != recipe.optimizer:
        more['lr'] = None
    if given.get('plateau_decay', recipe.plateau_decay) != recipe.plateau_decay:
        more.update(decay=1.0, decay_after=0)
    return dataclasses.replace(recipe, **{**more, **given})
