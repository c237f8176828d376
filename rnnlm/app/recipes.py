"""Recipes: the sizes and rates of training runs, their flags, and presets.

The parsers are made from them before Chainer and NumPy are imported.
"""
import argparse
import contextlib
import dataclasses
import math
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from rnnlm.errors import (
    checked_cutoffs, counted, require, require_count, require_divisor, require_positive,
    require_ratio, short_repr)

# Precisions: float32, or the current `chainer.config.dtype`; TF32 for products on
# a GPU; float16 for weights and products, and float32 for sums, states and master
# weights.
PRECISIONS = 'float32', 'tf32', 'mixed16'

SOFTMAXES = 'full', 'adaptive'

# Upper bound of the vocabulary size.
MOST_WORDS = 2 ** 31 - 1

# Optimizers, and their default learning rates.
RATES = {'sgd': 1.0, 'adam': 1e-3}


def _field(default: Any, check: Callable[[str, Any], None], *flags: str,
           group: str = 'training', **options: Any) -> Any:
    """Returns a dataclass field of a recipe.

    Args:
        default: Its default.
        check: Function (name, value) that raises an error for invalid values.
        flags: The options of the command line that set it, spelled as in Chainer's
            examples/ptb.
        group: Group of the option in the help, a key of `rnnlm.app.options.GROUPS`.
        options: Arguments of ``argparse.ArgumentParser.add_argument``.
    """
    return dataclasses.field(default=default, metadata={
        'check': check, 'flags': flags, 'group': group, 'options': options})


def _optional(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


def _count_or_0(name: str, value: Any) -> None:
    require_count(name, value, least=0)


def _not_negative(name: str, value: Any) -> None:
    require(name, value, 'a number of at least 0', lambda v: 0 <= v < math.inf)


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
            f'expected increasing numbers separated by commas, such as 2000,10000, '
            f'found {short_repr(text)}') from None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Sizes and rates of a training run.

    Attributes:
        n_units: Units in each layer, and in the embedding unless `n_embed` is given.
        n_layers: LSTM layers.
        dropout: Ratio of elements dropped.
        init_scale: Parameters start in [-init_scale, init_scale].
        batch_size: Streams read in parallel, B.
        bprop_len: Steps of a window, T.
        epochs: Number of epochs.
        lr: Learning rate; None for the optimizer's default in `RATES`.
        decay, decay_after: After epoch `decay_after`, the learning rate is
            divided by `decay` in each epoch (`LearningRateDecay`).
        gradclip: Largest L2 norm of the gradients.
        n_embed: Units in the embedding; None for `n_units`.
        tied: Whether the output layer shares the embedding's matrix.
        precision: One of `PRECISIONS`.
        softmax: One of `SOFTMAXES`; see `rnnlm.adaptive_model`.
        cutoffs: Word ranks, by frequency, at which the clusters of an adaptive softmax
            start; by default chosen so that more frequent words make up 80 and 95% of
            the text.
        optimizer: A key of `RATES`.
        plateau_decay: Divisor of the learning rate after each epoch without a lower
            validation loss.
        patience: The run ends after this many epochs in a row without a lower
            validation loss; None to train all epochs.
        average: The model that is evaluated and kept has the average of the parameters
            over about this many epochs (`rnnlm.WeightAverage`); 0 for the parameters
            themselves.
        log_interval: Windows between entries of the log, in addition to those at the
            ends of epochs; None for 500 if an epoch has more than 1,000 windows, and
            otherwise no others.
        sentences: Whether training and evaluation reset the recurrent state before each
            sentence, instead of reading the text as one stream.

    Raises:
        rnnlm.errors.InputError: If a value is out of range.
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
        help='initialise parameters uniformly in [-INIT_SCALE, INIT_SCALE]')
    batch_size: int = _field(
        20, require_count, '--batchsize', '-b', type=int, help='minibatch size')
    bprop_len: int = _field(
        35, require_count, '--bproplen', '-l', type=int,
        help='length of truncated BPTT, in time steps')
    epochs: int = _field(
        39, require_count, '--epoch', '-e', type=int, help='number of epochs')
    lr: float = _field(
        None, require_positive, '--lr', type=float,
        help='learning rate (Adam: alpha); with --resume, from that snapshot on')
    decay: float = _field(
        1.0, require_positive, '--decay', type=float,
        help='divide the learning rate by this in each epoch after DECAY_AFTER epochs')
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
        help='with --softmax adaptive: word ranks, by frequency, at which its clusters '
             'start, such as 2000,10000 (default: more frequent words make up 80 and '
             '95 percent of the text)')
    optimizer: str = _field(
        'sgd', _one_of(RATES), '--optimizer', choices=tuple(RATES),
        help="plain sgd, with learning rate 1 by default, or adam, with Chainer's "
             'defaults and learning rate 0.001 (default: sgd)')
    plateau_decay: float = _field(
        1.0, require_divisor, '--decay-on-plateau', type=float,
        help='divide the learning rate by this, 2 or 4 for example, after each epoch '
             'without a lower validation perplexity; replaces --decay, unless that is '
             'given too (default: 1, no decay)')
    patience: Optional[int] = _field(
        None, _optional(require_count), '--patience', type=int,
        help='stop after this many epochs in a row without a lower validation '
             'perplexity (default: train all epochs)')
    average: float = _field(
        0.0, _not_negative, '--average', type=float, metavar='EPOCHS',
        help='evaluate and keep the moving average of the weights over about this '
             'many epochs, 0.5 for example; training is not changed (Polyak and '
             'Juditsky 1992; default: 0, the weights themselves)')
    log_interval: Optional[int] = _field(
        None, _optional(require_count), '--log-interval', group='output', type=int,
        metavar='N',
        help='windows between lines of the table and entries of the log, in addition '
             'to those at the ends of epochs (default: 500 if an epoch has more than '
             '1,000 windows, otherwise no others)')
    sentences: bool = _field(
        False, _switch, '--sentences', action='store_const', const=True,
        help='reset the recurrent state before each line in training, validation and '
             'test, as score does (for rescoring in speech recognition, for example); '
             '--batchsize then counts sentences')

    def __post_init__(self) -> None:
        if self.lr is None:
            object.__setattr__(self, 'lr', RATES.get(str(self.optimizer), 1.0))
        if self.cutoffs is not None:  # a list in a file, or an iterable
            object.__setattr__(
                self, 'cutoffs', checked_cutoffs(self.cutoffs, MOST_WORDS))
        for field in dataclasses.fields(self):
            field.metadata['check'](field.name, getattr(self, field.name))
        if self.cutoffs is not None:
            require('cutoffs', self.softmax, 'none with a full softmax; give '
                    '--softmax adaptive', lambda v: v == 'adaptive')
        if self.precision == 'mixed16':
            require('average', self.average, '0 with mixed16, because an average of '
                    'float16 weights would lose digits (give --average 0)',
                    lambda v: not v)
        if self.softmax == 'adaptive':
            require('tied', self.tied, 'False with an adaptive softmax, whose matrices '
                    'have other sizes than the embedding (give --no-tied)',
                    lambda v: not v)

    def summary(self) -> str:
        """Returns the sizes and rates in a few words."""
        decay = (f', divided by {self.decay:g} in each epoch after epoch '
                 f'{self.decay_after}' if self.decay != 1 else '')
        adam = ' of Adam' if self.optimizer == 'adam' else ''
        average = (f', weights averaged over {self.average:g} epochs'
                   if self.average else '')
        softmax = ', adaptive softmax' if self.softmax == 'adaptive' else ''
        return (f'{self.n_layers} x {self.n_units} units{softmax}, dropout '
                f'{self.dropout:g}, {counted(self.epochs, "epoch")}, learning rate '
                f'{self.lr:g}{adam}{decay}{average}')

    def operations(self, n_vocab: int) -> float:
        """Estimates the floating point operations of training on one token.

        Each multiplication of a matrix product also has an addition, and the forward
        pass and both gradients take equally many.
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
    # Learns the demo corpus in half a minute.
    'demo': Recipe(n_units=96, dropout=0.1, bprop_len=20, epochs=10,
                   decay=2.0, decay_after=5),
    # Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization" (2014).
    'small': Recipe(n_units=200, dropout=0.0, init_scale=0.1, bprop_len=20, epochs=13,
                    decay=2.0, decay_after=4, gradclip=5.0),
    'medium': Recipe(n_units=650, dropout=0.5, init_scale=0.05, bprop_len=35,
                     epochs=39, decay=1.2, decay_after=6, gradclip=5.0),
    'large': Recipe(n_units=1500, dropout=0.65, init_scale=0.04, bprop_len=35,
                    epochs=55, decay=1.15, decay_after=14, gradclip=10.0),
    # Ours: a low PTB perplexity in about 40 minutes on two cores, chosen among a few
    # candidates on the validation part (benchmarks/laptop.py).
    'laptop': Recipe(n_units=300, dropout=0.3, init_scale=0.1, bprop_len=20, epochs=14,
                     tied=True, average=2.0),
}


# Most floating point operations of a training run with default sizes: ten minutes to an
# hour on two cores.
BUDGET = 2e14


def recipe_for(n_words: int, n_vocab: int, tokens: str,
               n_sentences: Optional[int] = None, **given: Any) -> Recipe:
    """Returns the default recipe for a user's text, based on its size.

    Args:
        n_words: Number of tokens of the training part.
        n_vocab: Size of the vocabulary.
        tokens: 'word' or 'char'.
        n_sentences: Number of sentences of the training part, to train by sentences.
        given: Fields of the recipe that are already determined.

    Returns:
        The recipe.  It has 13 to 40 epochs, the more the shorter the text; for a long
        text only as many as `BUDGET` allows, at least 1.  In the second half of the
        epochs the learning rate falls to 1/64.

    Example:
        >>> recipe_for(929_589, 10_000, 'word').summary()
        '2 x 200 units, dropout 0.2, 13 epochs, learning rate 1, divided by 2 in each \
epoch after epoch 7'
    """
    sizes: Dict[str, Any] = dict(
        n_units=96 if n_words < 50_000 else 200, dropout=0.2,
        bprop_len=50 if tokens == 'char' else 20,
        batch_size=max(1, min(20, n_words // 20 if n_sentences is None
                              else n_sentences)))
    sizes.update(given)
    # A sentence that is shorter than a window takes a window to itself.
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
    """Returns the lines of a table of presets, with a row for each flag."""
    rows = [['', *PRESETS]]
    for field in dataclasses.fields(Recipe):
        values = [getattr(recipe, field.name) for recipe in PRESETS.values()]
        if all(type(value) in (int, float) for value in values) or any(
                value is True for value in values):
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
    """Refuses invalid values of `recipe_options`."""
    checks = {field.name: field.metadata['check']
              for field in dataclasses.fields(Recipe)}
    for name, value in recipe_options(args).items():
        checks[name](name, value)


def changed(recipe: Recipe, given: Dict[str, Any]) -> Recipe:
    """Returns a recipe with changed values, and with defaults that depend on them.

    Another optimizer implies its default learning rate, and decay on a plateau replaces
    decay by epoch.

    Args:
        recipe: The recipe.
        given: The changed values, by field.

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
