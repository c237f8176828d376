"""The README says what is so."""
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as f:
        return f.read()


def test_the_lines_of_use_run(readme, tmp_path):
    block, = re.findall(r'```python\n(.*?)```', readme, re.S)
    subprocess.run(
        [sys.executable, '-W', 'error', '-c', block], cwd=tmp_path, check=True,
        env=dict(os.environ, PYTHONPATH=ROOT))


def test_each_file_has_its_clause(readme):
    table = readme[readme.index('| file |'):]
    for folder in 'rnnlm', 'examples/ptb', 'examples/tasks':
        for name in os.listdir(os.path.join(ROOT, folder)):
            if name.endswith('.py') and not name.startswith('__'):
                assert f'{name}`' in table, name


def test_a_file_imports_only_from_files_above_it(readme):
    table = readme[readme.index('| file |'):readme.index('Text becomes ids')]
    order = [name for name in re.findall(r'`(?:rnnlm/)?(\w+)(?:\.py|/)`', table)
             if name != 'rnnlm']
    for name in order:
        path = os.path.join(ROOT, 'rnnlm', name)
        files = [os.path.join(path, f) for f in os.listdir(path)] if os.path.isdir(
            path) else [path + '.py']
        for file in files:
            if not file.endswith('.py') or not os.path.exists(file):
                continue
            with open(file, encoding='utf-8') as f:
                source = f.read()
            imports = re.findall(r'^ *from rnnlm\.(\w+)', source, re.M)
            for line in re.findall(r'^ *from rnnlm import (.*)$', source, re.M):
                imports += re.findall(r'\w+', line)
            for other in imports:
                if other == name:
                    continue
                assert order.index(other) < order.index(name), (file, other)


def test_local_links_lead_somewhere(readme):
    for target in re.findall(r'\]\(([^)]+)\)', readme):
        if not target.startswith('http'):
            assert os.path.exists(os.path.join(ROOT, target)), target
