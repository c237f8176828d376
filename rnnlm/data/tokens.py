"""Tokenizers that work block by block, and number tokens by first appearance."""
from __future__ import annotations

import codecs
import io
import itertools
import re
from typing import Iterable, Iterator, Optional, Sequence, Union

import numpy

from rnnlm.data.short_words import ShortWords, fits
from rnnlm.data.text import EOS
from rnnlm.errors import InputError
from rnnlm.serializers.reading import remedy

# Consecutive tokens: a list of words, a str of characters, or a text of complete words.
Tokens = Union[Sequence[str], str]

# Maximum characters of a word; a file with longer ones is not a text.
LONGEST_WORD = 2 ** 26

# A line without words, after the end of the previous line.
_BLANK_LINES = re.compile(r'\n\s*\n')


def tokens_of(texts: Iterable[tuple[str, Iterable[bytes]]], tokens: str,
              blank_lines: bool = True, several: bool = False) -> Iterator[Tokens]:
    """Yields the tokens of consecutive texts in UTF-8.

    The result equals that of `rnnlm.data.text.split_text`, wherever blocks end.

    Args:
        texts: For each text its name, for messages, and its bytes in blocks.
        tokens: 'word'; or 'char' or 'byte', both as characters.
        blank_lines: Whether a line without words gives an ``<eos>``.
        several: Whether to end each text with a line feed for characters too.

    Yields:
        For words, texts of complete words, which `words_of` splits; otherwise
        characters.

    Raises:
        rnnlm.errors.InputError: If a text is not UTF-8, is empty or only whitespace, or
            has a word of more than `LONGEST_WORD` characters.
    """
    for name, blocks in texts:
        pieces = _lines_of(_decode(blocks, name), several or tokens == 'word')
        yield from _words(pieces, blank_lines, name) if tokens == 'word' else pieces


def _decode(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """Decodes blocks, which may end within a character."""
    rest, offset, n_characters, blank = b'', 0, 0, True
    for block in itertools.chain(blocks, [None]):
        data = rest + (block or b'')
        try:
            text, used = codecs.utf_8_decode(data, 'strict', block is None)
        except UnicodeDecodeError as e:
            raise InputError(
                f'{name}: expected text in UTF-8, found byte 0x{data[e.start]:02x} at '
                f'offset {offset + e.start} ({e.reason}); '
                + remedy(b'' if offset else data)) from None
        if not offset and used:
            text = text.removeprefix('\ufeff')
        rest, offset = data[used:], offset + used
        n_characters += len(text)
        blank = blank and (not text or text.isspace())
        if text:
            yield text
    if blank:
        raise InputError(f'{name}: expected a text, but ' + (
            'it is whitespace only' if n_characters else 'the file is empty'))


def _lines_of(pieces: Iterable[str], ended: bool) -> Iterator[str]:
    """Returns a text with line feeds as line ends, and one at its end if `ended`."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    last = '\n'
    for piece in itertools.chain(pieces, [None]):
        text = decoder.decode(piece or '', final=piece is None)
        if text:
            last = text[-1]
            yield text
    if ended and last != '\n':
        yield '\n'


def words_of(text: str) -> list[str]:
    """Splits a text into words, with ``<eos>`` for each line feed."""
    return text.replace('\n', f' {EOS} ').split()


def _words(pieces: Iterable[str], blank_lines: bool, name: str) -> Iterator[str]:
    """Yields pieces of complete words of a text that ends with a line feed."""
    begun: list[str] = []  # start of a word that continues in the next piece
    length = 0  # its length
    blank = True  # whether the line has no words so far
    for piece in pieces:
        end = len(piece)
        if not piece[-1].isspace():
            end -= len(piece.rsplit(None, 1)[-1])
        if not end:
            begun.append(piece)
            length += len(piece)
            if length > LONGEST_WORD:
                raise InputError(
                    f'{name}: expected words of at most {LONGEST_WORD:,} characters, '
                    'found a longer one; is it a text?')
            continue
        text, begun, length = ''.join([*begun, piece[:end]]), [piece[end:]], 0
        if not blank_lines:
            # Lines before the first word also follow the end of a line.
            text = _BLANK_LINES.sub('\n', '\n' + text)[1:] if blank else (
                _BLANK_LINES.sub('\n', text))
            head, newline, tail = text.rpartition('\n')
            blank = (blank or bool(newline)) and not tail.strip()
        if text:
            yield text


class WordIds:
    """Numbering of words by first appearance.

    Args:
        known: If given, the words that have numbers; all others share the next number.
    """

    def __init__(self, known: Optional[Sequence[str]] = None) -> None:
        self._ids: dict[str, int] = _Growing() if known is None else {
            word: number for number, word in enumerate(known)}
        self._unknown = None if known is None else len(known)
        self._short = ShortWords(self._number)

    def encode(self, tokens: Tokens) -> numpy.ndarray:
        """Returns the numbers of N words, int32 (N,)."""
        if not isinstance(tokens, str):
            return self._number(tokens)
        if fits(tokens):
            return self._short.encode(tokens)
        return self._number(words_of(tokens))

    def _number(self, tokens: Sequence[str]) -> numpy.ndarray:
        if self._unknown is None:
            found: Iterator[int] = map(self._ids.__getitem__, tokens)
        else:
            found = map(self._ids.get, tokens, itertools.repeat(self._unknown))
        return numpy.fromiter(found, numpy.int32, len(tokens))

    @property
    def names(self) -> list[str]:
        """Returns the numbered words, in order."""
        return list(self._ids)


class _Growing(dict):
    """Numbering of keys; a new key gets the next number when it is looked up."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number


class CharacterIds:
    """Numbering of characters by first appearance.

    Args:
        known: As for `WordIds`; tokens of more than one character never occur.
        by_byte: Whether each character is encoded as its bytes in UTF-8.
    """

    def __init__(self, known: Optional[Sequence[str]] = None,
                 by_byte: bool = False) -> None:
        self._grows = known is None
        self._codec, self._type = ('utf-8', 'u1') if by_byte else ('utf-32-le', '<u4')
        self.names: list[str] = list(known or ())
        self._ids = numpy.full(0x110000, -1 if self._grows else len(self.names), 'i')
        for number, name in enumerate(self.names):
            if len(name) == 1:
                self._ids[ord(name)] = number

    def encode(self, tokens: Tokens) -> numpy.ndarray:
        """Returns the numbers of N characters or bytes, int32 (N,)."""
        codes = numpy.frombuffer(
            ''.join(tokens).encode(self._codec, 'surrogatepass'), self._type)
        ids = self._ids[codes]
        if self._grows and (ids < 0).any():
            new, first = numpy.unique(codes[ids < 0], return_index=True)
            for code in new[numpy.argsort(first)].tolist():
                self._ids[code] = len(self.names)
                self.names.append(chr(code))
            ids = self._ids[codes]
        return ids


def make_ids(tokens: str, known: Optional[Sequence[str]] = None
             ) -> Union[WordIds, CharacterIds]:
    """Returns the numbering for tokens of a kind: 'word', 'char' or 'byte'."""
    if tokens == 'word':
        return WordIds(known)
    return CharacterIds(known, tokens == 'byte')


def end_of(tokens: str) -> str:
    """Returns the token that ends a line."""
    return EOS if tokens == 'word' else '\n'
