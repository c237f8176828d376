"""Which release of Chainer had which names, with which arguments.

The table, releases.txt, is written by tools/releases.py from the sources of all
releases.  A set of releases is an int here, bit k of it the k-th release.
"""
import functools
import os
import re
import typing

from rnnlm.errors import InputError

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'releases.txt')

Found = typing.Dict[str, int]  # {path of a name: the releases in which it is meant}


class Entry(typing.NamedTuple):
    """What a name was in some releases."""
    releases: int
    what: str         # as in releases.txt
    deprecated: bool  # it warned that it would go


class Releases:
    """The table of names.

    Args:
        lines (iterable of str): releases.txt.
    """

    def __init__(self, lines: typing.Iterable[str]) -> None:
        self.versions: typing.List[typing.Tuple[int, ...]] = []
        self.entries: typing.Dict[str, typing.List[Entry]] = {}
        owners: typing.List[str] = []
        for line in lines:
            line = line.rstrip('\n')
            if line.startswith('#') or not line:
                continue
            if line.startswith('releases '):
                self.versions = [as_tuple(text) for text in line.split()[1:]]
                self.all = (1 << len(self.versions)) - 1
                continue
            depth = len(line) - len(line.lstrip(' '))
            name, *kinds = line.lstrip(' ').split('\t')
            owners[depth:] = [name]
            self.entries['.'.join(owners)] = [self._entry(kind) for kind in kinds]

    def _entry(self, text: str) -> Entry:
        *spans, what = text.split(' ')
        releases = 0
        for span in spans:
            if span == '*':
                releases = self.all
            else:
                first, _, last = span.partition('-')
                releases |= self.between(int(first), int(last or first))
        return Entry(releases, what.rstrip('!'), what.endswith('!'))

    def between(self, first: int, last: int) -> int:
        """The set of the releases from number `first` to number `last`."""
        return (1 << last + 1) - (1 << first)

    def since(self, version: str) -> int:
        """The set of a release and all after it."""
        return sum(1 << k for k, found in enumerate(self.versions)
                   if found >= as_tuple(version))

    def until(self, version: str) -> int:
        """The set of all releases before one."""
        return self.all & ~self.since(version)

    def first(self, releases: int) -> str:
        """The first of a set, such as '1.16'."""
        return as_text(self.versions[(releases & -releases).bit_length() - 1])

    def last(self, releases: int) -> str:
        """The last of a set."""
        return as_text(self.versions[releases.bit_length() - 1])

    def gone_since(self, releases: int) -> str:
        """The first release after a set; '' if it has the last of all."""
        k = releases.bit_length()
        return as_text(self.versions[k]) if k < len(self.versions) else ''

    def named(self, text: str) -> typing.Tuple[int, ...]:
        """The last release whose version begins so: '1.15' is 1.15.0.1.

        Raises:
            rnnlm.errors.InputError: if there was none.
        """
        if re.fullmatch(r'\d+(\.\d+)*', text):
            wanted = as_tuple(text)
            for version in reversed(self.versions):
                if version[:len(wanted)] == wanted:
                    return version
        raise InputError(
            "expected auto, v1, v2, or a release of Chainer from 1.0 to 7.8.1 such as "
            f"1.24, found '{text}'", 'api')

    def resolve(self, path: str) -> Found:
        """What a path leads to: {the path under which that stands: releases}."""
        found: Found = {}
        for entry in self.entries.get(path, ()):
            if entry.what.startswith('='):
                for there, releases in self.resolve(entry.what[1:]).items():
                    add(found, there, releases & entry.releases)
            else:
                add(found, path, entry.releases)
        return found

    def member(self, owner: str, name: str, releases: int) -> Found:
        """What an attribute of an owner leads to, in some releases.

        The path '' stands for what is there but is not in the table.
        """
        found: Found = {}
        for path, those in self.resolve(f'{owner}.{name}').items():
            add(found, path, those & releases)
        for entry in self.entries.get(f'{owner}.*', ()):
            add(found, '', entry.releases & releases)
        for entry in self.entries.get(owner, ()):
            # Where the class has the name itself, its bases' is not meant.
            rest = entry.releases & releases & ~union(found)
            if rest and entry.what.startswith('C'):
                for base in filter(None, entry.what[1:].split(',')):
                    if base == '*':
                        add(found, '', rest)
                        continue
                    for path, those in self.member(base, name, rest).items():
                        add(found, path, those & rest)
        return found

    def is_deprecated(self, path: str) -> int:
        """The releases that warned that a name would go."""
        return union({str(k): entry.releases
                      for k, entry in enumerate(self.entries.get(path, ()))
                      if entry.deprecated})


def add(found: Found, path: str, releases: int) -> None:
    if releases:
        found[path] = found.get(path, 0) | releases


def union(found: Found) -> int:
    total = 0
    for releases in found.values():
        total |= releases
    return total


def as_tuple(version: str) -> typing.Tuple[int, ...]:
    return tuple(map(int, version.split('.')))


def as_text(version: typing.Tuple[int, ...]) -> str:
    """'1.24' for (1, 24, 0), '7.8.1' for (7, 8, 1)."""
    parts = list(version)
    while len(parts) > 2 and not parts[-1]:
        parts.pop()
    return '.'.join(map(str, parts))


class Call(typing.NamedTuple):
    """What a call gives: arguments in order, and by name."""
    n_positional: int
    names: typing.FrozenSet[str]
    starred: bool = False        # it has *args, so that more may come
    double_starred: bool = False


@functools.lru_cache(maxsize=None)
def parameters(what: str) -> typing.Tuple[
        typing.List[str], typing.Set[str], typing.Set[str], typing.Set[str], bool,
        bool]:
    """Those in order, all names, the required, the refused; takes any: in order, named.
    """
    ordered: typing.List[str] = []
    names: typing.Set[str] = set()
    required: typing.Set[str] = set()
    refused: typing.Set[str] = set()
    any_positional = any_named = False
    in_order = True
    for part in filter(None, what[1:-1].split(',')):
        if part in ('*', '**', '/'):
            any_positional |= part == '*'
            any_named |= part == '**'
            in_order = False
        elif part.startswith('-'):
            refused.add(part[1:])
        else:
            name = part.rstrip('=')
            names.add(name)
            if in_order:
                ordered.append(name)
            if not part.endswith('='):
                required.add(name)
    return ordered, names, required, refused, any_positional, any_named


def takes_name(what: str, name: str) -> bool:
    """Whether a function with such arguments has one of this name."""
    _, names, _, refused, _, any_named = parameters(what)
    return name in names or (any_named and name not in refused)


def takes(what: str, call: Call) -> bool:
    """Whether a function with such arguments can be called so."""
    ordered, _, required, _, any_positional, _ = parameters(what)
    if not all(takes_name(what, name) for name in call.names):
        return False
    if call.n_positional > len(ordered) and not any_positional:
        return False
    given = set(ordered[:call.n_positional])
    if given & call.names:
        return False
    return (call.starred or call.double_starred
            or required <= given | call.names)


@functools.lru_cache(maxsize=None)
def load() -> Releases:
    """The table, read once."""
    with open(PATH, encoding='utf-8') as f:
        return Releases(f)
