"""Recognition of scripts for Python 2, and advice on converting them."""
import ast
import builtins
import os
import re

from rnnlm.errors import InputError

# Messages of Python 3 for Python 2 syntax, and patterns of such syntax.
PYTHON_2_ERRORS = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types must be|"
    r'leading zeros in decimal|inconsistent use of tabs|invalid (decimal )?literal|'
    r'except clauses')
PYTHON_2_SYNTAX = re.compile(
    r'^\s*(from\s+__builtin__\s|'
    r'print\s+[^(=\s.,)]|print\s*>>|exec\s+["\'\w]|raise\s+\w+\s*,|'
    r'except\s+[\w.()]+\s*,\s*\w+\s*:)|<>|\bur["\']|`[^`]+`', re.MULTILINE)
PYTHON_2_NAMES = {
    'xrange', 'raw_input', 'unicode', 'basestring', 'unichr', 'long', 'reduce',
    'reload', 'execfile', 'file', 'cmp', 'apply'}
PYTHON_2_METHODS = {'iteritems', 'itervalues', 'iterkeys', 'has_key'}
PYTHON_2_MODULES = {'cPickle', 'urllib2', 'ConfigParser', 'StringIO', 'cStringIO',
                    'Queue', 'commands'}
# Names that `modernize` leaves and Python 3 lacks -> what to write.
PYTHON_2_ATTRIBUTES = {
    'sys.maxint': 'sys.maxsize', 'sys.setdefaultencoding': 'nothing: drop the line',
    'string.letters': 'string.ascii_letters', 'string.lowercase':
    'string.ascii_lowercase', 'string.uppercase': 'string.ascii_uppercase',
    'string.maketrans': 'str.maketrans', 'string.join': "' '.join(words)",
    'string.split': 'text.split()', 'string.replace': 'text.replace()',
    'string.strip': 'text.strip()', 'string.atoi': 'int', 'string.atof': 'float',
    'os.getcwdu': 'os.getcwd', 'itertools.izip': 'zip', 'itertools.imap': 'map',
    'commands.getoutput': 'subprocess.getoutput',
    'commands.getstatusoutput': 'subprocess.getstatusoutput'}
CONVERT = '    pip install modernize && python -m modernize -w {path}'
DIVISION = 'libmodernize.fixes.fix_classic_division'


def is_meant(error, text):
    """Returns whether a text that is not Python 3 is Python 2.

    It is if the line of the error has syntax of Python 2, or if such syntax, which may
    also occur in a string, is all that makes the text invalid.
    """
    if PYTHON_2_ERRORS.search(str(error)):
        return True
    if not PYTHON_2_SYNTAX.search(text):
        return False
    line = text.splitlines()[(error.lineno or 1) - 1:][:1]
    if line and PYTHON_2_SYNTAX.search(line[0]):
        return True
    try:
        ast.parse(as_python_3(text))
    except (SyntaxError, ValueError):
        return False
    return True


def error(path, line, what, text):
    """Returns an error that says how to convert a script, and what to do by hand."""
    # Found in the original text, because modernize has not run yet.
    left = pitfalls(text)
    lines = [CONVERT.format(path=path)]
    if left:
        lines.append('which leaves these to do by hand:')
        lines += [f'    {path}:{number}: {advice}' for number, advice in left[:12]]
    if len(left) > 12:
        lines.append(f'    and {len(left) - 12} more')
    return InputError(
        f'{path}:{line}: expected Python 3, found Python 2 ({what}); convert it (the '
        'old file is kept as .bak):', lines=lines)


def pitfalls(text):
    """Returns [(line, advice)] for what `modernize` leaves but Python 3 changed."""
    try:
        tree = ast.parse(as_python_3(text))
    except (SyntaxError, ValueError):
        return []
    true_division = any(
        isinstance(node, ast.ImportFrom) and node.module == '__future__'
        and any(alias.name == 'division' for alias in node.names)
        for node in ast.walk(tree))
    # `x.next()` is converted by modernize; only `x.next` without a call is not.
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)
              and not node.args and not node.keywords}
    found = []
    for node in ast.walk(tree):
        advice = _advice(node, true_division, called)
        if advice:
            found.append((node.lineno, advice))
    return sorted(set(found))


def _advice(node, true_division, called):
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
        if not true_division and not _has_float(node):
            return (f'{_short(node)}: the quotient of two integers was an integer in '
                    f'Python 2; write // if you want that (-f default -f {DIVISION} '
                    'writes it everywhere, for float numbers too)')
    elif isinstance(node, ast.Attribute):
        name = _short(node)
        if node.attr == 'next' and id(node) not in called and (
                isinstance(node.ctx, ast.Load)):
            return f'{name}: the method is __next__ now'
        if name in PYTHON_2_ATTRIBUTES:
            return f'{name}: now {PYTHON_2_ATTRIBUTES[name]}'
    elif isinstance(node, ast.Call):
        return _advice_on_call(node)
    return None


def _advice_on_call(node):
    name = _short(node.func)
    if isinstance(node.func, ast.Call) and (
            'getwriter' in name or 'getreader' in name) and 'std' in _short(node):
        return (f'{_short(node)}: drop the line, or give it .buffer, as in '
                'sys.stdout.buffer; text needs no encoding')
    if name == 'reload' or name.endswith('.reload'):
        return f'{_short(node)}: drop the line, or importlib.reload'
    if not isinstance(node.func, ast.Attribute):
        compares = name == 'sorted' and len(node.args) > 1
    elif node.func.attr == 'decode':
        return f'{_short(node)}: a str has no decode; remove it unless it is bytes'
    elif node.func.attr == 'encode':
        return (f'{_short(node)}: returns bytes, which print and write show as '
                "b'...'; remove it where you want text")
    else:
        compares = node.func.attr == 'sort' and node.args
    if compares or any(keyword.arg == 'cmp' for keyword in node.keywords):
        return f'{_short(node)}: key=functools.cmp_to_key(...) instead of a comparison'
    return None


def _short(node):
    text = ast.unparse(node).split('\n')[0]
    return text if len(text) <= 40 else text[:37] + '...'


def _has_float(node):
    """Returns whether a division is certainly of float numbers."""
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, float)
        or isinstance(part, ast.Call) and (
            getattr(part.func, 'id', '') == 'float'
            or getattr(part.func, 'attr', '') in (
                'float', 'float32', 'float64', 'sqrt', 'exp', 'log', 'mean', 'std',
                'time', 'astype', 'norm'))
        for part in ast.walk(node))


def as_python_3(text):
    """Translates Python 2 syntax to Python 3, keeping line numbers.

    The result is for parsing, not for running: ``print x`` becomes an assignment.
    """
    for old, new in (
            (r'(?m)^(\s*|.*?:\s*)(?:print|exec)(?: +|(?=["\']))(?:>> *)?(?=[^\s=(,.])',
             r'\1_ = '),
            (r'(?m)^(\s*|.*?:\s*)print *>> *', r'\1_ = '),
            (r'\bexcept\s+([\w.]+|\([^)]*\))\s*,\s*(\w+)\s*:', r'except \1 as \2:'),
            (r'(?m)\braise +([\w.]+) *, *', r'raise \1 or '),
            (r'<>', '!='), (r'`([^`\n]+)`', r'(\1)'),
            (r'(?<![\w.])0(\d+)(?![\w.])', r'0o\1'),
            (r'(?<![\w.])(\d+)[lL]\b', r'\1'), (r'\b[uU][rR](?=["\'])', 'r'),
            (r'lambda *\(([\w, ]+)\) *:', r'lambda \1:')):
        text = re.sub(old, new, text)
    text = re.sub(
        r'(?m)^(\s*def \w+\(.*)$', lambda line: re.sub(
            r'([(,] *)\(([\w, ]+)\)',
            lambda pair: pair[1] + re.sub(r'\W+', '_', pair[2]), line[1]), text)
    return text.expandtabs(8)


def _is_in_folder(name, folder):
    path = os.path.join(folder, name.split('.')[0])
    return os.path.isfile(path + '.py') or os.path.isdir(path)


def first_name(tree, folder):
    """Returns (line, name) of the first use of a Python 2 name, or None if guarded.

    Args:
        tree (ast.AST): A script.
        folder (str): Its folder.  A module there may have the name of one that Python
            has removed.
    """
    # Names that the script defines itself are not Python 2's.
    made = set(dir(builtins))
    guarded = set()
    flags = VERSION | {target.id for node in ast.walk(tree)
                       if isinstance(node, ast.Assign) and VERSION & _named(node.value)
                       for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            made.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            made.update((alias.asname or alias.name).split('.')[0]
                        for alias in node.names)
            if any(alias.name == '*' for alias in node.names):
                made.update(PYTHON_2_NAMES)
            if any(alias.name.split('.')[0] == 'pandas' for alias in node.names):
                made.add('iteritems')  # of old DataFrames
        if _checks_version(node, flags):
            guarded.update(map(id, ast.walk(node)))
    found = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Name) and node.id in PYTHON_2_NAMES - made:
            found.append((node.lineno, node.id))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift) and (
                getattr(node.left, 'id', None) == 'print'):
            found.append((node.lineno, 'print >>'))
        elif isinstance(node, ast.Call) and (
                getattr(node.func, 'attr', None) in PYTHON_2_METHODS - made) and (
                getattr(getattr(node.func, 'value', None), 'id', '') != 'six'):
            found.append((node.lineno, f'.{node.func.attr}()'))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = ({alias.name for alias in node.names}
                     if isinstance(node, ast.Import) else
                     set() if node.level else {node.module})
            found += [(node.lineno, f'import {name}')
                      for name in sorted(names & PYTHON_2_MODULES)
                      if not _is_in_folder(name, folder)]
    return min(found) if found else None


# Names that stand for the Python version.
VERSION = {'version_info', 'version', 'PY2', 'PY3', 'hexversion'}


def _named(node):
    """Returns the names and attributes in an expression."""
    return {getattr(part, 'attr', getattr(part, 'id', '')) for part in ast.walk(node)}


def _checks_version(node, flags):
    """Returns whether code checks the Python version, or for a missing name.

    Args:
        node (ast.AST): The code.
        flags (set of str): Names that stand for the version.
    """
    if isinstance(node, (ast.If, ast.IfExp)):
        return bool(_named(node.test) & (flags | {'hasattr'}))
    if isinstance(node, ast.Try):
        caught = {getattr(part, 'id', '') for handler in node.handlers
                  for part in ast.walk(handler.type or ast.Name('NameError'))}
        return bool(caught & {'ImportError', 'ModuleNotFoundError', 'NameError',
                              'AttributeError', 'Exception'})
    return False
