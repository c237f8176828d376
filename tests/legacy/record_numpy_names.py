"""Records which public names NumPy has removed since 1.16, and in which release.

    python tests/legacy/record_numpy_names.py dump > 1.16.json     # with each NumPy
    python tests/legacy/record_numpy_names.py compare 1.16.json 1.17.json ... 2.5.json

`dump` prints the names of the imported NumPy, including deprecated ones that were
recorded before (so run both commands twice).  `compare` takes such files from the
oldest release to the newest, and writes `numpy_names.json` beside this script: for each
name of `numpy` and of its arrays that the newest lacks, the first release without it.
"""
import json
import os
import sys
import types
import warnings

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'numpy_names.json')


def dump():
    import numpy

    recorded = []
    if os.path.exists(FILE):
        with open(FILE, encoding='utf-8') as f:
            recorded = [name.split('.')[1] for name in json.load(f)]

    def names(owner):
        for name in set(dir(owner)) | set(recorded):
            try:
                value = getattr(owner, name)
            except Exception:
                continue
            # Modules that NumPy's own source imports, and its __future__ names.
            foreign = isinstance(value, types.ModuleType) and not (
                value.__name__.startswith('numpy'))
            if not name.startswith('_') and not foreign and (
                    type(value).__name__ != '_Feature'):
                yield name

    warnings.simplefilter('ignore')
    json.dump({'numpy': sorted(names(numpy)), 'ndarray': sorted(names(numpy.ndarray)),
               'version': '.'.join(numpy.__version__.split('.')[:2])}, sys.stdout)


def compare(paths):
    releases = []
    for path in paths:
        with open(path, encoding='utf-8') as f:
            releases.append(json.load(f))
    gone = {}
    for owner in 'numpy', 'ndarray':
        known = set().union(*(release[owner] for release in releases))
        for name in sorted(known - set(releases[-1][owner])):
            last = max(i for i, release in enumerate(releases)
                       if name in release[owner])
            gone['{}.{}'.format(owner, name)] = releases[last + 1]['version']
    with open(FILE, 'w', encoding='utf-8') as f:
        json.dump(gone, f, indent=0)
        f.write('\n')


if __name__ == '__main__':
    dump() if sys.argv[1] == 'dump' else compare(sys.argv[2:])
