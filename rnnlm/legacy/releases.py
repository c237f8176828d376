"""The table of names and arguments in every release of Chainer.

The table, releases.txt, is written by tools/releases.py from the sources of all
releases.  A set of releases is an int, whose bit k stands for the k-th release.
"""
import functools
import os
import re
import typing

from rnnlm.errors import InputError

# Properties of links, which refuse a value, and the first release that has each.
PROPERTIES_OF_LINKS = {
    'within_init_scope': '2.0', 'update_enabled': '2.0', 'local_link_hooks': '5.0',
    'device': '6.0', 'printable_specs': '6.0'}

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'releases.txt')

Found = typing.Dict[str, int]  # {path of a name: releases in which it has this path}


class Entry(typing.NamedTuple):
    """Definition of a name in some releases."""
    releases: int
    what: str         # as in releases.txt
    deprecated: bool  # whether it warned of its removal


class Releases:
    """Table of names.

    Args:
        lines (iterable of str): Lines of releases.txt.
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
        """Returns the set of releases from number `first` to number `last`."""
        return (1 << last + 1) - (1 << first)

    def since(self, version: str) -> int:
        """Returns the set of a release and all later ones."""
        return sum(1 << k for k, found in enumerate(self.versions)
                   if found >= as_tuple(version))

    def until(self, version: str) -> int:
        """Returns the set of all releases before one."""
        return self.all & ~self.since(version)

    def first(self, releases: int) -> str:
        """Returns the first release of a set, such as '1.16'."""
        return as_text(self.versions[(releases & -releases).bit_length() - 1])

    def last(self, releases: int) -> str:
        """Returns the last release of a set."""
        return as_text(self.versions[releases.bit_length() - 1])

    def removed_in(self, releases: int) -> str:
        """Returns the first release after a set; '' if it includes the last one."""
        k = releases.bit_length()
        return as_text(self.versions[k]) if k < len(self.versions) else ''

    def named(self, text: str) -> typing.Tuple[int, ...]:
        """Returns the last release whose version starts so: `1.15` is 1.15.0.1.

        Raises:
            rnnlm.errors.InputError: If there is none.
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
        """Resolves a path, following aliases: {path of the definition: releases}."""
        found: Found = {}
        for entry in self.entries.get(path, ()):
            if entry.what.startswith('='):
                for there, releases in self.resolve(entry.what[1:]).items():
                    add(found, there, releases & entry.releases)
            else:
                add(found, path, entry.releases)
        return found

    def member(self, owner: str, name: str, releases: int) -> Found:
        """Resolves an attribute of an owner, in some releases.

        The path '' stands for attributes that may exist but are not in the table.
        """
        found: Found = {}
        for path, those in self.resolve(f'{owner}.{name}').items():
            add(found, path, those & releases)
        for entry in self.entries.get(f'{owner}.*', ()):
            add(found, '', entry.releases & releases)
        for entry in self.entries.get(owner, ()):
            # A name defined in the class itself overrides those of its bases.
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
        """Returns the releases in which a name was deprecated."""
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
    """Formats a version: '1.24' for (1, 24, 0), '7.8.1' for (7, 8, 1)."""
    parts = list(version)
    while len(parts) > 2 and not parts[-1]:
        parts.pop()
    return '.'.join(map(str, parts))


class Call(typing.NamedTuple):
    """Arguments of a call: number of positional ones, and names."""
    n_positional: int
    names: typing.FrozenSet[str]
    starred: bool = False        # it has *args, so there may be more
    double_starred: bool = False


@functools.lru_cache(maxsize=None)
def parameters(what: str) -> typing.Tuple[
        typing.List[str], typing.Set[str], typing.Set[str], typing.Set[str], bool,
        bool]:
    """Parses parameters: (positional names, all names, required names, refused names,
    whether it takes *args, whether it takes **kwargs).
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
    """Returns whether a function with such parameters has one of this name."""
    _, names, _, refused, _, any_named = parameters(what)
    return name in names or (any_named and name not in refused)


def takes(what: str, call: Call) -> bool:
    """Returns whether a function with such parameters accepts a call."""
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
    """Returns the table, which is read once."""
    with open(PATH, encoding='utf-8') as f:
        return Releases(f)
