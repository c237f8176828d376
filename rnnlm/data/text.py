"""Reading a text and splitting it into tokens."""
from __future__ import annotations

from typing import Sequence, Union

import numpy

# Ids of consecutive tokens, (N,).
Ids = Union[Sequence[int], numpy.ndarray]

EOS = '<eos>'
UNK = '<unk>'

PARTS = ('train', 'valid', 'test')

# The kinds of tokens, and what a token is called in reports.
UNITS = {'word': 'word', 'char': 'character', 'byte': 'byte'}


def split_text(text: str, tokens: str,
               blank_lines: bool = True) -> Union[str, list[str]]:
    """Splits a text into tokens: a list of str by word, a str by character.

    `blank_lines` says whether a line without words gives an `<eos>`.
    """
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    if tokens == 'char':
        return text
    if not text.endswith('\n'):
        text += '\n'
    if not blank_lines:
        text = ''.join(f'{line}\n' for line in text.split('\n') if line.strip())
    return text.replace('\n', f' {EOS} ').split()
