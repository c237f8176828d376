#!/usr/bin/env python
"""Writes what stands in the folders beside this: the runs of old releases.

For each of 1.11.0, 1.17.0, 1.24.0, 2.0.0, in an environment of Python 3.6 with it,
NumPy 1.16.6 and h5py 2.10:  python record.py
The same for 1.24.0 with Python 2.7 writes its pickle alone.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import chainer

HERE = os.path.dirname(os.path.abspath(__file__))
PTB = 'ptb_v1.py' if chainer.__version__ < '2' else 'ptb_v2.py'


def run(*args):
    """The lines that a script prints, without the cursor's orders, as words."""
    out = subprocess.check_output([sys.executable, '-W', 'ignore'] + list(args))
    lines = out.decode('utf-8').replace('\033[J', '').splitlines()
    return [line.split() for line in lines if line.strip()]


def main():
    python_2 = sys.version_info[0] == 2
    folder = os.path.join(
        HERE, 'chainer-' + chainer.__version__ + ('-python2' if python_2 else ''))
    if os.path.exists(folder):
        shutil.rmtree(folder)
    os.mkdir(folder)
    expected = {}
    for script, at, stop in () if python_2 else (
            (PTB, 4, 9), ('optimizers.py', 7, 17)):
        out = tempfile.mkdtemp()
        path = os.path.join(HERE, script)
        run(path, '--out', out, '--stop', str(at))
        snapshot = os.path.join(folder, script[:3] + '_snapshot')
        shutil.copyfile(os.path.join(out, 'snapshot_iter_%d' % at), snapshot)
        expected[script] = run(
            path, '--out', out, '--stop', str(stop), '--resume', snapshot)
        shutil.rmtree(out)
    run(os.path.join(HERE, 'links.py'), 'save', folder)
    if python_2:
        for name in set(os.listdir(folder)) - {'links.pickle.gz'}:
            os.remove(os.path.join(folder, name))
    expected['links.py'] = run(os.path.join(HERE, 'links.py'), 'use', folder)
    with open(os.path.join(folder, 'expected.json'), 'w') as f:
        f.write('{%s}\n' % ',\n '.join(
            '%s: [\n  %s]' % (json.dumps(name), ',\n  '.join(
                json.dumps(line) for line in lines))
            for name, lines in sorted(expected.items())))


main()
