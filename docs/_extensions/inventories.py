"""Sphinx extension: links to the documentation of Chainer, NumPy and Python.

Which names lead where stands in inventory.txt, so that a build needs no network.
"""
import os
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def entries():
    """{project: (address, lines of its inventory)}."""
    found, lines = {}, []
    with open(os.path.join(HERE, 'inventory.txt'), encoding='utf-8') as f:
        for line in f.read().splitlines():
            if line.startswith('['):
                project, address = line.strip('[]').split()
                lines = found.setdefault(project, (address, []))[1]
            elif line and not line.startswith('#'):
                name, kind, place = line.split()
                lines.append(f'{name} py:{kind} 1 {place} -')
    return found


def prepare(app, config):
    """Event config-inited: inventories in Sphinx's form, and the setting for them."""
    folder = os.path.join(app.doctreedir, 'inventories')
    os.makedirs(folder, exist_ok=True)
    for project, (address, lines) in entries().items():
        path = os.path.join(folder, f'{project}.inv')
        with open(path, 'wb') as f:
            f.write('# Sphinx inventory version 2\n# Project: {}\n# Version: \n'
                    '# The remainder of this file is compressed using zlib.\n'.format(
                        project).encode())
            f.write(zlib.compress('\n'.join(lines).encode()))
        config.intersphinx_mapping[project] = (address, path)


def setup(app):
    # Before intersphinx reads the setting.
    app.connect('config-inited', prepare, priority=100)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
