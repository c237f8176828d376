"""Writes rnnlm/legacy/releases.txt: every public name of Chainer, release by release.

    python tools/releases.py            # downloads the sources from PyPI, some 70 MB
    python tools/releases.py --sources FOLDER

The sources are parsed, never imported.  For each name, by its shortest public path, the
table lists in which releases it exists and with which arguments.
"""
import argparse
import collections
import io
import json
import os
import re
import tarfile
import urllib.request
import zipfile

from chainer_sources import Release

TABLE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), os.pardir, 'rnnlm', 'legacy',
    'releases.txt')
HEADER = '''\
# Every public name of Chainer 1.0 to 7.8; written by tools/releases.py.
# Members of a name are indented below it.  After a name, for each span of releases:
# M a module, = an alias of what follows, C a class and its bases, ( the arguments,
# V any value; ! if it was deprecated.
'''


def read_archive(path):
    """Returns {module: (text, whether it is a package)} of a source distribution."""
    found = {}
    if path.endswith('.zip'):
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()
                     if name.endswith('.py')}
    else:
        with tarfile.open(path) as archive:
            texts = {member.name: archive.extractfile(member).read()
                     for member in archive if member.name.endswith('.py')}
    for name, text in texts.items():
        parts = name[:-len('.py')].split('/')[1:]
        if parts[0] == 'chainer':
            is_package = parts[-1] == '__init__'
            found['.'.join(parts[:-1] if is_package else parts)] = (
                io.TextIOWrapper(io.BytesIO(text), 'utf-8').read(), is_package)
    return found


def download(folder):
    """Downloads the source distributions of all releases from PyPI into a folder."""
    os.makedirs(folder, exist_ok=True)
    with urllib.request.urlopen('https://pypi.org/pypi/chainer/json') as f:
        releases = json.load(f)['releases']
    for version, files in releases.items():
        for file in files:
            path = os.path.join(folder, file['filename'])
            if (re.fullmatch(r'[\d.]+(post\d)?', version) and not os.path.exists(path)
                    and file['packagetype'] == 'sdist'):
                with urllib.request.urlopen(file['url']) as f, open(path, 'wb') as to:
                    to.write(f.read())


def versions(folder):
    """Returns [(version, path)] of the releases in a folder, in order."""
    found = []
    for name in os.listdir(folder):
        match = re.fullmatch(r'chainer-([\d.]+)(\.post\d)?(\.tar\.gz|\.zip)', name)
        if match and not match[2]:
            version = tuple(map(int, match[1].strip('.').split('.')))
            found.append((version, os.path.join(folder, name)))
    return sorted(found)


def spans(indices, n):
    """Formats indices: '3-7 9' for {3, 4, 5, 6, 7, 9}; '*' for all of n."""
    indices = sorted(indices)
    if indices == list(range(n)):
        return '*'
    runs = []
    for k in indices:
        if runs and runs[-1][1] == k - 1:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    return ' '.join(f'{a}-{b}' if a != b else str(a) for a, b in runs)


def write(table, releases, path):
    """Writes the table as text; names are indented by a space below their owner."""
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        f.write(HEADER)
        f.write('releases ' + ' '.join('.'.join(map(str, v)) for v in releases) + '\n')
        stack = []
        for name in sorted(table, key=lambda name: name.split('.')):
            parts = name.split('.')
            while stack != parts[:len(stack)]:
                stack.pop()
            for depth in range(len(stack), len(parts) - 1):  # owner without an entry
                f.write(' ' * depth + parts[depth] + '\n')
            kinds = '\t'.join(
                f'{spans(indices, len(releases))} {what}'
                for what, indices in sorted(table[name].items(),
                                            key=lambda item: min(item[1])))
            f.write(' ' * (len(parts) - 1) + f'{parts[-1]}\t{kinds}\n')
            stack = parts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--sources', default='chainer-sources',
                        help='folder of the source distributions (default: '
                             'chainer-sources); those missing are downloaded')
    parser.add_argument('--out', default=TABLE)
    args = parser.parse_args()
    download(args.sources)
    table = collections.defaultdict(lambda: collections.defaultdict(set))
    found = versions(args.sources)
    for k, (version, path) in enumerate(found):
        for name, what in Release(read_archive(path)).entries():
            table[name][what].add(k)
    write(table, [version for version, _ in found], args.out)
    print(f'{len(found)} releases, {len(table)} names: {os.path.normpath(args.out)}')


if __name__ == '__main__':
    main()
