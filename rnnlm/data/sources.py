"""Sources of a corpus: built-in ones, files, folders, standard input."""
from __future__ import annotations

import dataclasses
import difflib
import os
from typing import Callable, Iterable, Iterator, Optional, Sequence, Union

from rnnlm.data import demo, files
from rnnlm.data.ptb import load_ptb
from rnnlm.data.text import EOS
from rnnlm.data.tokens import Tokens
from rnnlm.errors import InputError
from rnnlm.serializers import reading

# Argument of `load_corpus`: a name or path, or several paths.
Spec = Union[str, os.PathLike, Sequence[Union[str, os.PathLike]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Source of the tokens of a text.

    Attributes:
        name: Name of the text in reports.
        path: Name of the text in messages.
        parts: For each part, its files in order, or its tokens.
        paths: The corpus, as a name or absolute paths.
        split: Whether the single part is split into three.
        blank_lines: Whether a line without words gives an ``<eos>``.
        own: Whether it is a user's text, not read as Chainer reads PTB.
        limit: As for `Corpus.perplexity_limit`.
        in_files: Whether the parts are files.
    """
    name: str
    path: str
    parts: Sequence[Union[list[str], Tokens]]
    paths: Union[str, list[str]]
    split: bool = False
    blank_lines: bool = True
    own: bool = True
    limit: Optional[float] = None
    in_files: bool = True

    @property
    def all_files(self) -> list[str]:
        """Returns all files in reading order."""
        return [path for part in self.parts for path in part] if self.in_files else []

    def is_streamed(self) -> bool:
        """Returns whether a part can be read only once: standard input, or a pipe."""
        return any(path == files.STDIN or reading.is_stream(path)
                   for path in self.all_files)

    def read(self, tokens: str, read: Callable[[str], Iterable[bytes]]
             ) -> Iterator[Iterable[Tokens]]:
        """Returns the tokens of each part.

        Args:
            tokens: 'word', 'char' or 'byte'.
            read: Function that yields the bytes of a file, in blocks.
        """
        for part in self.parts:
            yield [part] if not self.in_files else files.tokenise(
                list(part), tokens, self.blank_lines, read)


def find(spec: Spec, tokens: str = 'word') -> Source:
    """Returns the source of a corpus in three parts; arguments as for `load_corpus`.
    """
    paths = paths_of(spec)
    path = paths[0]
    name = os.path.basename(files.absolute(path)) or path
    known = [one if one in ('demo', 'ptb', files.STDIN) else files.absolute(one)
             for one in paths]
    if len(paths) > 1:
        for path in paths:
            if path in ('demo', 'ptb', files.STDIN) and not os.path.exists(path):
                raise InputError(
                    f'{path!r}: expected files only, because this cannot be combined '
                    'with other texts; give it alone', 'corpus')
            _require_there(path)
        name = f'{len(paths)} files'
        return Source(name, name, [paths], known, split=True, blank_lines=False)
    if path == 'demo':
        return Source(name, path, _demo(tokens), path, own=False, in_files=False,
                      limit=demo.demo().perplexity(tokens))
    if path == 'ptb':
        return Source(name, path, load_ptb(tokens), path, own=False, in_files=False)
    if path == files.STDIN:
        name = files.name_of(path)
        return Source(name, name, [[path]], path, split=True, blank_lines=False)
    _require_there(path)
    found = [path]
    if os.path.isdir(path):
        of_parts = files.part_files(path)
        if of_parts:
            return Source(name, path, [[one] for one in of_parts], known[0],
                          own=not files.is_ptb(path))
        found = files.documents(path)
    return Source(name, path, [found], known[0], split=True, blank_lines=False)


def find_unsplit(spec: Spec) -> Source:
    """Returns the source of a text that is not split into parts.

    Args:
        spec: Paths of files or of folders of documents, or standard input.

    Raises:
        rnnlm.InputError: If there is no text.
    """
    given, paths = paths_of(spec), []
    for path in given:
        if path != files.STDIN and not os.path.exists(path):
            raise InputError(
                f'{path}: expected a file, or a folder of documents, found nothing '
                'there')
        found = files.documents(path) if os.path.isdir(path) else [path]
        if not found:
            raise InputError(
                f'{path}: expected a file, or a folder of documents named *.txt '
                'or *.txt.gz, found a folder without any')
        paths += found
    return Source(given[0], given[0], [paths], given, blank_lines=False)


def is_chainers(spec: Spec) -> bool:
    """Returns whether a corpus is the Penn Treebank, as Chainer's example reads it."""
    paths = paths_of(spec)
    return len(paths) == 1 and (paths[0] == 'ptb' or files.is_ptb(paths[0]))


def paths_of(spec: Spec) -> list[str]:
    """Returns the paths that specify a corpus.

    Raises:
        rnnlm.InputError: If the corpus is not given by a name or by paths.
    """
    given = [spec] if isinstance(spec, (str, bytes, os.PathLike)) else spec
    try:
        paths = [os.fsdecode(one) for one in given]
    except TypeError:
        paths = []
    if not paths:
        raise InputError(f'corpus: expected a name or a path, found {spec!r}')
    return paths


def _require_there(path: str) -> None:
    if not os.path.exists(path):
        hint = difflib.get_close_matches(path.lower(), ['demo', 'ptb'], 1)
        raise InputError(
            f"{path!r}: expected 'demo', 'ptb', a folder with ptb.train.txt, "
            'ptb.valid.txt and ptb.test.txt, or a text file, but '
            f'{files.absolute(path)} does not exist'
            + (f'; did you mean {hint[0]!r}?' if hint else ''), 'corpus')


def _demo(tokens: str) -> Sequence[Tokens]:
    parts = demo.corpus()
    if tokens == 'word':
        return parts
    return [' '.join(part).replace(f' {EOS} ', '\n').replace(f' {EOS}', '\n')
            for part in parts]
