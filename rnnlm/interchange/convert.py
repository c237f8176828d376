"""Loading and saving of models in the formats of all systems, for `rnnlm convert`."""
import contextlib
import os
import re
from typing import NamedTuple, Optional

from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.interchange import (
    _by_shape, _chainer_names, _tokens, _untrusted, keras, onnx, pytorch,
    pytorch_module, safetensors, torch7)
from rnnlm.interchange.naming import require_sigmoids
from rnnlm.interchange.weights import as_float32, check_model, untied
from rnnlm.serializers import reading
from rnnlm.serializers.archive import (
    HDF5_SIGNATURE, open_archive, open_verified)
from rnnlm.serializers.atomic import require_writable, writing
from rnnlm.serializers.model_files import check_tied, model_prefix, read_structure
from rnnlm.serializers.npz import save_npz

VOCABULARY = 'vocabulary.json'

# The module of each format, by file name ending.
FORMATS = {'.pt': pytorch, '.pth': pytorch, '.net': pytorch, '.bin': pytorch,
           '.model': pytorch, '.pkl': pytorch, '.safetensors': safetensors,
           '.t7': torch7, '.weights.h5': keras, '.keras': keras, '.onnx': onnx}
ENDINGS = ('.npz', '.pt', '.pth', '.safetensors', '.t7', '.weights.h5', '.keras',
           '.onnx', '.py')

# The first pickle of a PyTorch file before version 1.6: its magic number.
OLD_TORCH = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'

# Parameters of Chainer's recurrent links, and the states of its optimizers.
CHAINERS = re.compile(
    r'(embed/W|lateral\d?/W|/w[1-7]|/[WU]_[rz]/W|/[Wb]\d?/[mvth])$')


class Model(NamedTuple):
    """Model from a file of any format.

    Attributes:
        weights (dict): Weights as in `rnnlm.interchange.weights`.
        vocabulary (Vocabulary): Its vocabulary, from the file or its folder; or None.
        notes (tuple of str): Assumptions that were made, for the user.
        dropout (float): The dropout ratio in training; None if unknown.
    """
    weights: dict
    vocabulary: Optional[Vocabulary] = None
    notes: tuple = ()
    dropout: Optional[float] = None


def load(path):
    """Loads weights from a file of any format.

    Args:
        path (str): An npz or HDF5 file of Chainer or rnnlm, a file of torch.save, or a
            .safetensors, .t7, .weights.h5, .h5 or .keras file.  The format is detected
            by the content, otherwise by the ending.

    Returns:
        dict: Weights as in `rnnlm.interchange.weights`; a tied model gets a separate
        output matrix.

    Raises:
        rnnlm.errors.InputError: If the file cannot be read or has no language model.
    """
    return load_model(path).weights


def load_model(path):
    """Loads a `Model` like `load`, with its tokens and notes."""
    module = format_of(path)
    tokens, notes, dropout = None, [], []
    if module is None:
        weights, notes = _of_chainer(path)
    elif module is onnx:
        raise InputError(
            f'{path}: expected a format that can be read, found ONNX, which can only '
            'be written; convert the file that it was made from')
    elif module is keras:
        weights, notes = keras.load(path)
    else:
        (weights, notes), tokens, *dropout = module.load(path)
    structure = check_model(weights)
    return Model(weights, _vocabulary(path, tokens, structure.n_vocab), tuple(notes),
                 *dropout)


def _vocabulary(path, tokens, n_vocab):
    """Returns the vocabulary in a file or, if it fits, in its folder; or None."""
    if isinstance(tokens, Vocabulary):
        return tokens
    if tokens is not None:
        try:
            words, by_byte = _tokens.words_of(tokens)
            return Vocabulary(words, 'byte' if by_byte else None)
        except InputError as e:
            raise InputError(f'{path}: {e}') from None
    for file in path, os.path.realpath(path):  # may be a link into a run folder
        beside = os.path.join(os.path.dirname(file), VOCABULARY)
        if os.path.isfile(beside):
            found = Vocabulary.load(beside)
            return found if len(found) == n_vocab else None
    return None


def save(path, weights, vocabulary=None, dropout=None):
    """Writes weights in the format given by the ending of a path.

    Args:
        path (str): Path ending in .npz, .pt, .pth, .safetensors, .t7, .weights.h5,
            .keras, .onnx for a graph, or .py for a torch.nn.Module with its weights in
            a separate .pt file.
        weights (dict): Weights as in `rnnlm.interchange.weights`.
        vocabulary (Vocabulary): The vocabulary, if known; written to vocabulary.json in
            the same folder, and into .safetensors, .onnx and .t7 files.
        dropout (float): The dropout ratio in training, if known; written into
            .safetensors and .py files.

    Returns:
        list of str: The files written.

    Raises:
        rnnlm.errors.InputError: If the ending is unknown, a file cannot be written, or
            the format does not support the model.
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
    """Returns the files that `save` writes for a path, except the vocabulary.

    Args:
        path (str): As for `save`.

    Returns:
        list of str: The path; for a .py file also that of the .pt file.

    Raises:
        rnnlm.errors.InputError: If the ending is unknown.
    """
    if not path.endswith(ENDINGS):
        raise InputError(
            f'{path}: expected a file ending in {", ".join(ENDINGS)}, found another '
            'ending; choose one of them')
    return [path, path[:-len('.py')] + '.pt'] if path.endswith('.py') else [path]


def require_vocabulary_beside(path, vocabulary, overwrite):
    """Raises InputError if `save` would replace the vocabulary of another model.

    Args:
        path (str): As for `save`.
        vocabulary (Vocabulary): The vocabulary to write.
        overwrite (bool): Whether another one may be replaced.

    Raises:
        rnnlm.errors.InputError: If there is another one, or it cannot be written.
    """
    beside = os.path.join(os.path.dirname(path), VOCABULARY)
    if _is_there(beside, vocabulary):
        return
    require_writable(beside)
    if os.path.lexists(beside) and not overwrite:
        raise InputError(
            f'{beside}: expected the vocabulary of the model or no file, found another '
            'vocabulary; write into another folder, or replace it with --overwrite')


def _is_there(path, vocabulary):
    """Returns whether a file holds this vocabulary."""
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
            f.write(pytorch_module.source(
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
    """Returns the tokens as bytes, like strings in Lua; None if there are none."""
    if vocabulary is None:
        return None
    encoding = 'latin-1' if vocabulary.by_byte else 'utf-8'
    return [word.encode(encoding) for word in vocabulary.words]


def format_of(path):
    """Returns the module that reads a file; None for Chainer's formats."""
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
            f'{", ".join(FORMATS)}, found something else; name it with the ending of '
            'its format')
    return FORMATS[ending]


def _is_chainers(path):
    """Returns whether an HDF5 file has names of Chainer's links."""
    with open_archive(path) as archive:
        names = list(archive)
    return any(CHAINERS.search(name) for name in names)


def _of_chainer(path):
    """Returns (weights, notes) of a file in one of Chainer's formats."""
    with open_verified(path) as archive:
        if has_our_names(archive):
            prefix = model_prefix(archive)
            try:
                structure = read_structure(archive)
            except InputError:
                # Some names of an RNNForLM, such as l1, are common.
                with contextlib.suppress(InputError):
                    return by_shape(archive)
                raise
            check_tied(archive, prefix, structure.tied, structure.shapes())
            found = {name: archive[prefix + name] for name in structure.shapes()}
            found = as_float32(found)
            return untied(found) if structure.tied else found, []
        return by_shape(archive)


def has_our_names(archive):
    """Returns whether a file of Chainer has a model with the names of `RNNForLM`."""
    try:
        return model_prefix(archive) + 'l1/lateral/W' in archive
    except InputError:
        return False


def by_shape(archive):
    """Returns a `rnnlm.interchange._by_shape.Model` from an archive with other names.
    """
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
