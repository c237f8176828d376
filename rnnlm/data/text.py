"""Reading a text and cutting it into tokens."""
from __future__ import annotations

import os
from typing import Sequence, Union

import numpy

from rnnlm.serializers import reading

# Ids of tokens in a row, (N,).
Ids = Union[Sequence[int], numpy.ndarray]

EOS = '<eos>'
UNK = '<unk>'

PARTS = ('train', 'valid', 'test')


# Of a stream, whose size is not known before it has been read.
MOST_STREAMED = 2 ** 30

# Bytes of memory for a byte of text: itself, its characters and its tokens.
TEXT_MEMORY = 4


def read_text(path: Union[str, os.PathLike]) -> str:
    """Text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: A regular file; or a stream of this process, ``/dev/stdin`` or what the
            shell makes of ``<(command)``.

    Raises:
        rnnlm.errors.InputError: If it is neither, too large for memory, or no text.
    """
    if reading.is_stream(path):
        return reading.decode(reading.read_stream(path, MOST_STREAMED), str(path))
    return reading.decode(
        reading.read_regular(path, 'a file that can be read', memory=TEXT_MEMORY),
        str(path))


def split_text(text: str, tokens: str,
               blank_lines: bool = True) -> Union[str, list[str]]:
    """Tokens of a text: list of str by word, a str by character.

    `blank_lines` tells if a line without a word gives an `<eos>`.
    """
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    if tokens == 'char':
        return text
    if not text.endswith('\n'):
        text += '\n'
    if not blank_lines:
        text = ''.join(f'{line}\n' for line in text.split('\n') if line.strip())
    return text.replace('\n', f' {EOS} ').split()
