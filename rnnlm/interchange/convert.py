"""From a file of one system to a file of another, as `rnnlm convert` does it."""
import os
import textwrap

from rnnlm.errors import InputError
from rnnlm.interchange import (
    _untrusted, keras, onnx, pytorch, safetensors, torch7)
from rnnlm.interchange.weights import check_model, untied
from rnnlm.serializers import reading
from rnnlm.serializers.archive import (
    HDF5_SIGNATURE, open_archive, open_verified)
from rnnlm.serializers.atomic import require_writable, writing
from rnnlm.serializers.model_files import check_tied, model_prefix, read_structure
from rnnlm.serializers.npz import save_npz

# Endings, the layout and the files of each format but Chainer's and the twin.
FORMATS = {
    '.pt': (pytorch, pytorch), '.pth': (pytorch, pytorch),
    '.safetensors': (pytorch, safetensors), '.t7': (torch7, torch7),
    '.weights.h5': (keras, keras)}
ENDINGS = ('.npz', *FORMATS, '.onnx', '.py')


def load(path):
    """Weights from a file of any format.

    Args:
        path (str): npz or HDF5 of Chainer or rnnlm, .pt or .pth, .safetensors, .t7,
            .weights.h5, .h5 or .keras; zip and HDF5 files by what is in them, others
            by their ending.

    Returns:
        dict: as of `rnnlm.interchange.weights`; those of a tied model with an output
        matrix of their own.

    Raises:
        rnnlm.errors.InputError: if it cannot be read or is no such model.
    """
    layout, module = _format_of(path)
    if layout is None:
        found = _of_chainer(path)
    else:
        found = layout.import_model(module.read(path))
    check_model(found)
    return found


def save(path, weights):
    """Writes weights in the format that the ending of a path says.

    Args:
        path (str): ending in .npz, .pt, .pth, .safetensors, .t7, .weights.h5, .onnx
            for a graph, or .py for a torch.nn.Module with its weights beside it in a
            .pt.
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        list of str: the files written.

    Raises:
        rnnlm.errors.InputError: if the ending is another, or it cannot be written.
    """
    ending = next((end for end in ENDINGS if path.endswith(end)), None)
    if ending is None:
        raise InputError(
            f'{path}: expected a file ending in {", ".join(ENDINGS)}, found another '
            'ending; choose one of them')
    structure = check_model(weights)
    require_writable(path)
    if ending == '.npz':
        save_npz(path, weights)
        return [path]
    if ending == '.py':
        beside = save(path[:-len('.py')] + '.pt', weights)
        with writing(path) as f:
            f.write(TWIN.format(
                dtype=weights['embed/W'].dtype,
                **{'n_embed': structure.n_embed, **structure.arguments()},
            ).encode('ascii'))
        return [path, *beside]
    if ending == '.onnx':
        onnx.write(path, weights)
        return [path]
    layout, module = FORMATS[ending]
    module.write(path, layout.export_model(weights))
    return [path]


def _format_of(path):
    """The layout and the module that reads a file; (None, None) if it is Chainer's."""
    with reading.open_regular(path, 'a file that can be read') as f:
        begin = f.read(len(HDF5_SIGNATURE))
    if begin == HDF5_SIGNATURE:
        with open_archive(path) as archive:
            chainers = any(name.endswith('embed/W') for name in archive)
        return (None, None) if chainers else FORMATS['.weights.h5']
    if begin.startswith(b'PK'):
        inside = _untrusted.member_names(path)
        if 'model.weights.h5' in inside:
            return FORMATS['.weights.h5']
        if any(name.endswith('/data.pkl') for name in inside):
            return FORMATS['.pt']
        return None, None
    found = FORMATS.get(os.path.splitext(path)[1])
    if found is None:
        raise InputError(
            f'{path}: expected an npz or HDF5 file, or one ending in '
            f'{", ".join(FORMATS)}, found something else; give it the ending of its '
            'format')
    return found


def _of_chainer(path):
    with open_verified(path) as archive:
        prefix = model_prefix(archive)
        structure = read_structure(archive)
        check_tied(archive, prefix, structure.tied, structure.shapes())
        found = {name: archive[prefix + name] for name in structure.shapes()}
    return untied(found) if structure.tied else found


TWIN = textwrap.dedent('''\
    """A recurrent language model in PyTorch, written by rnnlm convert.

    model = load() gives it with its weights, which are in the .pt file beside this one.
    """
    import os

    import torch


    class RNNForLM(torch.nn.Module):
        """Embedding, {n_layers} LSTM layers, output layer; dropout between them."""

        def __init__(self, dropout=0.5):
            super().__init__()
            self.embed = torch.nn.Embedding({n_vocab}, {n_embed})
            self.lstm = torch.nn.LSTM(
                {n_embed}, {n_units}, {n_layers},
                dropout=dropout if {n_layers} > 1 else 0)
            self.output = torch.nn.Linear({n_units}, {n_vocab})
            self.dropout = torch.nn.Dropout(dropout)

        def forward(self, ids, state=None):
            """Logits of the next words.

            Args:
                ids: (T, B), the words of B texts, T steps.
                state: (h, c), each ({n_layers}, B, {n_units}); None for zeros.

            Returns:
                tuple: logits (T, B, {n_vocab}) and the state after the last step.
            """
            h, state = self.lstm(self.dropout(self.embed(ids)), state)
            return self.output(self.dropout(h)), state


    def load(path=os.path.splitext(os.path.abspath(__file__))[0] + '.pt'):
        """The model with its weights, for use; model.train() to train it further."""
        model = RNNForLM().to(torch.{dtype})
        model.load_state_dict(
            torch.load(path, map_location='cpu', weights_only=True))
        return model.eval()
    ''')
