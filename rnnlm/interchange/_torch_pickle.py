"""Description of the content of a PyTorch pickle, without unpickling it.

A pickle is a program for a small stack machine, and can call anything.  This machine
implements the operations of protocols 2 to 5, but calls nothing.  A call that would
rebuild a tensor becomes a description of it, dicts and lists are built, and anything
else becomes a `Thing` with the name of a class and its arguments.
"""
import pickletools
from typing import NamedTuple

DICTS = {'collections OrderedDict', 'collections Counter', 'collections defaultdict',
         'builtins dict', '__builtin__ dict'}
SIZES = {'torch Size', 'torch.Size'}
TENSORS = {'torch._utils _rebuild_tensor', 'torch._utils _rebuild_tensor_v2',
           'torch._utils _rebuild_tensor_v3'}
# Functions of a tensor, or of a function and its arguments, that return that tensor.
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

# Maximum size of a pickle; a model's has a few kilobytes, and each one takes time.
MOST_BYTES = 2 ** 21
# Maximum number of copied elements, against repeated references to large objects.
MOST_COPIED = 2 ** 20
LONGEST_NAME = 1000
MOST_AXES = 32

PLAIN = {'BININT', 'BININT1', 'BININT2', 'INT', 'LONG', 'LONG1', 'BINFLOAT', 'FLOAT',
         'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'UNICODE', 'BINBYTES',
         'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'}
STRINGS = {'BINSTRING', 'SHORT_BINSTRING', 'STRING'}  # written by Python 2
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
NEW = {'EMPTY_DICT': dict, 'EMPTY_LIST': list}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
PUT, GET = {'PUT', 'BINPUT', 'LONG_BINPUT'}, {'GET', 'BINGET', 'LONG_BINGET'}
IGNORED = {'PROTO', 'FRAME', 'READONLY_BUFFER'}
KEYS = str, int, float, bool, bytes, type(None)


class Name(str):
    """Name that the pickle would import, such as 'torch.nn.modules.rnn LSTM'."""


class Thing:
    """Object that the pickle would create by a call that is not made.

    Attributes:
        kind (str): What it would call, usually a class.
        arguments (tuple): Arguments of the call.
        state: State that would be set on the result, usually a dict of attributes.
        items (list): Items that would be appended to it, or set.
    """

    def __init__(self, kind, arguments=()):
        self.kind, self.arguments, self.state, self.items = kind, arguments, None, []

    @property
    def attributes(self):
        """dict: Its attributes, as far as they are known."""
        state = self.state
        if type(state) is tuple and len(state) == 2:  # a class with __slots__
            state = state[0]
        return state if type(state) is dict else {}


class Storage(NamedTuple):
    """Data of tensors: its dtype, its name in the file, and its offset there."""
    dtype: str
    key: str
    first: int = 0


class Tensor(NamedTuple):
    """Tensor: a storage, the offset of its first element, its shape and strides."""
    storage: Storage
    first: int
    shape: tuple
    strides: tuple


def parse(data, most=MOST_BYTES, storages=None):
    """Parses a pickle of torch.save into a description of its content.

    Args:
        data: The pickle: bytes, or a file object at its start, which is moved to its
            end.
        most (int): Maximum size in bytes.
        storages (dict): Filled with the dtype of each storage, by name.

    Returns:
        A dict of dicts, lists, tuples, numbers, texts, None, `Tensor`, `Name` and
        `Thing`.  A dict may contain itself.  Entries whose keys are tuples or things
        are dropped.

    Raises:
        ValueError, TypeError, IndexError, KeyError: If it is not a pickle.
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
    """Machine with a stack, marks and a memo."""

    def __init__(self, storages):
        self.stack, self.marks, self.memo = [], [], {}
        self.storages = storages
        self.room = MOST_COPIED

    def pop(self, n=None):
        """Pops the n last objects of the stack, or those after the last mark."""
        start = self.marks.pop() if n is None else len(self.stack) - n
        if not 0 <= start <= len(self.stack):
            raise ValueError('a pickle that pops more than the stack holds')
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def do(self, code, argument):
        """Executes one operation."""
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
        """Executes an operation that builds something from the stack."""
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
        """Returns a description of a call's result: a tensor, a dict, or a thing."""
        if type(name) is Thing:  # a call of another call's result
            return Thing(name.kind, arguments)
        if type(name) is not Name or type(arguments) is not tuple:
            raise ValueError('a call of something without a name')
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
            if bits:  # its numbers are negated or conjugated on use
                return Thing(f'torch tensor with {bits[0]}=True', arguments)
            return _tensor(*arguments[:4])
        return Thing(str(name), arguments)

    def _dict(self, arguments):
        """Returns a dict for the arguments of an OrderedDict, Counter or defaultdict.
        """
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
            raise ValueError('a pickle that copies too much')
        return given


def _text(argument):
    """Decodes a str of Python 2, which pickletools returns as Latin-1."""
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
        # Hashing a nested tuple can take forever.
        if type(key) in KEYS:
            target[key] = value


def _items(target):
    if type(target) is Thing:
        return target.items
    if type(target) is not list:
        raise ValueError(f'an item of {type(target).__name__}')
    return target


def _persistent(description):
    """Returns a persistent object: a storage elsewhere in the file, or a class."""
    if type(description) is not tuple:
        raise ValueError('a persistent object without a description')
    if description[0] == 'module' and type(description[1]) is Name:
        return description[1]
    what, kind, key, _, _, *view = description
    kind = kind.replace('torch.storage ', 'torch ') if type(kind) is Name else None
    if what != 'storage' or kind is None or type(key) is not str:
        raise ValueError('a storage of an unknown type')
    if kind not in DTYPES:  # of a quantized or float8 tensor, perhaps not needed
        return Thing(kind)
    first = 0
    if view and view[0] is not None:  # a view of another storage, as before 1.6
        _, first, _ = view[0]
        if type(first) is not int:
            raise ValueError('a view of a storage at an invalid offset')
    return Storage(DTYPES[kind], key, first)


def _name(*parts):
    if sum(map(len, parts)) > LONGEST_NAME:
        raise ValueError('a class with a very long name')
    return Name(' '.join(parts))


def _tensor(storage, first, shape, strides):
    tensor = Tensor(storage, first, shape, strides)
    if not all(type(axes) is tuple and len(axes) <= MOST_AXES
               for axes in tensor[2:]) or not all(
            type(x) is int for x in (first, *shape, *strides)):
        raise ValueError('a tensor whose shape is not made of integers')
    return tensor._replace(first=first + storage.first)
