"""Makes the long description for PyPI from README.md; the rest is in setup.cfg.

Relative links do not work on PyPI.  They become links to the `Source` of setup.cfg or,
without one, plain text; a picture becomes its description.
"""
import configparser
import os
import re

import setuptools

HERE = os.path.dirname(os.path.abspath(__file__))
PICTURES = re.compile(r'!\[([^\]]*)\]\((?!https?:|#)([^)]+)\)')
LINKS = re.compile(r'(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)')


def source():
    """The `Source` of setup.cfg's project_urls; '' if there is none."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(os.path.join(HERE, 'setup.cfg'), encoding='utf-8')
    urls = settings.get('metadata', 'project_urls', fallback='')
    return (re.findall(r'^Source *= *(\S+)', urls, re.M) or [''])[0].rstrip('/')


def absolute(text, base):
    """A Markdown text whose links and pictures need no file beside it."""
    pictures = rf'![\1]({base}/raw/HEAD/\2)' if base else r'*\1*'
    links = rf'[\1]({base}/blob/HEAD/\2)' if base else r'\1'
    return LINKS.sub(links, PICTURES.sub(pictures, text))


def readme():
    with open(os.path.join(HERE, 'README.md'), encoding='utf-8') as f:
        return absolute(f.read(), source())


if __name__ == '__main__':
    setuptools.setup(
        long_description=readme(), long_description_content_type='text/markdown')
