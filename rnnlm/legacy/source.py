"""Scripts as text, and as the syntax trees that they parse to."""
import ast
import os
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
        if python2.is_meant(e, text):
            raise python2.error(path, e.lineno, e.msg, text) from None
        raise
    found = python2.first_name(tree, os.path.dirname(os.path.abspath(path)))
    if found:
        raise python2.error(path, *found, text)
    return tree


def read(path):
    """The text of a script, in the encoding that it names."""
    try:
        with tokenize.open(path) as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f'{path}: expected a Python script, found something that cannot be read '
            f'({e})') from None
