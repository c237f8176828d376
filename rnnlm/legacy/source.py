"""Reading and parsing of scripts."""
import ast
import os
import re
import tokenize

from rnnlm.errors import InputError
from rnnlm.legacy import python2


def parse(path):
    """Parses a script to a syntax tree.

    Raises:
        rnnlm.errors.InputError: If the file is missing, or was written for Python 2.
        SyntaxError: If it is not Python.
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
    """Explains a syntax error caused by `async` as a name, allowed until Python 3.6.

    Raises:
        rnnlm.errors.InputError: If that is the cause.
    """
    line = (error.text or '').split('#')[0]
    if re.search(r'\basync\b(?!\s+(def|for|with)\b)', line):
        raise InputError(
            f"{path}:{error.lineno}: expected Python 3.7 or newer, found 'async' as a "
            'name, which was allowed until 3.6; rename it, for example to async_'
        ) from None


def read(path):
    """Reads the text of a script, in the encoding that it declares."""
    try:
        with tokenize.open(path) as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f'{path}: expected a Python script, found something that cannot be read '
            f'({e})') from None
