"""Loading of models from model files and snapshots, and descriptions of such files."""
from __future__ import annotations

import os
import re
from typing import Any, Iterable, Iterator, NoReturn, Optional, Sequence, Union

import chainer
import numpy

from rnnlm import structure
from rnnlm.chain import language_model
from rnnlm.errors import InputError, printable
from rnnlm.serializers.archive import open_archive, open_verified
from rnnlm.serializers.loading import checked_arrays, checked_values
from rnnlm.serializers.npz import Npz


def load_model(path: Union[str, os.PathLike], target: chainer.Link,
               strict: bool = True) -> None:
    """Loads parameters from a model file or from a snapshot of a trainer.

    Persistent values, such as the averages of a BatchNormalization, are also loaded if
    the file has them.  Code in the file is never run.

    Args:
        path: npz or HDF5 file, written by any version of Chainer or by `save_npz`.
        target: An `RNNForLM`, or a Classifier around one, of the same sizes.
        strict: If true, the file must not have parameters that `target` lacks: a model
            with them computes something else.  If false, they are ignored.

    Raises:
        rnnlm.InputError: If the file cannot be read, or holds a model of other sizes
            or with other parameters.  Then `target` is unchanged.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> rnnlm.save_npz('model.npz', model)
        >>> other = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> rnnlm.load_model('model.npz', other)
        >>> bool((other.embed.W.array == model.embed.W.array).all())
        True
    """
    with open_verified(path) as npz:
        load_from(npz, target, strict)


def load_from(npz: Npz, target: chainer.Link, strict: bool = True) -> None:
    """Loads parameters like `load_model`, from a file that is open and verified."""
    link = getattr(target, 'predictor', target)
    prefix = model_prefix(npz)
    model = language_model(link)
    if model is not None:
        check_tied(npz, prefix, model.tied, names_in_files(link))
    extra = unknown_names(npz, prefix, names_in_files(link))
    root = prefix[:-len('predictor/')]
    if extra and link is not target and prefix.endswith('predictor/'):
        # The extra ones belong to a Classifier that has parameters.
        extra = unknown_names(npz, prefix, names_in_files(target), root)
        link, prefix = target, root
    if extra and strict:
        refuse_extra(npz, extra)
    # Everything is read and checked before the first parameter changes.
    arrays = checked_arrays(npz, prefix, link)
    values = checked_values(npz, prefix, link)
    for param, array in arrays:
        _require_room(npz.path, param, array)
    for param, array in arrays:
        param.array[...] = param.device.send(array)
    for owner, name, value in values:
        setattr(owner, name, value)


def _require_room(path: Union[str, os.PathLike], param: chainer.Parameter,
                  array: numpy.ndarray) -> None:
    """Raises InputError for finite numbers that would overflow in the parameter."""
    if array.dtype.itemsize <= param.dtype.itemsize:
        return
    most = float(numpy.finfo(param.dtype).max)
    if (numpy.isfinite(array) & (numpy.abs(array) > most)).any():
        raise InputError(
            f'{path}: expected {param.name} of numbers that {param.dtype} can hold, up '
            f'to {most:.3g}, found larger ones in {array.dtype}')


def require_sizes(path: Union[str, os.PathLike], **sizes: Any) -> None:
    """Raises InputError if the model in a file has other sizes, without building it.

    Args:
        path: A model or snapshot file.
        sizes: Arguments of `RNNForLM`; 'softmax', 'full' or 'adaptive'; and 'cutoffs',
            None for any.

    Raises:
        rnnlm.InputError: If a size differs; the message names it.
    """
    with open_archive(path) as npz:
        links = read_structure(npz)
    adaptive = links.adaptive
    # `arguments` omits the defaults.
    found = {'tied': False, **links._replace(adaptive=None).arguments(),
             'softmax': 'adaptive' if adaptive else 'full',
             'cutoffs': adaptive and adaptive.cutoffs}
    found.setdefault('n_embed', found['n_units'])
    for name, size in sizes.items():
        if name == 'cutoffs' and size is None:
            continue
        size = sizes['n_units'] if size is None else size  # n_embed
        if found[name] != size:
            raise InputError(
                f'{path}: expected a model with {name}={size}, found one with '
                f'{found[name]}; use the sizes and the corpus that it was trained '
                'with')


def names_in_files(link: chainer.Link) -> Iterator[str]:
    yield from (name for name, _ in link.namedparams())
    for path, owner in link.namedlinks():
        yield from (f'{path}/{name}' for name in owner._persistent)


def check_tied(npz: Npz, prefix: str, tied: bool, names: Iterable[str]) -> None:
    """Raises InputError if tying differs, or if the output matrix may be lost.

    Current files store whether the model is tied.  In older ones, a missing output
    matrix means a tied model; then the file must not have any unknown arrays.

    Args:
        npz: The file.
        prefix: Prefix of the model's names in it.
        tied: Whether the model to be loaded is tied.
        names: Names that such a model has in a file, except its output matrix.
    """
    said = npz.facts.get('tied')
    if said is not None and said != tied:
        kinds = ['an untied', 'a tied']
        raise InputError(
            f'{npz.path}: expected the weights of {kinds[tied]} model, found those of '
            f'{kinds[said]} one; make the model with tied={said}')
    if tied and said is None:
        known = {prefix + name.lstrip('/') for name in names}
        for name in npz:
            if name.startswith(prefix) and name not in known:
                raise InputError(
                    f'{npz.path}: expected the weights of a tied model and no others, '
                    f'found {name!r}: the file may be damaged, its output matrix lost')


def unknown_names(npz: Npz, prefix: str, names: Iterable[str],
                  root: Optional[str] = None) -> list[str]:
    """Returns names of arrays in a file that do not belong to the model.

    In a snapshot only names with the model's prefix count, in other files all.

    Args:
        npz: The file.
        prefix: Prefix of the model's names in it.
        names: Names that the model has.
        root: Prefix of `names`, if it is not `prefix`.
    """
    known = {(prefix if root is None else root) + name.lstrip('/') for name in names}
    below = prefix if prefix.startswith('updater/') or _is_snapshot(npz) else ''
    return sorted(name for name in npz if name.startswith(below) and name not in known)


def _is_snapshot(npz: Npz) -> bool:
    return 'updater/iteration' in npz


def refuse_extra(npz: Npz, extra: Sequence[str]) -> NoReturn:
    """Raises InputError for parameters that the model does not have."""
    names = ', '.join(f"'{printable(name, 80)}'" for name in extra[:8])
    raise InputError(
        f'{npz.path}: expected the parameters of the model and no others, found '
        f'{names}{", ..." if len(extra) > 8 else ""}: a model that has them computes '
        'something else')


def model_prefix(npz: Npz) -> str:
    """Returns the prefix of a model's names: '', 'predictor/', 'updater/model:main/'...
    """
    found = [name[:-len('embed/W')] for name in npz
             if ('/' + name).endswith('/embed/W')]
    if found:
        # A snapshot may hold several models; the optimizer 'main' has the one to load.
        main = [prefix for prefix in found if prefix.startswith('updater/model:main/')]
        return (main + found)[0]
    raise InputError(
        f'{npz.path}: expected the parameters of an RNNForLM, found no embed/W')


def read_structure(npz: Npz) -> structure.Structure:
    """Returns the structure of the model in a file; reads only names and headers.

    Raises:
        rnnlm.InputError: If the file has no such model: an array is missing, is
            unknown, or has a shape that does not fit the others.
    """
    prefix = model_prefix(npz)
    shapes = {name[len(prefix):]: npz.describe(name)[0] for name in npz
              if re.match(re.escape(prefix) + r'(embed|l\d+)/', name)}
    found = structure.of_shapes(shapes, str(npz.path))
    extra = unknown_names(npz, prefix, found.shapes())
    if extra:
        refuse_extra(npz, extra)
    return found


def describe(archive: Npz) -> dict:
    """Describes what a file holds and what wrote it; reads only names and headers.

    Args:
        archive: A file opened by `rnnlm.serializers.archive.open_archive`.

    Returns:
        dict: 'format', 'kind', 'written by', 'model' (its sizes or None), 'summary'
        (the same as text), 'layers' (names in other systems), 'notes', 'refused' (why
        it is not a model, or None) and 'arrays' (name -> 'shape' and 'dtype').
    """
    arrays = {}
    for name in sorted(archive):
        shape, dtype = archive.describe(name)
        arrays[name] = {'shape': list(shape),
                        'dtype': 'None' if dtype.hasobject else str(dtype)}
    found = refused = None
    try:
        found = read_structure(archive)
    except InputError as e:
        refused = str(e)
    if _is_snapshot(archive):
        kind, writer = 'snapshot of a trainer', _writer(archive)
    else:
        kind = 'model' if found else 'optimizer' if 't' in archive else 'arrays'
        writer = 'Chainer 1.5 or later, or rnnlm: all use the same names'
    return {'format': type(archive).__name__.lower(), 'kind': kind,
            'written by': writer, 'model': found and found.as_dict(),
            'summary': found and str(found), 'layers': [], 'notes': [],
            'refused': refused, 'arrays': arrays}


def _writer(archive: Npz) -> str:
    """Returns what wrote a trainer's snapshot, since each release added names."""
    # From the newest writer to the oldest.
    if 'updater/random/keys' in archive:
        return 'rnnlm'
    if any(name.startswith('stop_trigger/') for name in archive):
        return 'Chainer 3 to 7'
    if any(name.startswith('updater/optimizer:') and name.count('/') > 2
           and name.endswith('/t') for name in archive):
        return 'Chainer 2'
    return 'Chainer 1.11 to 1.24'
