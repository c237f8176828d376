"""Scripts as text, and as the syntax trees that they parse to."""
import ast
import os
import re
import tokenize

from rnnlm.errors import InputError
from rnnlm.legacy import python2


def parse(path):
    """The syntax tree of a script.

    Raises:
        rnnlm.errors.InputError: if the file is missing, or was written for Python 2.
        SyntaxError: if it is no Python at all.
    """
    text = read(path)
    try:
        tree = ast.parse(text, path)
    except SyntaxError as e:
        refuse_keyword(path, e)
        if python2.is_meant(e, text):
            raise python2.error(path, e.lineno, e.msg, text) from None
        raise
    found = python2.first_name(tree, os.path.dirname(os.path.abspath(path)))
    if found:
        raise python2.error(path, *found, text)
    return tree


def refuse_keyword(path, error):
    """Says of a syntax error that a keyword of Python 3.7 was a name until then.

    Raises:
        rnnlm.errors.InputError: if it is that.
    """
    line = (error.text or '').split('#')[0]
    if re.search(r'\basync\b(?!\s+(def|for|with)\b)', line):
        raise InputError(
            f"{path}:{error.lineno}: expected Python 3.7 or newer, found 'async' as a "
            'name, which it was until 3.6: rename it, as to async_, wherever it stands'
        ) from None


def read(path):
    """The text of a script, in the encoding that it names."""
    try:
        with tokenize.open(path) as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f'{path}: expected a Python script, found something that cannot be read '
            f'({e})') from None
