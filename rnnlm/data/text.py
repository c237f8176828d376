"""Reading a text and cutting it into tokens."""
from __future__ import annotations

import os
from typing import Sequence, Union

import numpy

from rnnlm.errors import InputError

# Ids of tokens in a row, (N,).
Ids = Union[Sequence[int], numpy.ndarray]

EOS = '<eos>'
UNK = '<unk>'

PARTS = ('train', 'valid', 'test')


def read_text(path: Union[str, os.PathLike]) -> str:
    """Text of a UTF-8 file, with or without a byte order mark."""
    try:
        with open(path, 'rb') as f:
            data = f.read()
    except (OSError, ValueError) as e:  # of a path with a NUL
        reason = getattr(e, 'strerror', e)
        raise InputError(
            f'{path}: expected a file that can be read: {reason}') from e
    return decode(data, str(path))


def decode(data: bytes, name: str) -> str:
    """Text of bytes in UTF-8, with or without a byte order mark; `name` for errors."""
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as e:
        raise InputError(
            f'{name}: expected text in UTF-8, found byte 0x{data[e.start]:02x} at '
            f'offset {e.start} ({e.reason}); convert it, for example with '
            'iconv -t utf-8') from None
    return text[1:] if text.startswith('\ufeff') else text


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
