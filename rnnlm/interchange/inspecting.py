"""Description of a file of any format, for `rnnlm inspect`."""
from rnnlm.errors import InputError
from rnnlm.interchange import (
    _torch7_reader, _torch_files, convert, keras, onnx, pytorch, safetensors, torch7)
from rnnlm.interchange.weights import check_model
from rnnlm.serializers import model_files
from rnnlm.serializers.archive import open_verified


def describe(path):
    """Describes what a file holds and what wrote it.

    Args:
        path (str): A file of any format that can be read, or an ONNX file.

    Returns:
        dict: 'format', 'kind', 'written by', 'model' (its sizes, or None if it is not a
        language model), 'summary' (the same as text), 'layers' (a list of texts),
        'notes' (remarks on it), 'refused' (why it cannot be converted, or None) and
        'arrays' (name -> 'shape' and 'dtype').

    Raises:
        rnnlm.errors.InputError: If it cannot be read.
    """
    # The format is recognised by content, not by the file's name.
    module = convert.format_of(path)
    if module is None:
        return _of_chainer(path)
    if module is keras:
        return keras.describe(path)
    if module is onnx:
        return _record('ONNX', 'graph', 'unknown: ONNX can only be written', {},
                       f'{path}: ONNX can only be written, not read')
    if module is pytorch:
        file = _torch_files.read(path)
        kind = 'module' if file.classes else 'state dict'
        where = f' under {file.found!r}' if file.found else ''
        found = _record('PyTorch', kind + where, file.writer, file.tensors)
        found['layers'] = [f'{name.rstrip(".") or "the model"}: {kind}'
                           for name, kind in file.classes.items()]
    elif module is safetensors:
        tensors, writer = safetensors.read_with_writer(path)
        found = _record('safetensors', 'tensors', writer, tensors)
    else:
        binary = 'in ASCII' if _torch7_reader.is_ascii(path) else 'binary'
        found = _record(f'Torch7, {binary}', 'tensors', 'Torch7', torch7.read(path))
    return _with_model(found, path)


def _record(format, kind, writer, tensors, refused=None):
    arrays = {name: {'shape': list(array.shape), 'dtype': str(array.dtype)}
              for name, array in sorted(tensors.items())}
    return {'format': format, 'kind': kind, 'written by': writer, 'model': None,
            'summary': None, 'layers': [], 'notes': [], 'refused': refused,
            'arrays': arrays}


def _of_chainer(path):
    with open_verified(path) as archive:
        found = model_files.describe(archive)
        ours = convert.has_our_names(archive)
    if found['model'] is None and not ours and found['kind'] != 'optimizer':
        _with_model(found, path)
        if found['model'] is not None:
            found['kind'] = found['kind'].replace('arrays', 'model')
            found['written by'] = found['written by'].replace(
                ', or rnnlm: all use the same names', '')
    return found


def _with_model(found, path):
    """Adds the model that the file would become, or why it cannot be converted."""
    try:
        model = convert.load_model(path)
    except InputError as e:
        found['refused'] = str(e)
        return found
    structure = check_model(model.weights)
    notes = list(model.notes)
    if model.vocabulary is not None:
        notes.append(f'vocabulary {model.vocabulary!r}')
    found.update(model=structure.as_dict(), summary=str(structure), notes=notes,
                 refused=None)
    return found
