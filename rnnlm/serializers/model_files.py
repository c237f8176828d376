"""Files that hold a model: its place and its sizes in them, and loading it."""
from __future__ import annotations

import os
import re
from typing import Union

import chainer

from rnnlm import structure
from rnnlm.errors import InputError
from rnnlm.serializers.archive import open_archive
from rnnlm.serializers.loading import checked_arrays, checked_values
from rnnlm.serializers.npz import Npz


def load_model(path: Union[str, os.PathLike], target: chainer.Link) -> None:
    """Loads parameters from a model file or from a snapshot of a trainer.

    Persistent values, such as the averages of a BatchNormalization, are loaded too if
    the file has them.

    No code in the file is run, whoever wrote it.

    Args:
        path: npz or HDF5 file, written by any version of Chainer or by `save_npz`.
        target: An `RNNForLM`, or a Classifier around one, of the sizes in the file.

    Raises:
        rnnlm.InputError: If the file cannot be read, or holds a model of other sizes;
            `target` is then unchanged.

    Example:
        >>> model = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> rnnlm.save_npz('model.npz', model)
        >>> other = rnnlm.RNNForLM(n_vocab=10, n_units=8)
        >>> rnnlm.load_model('model.npz', other)
        >>> bool((other.embed.W.array == model.embed.W.array).all())
        True
    """
    link = getattr(target, 'predictor', target)
    with open_archive(path) as npz:
        prefix = model_prefix(npz)
        arrays = checked_arrays(npz, prefix, link)
        values = checked_values(npz, prefix, link)
    for param, array in arrays:
        param.array[...] = param.device.send(array)
    for owner, name, value in values:
        setattr(owner, name, value)


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
        rnnlm.InputError: If the file has no such model: an array is missing or
            has another shape than its sizes say.
    """
    prefix = model_prefix(npz)
    shapes = {name[len(prefix):]: npz.describe(name)[0] for name in npz
              if re.match(re.escape(prefix) + r'(embed|l\d+)/', name)}
    return structure.of_shapes(shapes, str(npz.path))


def describe(archive: Npz) -> dict:
    """What a file holds and what wrote it, by its names and headers alone.

    Args:
        archive: As of `rnnlm.serializers.archive.open_archive`.

    Returns:
        'format', 'kind', 'written by', 'model' (its sizes or None), 'summary' (the
        same as text) and 'arrays' (name -> 'shape' and 'dtype').
    """
    arrays = {}
    for name in sorted(archive):
        shape, dtype = archive.describe(name)
        arrays[name] = {'shape': list(shape),
                        'dtype': 'None' if dtype.hasobject else str(dtype)}
    try:
        found = read_structure(archive)
    except InputError:
        found = None
    if 'updater/iteration' in archive:
        kind, writer = 'snapshot of a trainer', _writer(archive)
    else:
        kind = 'model' if found else 'optimizer' if 't' in archive else 'arrays'
        writer = 'Chainer 1.5 or later, or rnnlm: all name a model alike'
    return {'format': type(archive).__name__.lower(), 'kind': kind,
            'written by': writer, 'model': found and found.as_dict(),
            'summary': found and str(found), 'arrays': arrays}


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
