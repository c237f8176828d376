"""Names that later releases gave to links, but scripts to attributes of their own."""
import sys

import chainer

from rnnlm.legacy import release
from rnnlm.legacy.releases import PROPERTIES_OF_LINKS

# Name -> first release that has it.
METHODS = {'repeat': '4.0', 'count_params': '4.0', 'add_hook': '5.0',
           'delete_hook': '5.0', 'to_device': '6.0'}


def _script_asks():
    """Returns whether the caller of the caller is not code of Chainer."""
    frame = sys._getframe(2)
    package = frame.f_globals.get('__name__', '').partition('.')[0]
    # chain['device'] is a name that a script wrote.
    return package not in ('chainer', 'rnnlm') or frame.f_code.co_name == '__getitem__'


def given(name):
    """Property that has a value for the script, and another one for Chainer itself."""
    def attribute(original):
        def get(self):
            own = vars(self)
            return own[name] if name in own and _script_asks() else original.fget(self)

        def set_(self, value):
            vars(self)[name] = value

        def delete(self):
            del vars(self)[name]
        return property(get, set_, delete)
    return attribute


def set_attribute(original):
    """``chain.add_link('repeat', link)``, which the later name would refuse."""
    def __setattr__(self, name, value):
        since = {**PROPERTIES_OF_LINKS, **METHODS}.get(name)
        if since and isinstance(value, chainer.Link) and self.within_init_scope and (
                name not in vars(self)
                and release.before(*map(int, since.split('.')))):
            value.name = name
            self._children.add(name)
            vars(self)[name] = value
        else:
            original(self, name, value)
    return __setattr__


# Rows as in `table`: (name, since, instead, serve).
ROWS = (
    *((f'chainer.Link.{name}', since, 'another name', given(name))
      for name, since in PROPERTIES_OF_LINKS.items()),
    ('chainer.Chain.__setattr__', '6.0', 'another name', set_attribute),
)
