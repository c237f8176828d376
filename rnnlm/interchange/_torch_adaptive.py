"""nn.AdaptiveLogSoftmaxWithLoss of PyTorch, by the names of a state dict.

    head.weight (C + K, n), head.bias (C + K,) or nothing
    tail.0.0.weight (m1, n), tail.0.1.weight (words, m1), tail.1.0.weight, ...

Its classes are sorted by frequency.  The rank of each id is in a buffer 'ranks' (V,) of
the model; without one, ids are assumed to be ranks.
"""
import re

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange.weights import short_name
from rnnlm.links.adaptive_softmax import is_permutation

HEAD = re.compile(r'(?:(.*)\.)?head\.weight')
RANKS = re.compile(r'(.*\.)?ranks')


def take(tensors, others):
    """Extracts an adaptive softmax from the tensors that do not belong to an LSTM.

    Args:
        tensors (dict): A state dict.
        others (list of str): The names of those tensors; extracted ones are removed.

    Returns:
        tuple: The name of the module, its arrays by the names of an
        `rnnlm.links.AdaptiveSoftmax`, and notes; None if there is no such module.

    Raises:
        rnnlm.errors.InputError: If the module is not an nn.AdaptiveLogSoftmaxWithLoss.
    """
    prefix = next((match.group(1) or '' for match in map(HEAD.fullmatch, others)
                   if match and _join(match.group(1), 'tail.0.0.weight') in others),
                  None)
    if prefix is None:
        return None
    names = {'head/W': _join(prefix, 'head.weight')}
    if _join(prefix, 'head.bias') in others:
        names['head/b'] = _join(prefix, 'head.bias')
    k = 0
    while _join(prefix, f'tail.{k}.0.weight') in others:
        names[f'project{k + 1}/W'] = _join(prefix, f'tail.{k}.0.weight')
        names[f'tail{k + 1}/W'] = _join(prefix, f'tail.{k}.1.weight')
        k += 1
    for name in names.values():
        ndim = 1 if name.endswith('bias') else 2
        if name not in others or tensors[name].ndim != ndim or not tensors[name].size:
            found = tensors[name].shape if name in others else 'nothing of that name'
            raise InputError(
                f'{short_name(name)}: expected {ndim} dimensions, as in an '
                f'nn.AdaptiveLogSoftmaxWithLoss, found {found}')
        others.remove(name)
    left = [name for name in others if name.startswith(_join(prefix, 'tail.'))]
    if left:
        raise InputError(
            f'{short_name(left[0])}: expected tail.{k}.0.weight and tail.{k}.1.weight '
            'before it, found no such tensors')
    arrays = {ours: tensors[theirs] for ours, theirs in names.items()}
    n_vocab = len(arrays['head/W']) - k + sum(
        len(arrays[f'tail{j}/W']) for j in range(1, k + 1))
    arrays['ranks'], notes = _ranks(tensors, others, n_vocab)
    return prefix, arrays, notes


def stand_in(arrays):
    """Returns a full softmax of the same size, (V, n) and (V,): views of one zero."""
    shape = len(arrays['ranks']), arrays['head/W'].shape[1]
    zero = arrays['head/W'].dtype.type(0)
    return numpy.broadcast_to(zero, shape), numpy.broadcast_to(zero, shape[:1])


def export(weights, output, prefix):
    """Converts an adaptive softmax to tensors by PyTorch's names.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.
        output (str): The name of the output layer in them, such as 'l3'.
        prefix (str): The name of PyTorch's module.

    Returns:
        dict: The tensors by name.
    """
    tensors = {}
    for name, array in weights.items():
        folder, _, rest = name.partition('/')
        if folder == output and rest != 'ranks':
            tensors[f'{prefix}.{_theirs(rest)}'] = array
    tensors['ranks'] = weights[f'{output}/ranks'].astype('i8')
    return tensors


def _theirs(name):
    match = re.fullmatch(r'(project|tail)(\d+)/W', name)
    if match:
        level = 0 if match.group(1) == 'project' else 1
        return f'tail.{int(match.group(2)) - 1}.{level}.weight'
    return {'head/W': 'head.weight', 'head/b': 'head.bias'}[name]


def _join(prefix, name):
    return f'{prefix}.{name}' if prefix else name


def _ranks(tensors, others, n_vocab):
    """Returns the ranks of the ids, int32 (V,), and notes about them."""
    names = [name for name in others if RANKS.fullmatch(name)]
    if not names:
        return numpy.arange(n_vocab, dtype='i'), [
            'there is no buffer "ranks": ids are assumed to be ranks by frequency, as '
            'nn.AdaptiveLogSoftmaxWithLoss numbers its classes']
    found = tensors[names[0]]
    if len(names) > 1 or found.shape != (n_vocab,) or not is_permutation(found):
        raise InputError(
            f'{short_name(names[0])}: expected each number from 0 to {n_vocab - 1} '
            f'once, the ranks of the words, found others in {found.dtype} of shape '
            f'{found.shape}')
    others.remove(names[0])
    return found.astype('i'), []
