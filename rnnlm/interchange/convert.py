"""From a file of one system to a file of another, as `rnnlm convert` does it."""
import os
import re
from typing import NamedTuple, Optional

from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.interchange import (
    _by_shape, _chainer_names, _tokens, _untrusted, keras, onnx, pytorch, safetensors,
    torch7, twin)
from rnnlm.interchange.naming import require_sigmoids
from rnnlm.interchange.weights import as_float32, check_model, untied
from rnnlm.serializers import reading
from rnnlm.serializers.archive import (
    HDF5_SIGNATURE, open_archive, open_verified)
from rnnlm.serializers.atomic import require_writable, writing
from rnnlm.serializers.model_files import check_tied, model_prefix, read_structure
from rnnlm.serializers.npz import save_npz

VOCABULARY = 'vocabulary.json'

# Endings, and the module of each format.
FORMATS = {'.pt': pytorch, '.pth': pytorch, '.net': pytorch, '.bin': pytorch,
           '.model': pytorch, '.pkl': pytorch, '.safetensors': safetensors,
           '.t7': torch7, '.weights.h5': keras, '.keras': keras, '.onnx': onnx}
ENDINGS = ('.npz', '.pt', '.pth', '.safetensors', '.t7', '.weights.h5', '.keras',
           '.onnx', '.py')

# What the first pickle of an old file of PyTorch holds: its magic number.
OLD_TORCH = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


# Parameters of Chainer's recurrent links, and what its optimizers keep for one.
CHAINERS = re.compile(
    r'(embed/W|lateral\d?/W|/w[1-7]|/[WU]_[rz]/W|/[Wb]\d?/[mvth])$')


class Model(NamedTuple):
    """A model from a file of any format.

    Attributes:
        weights (dict): as of `rnnlm.interchange.weights`.
        vocabulary (Vocabulary): its tokens, in the file or beside it; or None.
        notes (list of str): what was taken for what, where names did not say.
        dropout (float): what it was trained with, where the file says it; or None.
    """
    weights: dict
    vocabulary: Optional[Vocabulary] = None
    notes: tuple = ()
    dropout: Optional[float] = None


def load(path):
    """Weights from a file of any format.

    Args:
        path (str): npz or HDF5 of Chainer or rnnlm, a file of torch.save,
            .safetensors, .t7, .weights.h5, .h5 or .keras; told by what is in them, or
            else by their ending.

    Returns:
        dict: as of `rnnlm.interchange.weights`; those of a tied model with an output
        matrix of their own.

    Raises:
        rnnlm.errors.InputError: if it cannot be read or is no such model.
    """
    return load_model(path).weights


def load_model(path):
    """As `load`, a `Model`: with its tokens, and what there is to say of it."""
    module = format_of(path)
    tokens, notes, dropout = None, [], []
    if module is None:
        weights, notes = _of_chainer(path)
    elif module is onnx:
        raise InputError(
            f'{path}: expected a format that is read, found ONNX, which is written '
            'only; convert the file that it was made of')
    elif module is keras:
        weights, notes = keras.load(path)
    else:
        (weights, notes), tokens, *dropout = module.load(path)
    structure = check_model(weights)
    return Model(weights, _vocabulary(path, tokens, structure.n_vocab), tuple(notes),
                 *dropout)


def _vocabulary(path, tokens, n_vocab):
    """That of the file, else the one beside it, if it has as many tokens."""
    if isinstance(tokens, Vocabulary):
        return tokens
    if tokens is not None:
        try:
            words, by_byte = _tokens.words_of(tokens)
            return Vocabulary(words, 'byte' if by_byte else None)
        except InputError as e:
            raise InputError(f'{path}: {e}') from None
    for file in path, os.path.realpath(path):  # which may be a link into a run's folder
        beside = os.path.join(os.path.dirname(file), VOCABULARY)
        if os.path.isfile(beside):
            found = Vocabulary.load(beside)
            return found if len(found) == n_vocab else None
    return None


def save(path, weights, vocabulary=None, dropout=None):
    """Writes weights in the format that the ending of a path says.

    Args:
        path (str): ending in .npz, .pt, .pth, .safetensors, .t7, .weights.h5, .keras,
            .onnx for a graph, or .py for a torch.nn.Module with its weights beside it
            in a .pt.
        weights (dict): as of `rnnlm.interchange.weights`.
        vocabulary (Vocabulary): its tokens, if they are known; written to a
            vocabulary.json beside it, and into a .safetensors, .onnx and .t7.
        dropout (float): what it was trained with, if that is known; for a .safetensors
            and a .py.

    Returns:
        list of str: the files written.

    Raises:
        rnnlm.errors.InputError: if the ending is another, it cannot be written, or the
            format does not have what the model is made of.
    """
    files = outputs(path)
    ending = next(end for end in ENDINGS if path.endswith(end))
    structure = check_model(weights)
    for each in files:
        require_writable(each)
    _write(path, ending, weights, structure, vocabulary, dropout)
    beside = os.path.join(os.path.dirname(path), VOCABULARY)
    if vocabulary is not None and not _is_there(beside, vocabulary):
        vocabulary.save(beside)
        files.append(beside)
    return files


def outputs(path):
    """The files that `save` writes for a path: with a .py comes a .pt.

    Args:
        path (str): as of `save`.

    Returns:
        list of str: their paths.

    Raises:
        rnnlm.errors.InputError: if the ending is none of a format.
    """
    if not path.endswith(ENDINGS):
        raise InputError(
            f'{path}: expected a file ending in {", ".join(ENDINGS)}, found another '
            'ending; choose one of them')
    return [path, path[:-len('.py')] + '.pt'] if path.endswith('.py') else [path]


def require_vocabulary_beside(path, vocabulary, overwrite):
    """Refuses to replace the vocabulary of another model beside an output.

    Args:
        path (str): as of `save`.
        vocabulary (Vocabulary): the one to be written.
        overwrite (bool): whether another may be replaced.

    Raises:
        rnnlm.errors.InputError: if there is another, or it cannot be written.
    """
    beside = os.path.join(os.path.dirname(path), VOCABULARY)
    if _is_there(beside, vocabulary):
        return
    require_writable(beside)
    if os.path.lexists(beside) and not overwrite:
        raise InputError(
            f'{beside}: expected the vocabulary of the model or none, found another; '
            'write into another folder, or replace it with --overwrite')


def _is_there(path, vocabulary):
    """Whether a file holds that vocabulary."""
    try:
        return os.path.isfile(path) and Vocabulary.load(path) == vocabulary
    except InputError:
        return False


def _write(path, ending, weights, structure, vocabulary, dropout):
    """Writes the files of `outputs`."""
    if ending == '.npz':
        save_npz(path, weights)
    elif ending == '.py':
        require_sigmoids(structure)
        pytorch.write(outputs(path)[1], pytorch.export_model(weights))
        with writing(path) as f:
            f.write(twin.source(
                structure, weights['embed/W'].dtype, dropout).encode('ascii'))
    elif ending == '.onnx':
        onnx.write(path, weights, vocabulary and _tokens.to_text(vocabulary))
    elif ending == '.safetensors':
        safetensors.write(path, pytorch.export_model(weights), safetensors.metadata_of(
            structure, vocabulary, dropout))
    elif ending == '.t7':
        torch7.write(path, torch7.with_tokens(
            torch7.export_model(weights), _bytes_of(vocabulary)))
    else:
        module = FORMATS[ending]
        module.write(path, module.export_model(weights))


def _bytes_of(vocabulary):
    """The tokens as strings of bytes, which those of Lua are; None if there are none.
    """
    if vocabulary is None:
        return None
    encoding = 'latin-1' if vocabulary.by_byte else 'utf-8'
    return [word.encode(encoding) for word in vocabulary.words]


def format_of(path):
    """The module that reads a file; None if it is Chainer's."""
    with reading.open_regular(path, 'a file that can be read') as f:
        begin = f.read(512)
    if begin.startswith(HDF5_SIGNATURE):
        return None if _is_chainers(path) else keras
    if begin.startswith(b'PK'):
        inside = _untrusted.member_names(path)
        if 'model.weights.h5' in inside:
            return keras
        if any(name.endswith('/data.pkl') for name in inside):
            return pytorch
        return None
    if begin[2:].startswith(OLD_TORCH) or begin[257:262] == b'ustar':
        return pytorch
    ending = next((end for end in FORMATS if path.endswith(end)), None)
    if ending is None:
        raise InputError(
            f'{path}: expected an npz or HDF5 file, or one ending in '
            f'{", ".join(FORMATS)}, found something else; give it the ending of its '
            'format')
    return FORMATS[ending]


def _is_chainers(path):
    """Whether an HDF5 file has the names of Chainer's links, and none of Keras."""
    with open_archive(path) as archive:
        names = list(archive)
    return any(CHAINERS.search(name) for name in names)


def _of_chainer(path):
    """Weights, and what there is to say of them."""
    with open_verified(path) as archive:
        if has_our_names(archive):
            prefix = model_prefix(archive)
            structure = read_structure(archive)
            check_tied(archive, prefix, structure.tied, structure.shapes())
            found = {name: archive[prefix + name] for name in structure.shapes()}
            found = as_float32(found)
            return untied(found) if structure.tied else found, []
        return by_shape(archive)


def has_our_names(archive):
    """Whether a file of Chainer has a model of the names of `RNNForLM`."""
    try:
        return model_prefix(archive) + 'l1/lateral/W' in archive
    except InputError:
        return False


def by_shape(archive):
    """A `rnnlm.interchange._by_shape.Model` of an archive with other names."""
    names = [name for name in archive if not archive.describe(name)[1].hasobject]
    if not names:
        raise InputError(f'{archive.path}: expected a model, found no arrays')
    main = [name for name in names if name.startswith('updater/model:main/')]
    names = main or names
    folders = [name[:name.rfind('/') + 1] for name in names]
    prefix = os.path.commonprefix(folders)
    prefix = prefix[:prefix.rfind('/') + 1]
    if len(names) > _by_shape.MOST_TENSORS:
        raise InputError(f'{archive.path}: expected a model, found {len(names):,} '
                         'arrays')
    try:
        return _chainer_names.import_noted(as_float32(
            {name[len(prefix):]: archive[name] for name in names}))
    except InputError as e:
        raise InputError(f'{archive.path}: {e}') from None
