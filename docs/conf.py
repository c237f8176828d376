"""Settings of the site: `python -m sphinx -W docs docs/_build/html` builds it.

Nothing is read from the network.  The notebooks are executed unless
`-D nb_execution_mode=off` is given.
"""
import os
import sys

DOCS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(DOCS), os.path.join(DOCS, '_extensions')]
# The kernels of the notebooks import this checkout too.
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [
    os.path.dirname(DOCS), os.environ.get('PYTHONPATH')]))

import rnnlm  # noqa: E402  before anything imports Chainer

project = 'rnnlm'
author = copyright = 'the rnnlm maintainers'
version = release = rnnlm.__version__

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.doctest',
    'sphinx.ext.intersphinx',
    'sphinx.ext.napoleon',
    'myst_nb',
    # Ours, in _extensions/.
    'inventories',
    'mathml',
    'reference',
    'repository',
]
exclude_patterns = ['_build', 'jupyter_execute']
suppress_warnings = ['mystnb.unknown_mime_type']

# Quotes stay as they are written: '' is an empty string, 'main/loss' a name.
smartquotes = False

html_theme = 'furo'
html_title = f'rnnlm {release}'
html_static_path = ['_static']
html_css_files = ['rnnlm.css']
html_copy_source = False
html_math_renderer = 'mathml'

# A name in single backquotes is looked up; an unknown one is shown as code.
default_role = 'py:obj'
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_typehints_format = 'short'
napoleon_use_ivar = True
napoleon_use_rtype = False

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3
myst_url_schemes = ['http', 'https', 'mailto', 'source']

nb_execution_mode = 'cache'
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# `-b doctest` runs the examples of the docstrings, which tests/test_docstrings.py runs
# too, in a folder with a trained model.
doctest_global_setup = '''
import os, tempfile
import rnnlm
import chainer, numpy
from rnnlm import *
if not os.path.exists('result'):
    os.chdir(tempfile.mkdtemp())
    train(load_corpus('demo'), Recipe(n_units=24, n_layers=1, dropout=0, bprop_len=20,
                                      epochs=2), out='result', seed=0)
'''
doctest_test_doctest_blocks = 'default'
