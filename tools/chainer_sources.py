"""Parser of the sources of a Chainer release: its public names and their arguments."""
import ast
import re

KNOWN_BASES = {'object', 'Exception', 'RuntimeError', 'ValueError', 'TypeError',
               'collections_abc.MutableSequence',
               'utils.enable_final(meta_base=abc.ABCMeta)'}
# Decorators that do not change a function's arguments.
PLAIN = {'staticmethod', 'classmethod', 'contextmanager', 'abstractmethod',
         'contextlib.contextmanager', 'abc.abstractmethod', 'utils.final', 'retry'}


class Module:
    """Names of a module, as far as its source tells."""

    def __init__(self, release, name, tree, is_package):
        self.release = release
        self.name = name
        self.package = name if is_package else name.rpartition('.')[0]
        self.is_package = is_package
        self.names = {}
        self.settings = set()
        self.stands_for = None  # the object that replaces it in sys.modules
        self.old_imports = not any(
            isinstance(node, ast.ImportFrom) and node.module == '__future__'
            for node in tree.body)
        release.modules[name] = self
        self.run(tree.body)

    def run(self, body):
        for node in body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.import_module(alias.name, alias.asname)
            elif isinstance(node, ast.ImportFrom):
                self.import_from(node)
            elif isinstance(node, ast.ClassDef):
                self.names[node.name] = 'object', self.name, node.name
                self.release.objects[self.name, node.name] = node, self
            elif isinstance(node, ast.FunctionDef):
                # Of several definitions, the first: the one used if a library exists.
                found = self.names.get(node.name, ('value',))
                if found[:2] != ('object', self.name):
                    self.names[node.name] = 'object', self.name, node.name
                    self.release.objects[self.name, node.name] = node, self
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self.assign(target, node.value)
            elif isinstance(node, ast.If):
                self.run(node.body)
                self.run(node.orelse)
            elif isinstance(node, ast.Try):
                self.run(node.body)
                for handler in node.handlers:
                    self.run(handler.body)
                self.run(node.orelse)
            elif isinstance(node, ast.With):
                self.run(node.body)

    def set(self, name, what):
        if what[0] == 'value' and self.names.get(name, what)[0] == 'foreign' or (
                what[0] not in ('value', 'foreign')) or name not in self.names:
            self.names[name] = what

    def assign(self, target, value):
        if isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.assign(part, ast.Constant(None))
        elif isinstance(target, ast.Name):
            self.set(target.id, self.value(value) or ('value',))
        elif ast.unparse(target) == 'sys.modules[__name__]':
            self.stands_for = self.value(value)
        elif isinstance(target, ast.Attribute) and (
                isinstance(target.value, ast.Name)
                and target.value.id == 'global_config'):
            self.settings.add(target.attr)

    def value(self, node):
        """Returns what an expression is an alias of; None if unknown."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.value(node.value)
            if owner and owner[0] == 'module':
                return self.release.find(owner[1], node.attr)
        return None

    def import_module(self, name, as_name):
        full = self.absolute(name, 0)
        if full:
            self.release.load(full)
            if as_name or full != name:
                self.names[as_name or name] = 'module', full
        else:
            self.set(as_name or name.split('.')[0], ('foreign',))

    def import_from(self, node):
        full = self.absolute(node.module or '', node.level)
        if not full:
            for alias in node.names:
                self.set(alias.asname or alias.name, ('foreign',))
            return
        module = self.release.load(full)
        for alias in node.names:
            if alias.name == '*':
                for name, what in list(module.names.items()):
                    if not name.startswith('_'):
                        self.names[name] = what
            else:
                found = self.release.find(full, alias.name)
                if found:
                    self.names[alias.asname or alias.name] = found

    def absolute(self, name, level):
        """Returns the full name of a module of Chainer; None for other modules."""
        if level:
            parts = self.package.split('.')
            base = '.'.join(parts[:len(parts) - level + 1])
            name = f'{base}.{name}'.rstrip('.')
        if name in self.release.files:
            return name
        inner = f'{self.package}.{name}'
        if self.old_imports and inner in self.release.files:
            return inner
        return None


class Release:
    """Release of Chainer.

    Args:
        files (dict of str: (str, bool)): Name of each module -> its text, and whether
            it is a package.
    """

    def __init__(self, files):
        self.files = files
        self.modules = {}
        self.objects = {}
        for name in sorted(files):
            self.load(name)
        self.public = self.shortest_paths()

    def load(self, name):
        if name not in self.modules:
            text, is_package = self.files[name]
            Module(self, name, parse(text), is_package)
        return self.modules[name]

    def find(self, module, name):
        """Returns what a name in a module refers to; None if it does not exist."""
        stands_for = self.load(module).stands_for
        if stands_for:
            return self.find(stands_for[1], name)
        found = self.load(module).names.get(name)
        if found is None and f'{module}.{name}' in self.files:
            found = 'module', f'{module}.{name}'
        return found

    def paths(self):
        """Yields (public path, object) for all with a public path, modules first."""
        for name in sorted(self.files):
            if 'caffe_pb' not in name and not any(
                    part.startswith('_') for part in name.split('.')):
                yield name, ('module', name)
        for name, module in sorted(self.modules.items()):
            if 'caffe_pb' in name or module.stands_for or any(
                    part.startswith('_') for part in name.split('.')):
                continue
            for inner, what in sorted(module.names.items()):
                if inner.startswith('_') and inner != '__version__':
                    continue
                imported = what[0] == 'module' or what[1:2] != (name,)
                if imported and what[0] != 'value' and not module.is_package and (
                        name.count('.') > 2 or what[0] == 'module'):
                    continue
                # CuPy's names are public through chainer.cuda.
                if what[0] != 'foreign' or name.endswith('.cuda'):
                    yield f'{name}.{inner}', what

    def shortest_paths(self):
        """Returns {object: shortest path} for classes and functions."""
        best = {}
        for path, what in self.paths():
            if what[0] != 'object':
                continue
            module = path.rpartition('.')[0]
            rank = (not what[1].startswith(module), path.count('.'), len(path), path)
            if what not in best or rank < best[what][0]:
                best[what] = rank, path
        return {what: path for what, (_, path) in best.items()}

    def entries(self):
        """Yields (path, its entry in the table)."""
        for path, what in self.paths():
            if what[0] == 'module':
                what = self.modules[what[1]].stands_for or what
                yield path, 'M' if path == what[1] else '=' + what[1]
            elif what[0] in ('value', 'foreign'):
                yield path, 'V'
            elif self.public[what] != path:
                yield path, '=' + self.public[what]
            else:
                yield from self.of_object(path, *self.objects[what[1:]])
        for name in sorted(self.modules['chainer'].settings):
            yield f'chainer.config.{name}', 'V'

    def of_object(self, path, node, module):
        if isinstance(node, ast.FunctionDef):
            yield path, signature(node, method=False)
            return
        bases = []
        for base in node.bases:
            if isinstance(base, ast.Call) and base.args[1:]:  # six.with_metaclass
                base = base.args[1]
            found = module.value(base)
            if found in self.public:
                bases.append(self.public[found])
            elif found and found[0] == 'object':  # private base: inline its members
                yield from self.members(path, *self.objects[found[1:]])
                bases += self.bases_of(*self.objects[found[1:]])
            elif ast.unparse(base) not in KNOWN_BASES:
                bases.append('*')
        yield path, 'C' + ','.join(bases)
        yield from self.members(path, node, module)

    def bases_of(self, node, module):
        found = [module.value(base) for base in node.bases]
        return [self.public[base] for base in found if base in self.public]

    def inherited(self, name, node, module):
        """Returns the signature of a method that a class inherits; '' if none."""
        for base in node.bases:
            found = module.value(base)
            if found and found[1:] in self.objects and found[0] == 'object':
                above, there = self.objects[found[1:]]
                for part in getattr(above, 'bases', None) and above.body or ():
                    if isinstance(part, ast.FunctionDef) and part.name == name:
                        return signature(
                            part, True, self.inherited(name, above, there))
                return self.inherited(name, above, there)
        return ''

    def members(self, path, node, module):
        functions = {}
        names = set()
        for part in node.body:
            if isinstance(part, ast.FunctionDef):
                functions.setdefault(part.name, part)
            elif isinstance(part, (ast.Assign, ast.AnnAssign)):
                targets = getattr(part, 'targets', None) or [part.target]
                names.update(name.id for target in targets for name in ast.walk(target)
                             if isinstance(name, ast.Name))
        is_link = set(self.bases_of(node, module)) & {
            'chainer.Link', 'chainer.Chain', 'chainer.FunctionSet'}
        for function in functions.values():
            names.update(attributes_set(function, is_link))
        if '__getattr__' in functions:
            names.add('*')
        for name, function in functions.items():
            if name.startswith('_') and name not in ('__init__', '__call__'):
                continue
            names.discard(name)
            if decorators(function) & {'property'} or any(
                    name.endswith(('.setter', '.getter'))
                    for name in decorators(function)):
                yield f'{path}.{name}', 'V' + '!' * warns(function)
            else:
                yield f'{path}.{name}', signature(
                    function, method=True, base=self.inherited(name, node, module))
        for name in sorted(names):
            if not name.startswith('_'):
                yield f'{path}.{name}', 'V'


def decorators(function):
    return {ast.unparse(node.func if isinstance(node, ast.Call) else node)
            for node in function.decorator_list}


def attributes_set(function, makes_attributes):
    """Yields the names of attributes that a method sets on its object.

    Args:
        makes_attributes (bool): Whether the arguments of the base's ``__init__`` become
            attributes, as the parameters or children of a link.
    """
    own = function.args.args[0].arg if function.args.args else ''
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and (
                isinstance(node.value, ast.Name) and node.value.id == own):
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ('add_param', 'add_link', 'add_persistent',
                                  'add_uninitialized_param') and node.args and (
                                  isinstance(node.args[0], ast.Constant)):
                yield str(node.args[0].value)
            elif node.func.attr == '__init__' and makes_attributes:
                yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def warns(function):
    """Returns whether a function always warns that it is deprecated."""
    return any('DeprecationWarning' in ast.unparse(node) and 'warn' in ast.unparse(node)
               for node in function.body if isinstance(node, ast.Expr))


def signature(function, method, base=''):
    """Formats a signature as '(x,ratio=,*,**)', with = after optional arguments.

    After ** come arguments that are read from it, or refused: **,mask=,-train.  Those
    passed on to the base's method are replaced by what that method accepts.
    """
    a = function.args
    names = decorators(function)
    if any(name not in PLAIN for name in names):
        return '(*,**)' + '!' * warns(function)
    given = [arg.arg for arg in a.posonlyargs + a.args]
    given = [name + '=' * (k >= len(given) - len(a.defaults))
             for k, name in enumerate(given)]
    if method and 'staticmethod' not in names:
        given = given[1:]
    if a.vararg:
        given.append('*')
    elif a.kwonlyargs:
        given.append('/')
    given += [arg.arg + '=' * (default is not None)
              for arg, default in zip(a.kwonlyargs, a.kw_defaults)]
    if a.kwarg:
        given += keywords(function, a.kwarg.arg, base)
    return '(' + ','.join(given) + ')' + '!' * warns(function)


def keywords(function, name, base):
    """Returns the arguments that a function takes through its **kwargs."""
    read, refused, closed, handed_on = [], [], False, False
    above = base.strip('()!').split(',') if base else []
    parsers = [node for node in ast.walk(function) if isinstance(node, ast.Call)
               and ast.unparse(node.func).split('.')[-1] in (
                   'parse_kwargs', 'check_unexpected_kwargs', 'assert_kwargs_empty')]
    for call in parsers:
        refused += [keyword.arg for keyword in call.keywords if keyword.arg]
        closed |= not ast.unparse(call.func).endswith('check_unexpected_kwargs')
        for part in call.args[1:]:
            if isinstance(part, ast.Tuple) and isinstance(part.elts[0], ast.Constant):
                read.append(part.elts[0].value + '=')
            else:
                handed_on = True
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and any(
                keyword.arg is None and ast.unparse(keyword.value) == name
                for keyword in node.keywords):
            to = ast.unparse(node.func)
            if above and '**' not in above and to.startswith('super(') and (
                    to.endswith(').' + function.name)):
                closed = True
                read += [part for part in above[len(node.args):] if part.endswith('=')]
                refused += [part[1:] for part in above if part.startswith('-')]
            else:
                handed_on = True
    rest = ['/'] if closed and not handed_on else ['**']
    return rest + read + ['-' + name for name in refused if name + '=' not in read]


def parse(text):
    """Parses a text, after translating Python 2 syntax to Python 3."""
    text = re.sub(r'(?m)^(\s*)print (?!\()(.*)$', r'\1print(\2)', text)
    text = re.sub(r'except ([\w.]+), (\w+):', r'except \1 as \2:', text)
    text = re.sub(r'raise (\w+), (.+)$', r'raise \1(\2)', text, flags=re.M)
    text = re.sub(r'(def \w+\(self.*)', lambda m: re.sub(
        r", \(([\w, ]+)\)", lambda pair: ", " + re.sub(r"\W", "_", pair[1]),
        m[1]), text)
    return ast.parse(text)
