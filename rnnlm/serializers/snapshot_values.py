"""Checks of the values in a snapshot: kind, shape and range.

`check` looks at all of them before any is loaded.  NumPy and Chainer check few: an
invalid position in the random state crashes the process.
"""
from __future__ import annotations

import math
import re
from typing import Any, Callable, Iterator

import chainer
from chainer import training
import numpy

from rnnlm import parts, states
from rnnlm.chain import language_model
from rnnlm.errors import InputError, printable, short_repr
from rnnlm.serializers import reading
from rnnlm.serializers.loading import checked_arrays, checked_values
from rnnlm.serializers.npz import Npz

# Limit of windows, epochs and seconds; larger integers are not exact in float64.
MOST = 2 ** 53

# Largest value in bytes that is checked here; parameters are checked separately.
LARGEST = 2 ** 26


def _count(least: int = 0, most: int = MOST) -> tuple:
    return (f'an integer from {least} to {most}',
            lambda a: is_count(a, least, most))


def is_count(array: numpy.ndarray, least: int = 0, most: int = MOST) -> bool:
    """Returns whether an array is a single integer within a range."""
    return bool(array.shape == () and array.dtype.kind in 'iu'
                and least <= array <= most)


def _number(least: float, most: float, or_none: bool = False) -> tuple:
    return (f'a number from {least:g} to {most:g}' + ' or None' * or_none,
            lambda a: _is_none(a) and or_none or (
                a.shape == () and a.dtype.kind in 'iuf' and least <= a <= most))


def _is_none(a: numpy.ndarray) -> bool:
    return a.dtype.hasobject and a.shape == () and a[()] is None


def _json(is_good: Callable) -> Callable:
    def check(a: numpy.ndarray) -> bool:
        text = ''
        if a.shape == () and a.dtype.kind in 'US':  # bytes in an HDF5 file
            text = bytes(a[()]).decode() if a.dtype.kind == 'S' else str(a)
        return is_good(reading.parse_json(text, len(text), constants=True))
    return check


# Log entries that must be numbers, if present.
_NUMBERS = re.compile(
    r'epoch|iteration|elapsed_time|lr|words/s|val_known|.*(loss|perplexity)')


def _is_log(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and all(
            _is_good_entry(name, number) for name, number in entry.items())
        for entry in value)


def _is_good_entry(name: str, value: Any) -> bool:
    if not _NUMBERS.fullmatch(name):
        return True  # from an extension that is not ours
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if name in ('epoch', 'iteration', 'elapsed_time'):
        return 0 <= value <= MOST
    return abs(value) <= 1e308 or isinstance(value, float)


def _is_parts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, dict) and isinstance(part.get('windows'), list)
        and len(part['windows']) == 2 and all(
            type(n) is int and 0 <= n <= MOST for n in part['windows'])
        for part in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


FINITE = -1.7e308, 1.7e308
ANY_NUMBER = 'a number', lambda a: a.shape == () and (
    a.dtype.kind == 'f' or a.dtype.kind in 'iu' and -MOST <= a <= MOST)
BOOL = 'a bool', lambda a: a.shape == () and (
    a.dtype.kind == 'b' or a.dtype.kind in 'iu' and a in (0, 1))

# Pattern of the name, description of a valid value, function that checks the array.
RULES = [(re.compile(pattern), *rule) for pattern, rule in [
    (r'updater/iteration', _count()),
    (r'updater/iterator:[^/]+/(iteration|epoch|current_position)', _count()),
    (r'updater/iterator:[^/]+/(batch|step)', _count()),
    (r'updater/iterator:[^/]+/seed', _count(0, 2 ** 32 - 1)),
    (r'updater/iterator:[^/]+/batch_size', _count(1)),
    (r'updater/iterator:[^/]+/previous_epoch_detail', _number(-1, MOST)),
    (r'updater/iterator:[^/]+/is_new_epoch', BOOL),
    (r'updater/iterator:[^/]+/_?order', (
        'None or a row of integers', lambda a: _is_none(a) or (
            a.ndim == 1 and a.dtype.kind in 'iu'))),
    (r'updater/optimizer:[^/]+/(.+/)?t', _count()),
    (r'updater/optimizer:[^/]+/epoch', _count()),
    (r'updater/random(:\d+)?/keys', (
        '624 integers of 32 bits', lambda a: a.shape == (624,) and (
            a.dtype.kind in 'iu' and (a >= 0).all() and (a < 2 ** 32).all()))),
    (r'updater/random(:\d+)?/position', _count(0, 624)),
    (r'updater/random(:\d+)?/has_gauss', _count(0, 1)),
    (r'updater/random(:\d+)?/gauss', _number(-100, 100)),
    (r'updater/processes', _count(1, 2 ** 20)),
    (r'updater/state/is_set', BOOL),
    (r'updater/state/batch_size', (
        'None or an integer of at least 1', lambda a: _is_none(a) or _count(1)[1](a))),
    (r'updater/state/.+_rank', _count(-1)),
    (r'updater/loss_scale:[^/]+/scale', _number(1e-300, 1e300)),
    (r'updater/loss_scale:[^/]+/was_nan', BOOL),
    (r'.*_trigger/previous_iteration|extension_triggers/[^/]+/(.+/)?previous_iteration',
     _count(-1)),
    (r'(stop_trigger|extension_triggers/[^/]+|extensions/[^/]+)/(.+/)?'
     r'previous_epoch_detail', _number(-1, MOST)),
    (r'(stop_trigger|extension_triggers/[^/]+)/count', _count()),
    (r'(stop_trigger|extension_triggers/[^/]+)/(best|pending)', ANY_NUMBER),
    (r'(stop_trigger|extension_triggers/[^/]+)/best_value', (
        'a number or None', lambda a: _is_none(a) or ANY_NUMBER[1](a))),
    (r'extension_triggers/[^/]+/next_time', _number(0, MOST)),
    (r'extension_triggers/[^/]+/(finished|_flag_first)', BOOL),
    (r'extensions/LearningRateDecay[^/]*/lr', _number(0, 1e300, or_none=True)),
    (r'extensions/History[^/]*/parts', ('parts of a run in JSON', _json(_is_parts))),
    (r'extensions/LearningRateDecay[^/]*/(since|waited)', _count()),
    (r'extensions/(BestModel[^/]*/loss|LearningRateDecay[^/]*/best)',
     _number(FINITE[0], math.inf)),
    (r'extensions/[^/]+/_log', ("LogReport's entries in JSON", _json(_is_log))),
    (r'extensions/[^/]+/_plot_.*', (
        "PlotReport's values in JSON", _json(lambda v: isinstance(v, (dict, list))))),
    (r'extensions/[^/]+/(_t|_current_step)', _count()),
    (r'extensions/WeightAverage[^/]*/count', _count()),
    (r'extensions/[^/]+/_last_value', _number(*FINITE, or_none=True)),
    (r'.*_?summary/_names', ('names in JSON', _json(_is_names))),
    (r'.*_?summary/(_summaries/\d+/)?_n', _number(0, MOST)),
    (r'.*_?summary/(_summaries/\d+/)?_x2?', ANY_NUMBER),
    (r'_snapshot_elapsed_time', _number(0, MOST)),
]]


def check(npz: Npz, trainer: training.Trainer) -> None:
    """Raises InputError for a snapshot with invalid values, before it is loaded.

    Args:
        npz: The snapshot.
        trainer: The trainer that will resume from it.

    Raises:
        rnnlm.errors.InputError: If a value is invalid; the message names it, what was
            expected and what was found.
    """
    params: dict[str, chainer.Parameter] = {}
    for name, optimizer in trainer.updater.get_all_optimizers().items():
        _check_parameters(npz, f'updater/model:{name}/', optimizer.target)
        params.update(_optimizer_states(name, optimizer))
        _check_float32(npz, f'updater/float32:{name}/', optimizer.target)
    for name, entry in trainer._extensions.items():
        averaged = getattr(entry.extension, 'averaged', None)  # of a WeightAverage
        if f'extensions/{name}/count' in npz and isinstance(averaged, chainer.Link):
            _check_parameters(npz, f'extensions/{name}/averaged/', averaged)
    own = _own_prefixes(trainer)
    for key in npz:
        _check_value(npz, key, params, own)
    _check_random(npz)
    _check_states(npz, trainer.updater)


def _require(npz: Npz, key: str, expected: str, good: Any, found: Any) -> None:
    if not good:
        if isinstance(found, numpy.ndarray) and found.size > 1:
            found = f'{found.dtype} of shape {found.shape}'
        elif isinstance(found, numpy.ndarray):
            found = short_repr(found.tolist())
        raise InputError(
            f'{npz.path}: expected {printable(key, 200)!r} to be {expected}, found '
            f'{found}; resume another snapshot')


def _check_parameters(npz: Npz, prefix: str, link: chainer.Link) -> None:
    names = [name.lstrip('/') for name, _ in link.namedparams()]
    for name, (param, array) in zip(names, checked_arrays(npz, prefix, link)):
        _require(npz, prefix + name, f'finite in {param.dtype}',
                 _is_finite(array, param.dtype), 'NaN, infinity or too large numbers')
    checked_values(npz, prefix, link)


def _is_finite(array: numpy.ndarray, dtype: Any = 'f') -> bool:
    """Returns whether a float array is finite, also after conversion to `dtype`."""
    largest = float(numpy.abs(array).max(initial=0))
    return math.isfinite(largest) and largest <= float(numpy.finfo(dtype).max)


def _optimizer_states(name: str, optimizer: Any) -> Iterator[tuple]:
    """Yields (prefix of its state's names, parameter) for each stock update rule."""
    for path, param in optimizer.target.namedparams():
        rule = getattr(param, 'update_rule', None)
        if type(rule).__module__.startswith('chainer.'):
            yield f'updater/optimizer:{name}{path}', param


def _own_prefixes(trainer: training.Trainer) -> tuple[str, ...]:
    """Returns the prefixes of what objects with a `serialize` of the user save.

    They may use any names and values, also those of Chainer's objects.
    """
    found = {'stop_trigger/': trainer.stop_trigger}
    for name, entry in trainer._extensions.items():
        found[f'extensions/{name}/'] = entry.extension
        found[f'extension_triggers/{name}/'] = entry.trigger
    for name, iterator in trainer.updater._iterators.items():
        found[f'updater/iterator:{name}/'] = iterator
    return tuple(prefix for prefix, thing in found.items() if not str(getattr(
        getattr(thing, 'serialize', None), '__module__', 'chainer.')).startswith(
            ('chainer.', 'rnnlm.')))


def _check_value(npz: Npz, key: str, params: dict, own: tuple[str, ...]) -> None:
    shape, dtype = npz.describe(key)
    if dtype.hasobject:
        npz[key]  # raises unless it is None
    if math.prod(shape) * dtype.itemsize > LARGEST or key.startswith(own):
        return
    for pattern, expected, is_good in RULES:
        if pattern.fullmatch(key):
            array = npz[key]
            try:
                good = is_good(array)
            except (ValueError, TypeError, AttributeError):
                good = False
            _require(npz, key, expected, good, array)
            return
    rule, _, _ = key.rpartition('/')
    if rule in params:
        array, shape = npz[key], params[rule].shape
        # MSVAG has one number for all elements.
        if key.endswith('/beta_power') and npz.describe(key)[0] == ():
            shape = ()
        _require(npz, key, f'None or finite numbers of shape {shape}',
                 _is_none(array) or array.shape == shape and (
                     array.dtype.kind == 'f' and _is_finite(array)), array)


def _check_float32(npz: Npz, prefix: str, link: chainer.Link) -> None:
    """Checks the float32 copies of parameters, which are named by numbers."""
    for k, (_, param) in enumerate(sorted(link.namedparams())):
        key = f'{prefix}{k}'
        if key in npz:
            array = npz[key]
            _require(npz, key, f'finite numbers of shape {param.shape}',
                     array.shape == param.shape and array.dtype.kind == 'f'
                     and _is_finite(array), array)


RANDOM = 'keys', 'position', 'has_gauss', 'gauss'


def _check_random(npz: Npz) -> None:
    """Checks that a random state is saved completely or not at all."""
    folders = {key.rpartition('/')[0] for key in npz}
    for folder in folders:
        if re.fullmatch(r'updater/random(:\d+)?', folder):
            for name in RANDOM:
                _require(npz, f'{folder}/{name}', 'present, as the others are',
                         f'{folder}/{name}' in npz, 'nothing')


def _check_states(npz: Npz, updater: Any) -> None:
    """Checks the recurrent states: complete or absent for each link, shape (B, n)."""
    any_set, batches = False, set()
    for place, link in _places(updater.get_optimizer('main').target):
        found = {key: npz[key] for key in (
            f'updater/state/{place}/{name}'
            for name in states.names(link, unset=True)) if key in npz}
        here = {key for key, array in found.items() if not _is_none(array)}
        any_set = any_set or bool(here)
        if type(link) in parts.TABLE:
            _require(npz, f'updater/state/{place}', 'a complete state, or none',
                     not here or len(here) == len(states.names(link)), 'a part of one')
        for key in here:
            array, width = found[key], getattr(link, 'state_size', None)
            good = width is None or array.ndim == 2 and array.shape[1] == width
            _require(npz, key, f'the finite state of {width} units',
                     good and array.dtype.kind == 'f' and _is_finite(array), array)
            if width is not None or type(link) in parts.TABLE:
                batches.add(len(array))
    _require(npz, 'updater/state', 'of one batch size', len(batches) < 2 and (
        0 not in batches), f'those of {sorted(batches)[:9]}')
    size = 'updater/state/batch_size'
    if batches and size in npz and not _is_none(npz[size]):
        _require(npz, size, f'{min(batches)}, the batch size of the saved states',
                 int(npz[size]) in batches, npz[size])
    is_set = 'updater/state/is_set'
    if is_set in npz:
        _require(npz, is_set, f'{any_set}, according to the saved states',
                 bool(npz[is_set]) == any_set, npz[is_set])
    elif any_set and language_model(updater.get_optimizer('main').target):
        _require(npz, is_set, 'present, since there are states', False, 'nothing')


def _places(target: chainer.Link) -> Iterator[tuple]:
    """Yields (name of its state in a file, link) for each link with a state.

    Links of an `RNNForLM` are named relative to it, others by their full path.
    """
    model = language_model(target)
    prefix = next((path for path, link in target.namedlinks() if link is model), '/')
    for path, link in states.recurrent_links(target):
        inner = path[len(prefix):] if path.startswith(prefix) else path
        yield inner.strip('/'), link
