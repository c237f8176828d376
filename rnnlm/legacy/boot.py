"""Installation of the old names, in a process of `rnnlm run`."""
import os
import sys
import warnings

from rnnlm.errors import InputError
from rnnlm.legacy import hints, release, source, surroundings, table


def install(api: str, version: str) -> None:
    """Makes this process compatible with the Chainer release of a script.

    Args:
        api: 'v1' or 'v2'.
        version: The release that it was written for, such as '1.24'; '' if unknown.
    """
    version = version or ('1.24' if api == 'v1' else '')
    release.script = tuple(map(int, version.split('.'))) if version else None
    surroundings.install()
    table.install_files()
    if release.script:
        table.install(release.script)
    if api == 'v1':
        # The script cannot know that its names are old.
        warnings.filterwarnings('ignore', category=DeprecationWarning, module='chainer')


def advise(error: BaseException) -> None:
    """Prints advice if an error comes from today's Python or NumPy."""
    hint = hints.explain(error)
    if hint:
        print(f'\nrnnlm run: {hint}', file=sys.stderr)
    if isinstance(error, SyntaxError) and os.path.isfile(error.filename or ''):
        try:
            source.parse(error.filename)
        except InputError as advice:
            print(f'rnnlm run: {advice}', file=sys.stderr)
        except SyntaxError:
            pass
