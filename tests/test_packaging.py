"""Metadata of the distribution, and the README as PyPI shows it."""
import configparser
import importlib.util
import os
import re

import pytest

import rnnlm

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What git does not know, and what was made on the way.
PASSED_BY = {'.git', '.venv', '.pytest_cache', '.hypothesis', '.mypy_cache',
             '__pycache__', '_build', 'build', 'dist', 'result', 'uv.lock'}


def texts():
    """(path, text) of every text file of the repository."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in PASSED_BY
                      and not name.endswith('.egg-info')
                      and not os.path.exists(
                          os.path.join(folder, name, 'pyvenv.cfg'))]
        for name in set(files) - PASSED_BY:
            path = os.path.join(folder, name)
            if os.path.getsize(path) > 10 ** 6:  # a corpus that lies about
                continue
            with open(path, 'rb') as f:
                data = f.read()
            if b'\0' not in data:
                yield os.path.relpath(path, ROOT), data.decode('utf-8', 'replace')


# A command that installs it, or its name with extras.
OTHER_PROJECT = re.compile(
    r'''\b(?:install|add)(?:\s+-\S+)*\s+['"]?rnnlm(?![\w-])|(?<![\w-])rnnlm\[\w''')


@pytest.mark.parametrize('text', [
    'pip install rnnlm', 'pip install -q rnnlm==0.2', "install 'rnnlm[cuda12]'",
    'uv pip install rnnlm', 'uv add "rnnlm[plot]"'])
def test_the_other_project_is_found(text):
    assert OTHER_PROJECT.search(text)


@pytest.mark.parametrize('text', [
    'pip install chainer-rnnlm', "pip install 'chainer-rnnlm[mpi]'",
    "pip install '.[plot]' && rnnlm train"])
def test_what_is_ours_is_not_taken_for_it(text):
    assert not OTHER_PROJECT.search(text)


def test_nobody_is_told_to_install_the_other_project():
    here = os.path.join('tests', os.path.basename(__file__))
    found = [(path, match.group()) for path, text in texts() if path != here
             for match in OTHER_PROJECT.finditer(text)]
    assert not found


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return f.read()


@pytest.fixture(scope='module')
def setup():
    spec = importlib.util.spec_from_file_location(
        'rnnlm_setup', os.path.join(ROOT, 'setup.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(read('setup.cfg'))
    assert settings['metadata']['version'] == 'attr: rnnlm._version.__version__'
    version, date = re.search(
        r'^## (\S+) \((\d{4}-\d\d-\d\d)\)$', read('CHANGELOG.md'), re.M).groups()
    assert rnnlm.__version__ == version


def test_one_bound_for_the_builds():
    """pip, uv, the README's lines and our own build take the same setuptools."""
    found = {match for _, text in texts()
             for match in re.findall(r'setuptools([<>=][\w.<>=,]*)', text)}
    assert len(found) == 1, found


def test_links_of_the_readme_elsewhere(setup):
    text = 'See [a](docs/a.md), [b](https://b.org).\n\n![Two\nlines](docs/c.png)\n'
    assert setup.absolute(text, 'https://host/us') == (
        'See [a](https://host/us/blob/HEAD/docs/a.md), [b](https://b.org).\n\n'
        '![Two\nlines](https://host/us/raw/HEAD/docs/c.png)\n')
    assert setup.absolute(text, '') == (
        'See a, [b](https://b.org).\n\n*Two\nlines*\n')


@pytest.mark.parametrize('base', ['', 'https://host/us'])
def test_no_link_of_the_readme_needs_a_file(setup, base):
    shown = setup.absolute(read('README.md'), base)
    assert not re.findall(r'\]\((?!https?:|#)[^)]*\)', shown)
