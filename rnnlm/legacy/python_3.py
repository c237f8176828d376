"""Names and behaviour of Python 3.4 to 3.6, for scripts that were written for them.

`install()` adds them to the standard library for the whole process.  `METHODS` are
called by the script's source, which `rewriting` prepares.
"""
import array
import base64
import builtins
import collections
import collections.abc
import configparser
import fractions
import functools
import html
import html.parser
import inspect
import io
import json
import locale
import math
import os
import platform
import random
import sys
import threading
import time
import unittest
from xml.etree import ElementTree

from rnnlm.legacy import old_modules

ArgSpec = collections.namedtuple('ArgSpec', 'args varargs keywords defaults')


def getargspec(func):
    """Returns the positional arguments of a function without annotations."""
    spec = inspect.getfullargspec(func)
    if spec.kwonlyargs or spec.annotations:
        raise ValueError('Function has keyword-only parameters or annotations, '
                         'use getfullargspec() API which can support them')
    return ArgSpec(*spec[:4])


def linux_distribution(*args, **kwargs):
    """Returns (name, version, codename)."""
    try:
        release = platform.freedesktop_os_release()
    except (AttributeError, OSError):
        return '', '', ''
    return tuple(release.get(key, '')
                 for key in ('NAME', 'VERSION_ID', 'VERSION_CODENAME'))


def readfp(self, fp, filename=None):
    self.read_file(fp, source=filename)


# Owner -> {old name: replacement}.
NAMES: dict = {
    base64: {'decodestring': base64.decodebytes, 'encodestring': base64.encodebytes},
    collections: {name: getattr(collections.abc, name)
                  for name in collections.abc.__all__},
    configparser: {'SafeConfigParser': configparser.ConfigParser},
    configparser.RawConfigParser: {'readfp': readfp},
    fractions: {'gcd': math.gcd},
    html.parser.HTMLParser: {'unescape': staticmethod(html.unescape)},
    inspect: {'getargspec': getargspec, 'ArgSpec': ArgSpec},
    locale: {'format': locale.format_string},
    os: {'errno': __import__('errno')},
    platform: {'linux_distribution': linux_distribution, 'dist': linux_distribution},
    sys: {'getcheckinterval': lambda: 100, 'setcheckinterval': lambda interval: None},
    threading.Thread: {'isAlive': threading.Thread.is_alive},
    time: {'clock': time.process_time},
    unittest: {'makeSuite': lambda case, *_: unittest.defaultTestLoader
               .loadTestsFromTestCase(case)},
    unittest.TestCase: {
        old: getattr(unittest.TestCase, new) for old, new in (
            ('assertEquals', 'assertEqual'), ('assertNotEquals', 'assertNotEqual'),
            ('assert_', 'assertTrue'), ('failUnless', 'assertTrue'),
            ('failIf', 'assertFalse'), ('failUnlessEqual', 'assertEqual'),
            ('assertAlmostEquals', 'assertAlmostEqual'),
            ('assertNotAlmostEquals', 'assertNotAlmostEqual'),
            ('assertRegexpMatches', 'assertRegex'),
            ('assertNotRegexpMatches', 'assertNotRegex'),
            ('assertRaisesRegexp', 'assertRaisesRegex'))},
}

# Methods of types to which attributes cannot be added.
METHODS: dict = {
    array.array: {'tostring': array.array.tobytes, 'fromstring': array.array.frombytes},
    ElementTree.Element: {'getchildren': list, 'getiterator': lambda element, tag=None:
                          list(element.iter(tag))},
    ElementTree.ElementTree: {'getiterator': lambda tree, tag=None:
                              list(tree.iter(tag))},
}


# Functions whose arguments have changed -------------------------------------------

def opening(original):
    """`open`, whose mode could contain 'U', without effect in Python 3."""
    @functools.wraps(original)
    def open(file, mode='r', *args, **kwargs):
        if isinstance(mode, str) and 'U' in mode:
            mode = mode.replace('U', '')
            mode = mode if set(mode) & set('rwax+') else 'r' + mode
        return original(file, mode, *args, **kwargs)
    return open


def decoding(original):
    """`json.load` and `json.loads`, which ignored an encoding."""
    @functools.wraps(original)
    def load(*args, encoding=None, **kwargs):
        return original(*args, **kwargs)
    return load


def shuffle(original):
    """`random.shuffle(x, random)`, until 3.10."""
    def shuffle(self, x, random=None):
        if random is None:
            return original(self, x)
        for i in reversed(range(1, len(x))):
            j = int(random() * (i + 1))
            x[i], x[j] = x[j], x[i]
    return shuffle


def sample(original):
    """`random.sample` of a set, until 3.10."""
    def sample(self, population, *args, **kwargs):
        if isinstance(population, collections.abc.Set):
            population = tuple(population)
        return original(self, population, *args, **kwargs)
    return sample


def seed(original):
    """`random.seed` of any hashable object, such as a NumPy integer, until 3.10."""
    def seed(self, a=None, *args, **kwargs):
        if not isinstance(a, (type(None), int, float, str, bytes, bytearray)):
            a = hash(a)
        return original(self, a, *args, **kwargs)
    return seed


def integral(original):
    """`random.randrange` and `randint` of integral floats such as 10.0, until 3.11."""
    def ranged(self, *args, **kwargs):
        return original(self, *map(_integral, args),
                        **{name: _integral(value) for name, value in kwargs.items()})
    return ranged


def factorial(original):
    """`math.factorial(5.0)`, until 3.11."""
    return lambda x: original(_integral(x))


def _integral(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value


def install():
    """Installs everything, except names that still exist."""
    for owner, names in NAMES.items():
        for name, value in names.items():
            if name not in vars(owner):
                setattr(owner, name, value)
    builtins.open = io.open = opening(builtins.open)
    json.load, json.loads = decoding(json.load), decoding(json.loads)
    math.factorial = factorial(math.factorial)
    for name, change in (('shuffle', shuffle), ('sample', sample), ('seed', seed),
                         ('randrange', integral), ('randint', integral)):
        setattr(random.Random, name, change(getattr(random.Random, name)))
        setattr(random, name, getattr(random._inst, name))
    old_modules.install()
