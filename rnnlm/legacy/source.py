"""What a script's source tells: for which Chainer, and which Python, it was written."""
import ast
import builtins
import os
import re
import tokenize

from rnnlm.errors import InputError

# How they stand in a script, and that only one side knows them.
V1_NAMES = {
    'FunctionSet', 'collect_parameters', 'zero_grads', 'clip_grads',
    'accumulate_grads', 'compute_grads_norm', 'add_uninitialized_param',
    'copy_parameters_from', 'volatile', 'aggregate_flags'}
V1_CALLED_ON_F = {
    'EmbedID', 'Linear', 'Convolution2D', 'BatchNormalization', 'Bilinear', 'Parameter',
    'NegativeSampling', 'BinaryHierarchicalSoftmax', 'PReLU', 'Inception'}
V1_CALLED_ON_CUDA = {'init', 'empty', 'zeros', 'ones', 'full', 'empty_like',
                     'zeros_like', 'ones_like', 'full_like'}
V1_ARGUMENTS = {'volatile', 'use_cudnn', 'wscale', 'invoke_before_training'}
# Of these, the argument says it.
V1_CALLS = {
    'train': {'dropout', 'zoneout', 'rrelu', 'n_step_lstm', 'n_step_gru', 'n_step_rnn',
              'n_step_bilstm', 'n_step_bigru', 'n_step_birnn', 'StatefulZoneoutLSTM'},
    'test': {'bn', 'batch_norm', 'batchnorm', 'norm'},
    'trigger': {'snapshot', 'snapshot_object'}}
# What either side had, but one had no other way to say.
V1_HABITS = {'zerograds'}
V2_NAMES = {
    'init_scope', 'using_config', 'no_backprop_mode', 'force_backprop_mode',
    'get_device_from_id', 'get_device_from_array', 'optimizer_hooks', 'to_device',
    'from_chx', 'to_chx', 'FunctionNode', 'as_variable', 'Sequential', 'repeat_link',
    'backends', 'Parameter.array', 'get_device_from_string'}


def choose_api(path, tree):
    """Which Chainer a script was written for.

    A sign of Chainer 2 or later decides, since v1 cannot have run it; else a sign of
    v1.  Modules beside the script that it imports count as a part of it.

    Args:
        path (str): The script.
        tree (ast.AST): What it parses to.

    Returns:
        tuple: 'v1' or 'v2', and why, in a few words.
    """
    signs = {'v1': [], 'habit': [], 'v2': []}
    for name, part in [(path, tree), *_siblings(path, tree)]:
        for line, api, sign in sorted(_signs(part)):
            signs[api].append(f'{os.path.basename(name)}:{line} has {sign}')
    if signs['v2']:
        return 'v2', signs['v2'][0]
    if signs['v1'] or signs['habit']:
        return 'v1', (signs['v1'] or signs['habit'])[0]
    return 'v2', 'it has nothing of v1 alone'


def _signs(tree):
    """Yields (line, 'v1', 'habit' or 'v2', what stands there)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _signs_of_call(node)
        elif isinstance(node, ast.Attribute):
            owner = getattr(node.value, 'id', None) or getattr(node.value, 'attr', '')
            if (owner, node.attr) == ('chainer', 'config'):
                yield node.lineno, 'v2', 'chainer.config'
            elif node.attr in V2_NAMES:
                yield node.lineno, 'v2', node.attr
            elif node.attr in V1_NAMES or (
                    owner == 'F' and node.attr in V1_CALLED_ON_F) or (
                    owner == 'cuda' and node.attr in V1_CALLED_ON_CUDA):
                yield node.lineno, 'v1', f'{owner}.{node.attr}'.lstrip('.')
            elif node.attr in V1_HABITS:
                yield node.lineno, 'habit', node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith(
                'chainer'):
            names = {alias.name for alias in node.names} | set(node.module.split('.'))
            for name in sorted(names & V2_NAMES):
                yield node.lineno, 'v2', name
            for name in sorted(names & (V1_NAMES | {'flag', 'function_set'})):
                yield node.lineno, 'v1', name
            if node.module == 'chainer.functions':
                for name in sorted(names & V1_CALLED_ON_F):
                    yield node.lineno, 'v1', f'chainer.functions.{name}'


def _signs_of_call(node):
    called = getattr(node.func, 'attr', None) or getattr(node.func, 'id', '')
    for keyword in node.keywords:
        if keyword.arg in V1_ARGUMENTS or called in V1_CALLS.get(keyword.arg, ()):
            yield node.lineno, 'v1', f'{called}({keyword.arg}=...)'
    if called == '__init__' and any(
            isinstance(keyword.value, ast.Call)
            and getattr(keyword.value.func, 'attr', '')[:1].isupper()
            for keyword in node.keywords):
        yield node.lineno, 'habit', 'links as arguments of __init__'


def _siblings(path, tree):
    """[(path, tree)] of the modules beside a script that it imports."""
    folder = os.path.dirname(os.path.abspath(path))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split('.')[0])
    found = []
    for name in sorted(names):
        sibling = os.path.join(folder, name + '.py')
        if os.path.isfile(sibling):
            found.append((sibling, parse(sibling)))
    return found


# Python 2 -------------------------------------------------------------------

# What Python 3 says of Python 2's syntax, and what it looks like.
PYTHON_2_ERRORS = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types must be|"
    r'leading zeros in decimal|inconsistent use of tabs|invalid (decimal )?literal|'
    r'except clauses')
PYTHON_2_SYNTAX = re.compile(
    r'^\s*(print\s+[^(=\s.,)]|print\s*>>|exec\s+["\'\w]|raise\s+\w+\s*,|'
    r'except\s+[\w.()]+\s*,\s*\w+\s*:)|<>|\bur["\']|`[^`]+`', re.MULTILINE)
PYTHON_2_NAMES = {
    'xrange', 'raw_input', 'unicode', 'basestring', 'unichr', 'long', 'reduce',
    'reload', 'execfile', 'file', 'cmp', 'apply'}
PYTHON_2_METHODS = {'iteritems', 'itervalues', 'iterkeys', 'has_key'}
PYTHON_2_MODULES = {'cPickle', 'urllib2', 'ConfigParser', 'StringIO', 'cStringIO',
                    'Queue', 'commands'}


def parse(path):
    """The syntax tree of a script.

    Raises:
        rnnlm.errors.InputError: if the file is missing, or was written for Python 2.
        SyntaxError: if it is no Python at all.
    """
    text = _read(path)
    try:
        tree = ast.parse(text, path)
    except SyntaxError as e:
        if PYTHON_2_ERRORS.search(str(e)) or PYTHON_2_SYNTAX.search(text):
            raise python_2(path, e.lineno, e.msg) from None
        raise
    found = _python_2_name(tree)
    if found:
        raise python_2(path, *found)
    return tree


def _read(path):
    """The text of a script, in the encoding that it names."""
    try:
        with tokenize.open(path) as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f'{path}: expected a Python script, found something that cannot be read '
            f'({e})') from None


def python_2(path, line, what):
    """The error that says how to convert a script."""
    return InputError(
        f'{path}:{line}: expected Python 3, found Python 2 ({what}); convert it, the '
        'old file being kept as .bak:\n'
        f'    pip install modernize && python -m modernize -w {path}')


def _python_2_name(tree):
    """(line, what) of the first use of what only Python 2 has; None if guarded."""
    made = set(dir(builtins))
    guarded = set()
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
        if _thinks_of_both(node):
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
                     if isinstance(node, ast.Import) else {node.module})
            found += [(node.lineno, f'import {name}')
                      for name in sorted(names & PYTHON_2_MODULES)]
    return min(found) if found else None


def _thinks_of_both(node):
    """Whether this asks which Python it is: by a version, or by what fails."""
    if isinstance(node, (ast.If, ast.IfExp)):
        asked = {getattr(part, 'attr', getattr(part, 'id', ''))
                 for part in ast.walk(node.test)}
        return bool(asked & {'version_info', 'version', 'PY2', 'PY3', 'hexversion'})
    if isinstance(node, ast.Try):
        caught = {getattr(part, 'id', '') for handler in node.handlers
                  for part in ast.walk(handler.type or ast.Name('NameError'))}
        return bool(caught & {'ImportError', 'ModuleNotFoundError', 'NameError',
                              'AttributeError', 'Exception'})
    return False
