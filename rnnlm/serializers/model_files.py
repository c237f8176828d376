"""Files that hold a model: its place and its sizes in them, and loading it."""
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

    Persistent values, such as the averages of a BatchNormalization, are loaded too if
    the file has them.

    No code in the file is run, whoever wrote it.

    Args:
        path: npz or HDF5 file, written by any version of Chainer or by `save_npz`.
        target: An `RNNForLM`, or a Classifier around one, of the sizes in the file.
        strict: If true, parameters in the file that `target` does not have are
            refused: a model with them computes something else.  If false, they are
            left out.

    Raises:
        rnnlm.InputError: If the file cannot be read, or holds a model of other sizes
            or with other parameters; `target` is then unchanged.

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
    """As `load_model`, from a file that is open, and verified."""
    link = getattr(target, 'predictor', target)
    prefix = model_prefix(npz)
    model = language_model(link)
    if model is not None:
        check_tied(npz, prefix, model.tied, _names_in_files(link))
    extra = beyond(npz, prefix, _names_in_files(link))
    root = prefix[:-len('predictor/')]
    if extra and link is not target and prefix.endswith('predictor/'):
        # Those of a Classifier that has parameters of its own.
        extra = beyond(npz, prefix, _names_in_files(target), root)
        link, prefix = target, root
    if extra and strict:
        refuse_extra(npz, extra)
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
    """Refuses numbers that a parameter would turn into infinity; those stay theirs."""
    if array.dtype.itemsize <= param.dtype.itemsize:
        return
    most = float(numpy.finfo(param.dtype).max)
    if (numpy.isfinite(array) & (numpy.abs(array) > most)).any():
        raise InputError(
            f'{path}: expected {param.name} of numbers that {param.dtype} can hold, up '
            f'to {most:.3g}, found larger ones in {array.dtype}')


def require_sizes(path: Union[str, os.PathLike], **sizes: Any) -> None:
    """Refuses a file whose model has other sizes, before one of them is made.

    Args:
        path: A model or snapshot file.
        sizes: As `RNNForLM` takes them.

    Raises:
        rnnlm.InputError: Naming the size that differs.
    """
    with open_archive(path) as npz:
        found = {'tied': False, **read_structure(npz).arguments()}
    found.setdefault('n_embed', found['n_units'])
    for name, size in sizes.items():
        size = sizes['n_units'] if size is None else size  # n_embed
        if found[name] != size:
            raise InputError(
                f'{path}: expected a model with {name}={size}, found one with '
                f'{found[name]}; give the sizes and the corpus that it was trained '
                'with')


def _names_in_files(link: chainer.Link) -> Iterator[str]:
    yield from (name for name, _ in link.namedparams())
    for path, owner in link.namedlinks():
        yield from (f'{path}/{name}' for name in owner._persistent)


def check_tied(npz: Npz, prefix: str, tied: bool, names: Iterable[str]) -> None:
    """Refuses a file of a tied model whose output matrix may only have been lost.

    A file of today says whether its model is tied.  In an older one a tied model is
    known by the output matrix that is missing, and then nothing else may be there.

    Args:
        npz: The file.
        prefix: Where the model stands in it.
        tied: Whether the model to be made of it is tied.
        names: What else than its output matrix such a model has in a file.
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
                    f'found {name!r}: it may be damaged, and its output matrix lost')


def beyond(npz: Npz, prefix: str, names: Iterable[str],
           root: Optional[str] = None) -> list[str]:
    """Names of arrays that a model has in a file beyond its own.

    In a snapshot those are below its prefix, elsewhere all of the file.

    Args:
        npz: The file.
        prefix: Where the model stands in it.
        names: What the model has.
        root: Where `names` stand, if not at `prefix`.
    """
    known = {(prefix if root is None else root) + name.lstrip('/') for name in names}
    below = prefix if prefix.startswith('updater/') or _is_snapshot(npz) else ''
    return sorted(name for name in npz if name.startswith(below) and name not in known)


def _is_snapshot(npz: Npz) -> bool:
    return 'updater/iteration' in npz


def refuse_extra(npz: Npz, extra: Sequence[str]) -> NoReturn:
    """Refuses a file with parameters that a model has no place for."""
    names = ', '.join(f"'{printable(name, 80)}'" for name in extra[:8])
    raise InputError(
        f'{npz.path}: expected the parameters of the model and no others, found '
        f'{names}{", ..." if len(extra) > 8 else ""}: a model that has them computes '
        'something else')


def model_prefix(npz: Npz) -> str:
    """Where the model stands in a file: '', 'predictor/', 'updater/model:main/'..."""
    found = [name[:-len('embed/W')] for name in npz
             if ('/' + name).endswith('/embed/W')]
    if found:
        main = [prefix for prefix in found if prefix.startswith('updater/model:main/')]
        return (main + found)[0]
    raise InputError(
        f'{npz.path}: expected the parameters of an RNNForLM, found no embed/W')


def read_structure(npz: Npz) -> structure.Structure:
    """The links and sizes of the model in a file, from its names and headers alone.

    Raises:
        rnnlm.InputError: If the file has no such model: an array is missing, one too
            many, or has another shape than its sizes say.
    """
    prefix = model_prefix(npz)
    shapes = {name[len(prefix):]: npz.describe(name)[0] for name in npz
              if re.match(re.escape(prefix) + r'(embed|l\d+)/', name)}
    found = structure.of_shapes(shapes, str(npz.path))
    extra = beyond(npz, prefix, found.shapes())
    if extra:
        refuse_extra(npz, extra)
    return found


def describe(archive: Npz) -> dict:
    """What a file holds and what wrote it, by its names and headers alone.

    Args:
        archive: As of `rnnlm.serializers.archive.open_archive`.

    Returns:
        'format', 'kind', 'written by', 'model' (its sizes or None), 'summary' (the
        same as text), 'layers' (what other systems call them), 'notes' (what there is
        to say of it), 'refused' (why it is no model, or None) and 'arrays' (name ->
        'shape' and 'dtype').
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
        writer = 'Chainer 1.5 or later, or rnnlm: all name a model alike'
    return {'format': type(archive).__name__.lower(), 'kind': kind,
            'written by': writer, 'model': found and found.as_dict(),
            'summary': found and str(found), 'layers': [], 'notes': [],
            'refused': refused, 'arrays': arrays}


def _writer(archive: Npz) -> str:
    """What wrote a trainer's snapshot: each release added names of its own."""
    if 'updater/random/keys' in archive:
        return 'rnnlm'
    if any(name.startswith('stop_trigger/') for name in archive):
        return 'Chainer 3 to 7'
    if any(name.startswith('updater/optimizer:') and name.count('/') > 2
           and name.endswith('/t') for name in archive):
        return 'Chainer 2'
    return 'Chainer 1.11 to 1.24'
