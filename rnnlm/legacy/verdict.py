"""For which release of Chainer a script was written."""
import ast
import typing

from rnnlm.legacy import releases as table, source
from rnnlm.legacy.uses import Reader, Use


class Verdict(typing.NamedTuple):
    """What a script was written for.

    Attributes:
        version (tuple of int): The release whose behaviour it gets.
        releases (str): Those that it may be for, such as '1.16 to 1.24'.
        reason (str): By which lines.
    """
    version: typing.Tuple[int, ...]
    releases: str
    reason: str

    @property
    def api(self) -> str:
        """'v1' or 'v2'."""
        return 'v1' if self.version < (2,) else 'v2'


def of_script(path: str, tree: ast.Module) -> Verdict:
    """For which release a script was written.

    Args:
        path: The script.
        tree: What it parses to.

    Raises:
        rnnlm.errors.InputError: if a module of its own is for Python 2.
    """
    return judge(Reader(path, tree, source.parse))


def judge(reader: Reader) -> Verdict:
    """Which releases have all that a script uses, and the likeliest of them.

    A use whose failure the script expects does not count.  When no release has
    everything, those count that have the most of it.
    """
    releases = reader.table
    uses = distinct(use for use in reader.uses
                    if not use.guarded and use.releases != releases.all)
    possible = releases.all
    for use in uses:
        possible &= use.releases
    contradiction = ''
    if not possible:
        possible, contradiction = _most(releases, uses)
    likely, hint = _narrow(reader, possible)
    version = releases.versions[likely.bit_length() - 1]
    reasons = _bounds(releases, uses, possible)
    if hint and _both(releases, possible):
        reasons.append(hint)
    if contradiction:
        reasons.append(contradiction)
    return Verdict(version, _span(releases, possible),
                   ' and '.join(reasons) or 'it has nothing of older releases alone')


def distinct(uses: typing.Iterable[Use]) -> typing.List[Use]:
    """The first of the uses that are the same."""
    found: typing.Dict[typing.Tuple[str, str, int], Use] = {}
    for use in uses:
        found.setdefault((use.name, use.argument, use.releases), use)
    return list(found.values())


def _most(releases: table.Releases, uses: typing.List[Use]
          ) -> typing.Tuple[int, str]:
    """The releases that have the most of some uses; what they have not."""
    counts = [sum(use.releases >> k & 1 for use in uses)
              for k in range(len(releases.versions))]
    best = sum(1 << k for k, n in enumerate(counts) if n == max(counts))
    # Those of one side only: the later, of two that have as much.
    while any(use.releases & best and best & ~use.releases for use in uses):
        best &= next(use.releases for use in reversed(uses)
                     if use.releases & best and best & ~use.releases)
    against = next(use for use in uses if not use.releases & best)
    return best, (f'though {place(against)} has {against.text}, '
                  f'{when(releases, against.releases)}')


def _narrow(reader: Reader, possible: int) -> typing.Tuple[int, str]:
    """Of some releases those in which one would have written so; the first sign."""
    likely, why = possible, ''
    order = {'.array': 0, 'links as arguments of __init__': 1, '.zerograds': 2}
    hints = sorted(reader.hints, key=lambda hint: order.get(hint.text, 0))
    old = [use for use in reader.uses
           if not use.guarded and use.preferred != use.releases]
    for hint in [*hints, *old]:
        rest = likely & hint.preferred
        if rest and rest != likely:
            likely = rest
            why = why or f'{place(hint)} has {hint.text}'
    # Who asks for what came with 2.0 knows it.
    knowing = [use for use in reader.uses if use.guarded
               and not use.releases & reader.table.until('2.0')]
    if knowing and _both(reader.table, likely):
        likely &= reader.table.since('2.0')
        why = f'{place(knowing[0])} asks for {knowing[0].text}'
    if _both(reader.table, likely):
        likely &= reader.table.since('2.0')
    return likely, why


def _both(releases: table.Releases, some: int) -> bool:
    """Whether there are releases of v1 and later ones among some."""
    return bool(some & releases.until('2.0') and some & releases.since('2.0'))


def _bounds(releases: table.Releases, uses: typing.List[Use], possible: int
            ) -> typing.List[str]:
    """Which uses are the reason that earlier, and later, releases are not possible."""
    before = (possible & -possible) - 1
    after = releases.all & ~((1 << possible.bit_length()) - 1)
    reasons = []
    for others, which in ((before, lambda use: use.releases & -use.releases),
                          (after, lambda use: -use.releases.bit_length())):
        bounding = [use for use in uses if others and use.releases & possible
                    and others & ~use.releases]
        if bounding:
            use = max(bounding, key=which)
            reason = f'{place(use)} has {use.text}, {when(releases, use.releases)}'
            if reason not in reasons:
                reasons.append(reason)
    return reasons


def place(use: Use) -> str:
    return f'{use.path}:{use.line}'


def when(releases: table.Releases, some: int) -> str:
    """'there since 1.16', 'gone since 2.0', 'of 1.5 to 1.24'."""
    first, gone = releases.first(some), releases.gone_since(some)
    if not some & 1 and gone:
        return f'of {_span(releases, some)}'
    return f'gone since {gone}' if gone else f'there since {first}'


def _span(releases: table.Releases, some: int) -> str:
    first, last = releases.first(some), releases.last(some)
    return first if first == last else f'{first} to {last}'
