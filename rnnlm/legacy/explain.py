"""Report on what a script uses that was removed or changed, and what to write today."""
import ast
import os
import typing

from rnnlm.legacy import advice, python2, releases as table, source, table as served
from rnnlm.legacy.uses import Reader, Use
from rnnlm.legacy.verdict import Verdict, distinct, judge


class Note(typing.NamedTuple):
    """Remark about a line of a file."""
    path: str
    line: int
    text: str


def explain(path: str) -> typing.List[str]:
    """Returns the lines of a report on a script, without running it.

    Args:
        path: The script.

    Raises:
        rnnlm.errors.InputError: If there is no such file.
        SyntaxError: If it is not Python.
    """
    texts: typing.Dict[str, str] = {}

    def parse(file: str) -> ast.Module:
        text = source.read(file)
        try:
            tree = ast.parse(text, file)
            old = python2.first_name(tree, os.path.dirname(os.path.abspath(file)))
        except SyntaxError as error:
            source.refuse_keyword(file, error)
            if not python2.is_meant(error, text):
                raise
            tree, old = ast.parse(python2.as_python_3(text), file), (error.lineno, '')
        if old:
            texts[file] = text
        return tree

    reader = Reader(path, parse(path), parse)
    verdict = judge(reader)
    notes = [*_of_python(texts, reader.folder), *_removed(reader),
             *_changed(reader, verdict), *_habits(reader)]
    lines = [f'{note.path}:{note.line}: {note.text}' for note in sorted(set(notes))]
    number = f'{len(lines)} thing{"s" * (len(lines) > 1)}' if lines else 'Nothing'
    lines.append(f'{number} to change; written for Chainer {verdict.api} '
                 f'({verdict.releases}), because {verdict.reason}')
    return lines


def _of_python(texts: typing.Dict[str, str], folder: str) -> typing.Iterator[Note]:
    for file, text in texts.items():
        name = os.path.relpath(file, folder)
        yield Note(name, 1, 'Python 2; convert it first: pip install modernize && '
                            f'python -m modernize -w {name}')
        for line, remark in python2.pitfalls(text):
            yield Note(name, line, remark)


def _removed(reader: Reader) -> typing.Iterator[Note]:
    # The bit of the last release.
    now = reader.table.all & ~(reader.table.all >> 1)
    for use in reader.uses:
        if not use.argument and (
                use.name.endswith('.__init__') or in_successor(use.name, reader.table)
                or not use.releases & now and is_member(use.name, reader.table)):
            continue  # a note about its class covers it
        if use.argument == '()' and not is_there(
                use.name.replace('.__init__', ''), reader.table):
            continue  # a note about the callable covers it
        if not use.releases & now:
            since = reader.table.removed_in(use.releases)
            instead = instead_of(use, reader.table)
            yield Note(use.path, use.line, f'{use.text}: removed in {since}'
                       + (f'; instead: {instead}' if instead else ''))
        elif not use.preferred & now and use.releases & now:
            since = reader.table.removed_in(use.preferred)
            instead = advice.DEPRECATED.get(use.name, '')
            yield Note(use.path, use.line, f'{use.text}: deprecated since {since}'
                       + (f'; instead: {instead}' if instead else ''))


def instead_of(use: Use, releases: table.Releases) -> str:
    """Returns what to write instead of a removed name or argument, or ''."""
    if use.argument == '=':
        return 'another name, because this one is a property of Chainer'
    if use.argument == '()':
        return 'the arguments are ' + _arguments(use.name, releases)
    if use.argument:
        found = advice.ARGUMENTS.get((use.name, use.argument)) or (
            advice.ARGUMENTS.get(use.argument))
        if found:
            return found
        return 'remove it; the arguments are ' + _arguments(use.name, releases)
    return of_name(use.name, releases)


def of_name(name: str, releases: table.Releases) -> str:
    """Returns what to write instead of a removed name, or ''."""
    if name in advice.NAMES:
        return advice.NAMES[name]
    # First the tables of advice, then a similar name that still exists, then where it
    # moved.
    rows = {row.name: row.instead for row in served.ROWS}
    for names, _, instead in served.GONE:
        first, *rest = names.split()
        owner = first.rpartition('.')[0]
        rows.update({first: instead, **{f'{owner}.{part}': instead for part in rest}})
    if name in rows:
        return rows[name]
    owner, _, last = name.rpartition('.')
    if owner.startswith('chainer.functions'):
        for there in releases.entries:
            letters = there.replace('chainer.functions.', '').replace('_', '')
            if there.startswith('chainer.functions.') and there != name and (
                    letters == last.replace('_', '').lower()) and (
                    is_there(there, releases)):
                return there.replace('chainer.functions', 'F')
    if owner == 'chainer.cuda':
        return served.BACKEND
    moved = [path for path in releases.entries
             if path.endswith('.' + last) and is_there(path, releases)
             and path.count('.') < 4]
    if len(moved) == 1 and len(last) > 5:
        return moved[0]
    if owner in advice.NAMES or owner in rows:
        return of_name(owner, releases)
    return ''


def in_successor(name: str, releases: table.Releases) -> bool:
    """Returns whether the replacement of a removed class has the same member."""
    owner, _, last = name.rpartition('.')
    if is_there(owner, releases) or owner not in releases.entries:
        return False
    kind = owner.rpartition('.')[2]
    return any(releases.member(there, last, 1 << len(releases.versions) - 1)
               for there in (f'chainer.links.{kind}', 'chainer.Chain')
               if owner != there and owner.startswith((
                   'chainer.FunctionSet', 'chainer.functions.')))


def is_member(name: str, releases: table.Releases) -> bool:
    """Returns whether a class still has the named member."""
    owner, _, last = name.rpartition('.')
    return any(entry.what.startswith('C') for entry in releases.entries.get(owner, ())
               ) and bool(releases.member(owner, last, 1 << len(releases.versions) - 1))


def is_there(name: str, releases: table.Releases) -> bool:
    """Returns whether the last release has a name."""
    now = 1 << len(releases.versions) - 1
    return any(entry.releases & now for entry in releases.entries.get(name, ()))


def _arguments(name: str, releases: table.Releases) -> str:
    """Returns the arguments in the last release, as '(x, ratio=)'."""
    now = 1 << len(releases.versions) - 1
    owner, _, last = name.rpartition('.')
    for path in releases.member(owner, last.replace('__call__', 'forward'), now):
        for entry in releases.entries.get(path, ()):
            if entry.releases & now and entry.what.startswith('('):
                parts = [part for part in entry.what[1:-1].split(',')
                         if part and part[0] not in '-/*']
                return f'({", ".join(parts)})'
    return 'other ones'


def _changed(reader: Reader, verdict: Verdict) -> typing.Iterator[Note]:
    """Yields notes on names that behave differently than in the script's release."""
    for use in distinct(reader.uses):
        found = advice.BEHAVIOURS.get(use.name)
        if found and not use.argument and verdict.version < table.as_tuple(found[0]):
            since, how, instead = found
            yield Note(use.path, use.line,
                       f'{use.text}: since {since} {how}; write {instead}')


def _habits(reader: Reader) -> typing.Iterator[Note]:
    for hint in reader.hints:
        if hint.text in advice.HABITS:
            yield Note(hint.path, hint.line,
                       f'{hint.text}: better now: {advice.HABITS[hint.text]}')
