"""Sphinx extension: the repository's other files in the site.

- A page may show a text of the repository, such as CONTRIBUTING.md (`SHOWN`).
- A link from a page to a file outside docs/ leads to a page with its text, so that the
  site needs no server of the repository.
"""
import html
import os
import re

from docutils import nodes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# {page: the file whose text it shows}
SHOWN = {
    'changelog': 'CHANGELOG.md',
    'contributing': 'CONTRIBUTING.md',
    'results': 'benchmarks/RESULTS.md',
    'security': 'SECURITY.md',
}
PAGES = {path: page for page, path in SHOWN.items()}

LINK = re.compile(r'\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)')


def text_of(page, text):
    """The text of a page with the targets of its links as the site needs them.

    Args:
        page (str): Its name, as 'install' or 'notebooks/first_model'.
        text (str): What its file in docs/ holds.
    """
    path = f'docs/{page}.md'
    if page in SHOWN:
        path = SHOWN[page]
        with open(os.path.join(ROOT, path), encoding='utf-8') as f:
            text = f.read()

    def link(match):
        target, anchor = match.group(1), match.group(2) or ''
        found = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if found in PAGES:
            return f'](/{PAGES[found]}.md{anchor})'
        if found.split(os.sep)[0] == 'docs' and not found.endswith('.py'):
            return f'](/{os.path.relpath(found, "docs")}{anchor})'
        if not os.path.exists(os.path.join(ROOT, found)):
            return match.group()  # Sphinx warns
        return f'](source:{found})'

    return LINK.sub(link, text)


def read(app, page, source):
    """Event source-read."""
    if page in SHOWN:
        app.env.note_dependency(os.path.join(ROOT, SHOWN[page]))
    source[0] = text_of(page, source[0])


def resolve(app, doctree, page):
    """Event doctree-resolved: links to files lead to their pages."""
    for node in doctree.findall(nodes.reference):
        uri = node.get('refuri', '')
        if uri.startswith('source:'):
            node['refuri'] = app.builder.get_relative_uri(
                page, 'source/' + uri.removeprefix('source:'))


def linked(app):
    """The files and folders that pages link to, by their paths."""
    found = set()
    for page in app.env.found_docs:
        with open(app.env.doc2path(page), encoding='utf-8') as f:
            text = text_of(page, f.read())
        found.update(re.findall(r'\]\(source:([^)]+)\)', text))
    return sorted(found)


def collect(app):
    """Event html-collect-pages: a page for each linked file or folder."""
    for path in linked(app):
        full = os.path.join(ROOT, path)
        if os.path.isdir(full):
            names = sorted(name for name in os.listdir(full) if name[0] not in '._')
            body = '<ul>' + ''.join(f'<li>{html.escape(n)}</li>' for n in names)
            body += '</ul>'
        else:
            with open(full, encoding='utf-8') as f:
                text = f.read()
            language = 'python' if path.endswith('.py') else 'none'
            body = app.builder.highlighter.highlight_block(text, language)
        title = html.escape(path)
        yield (f'source/{path}', {'title': title, 'body': f'<h1>{title}</h1>{body}'},
               'page.html')


def setup(app):
    app.connect('source-read', read)
    app.connect('doctree-resolved', resolve)
    app.connect('html-collect-pages', collect)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
