"""Inference of the Chainer release that a script was written for."""
import ast
import re
import typing

from rnnlm.legacy import releases as table, source
from rnnlm.legacy.uses import Reader, Use


class Verdict(typing.NamedTuple):
    """Chainer release that a script was written for.

    Attributes:
        version (tuple of int): The release whose behaviour the script gets.
        releases (str): The possible releases, such as '1.16 to 1.24'.
        reason (str): The lines that decide it.
    """
    version: typing.Tuple[int, ...]
    releases: str
    reason: str

    @property
    def api(self) -> str:
        """'v1' or 'v2'."""
        return 'v1' if self.version < (2,) else 'v2'


def of_script(path: str, tree: ast.Module) -> Verdict:
    """Infers for which release a script was written.

    Args:
        path: The script.
        tree: Its syntax tree.

    Raises:
        rnnlm.errors.InputError: If one of its own modules is for Python 2.
    """
    return judge(Reader(path, tree, source.parse))


def judge(reader: Reader) -> Verdict:
    """Finds the releases that have everything a script uses, and the likeliest one.

    Uses whose failure the script handles do not count.  If no release has everything,
    the releases that have most of it are taken.
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
    # `possible` is certain, `likely` a guess from the style of the script.
    likely, hint = _narrow(reader, possible)
    version = releases.versions[likely.bit_length() - 1]
    reasons = _bounds(releases, uses, possible)
    pinned, where = _pinned(reader, possible)
    if pinned:
        version = pinned
        reasons.append(where)
    elif hint and _both(releases, possible):
        reasons.append(hint)
    if contradiction:
        reasons.append(contradiction)
    return Verdict(version, _span(releases, possible),
                   '; '.join(reasons) or 'nothing in it needs an older release')


def distinct(uses: typing.Iterable[Use]) -> typing.List[Use]:
    """Returns the uses without duplicates."""
    found: typing.Dict[typing.Tuple[str, str, int], Use] = {}
    for use in uses:
        found.setdefault((use.name, use.argument, use.releases), use)
    return list(found.values())


def _most(releases: table.Releases, uses: typing.List[Use]
          ) -> typing.Tuple[int, str]:
    """Returns the releases that have most of the uses, and what they lack."""
    counts = [sum(use.releases >> k & 1 for use in uses)
              for k in range(len(releases.versions))]
    best = sum(1 << k for k, n in enumerate(counts) if n == max(counts))
    # Keeps one side only: of two sides with as many uses, the later one.
    while any(use.releases & best and best & ~use.releases for use in uses):
        best &= next(use.releases for use in reversed(uses)
                     if use.releases & best and best & ~use.releases)
    against = next(use for use in uses if not use.releases & best)
    return best, (f'but {place(against)} has {against.text}, '
                  f'{when(releases, against.releases)}')


def _narrow(reader: Reader, possible: int) -> typing.Tuple[int, str]:
    """Narrows releases down to the likely ones; returns them and the reason."""
    old, new = reader.table.until('2.0'), reader.table.since('2.0')
    why, likely = '', possible
    if _both(reader.table, possible):
        signs = list(_signs(reader, old, new))
        lean = sum(weight for weight, _, _ in signs) + PRIOR
        likely &= old if lean < 0 else new
        telling = [sign for sign in signs if (sign[0] < 0) == (lean < 0)]
        if telling:
            _, use, what = max(telling, key=lambda sign: abs(sign[0]))
            why = f'{place(use)} {what}' if use else what
    for use in reader.uses:
        if not use.guarded and likely & use.preferred:
            likely &= use.preferred
    return likely, why


# Weight of each sign in favour of 2.0 and later, or of 1.0 to 1.24 if negative: log
# odds, guessed from public scripts.  Most scripts without any sign are for 2 to 7.
PRIOR = .5
WEIGHTS = {
    '.array': 6, '.volatile': -6, '.zerograds': -3, 'a chain without init_scope': -.8,
    'links as arguments of __init__': -1, 'dropout without train': 2.3,
    'BatchNormalization without test': 1.5, 'an f-string': 2.5,
    'super() without arguments': .7, 'an argument use_cudnn': -2.5,
    'chainer.cuda.get_device': -1.2, 'chainer.backends.cuda.get_device': -1.2}
STATED = re.compile(
    r'(?<![\w-])chainer(?:\]\([^)\s]*\))?`? *(?:version|ver\.?)? *\(?[:v]? *'
    r'(>=|~=|={1,2})? *v?([1-7]\.\d+)', re.I)
PINNED = re.compile(r'(?<![\w-])chainer *={1,3} *v?(\d+(?:\.\d+)+)', re.I)


def _pinned(reader: Reader, possible: int
            ) -> typing.Tuple[typing.Tuple[int, ...], str]:
    """Returns the one possible release that is required exactly, and where; or (), ''.
    """
    versions, found = reader.table.versions, {}
    for name, remarks in reader.remarks():
        for text in PINNED.findall(remarks):
            wanted = table.as_tuple(text)
            for version in versions:  # the last one of a series is taken
                if version[:len(wanted)] == wanted:
                    found[wanted] = version, f'{name} has chainer=={text}'
    if len(found) != 1:
        return (), ''
    (version, where), = found.values()
    return (version, where) if possible >> versions.index(version) & 1 else ((), '')


def _signs(reader: Reader, old: int, new: int
           ) -> typing.Iterator[typing.Tuple[float, typing.Optional[Use], str]]:
    """Yields (weight, use or None, description) of signs of a script's age."""
    seen = set()
    texts = {hint.text for hint in reader.hints}
    if 'links as arguments of __init__' in texts:
        seen.add('a chain without init_scope')  # the same sign
    for hint in reader.hints:
        if hint.text not in seen:
            seen.add(hint.text)
            yield WEIGHTS[hint.text], hint, f'has {hint.text}'
    for use in distinct(reader.uses):
        if use.guarded and not use.releases & old:  # a check implies knowledge of it
            yield 3, use, f'checks for {use.text}'
        elif not use.guarded and use.preferred != use.releases and (
                not use.preferred & new):
            yield WEIGHTS.get(use.name, -2), use, (
                f'has {use.text}, deprecated since '
                + reader.table.removed_in(use.preferred))
    for name, text in reader.remarks():
        for compared, version in dict.fromkeys(STATED.findall(text)):
            # A later release than 1.x may satisfy it, but 1.x was current then.
            weight = 4 if version >= '2' else -2.5 if compared == '>=' else -4
            yield weight, None, (
                f'{name} mentions Chainer {version}')


def _both(releases: table.Releases, some: int) -> bool:
    """Returns whether there are both v1 and later releases among some releases."""
    return bool(some & releases.until('2.0') and some & releases.since('2.0'))


def _bounds(releases: table.Releases, uses: typing.List[Use], possible: int
            ) -> typing.List[str]:
    """Returns which uses exclude earlier and later releases, as text."""
    before = (possible & -possible) - 1
    after = releases.all & ~((1 << possible.bit_length()) - 1)
    reasons: typing.List[str] = []
    told: typing.List[Use] = []
    for others, which in ((before, lambda use: use.releases & -use.releases),
                          (after, lambda use: -use.releases.bit_length())):
        bounding = [use for use in uses if others and use.releases & possible
                    and others & ~use.releases]
        if bounding:
            use = max(bounding, key=which)
            if any(not chosen.releases & others for chosen in told):
                continue  # one line can exclude both
            told.append(use)
            reason = f'{place(use)} has {use.text}, {when(releases, use.releases)}'
            if reason not in reasons:
                reasons.append(reason)
    return reasons


def place(use: Use) -> str:
    return f'{use.path}:{use.line}'


def when(releases: table.Releases, some: int) -> str:
    """Returns 'added in 1.16', 'removed in 2.0', or 'of 1.5 to 1.24'."""
    first, gone = releases.first(some), releases.removed_in(some)
    if not some & 1 and gone:
        return f'of {_span(releases, some)}'
    return f'removed in {gone}' if gone else f'added in {first}'


def _span(releases: table.Releases, some: int) -> str:
    first, last = releases.first(some), releases.last(some)
    return first if first == last else f'{first} to {last}'
