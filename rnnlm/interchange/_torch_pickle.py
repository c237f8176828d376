"""What the pickle of a file of PyTorch describes, without unpickling it.

A pickle is a program for a small stack machine that may call anything.  Here is a
machine that knows the operations of protocols 2 to 5, and calls nothing: what rebuilds
a tensor becomes a description of it, dicts and lists are made, and everything else is
kept as a `Thing`, the name of a class and what was given to it.
"""
import pickletools
from typing import NamedTuple

DICTS = {'collections OrderedDict', 'collections Counter', 'collections defaultdict',
         'builtins dict', '__builtin__ dict'}
SIZES = {'torch Size', 'torch.Size'}
TENSORS = {'torch._utils _rebuild_tensor', 'torch._utils _rebuild_tensor_v2',
           'torch._utils _rebuild_tensor_v3'}
# What is called with a tensor, or a function and its arguments, and is that tensor.
WRAPPERS = {'torch._utils _rebuild_parameter',
            'torch._utils _rebuild_parameter_with_state',
            'torch.nn.parameter Parameter', 'torch.nn.parameter Buffer',
            'torch.autograd.variable Variable', 'torch.autograd Variable'}
OF_TYPE = 'torch._tensor _rebuild_from_type_v2', 'torch.tensor _rebuild_from_type_v2'
DTYPES = {'torch FloatStorage': 'f4', 'torch DoubleStorage': 'f8',
          'torch HalfStorage': 'f2', 'torch BFloat16Storage': 'bfloat16',
          'torch LongStorage': 'i8', 'torch IntStorage': 'i4',
          'torch ShortStorage': 'i2', 'torch CharStorage': 'i1',
          'torch ByteStorage': 'u1', 'torch BoolStorage': '?'}
DTYPES.update({name.replace('torch ', 'torch.cuda '): dtype
               for name, dtype in list(DTYPES.items())})

# Of a pickle; that of a model has a few kilobytes, and each of them costs time.
MOST_BYTES = 2 ** 21
# Of what is referred to again and again and would be copied each time.
MOST_COPIED = 2 ** 20
LONGEST_NAME = 1000
MOST_AXES = 32

PLAIN = {'BININT', 'BININT1', 'BININT2', 'INT', 'LONG', 'LONG1', 'BINFLOAT', 'FLOAT',
         'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'UNICODE', 'BINBYTES',
         'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}
STRINGS = {'BINSTRING', 'SHORT_BINSTRING', 'STRING'}  # as Python 2 wrote them
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
NEW = {'EMPTY_DICT': dict, 'EMPTY_LIST': list}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
PUT, GET = {'PUT', 'BINPUT', 'LONG_BINPUT'}, {'GET', 'BINGET', 'LONG_BINGET'}
IGNORED = {'PROTO', 'FRAME', 'READONLY_BUFFER'}
KEYS = str, int, float, bool, bytes, type(None)


class Name(str):
    """What the pickle would import: 'torch.nn.modules.rnn LSTM' say."""


class Thing:
    """Something that the pickle would make by calling what we do not call.

    Attributes:
        kind (str): What it would call: a class, mostly.
        arguments (tuple): What that would be given.
        state: What would be put into the result; a dict of attributes, mostly.
        items (list): What would be appended to it, or set.
    """

    def __init__(self, kind, arguments=()):
        self.kind, self.arguments, self.state, self.items = kind, arguments, None, []

    @property
    def attributes(self):
        """dict: its attributes, as far as they are known."""
        state = self.state
        if type(state) is tuple and len(state) == 2:  # of a class with __slots__
            state = state[0]
        return state if type(state) is dict else {}


class Storage(NamedTuple):
    """The data of tensors: its dtype, its name in the file, where in it it begins."""
    dtype: str
    key: str
    first: int = 0


class Tensor(NamedTuple):
    """A tensor: a storage, its first element there, its shape and strides."""
    storage: Storage
    first: int
    shape: tuple
    strides: tuple


def parse(data, most=MOST_BYTES, storages=None):
    """Describes what a pickle of torch.save would make.

    Args:
        data: The pickle: bytes, or a file object that stands before it and then behind
            it.
        most (int): The most bytes that it may have.
        storages (dict): Is given the dtype of each storage, by its name.

    Returns:
        A dict of dicts, lists, tuples, numbers, texts, None, `Tensor`, `Name` and
        `Thing`.  A dict may hold itself.  Entries whose keys are tuples or things are
        left out.

    Raises:
        ValueError, TypeError, IndexError, KeyError: if it is no pickle.
    """
    if isinstance(data, (bytes, bytearray)) and len(data) > most:
        raise ValueError(f'a pickle of {len(data):,} bytes')
    machine, begin = _Machine({} if storages is None else storages), None
    for operation, argument, at in pickletools.genops(data):
        begin = at if begin is None else begin
        if at - begin > most:
            raise ValueError(f'a pickle of more than {most:,} bytes')
        if operation.name == 'STOP':
            found, = machine.stack
            return found
        machine.do(operation.name, argument)
    raise ValueError('a pickle without an end')


class _Machine:
    """The stack, its marks and the memory of the machine."""

    def __init__(self, storages):
        self.stack, self.marks, self.memo = [], [], {}
        self.storages = storages
        self.room = MOST_COPIED

    def pop(self, n=None):
        """The n last objects of the stack, or those since the last mark."""
        start = self.marks.pop() if n is None else len(self.stack) - n
        if not 0 <= start <= len(self.stack):
            raise ValueError('a pickle that takes more than it has')
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def do(self, code, argument):
        """One operation."""
        if code in PLAIN:
            self.stack.append(argument)
        elif code in STRINGS:
            self.stack.append(_text(argument))
        elif code in CONSTANTS:
            self.stack.append(CONSTANTS[code])
        elif code in NEW:
            self.stack.append(NEW[code]())
        elif code == 'MARK':
            self.marks.append(len(self.stack))
        elif code in TUPLES or code == 'TUPLE':
            self.stack.append(tuple(self.pop(TUPLES.get(code))))
        elif code in PUT:
            self.memo[argument] = self.stack[-1]
        elif code == 'MEMOIZE':
            self.memo[len(self.memo)] = self.stack[-1]
        elif code in GET:
            self.stack.append(self.memo[argument])
        elif code not in IGNORED:
            self._make(code, argument)

    def _make(self, code, argument):
        """One of the operations that make something of what is on the stack."""
        if code in ('SETITEM', 'SETITEMS'):
            pairs = self.pop(2 if code == 'SETITEM' else None)
            _set(self.stack[-1], pairs)
        elif code in ('APPEND', 'APPENDS', 'ADDITEMS'):
            items = self.pop(1 if code == 'APPEND' else None)
            _items(self.stack[-1]).extend(items)
        elif code == 'DICT':
            pairs = self.pop()
            self.stack.append({})
            _set(self.stack[-1], pairs)
        elif code == 'LIST':
            self.stack.append(self.pop())
        elif code in ('EMPTY_SET', 'FROZENSET'):
            thing = Thing('builtins set')
            if code == 'FROZENSET':
                thing.items = self.pop()
            self.stack.append(thing)
        elif code == 'GLOBAL':
            self.stack.append(_name(argument))
        elif code == 'STACK_GLOBAL':
            self.stack.append(_name(*self.pop(2)))
        elif code == 'BINPERSID':
            found = _persistent(*self.pop(1))
            if type(found) is Storage and self.storages.setdefault(
                    found.key, found.dtype) != found.dtype:
                raise ValueError('a storage of two types')
            self.stack.append(found)
        elif code in ('REDUCE', 'NEWOBJ'):
            self.stack.append(self._call(*self.pop(2)))
        elif code == 'NEWOBJ_EX':
            kind, arguments, _ = self.pop(3)
            self.stack.append(self._call(kind, arguments))
        elif code == 'BUILD':
            state, = self.pop(1)
            if type(self.stack[-1]) is Thing:
                self.stack[-1].state = state
        else:
            raise ValueError(f'a pickle with the operation {code}')

    def _call(self, name, arguments):
        """What a call would make: a tensor, a dict, or some thing."""
        if type(name) is Thing:  # the result of another call is called
            return Thing(name.kind, arguments)
        if type(name) is not Name or type(arguments) is not tuple:
            raise ValueError('a call of what has no name')
        if name in DICTS:
            return self._dict(arguments)
        if name in SIZES and len(arguments) == 1 and type(arguments[0]) in (
                tuple, list):
            return tuple(self._copied(arguments[0]))
        if name in WRAPPERS and arguments and type(arguments[0]) is Tensor:
            return arguments[0]
        if name in OF_TYPE and type(arguments[2]) is tuple and (
                arguments[0] not in OF_TYPE):
            return self._call(arguments[0], arguments[2])
        if name in TENSORS and type(arguments[0]) is Storage:
            bits = [key for extra in arguments[4:] if type(extra) is dict
                    for key in ('neg', 'conj') if extra.get(key)]
            if bits:  # its numbers are negated, or conjugated, when they are used
                return Thing(f'torch tensor with {bits[0]}=True', arguments)
            return _tensor(*arguments[:4])
        return Thing(str(name), arguments)

    def _dict(self, arguments):
        """A dict of the arguments of an OrderedDict, a Counter or a defaultdict."""
        made = {}
        for given in arguments:
            if type(given) is dict:
                _set(made, [x for pair in self._copied(given).items() for x in pair])
            elif type(given) is list and all(
                    type(pair) in (tuple, list) and len(pair) == 2
                    for pair in self._copied(given)):
                _set(made, [x for pair in given for x in pair])
        return made

    def _copied(self, given):
        self.room -= len(given)
        if self.room < 0:
            raise ValueError('a pickle that copies the same again and again')
        return given


def _text(argument):
    """A str of Python 2, which pickletools gives as Latin-1."""
    data = argument.encode('latin-1')
    try:
        return data.decode('utf-8')
    except UnicodeDecodeError:
        return data


def _set(target, pairs):
    if type(target) is Thing:
        target.items += zip(pairs[::2], pairs[1::2])
        return
    if type(target) is not dict:
        raise ValueError(f'an entry of {type(target).__name__}')
    for key, value in zip(pairs[::2], pairs[1::2]):
        # A nested tuple could take for ever to hash.
        if type(key) in KEYS:
            target[key] = value


def _items(target):
    if type(target) is Thing:
        return target.items
    if type(target) is not list:
        raise ValueError(f'an item of {type(target).__name__}')
    return target


def _persistent(description):
    """What is said to be elsewhere in the file: a storage; or a class, and its source.
    """
    if type(description) is not tuple:
        raise ValueError('something elsewhere that is not described')
    if description[0] == 'module' and type(description[1]) is Name:
        return description[1]
    what, kind, key, _, _, *view = description
    kind = kind.replace('torch.storage ', 'torch ') if type(kind) is Name else None
    if what != 'storage' or kind is None or type(key) is not str:
        raise ValueError('a storage of an unknown type')
    if kind not in DTYPES:  # of a quantized tensor, or float8, which may not be needed
        return Thing(kind)
    first = 0
    if view and view[0] is not None:  # part of another, as before 1.6
        _, first, _ = view[0]
        if type(first) is not int:
            raise ValueError('a part of a storage from nowhere')
    return Storage(DTYPES[kind], key, first)


def _name(*parts):
    if sum(map(len, parts)) > LONGEST_NAME:
        raise ValueError('a class of a very long name')
    return Name(' '.join(parts))


def _tensor(storage, first, shape, strides):
    tensor = Tensor(storage, first, shape, strides)
    if not all(type(axes) is tuple and len(axes) <= MOST_AXES
               for axes in tensor[2:]) or not all(
            type(x) is int for x in (first, *shape, *strides)):
        raise ValueError('a tensor whose shape are no integers')
    return tensor._replace(first=first + storage.first)
