"""The site is built without a warning; its links lead somewhere; nothing is missing.

Needs the extra `docs`.
"""
import html.parser
import os
import re
import subprocess
import sys
import urllib.parse

from helpers import ROOT
import pytest

import rnnlm

pytest.importorskip('sphinx', reason='needs the extra docs')
pytest.importorskip('myst_nb', reason='needs the extra docs')
sys.path.insert(0, os.path.join(ROOT, 'docs', '_extensions'))

import inventories  # noqa: E402
import reference  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The folder of the site, built as CI does, without executing the notebooks."""
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q', '-b', 'html',
         '-D', 'nb_execution_mode=off', '-d', str(folder / 'doctrees'), 'docs',
         str(folder / 'html')], cwd=ROOT, capture_output=True, text=True,
        env=dict(os.environ, http_proxy='http://127.0.0.1:9',
                 https_proxy='http://127.0.0.1:9'))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / 'html'


class _Page(html.parser.HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if given.get('id'):
            self.anchors.add(given['id'])
        for name in 'href', 'src':
            if given.get(name):
                self.targets.append(given[name])


@pytest.fixture(scope='module')
def pages(site):
    return {path: _Page(path) for path in site.rglob('*.html')}


def broken(pages):
    """(page, target) of each link to a file or an anchor that is not there."""
    for path, page in pages.items():
        for target in page.targets:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or target in ('#', ''):
                continue
            found = path if not parts.path else (
                path.parent / urllib.parse.unquote(parts.path)).resolve()
            anchor = urllib.parse.unquote(parts.fragment)
            if not found.exists() or (
                    anchor and found in pages and anchor not in pages[found].anchors):
                yield path.name, target


def test_no_link_is_broken(pages):
    assert len(pages) > 60
    assert list(broken(pages)) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / 'a.html'
    page.write_text(
        '<a id="x" href="b.html">b</a> <a href="#y">y</a> <a href="#x">x</a>')
    assert list(broken({page: _Page(page)})) == [('a.html', 'b.html'), ('a.html', '#y')]


def test_every_public_name_has_its_page(site):
    for name in rnnlm.__all__:
        page = site / 'reference' / f'rnnlm.{name}.html'
        assert f'id="rnnlm.{name}"' in page.read_text() or (
            f'id="module-rnnlm.{name}"' in page.read_text()), name


def test_a_topic_lists_only_what_is_there():
    for names in reference.topics().values():
        assert all(reference.find(name) is not None for name in names)


def test_the_search_finds_names_and_words(site):
    index = (site / 'searchindex.js').read_text()
    for word in 'rnnlm.ParallelSequentialIterator', 'perplex', 'snapshot', 'clip':
        assert word in index


# Task: what the page has that answers it.
TASKS = {
    'train on a novel': 'rnnlm train --corpus novel.txt',
    'continue after a crash': '--resume',
    'keep windows fast with a hook that changes gradients': 'class GradientNoise',
    'load a snapshot of 1.24': "rnnlm.load('snapshot_iter_60')",
    'check the weights in PyTorch': 'numpy.testing.assert_allclose(found, expected',
    'cite a PTB figure': 'What to report',
    'what happens on NaN': 'rnnlm.NotFinite',
}


@pytest.mark.parametrize('task', TASKS)
def test_a_task_is_within_two_clicks(task, site, pages):
    reached = {(site / 'index.html').resolve()}
    for _ in range(2):
        reached |= {
            (path.parent / urllib.parse.urlsplit(target).path).resolve()
            for path in reached & set(pages) for target in pages[path].targets
            if not urllib.parse.urlsplit(target).scheme}
    texts = (html.unescape(re.sub('<[^>]*>', '', path.read_text()))
             for path in reached & set(pages))
    assert any(TASKS[task] in text for text in texts)


def test_names_of_chainer_exist():
    """Those that the inventory says, by import."""
    for address, lines in inventories.entries().values():
        for line in lines:
            name = line.split()[0]
            if name.startswith(('chainer', 'numpy')):
                assert reference.find(name) is not None, name
