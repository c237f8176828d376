"""Texts in the attributes of an HDF5 file, read without the HDF5 library.

The library believes what a file says of the lengths of texts: a broken one makes it
take gigabytes, crash, or go round for ever.  Here nothing is believed.  See the HDF5
File Format Specification, "The Attribute Message" and "Global Heap".
"""
import re
import struct

FIXED, VARIABLE = 3, 9  # classes of datatypes
MOST_TEXTS = 10_000


def find(data, name):
    """The texts of all attributes of a name, in whatever group.

    Args:
        data (bytes): the file.
        name (str): of the attributes.

    Returns:
        list of lists of str: one for each attribute, with one text if it is a scalar.

    Raises:
        ValueError, struct.error: if it is broken.
    """
    heaps, found = Heaps(data), []
    stored = name.encode('ascii') + b'\0'
    for match in re.finditer(re.escape(stored), data):
        for version, n_head, align in (1, 8, 8), (2, 8, 1), (3, 9, 1):
            head = match.start() - n_head
            if head < 0 or data[head] != version:
                continue
            n_name, n_type, n_space = struct.unpack_from('<HHH', data, head + 2)
            if n_name != len(stored):
                continue
            kind = match.start() + _aligned(n_name, align)
            space = kind + _aligned(n_type, align)
            found.append(_texts(
                data, heaps, kind, space, space + _aligned(n_space, align)))
            break
    return found


def _aligned(size, align):
    return -(-size // align) * align


def _texts(data, heaps, kind, space, at):
    """The texts of one attribute: where its datatype, dataspace and data are."""
    of_class, bits, size = struct.unpack_from('<BB2xI', data, kind)
    version, n_axes = struct.unpack_from('<BB', data, space)
    if n_axes > 1 or version not in (1, 2):
        raise ValueError(f'an attribute of {n_axes} dimensions')
    n_texts = 1
    if n_axes:
        n_texts, = struct.unpack_from('<Q', data, space + (8 if version == 1 else 4))
    variable = of_class & 15 == VARIABLE and bits & 15 == 1
    if variable:
        size = 16
    elif of_class & 15 != FIXED:
        raise ValueError('an attribute that is no text')
    if n_texts > MOST_TEXTS or at + n_texts * size > len(data):
        raise ValueError(f'{n_texts:,} texts of {size:,} bytes')
    texts = []
    for k in range(at, at + n_texts * size, size or 1):
        text = bytes(data[k:k + size])
        if variable:
            length, heap, index = struct.unpack('<IQI', text)
            text = heaps.read(heap, index, length)
        texts.append(text.rstrip(b'\0').decode('utf-8'))
    return texts


class Heaps:
    """The global heaps of a file: chains of numbered objects, each with its size."""

    def __init__(self, data):
        self._data = data
        self._steps = len(data)  # that all heaps together can have at most
        self._known = {}

    def read(self, heap, index, length):
        """The first bytes of an object of the heap at an address."""
        if not length:
            return b''
        if heap not in self._known:
            self._known[heap] = self._objects(heap)
        begin, size = self._known[heap][index]
        if length > size:
            raise ValueError(f'{length:,} bytes in an object of {size:,}')
        return bytes(self._data[begin:begin + length])

    def _objects(self, heap):
        """{index: (begin, size)} of the objects of a heap."""
        mark, size = struct.unpack_from('<4s4xQ', self._data, heap)
        if mark != b'GCOL' or heap + size > len(self._data):
            raise ValueError(f'no heap at {heap}')
        objects, at = {}, heap + 16
        while at + 16 <= heap + size:
            self._steps -= 16
            index, n_bytes = struct.unpack_from('<H6xQ', self._data, at)
            if index == 0:  # the rest is free
                break
            end = at + 16 + _aligned(n_bytes, 8)
            if end > heap + size or self._steps < 0:
                raise ValueError(f'a broken heap at {heap}')
            objects[index] = at + 16, n_bytes
            at = end
        return objects
