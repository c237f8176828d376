"""What the pickle of a state dict describes, without unpickling it.

A pickle is a program for a small stack machine that may call anything.  Here is a
machine that knows the few operations that torch.save writes, and calls nothing: what
rebuilds a tensor becomes a description of it.
"""
import pickletools
from typing import NamedTuple

from rnnlm.errors import InputError

ORDERED_DICT = 'collections OrderedDict'
TENSOR = 'torch._utils _rebuild_tensor_v2'
PARAMETER = 'torch._utils _rebuild_parameter'
DTYPES = {'torch FloatStorage': 'f4', 'torch DoubleStorage': 'f8',
          'torch HalfStorage': 'f2', 'torch BFloat16Storage': 'bfloat16',
          'torch LongStorage': 'i8', 'torch IntStorage': 'i4',
          'torch ShortStorage': 'i2', 'torch CharStorage': 'i1',
          'torch ByteStorage': 'u1', 'torch BoolStorage': '?'}

# Of a pickle; that of a model has a few kilobytes, and each of them costs time.
MOST_BYTES = 2 ** 21

PLAIN = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE',
         'SHORT_BINUNICODE'}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


class Name(str):
    """What the pickle would import."""


class Storage(NamedTuple):
    """The data of tensors: its dtype and the name of its member of the zip file."""
    dtype: str
    key: str


class Tensor(NamedTuple):
    """A tensor: a storage, its first element there, its shape and strides."""
    storage: Storage
    first: int
    shape: tuple
    strides: tuple


def parse(data):
    """Describes what a pickle of torch.save would make.

    Args:
        data (bytes): the pickle.

    Returns:
        A dict of dicts, lists, tuples, numbers, texts, None and `Tensor`; keys are
        str or int.  A dict may hold itself.

    Raises:
        rnnlm.errors.InputError: if it would call something else.
        ValueError, TypeError, IndexError, KeyError: if it is no pickle.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f'a pickle of {len(data):,} bytes')
    stack, marks, memo = [], [], {}

    def pop(n=None):
        """The n last objects of the stack, or those since the last mark."""
        start = marks.pop() if n is None else len(stack) - n
        if not 0 <= start <= len(stack):
            raise ValueError('a pickle that takes more than it has')
        taken = stack[start:]
        del stack[start:]
        return taken

    for operation, argument, _ in pickletools.genops(data):
        code = operation.name
        if code in PLAIN:
            stack.append(argument)
        elif code in CONSTANTS:
            stack.append(CONSTANTS[code])
        elif code == 'EMPTY_DICT':
            stack.append({})
        elif code == 'EMPTY_LIST':
            stack.append([])
        elif code == 'MARK':
            marks.append(len(stack))
        elif code in TUPLES or code == 'TUPLE':
            stack.append(tuple(pop(TUPLES.get(code))))
        elif code in ('BINPUT', 'LONG_BINPUT'):
            memo[argument] = stack[-1]
        elif code in ('BINGET', 'LONG_BINGET'):
            stack.append(memo[argument])
        elif code in ('SETITEM', 'SETITEMS'):
            pairs = pop(2 if code == 'SETITEM' else None)
            _set(stack[-1], pairs)
        elif code in ('APPEND', 'APPENDS'):
            items = pop(1 if code == 'APPEND' else None)
            _list(stack[-1]).extend(items)
        elif code == 'GLOBAL':
            stack.append(Name(argument))
        elif code == 'BINPERSID':
            stack.append(_storage(*pop(1)))
        elif code == 'REDUCE':
            stack.append(_call(*pop(2)))
        elif code == 'BUILD':  # attributes of a dict, versions of modules say
            pop(1)
        elif code == 'STOP':
            found, = stack
            return found
        elif code != 'PROTO':
            raise InputError(
                f'expected tensors only, found a pickle with the operation {code}; '
                "save the model's state_dict() with torch.save")
    raise ValueError('a pickle without an end')


def _set(target, pairs):
    if type(target) is not dict:
        raise ValueError(f'an entry of {type(target).__name__}')
    for key, value in zip(pairs[::2], pairs[1::2]):
        # A nested tuple could take for ever to hash.
        if type(key) not in (str, int):
            raise ValueError(f'a key of type {type(key).__name__}')
        target[key] = value


def _list(target):
    if type(target) is not list:
        raise ValueError(f'an item of {type(target).__name__}')
    return target


def _storage(description):
    what, kind, key, _, _ = description
    if what != 'storage' or type(kind) is not Name or kind not in DTYPES or (
            type(key) is not str):
        raise ValueError('a storage of an unknown type')
    return Storage(DTYPES[kind], key)


def _call(name, arguments):
    """What a call would make, if it is one of those known."""
    if type(name) is not Name or type(arguments) is not tuple:
        raise ValueError('a call of what has no name')
    if name == ORDERED_DICT and not arguments:
        return {}
    if name == PARAMETER and type(arguments[0]) is Tensor:
        return arguments[0]
    if name == TENSOR and type(arguments[0]) is Storage:
        tensor = Tensor(*arguments[:4])
        if not all(type(axes) is tuple for axes in tensor[2:]) or not all(
                type(x) is int for x in (tensor.first, *tensor.shape, *tensor.strides)):
            raise ValueError('a tensor whose shape are no integers')
        return tensor
    raise InputError(
        f'expected tensors only, found a pickle that calls {name[:80]}, which could '
        "be anything; save the model's state_dict() with torch.save")
