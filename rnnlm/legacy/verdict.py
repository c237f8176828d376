"""For which release of Chainer a script was written."""
import ast
import re
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
    """Of some releases those that are likely; what tells it."""
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


# How much each sign says for 2.0 and later, against 1.0 to 1.24 if negative: logarithms
# of odds, guessed from public scripts.  Most of those without any sign are for 2 to 7.
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


def _signs(reader: Reader, old: int, new: int
           ) -> typing.Iterator[typing.Tuple[float, typing.Optional[Use], str]]:
    """Yields (weight, where or None, what) for what is possible in all releases."""
    seen = set()
    texts = {hint.text for hint in reader.hints}
    if 'links as arguments of __init__' in texts:
        seen.add('a chain without init_scope')  # which says the same
    for hint in reader.hints:
        if hint.text not in seen:
            seen.add(hint.text)
            yield WEIGHTS[hint.text], hint, f'has {hint.text}'
    for use in distinct(reader.uses):
        if use.guarded and not use.releases & old:  # who asks for it knows it
            yield 3, use, f'asks for {use.text}'
        elif not use.guarded and use.preferred != use.releases and (
                not use.preferred & new):
            yield WEIGHTS.get(use.name, -2), use, (
                f'has {use.text}, discouraged since '
                + reader.table.gone_since(use.preferred))
    for name, text in reader.remarks():
        for compared, version in dict.fromkeys(STATED.findall(text)):
            # A later one than 1.x will do, but it was one of these then.
            weight = 4 if version >= '2' else -2.5 if compared == '>=' else -4
            yield weight, None, (
                f'{name} names Chainer {version}')


def _both(releases: table.Releases, some: int) -> bool:
    """Whether there are releases of v1 and later ones among some."""
    return bool(some & releases.until('2.0') and some & releases.since('2.0'))


def _bounds(releases: table.Releases, uses: typing.List[Use], possible: int
            ) -> typing.List[str]:
    """Which uses are the reason that earlier, and later, releases are not possible."""
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
                continue  # one line may be the reason for both
            told.append(use)
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
