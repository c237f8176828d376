"""Loading models and snapshots."""
import logging
import os
import re
import warnings

import chainer

from rnnlm.archives import open_archive
from rnnlm.errors import InputError

logger = logging.getLogger(__name__)


class Deserializer(chainer.serializers.NpzDeserializer):
    """Chainer's, for the files of all its versions."""

    def __getitem__(self, key):
        return Deserializer(self.npz, self.path + key.strip('/') + '/', self.strict,
                            self.ignore_names)

    def __call__(self, key, value):
        # Chainer 1 counted updates in the optimizer alone, later versions also
        # in each parameter's rule.
        folder = self.path.rstrip('/')
        if key == 't' and self.path + key not in self.npz:
            while folder:
                folder = folder.rpartition('/')[0]
                above = f'{folder}/t' if folder else 't'
                if above in self.npz:
                    return int(self.npz[above])
        return super().__call__(key, value)


def load_model(path, target):
    """Loads parameters from a model file or from a snapshot of a trainer.

    Args:
        path (str): npz or HDF5 file that Chainer, any version, or this package
            wrote.
        target: An `RNNForLM`, or a Classifier around one.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read, or holds a model of
            other sizes; `target` is then unchanged.
    """
    link = getattr(target, 'predictor', target)
    with open_archive(path) as npz:
        arrays = _arrays(npz, model_prefix(npz), link)
    for param, array in arrays:
        param.array[...] = param.device.send(array)


def model_prefix(npz):
    """Where the model stands in a file: '', 'predictor/', 'updater/model:main/'..."""
    found = [name[:-len('embed/W')] for name in npz
             if ('/' + name).endswith('/embed/W')]
    if found:
        main = [prefix for prefix in found if prefix.startswith('updater/model:main/')]
        return (main + found)[0]
    raise InputError(
        f'{npz.path}: expected the parameters of an RNNForLM, found no embed/W')


def model_sizes(npz):
    """The sizes of the model in a file, as `RNNForLM` takes them.

    Returns:
        dict: 'n_vocab', 'n_units', 'n_layers', and where they are not as always
        'n_embed' and 'tied'.

    Raises:
        rnnlm.errors.InputError: if the file has no such model: an array is missing or
            has another shape than its sizes say.
    """
    prefix = model_prefix(npz)

    def shape(name):
        found, _ = npz.describe(prefix + name)
        if len(found) != 2:
            raise InputError(
                f'{npz.path}: expected {name} of two dimensions, found {found}')
        return found

    n_vocab, n_embed = shape('embed/W')
    n_layers = sum(
        re.fullmatch(re.escape(prefix) + r'l\d+/lateral/W', name) is not None
        for name in npz)
    sizes = {'n_vocab': n_vocab, 'n_units': n_embed, 'n_layers': n_layers}
    if prefix + 'l1/lateral/W' in npz:
        sizes['n_units'] = shape('l1/lateral/W')[1]
    if n_embed != sizes['n_units']:
        sizes['n_embed'] = n_embed
    output = f'{prefix}l{n_layers + 1}/'
    if output + 'b' in npz and output + 'W' not in npz:
        sizes['tied'] = True
    # Before a model of these sizes is made: they may be anything.
    expected_shapes = model_shapes(
        n_vocab, n_embed, sizes['n_units'], n_layers, sizes.get('tied', False))
    for name, expected in expected_shapes.items():
        if prefix + name not in npz:
            raise InputError(
                f'{npz.path}: expected {prefix + name!r} of shape {expected}, found '
                'nothing of that name')
        found, _ = npz.describe(prefix + name)
        if found != expected:
            raise InputError(
                f'{npz.path}: expected {prefix + name!r} of shape {expected}, that of '
                f'a model of {n_vocab:,} words and {sizes["n_units"]:,} units, found '
                f'{found}')
    return sizes


def model_shapes(n_vocab, n_embed, n_units, n_layers, tied=False):
    """dict: the names of a model's parameters, at least one layer's, and their shapes.
    """
    shapes = {'embed/W': (n_vocab, n_embed)}
    n_in = n_embed
    for k in range(1, max(1, n_layers) + 1):
        shapes.update((f'l{k}/{name}', shape)
                      for name, shape in layer_shapes(n_in, n_units).items())
        n_in = n_units
    if not tied:
        shapes[f'l{n_layers + 1}/W'] = n_vocab, n_units
    shapes[f'l{n_layers + 1}/b'] = n_vocab,
    return shapes


def layer_shapes(n_in, n):
    """dict: the names of an LSTM layer's parameters and their shapes."""
    return {'upward/W': (4 * n, n_in), 'upward/b': (4 * n,), 'lateral/W': (4 * n, n)}


def describe(archive):
    """What a file holds and what wrote it, by its names and headers alone.

    Args:
        archive: As of `rnnlm.archives.open_archive`.

    Returns:
        dict: 'format', 'kind', 'written by', 'model' (its sizes or None) and 'arrays'
        (name -> 'shape' and 'dtype').
    """
    arrays = {}
    for name in sorted(archive):
        shape, dtype = archive.describe(name)
        arrays[name] = {'shape': list(shape),
                        'dtype': 'None' if dtype.hasobject else str(dtype)}
    try:
        sizes = model_sizes(archive)
    except InputError:
        sizes = None
    if 'updater/iteration' in archive:
        kind, writer = 'snapshot of a trainer', _writer(archive)
    else:
        kind = 'model' if sizes else 'optimizer' if 't' in archive else 'arrays'
        writer = 'Chainer 1.5 or later, or rnnlm: all name a model alike'
    return {'format': type(archive).__name__.lower(), 'kind': kind,
            'written by': writer, 'model': sizes, 'arrays': arrays}


def _writer(archive):
    """What wrote a trainer's snapshot: each release added names of its own."""
    if 'updater/random/keys' in archive:
        return 'rnnlm'
    if any(name.startswith('stop_trigger/') for name in archive):
        return 'Chainer 3 to 7'
    if any(name.startswith('updater/optimizer:') and name.count('/') > 2
           and name.endswith('/t') for name in archive):
        return 'Chainer 2'
    return 'Chainer 1.11 to 1.24'


def _arrays(npz, prefix, link):
    """[(parameter, its array in the file)], all read and of the right shapes."""
    arrays = []
    for name, param in link.namedparams():
        key = prefix + name.lstrip('/')
        if key not in npz:
            raise InputError(
                f'{npz.path}: expected {key!r} of shape {param.shape}, found nothing '
                'of that name; was it written by a model with another number of '
                'layers?')
        shape, dtype = npz.describe(key)
        if shape != param.shape:
            raise InputError(
                f'{npz.path}: expected {key!r} of shape {param.shape}, found {shape}; '
                'give the numbers of units and layers, and the corpus, that it was '
                'trained with')
        if dtype.kind != 'f':
            raise InputError(
                f'{npz.path}: expected {key!r} of {param.dtype}, found {dtype}')
        arrays.append((param, npz[key]))
    return arrays


def resume(path, trainer):
    """Loads a snapshot of a trainer, of this package or of Chainer 1.11 to 7.8.

    Args:
        path (str): Snapshot file; a folder means the newest whole one in it.
        trainer: :class:`chainer.training.Trainer`, extended as the one that was
            saved.

    Returns:
        str: path of the snapshot.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read, is damaged or not a
            snapshot, or does not fit the trainer.
    """
    if os.path.isdir(path):
        path = newest_snapshot(path)
    with open_archive(path) as npz:
        npz.verify()
        if 'updater/iteration' not in npz:
            raise InputError(
                f'{path}: expected a snapshot of a trainer (snapshot_iter_N), found a '
                'file without updater/iteration; is it a model?')
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            _arrays(npz, f'updater/model:{name}/', optimizer.target)
        _check_batch(npz, trainer.updater.get_iterator('main'))
        try:
            with warnings.catch_warnings():
                # Old snapshots lack the triggers' memory; Chainer guesses it.
                warnings.filterwarnings('ignore', '.*(is|are) not saved')
                Deserializer(npz).load(trainer)
        except KeyError as e:
            raise InputError(
                f'{path}: expected a snapshot of a run with the same optimizer and '
                f'extensions, found no {e}') from e
        except (TypeError, ValueError, OverflowError, AttributeError) as e:
            raise InputError(
                f'{path}: expected a snapshot that fits this trainer, found one that '
                f'does not ({type(e).__name__}: {e})') from e
    return path


def snapshots_in(folder):
    """Paths of the ``snapshot_iter_N`` in a folder, that of the most windows first.

    Raises:
        rnnlm.errors.InputError: if there is no such folder.
    """
    try:
        names = os.listdir(folder)
    except OSError as e:
        raise InputError(
            f'{folder}: expected the folder of a run, found: {e.strerror}') from None
    return sorted((os.path.join(folder, name) for name in names
                   if snapshot_number(name) is not None),
                  key=snapshot_number, reverse=True)


def snapshot_number(path):
    """The N of a ``snapshot_iter_N``; None for other files."""
    match = re.fullmatch(r'snapshot_iter_(\d+)', os.path.basename(path))
    return int(match.group(1)) if match else None


def is_whole(path):
    """Whether a file is whole; if not, a warning says what is wrong."""
    try:
        with open_archive(path) as archive:
            archive.verify()
        return True
    except InputError as e:
        logger.warning('passed over: %s', e)
        return False


def newest_snapshot(folder):
    """Path of the newest snapshot in a folder that is whole.

    Which ones were passed over, and why, is logged as a warning.

    Raises:
        rnnlm.errors.InputError: if there is none.
    """
    paths = snapshots_in(folder)
    for path in paths:
        if is_whole(path):
            return path
    found = f'{len(paths)}, all of them damaged' if paths else 'none'
    raise InputError(
        f'{folder}: expected a whole snapshot_iter_N to go on from, found {found}')


def _check_batch(npz, iterator):
    batch = getattr(iterator, 'batch_size', None)
    if 'updater/state/l1/h' in npz:
        shape, _ = npz.describe('updater/state/l1/h')
        if batch is not None and shape[:1] != (batch,):
            raise InputError(
                f'{npz.path}: expected a run with the batch size {batch}, found one '
                f'with {shape[0] if shape else None}; a run goes on with its own')
