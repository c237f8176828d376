"""Sphinx extension: writes docs/reference/, a page for each public name.

The names are those of `rnnlm.__all__` and the modules below; a new public name gets its
page without being listed here, under "More".
"""
import contextlib
import importlib
import inspect
import io
import os
import textwrap

import rnnlm
from rnnlm.app import cli

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                      'reference')

# Names by topic, in the order in which they are shown.
TOPICS = {
    'Train a model': ['train', 'Recipe', 'PRESETS', 'run', 'resume', 'add_options'],
    'Models, text and updates': [
        'RNNForLM', 'LanguageModel', 'adaptive_model', 'ParallelSequentialIterator',
        'BPTTUpdater', 'load_corpus', 'Corpus', 'Vocabulary', 'get_device'],
    'Extensions and triggers': [
        'PerplexityEvaluator', 'Snapshot', 'BestModel', 'WeightAverage', 'Log',
        'add_perplexity', 'PerplexityPlot', 'LearningRateDecay', 'SnapshotTrigger',
        'ReportTrigger', 'EarlyStoppingTrigger', 'DurableWriter'],
    'Use a model': [
        'load', 'TrainedModel', 'SentenceScore', 'load_model', 'save_npz', 'generate',
        'beam_search', 'score_text', 'score_sentences', 'DynamicEvaluation'],
    'Errors': ['InputError', 'NotFinite', 'ProcessLost'],
}

# Public modules beside those in `rnnlm.__all__`.
MODULES = [
    'rnnlm.training.mixed_precision',
    *(f'rnnlm.interchange.{name}' for name in (
        'pytorch', 'safetensors', 'keras', 'onnx', 'torch7', 'nstep', 'textbook',
        'd2l'))]


def topics():
    """{topic: names}, with all of `rnnlm.__all__`."""
    listed = {name for names in TOPICS.values() for name in names}
    modules = {name for name in rnnlm.__all__
               if inspect.ismodule(getattr(rnnlm, name))}
    rest = [name for name in rnnlm.__all__ if name not in listed | modules]
    found = {topic: [f'rnnlm.{name}' for name in names]
             for topic, names in {**TOPICS, 'More': rest}.items() if names}
    found['Modules'] = [*(f'rnnlm.{name}' for name in sorted(modules)), *MODULES]
    return found


def find(name):
    """The module, class, function or object of a dotted name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        owner, _, last = name.rpartition('.')
        return getattr(importlib.import_module(owner), last)


def first_line(thing):
    """What the docstring of a thing begins with, for the list of a topic."""
    if isinstance(thing, dict):
        return 'The presets by their names, each a `Recipe`.'
    return ' '.join(inspect.getdoc(thing).split('\n\n')[0].split())


def page_of(name):
    """The text of the page of a public name."""
    thing = find(name)
    options = ['members', 'show-inheritance']
    if inspect.ismodule(thing):
        kind, options = 'module', ['members', 'undoc-members']
        if hasattr(thing, '__all__'):
            options.append('imported-members')
    elif isinstance(thing, type):
        kind = 'exception' if issubclass(thing, BaseException) else 'class'
    elif callable(thing):
        kind, options = 'function', []
    else:
        kind, options = 'data', []
    text = f'{name}\n{"=" * len(name)}\n\n'
    if name == 'rnnlm.PRESETS':
        return text + presets()
    text += f'.. auto{kind}:: {name}\n'
    return text + ''.join(f'   :{option}:\n' for option in options)


def presets():
    """The page of `rnnlm.PRESETS`: each preset in a row."""
    text = ('.. py:data:: rnnlm.PRESETS\n\n   The presets of ``rnnlm train --preset``: '
            'a dict of names and\n   :doc:`recipes <rnnlm.Recipe>`.\n\n'
            '.. list-table::\n   :widths: 1 5\n\n')
    for name, recipe in rnnlm.PRESETS.items():
        text += f'   * - ``{name}``\n     - {recipe.summary()}\n'
    return text


def index():
    """The text of the front page, with a list for each topic."""
    lines = ['Reference', '=========', '',
             '`import rnnlm` gives these names. :doc:`commands` has the options of the '
             'command line.', '', '.. toctree::', '   :hidden:', '', '   commands']
    for topic, names in topics().items():
        lines += [f'   {name if topic == "Modules" else name.removeprefix("rnnlm.")} '
                  f'<{name}>' for name in names]
    for topic, names in topics().items():
        lines += ['', topic, '-' * len(topic), '', '.. list-table::', '   :widths: 2 5',
                  '   :class: names', '']
        for name in names:
            lines += [f'   * - :doc:`{name}`', f'     - {first_line(find(name))}']
    return '\n'.join(lines) + '\n'


def commands():
    """The help of each command."""
    parser = cli.make_parser()
    inner, = (action.choices for action in parser._actions if action.choices)
    text = 'Commands\n========\n\nThe same as ``rnnlm COMMAND --help``.\n'
    for name, command in inner.items():
        help = textwrap.indent(command.format_help(), '   ')
        title = f'rnnlm {name}'
        text += f'\n{title}\n{"-" * len(title)}\n\n.. code-block:: none\n\n{help}'
    return text


def write(app):
    """Event builder-inited: the pages, each only if it changed."""
    pages = {name: page_of(name) for names in topics().values() for name in names}
    before = os.environ.get('COLUMNS')
    os.environ['COLUMNS'] = '80'  # argparse's
    try:
        pages.update(index=index(), commands=commands())
    finally:
        os.environ.pop('COLUMNS')
        if before is not None:
            os.environ['COLUMNS'] = before
    os.makedirs(FOLDER, exist_ok=True)
    for old in set(os.listdir(FOLDER)) - {f'{name}.rst' for name in pages}:
        os.remove(os.path.join(FOLDER, old))
    for name, text in pages.items():
        path = os.path.join(FOLDER, f'{name}.rst')
        with contextlib.suppress(FileNotFoundError), open(path, encoding='utf-8') as f:
            if f.read() == text:
                continue
        with io.open(path, 'w', encoding='utf-8', newline='\n') as f:
            f.write(text)


def setup(app):
    app.connect('builder-inited', write)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
