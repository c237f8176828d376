"""Runs the code blocks of a page of the documentation, in their order, in this folder.

    python run_page.py PAGE.md

Blocks of Python share their names, as in a notebook; blocks of sh are given to bash.  A
block ```text directly behind one is what it prints, up to its numbers.  A comment above
a block says what is not run, or what it needs:

    <!-- not run: installs packages -->
    <!-- needs: torch -->
"""
import contextlib
import importlib.util
import io
import re
import subprocess
import sys
from typing import NamedTuple

BLOCK = re.compile(
    r'(?:^<!-- (?P<mark>[^>]*) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$',
    re.M | re.S)
# Commands in the text, indented by four.
COMMANDS = re.compile(r'(?:^    (?:\$ )?rnnlm .*\n)+', re.M)
MARK = re.compile(r'(not run|needs): \S.*')

# Where a comment cannot stand: commands that need what a test has not.
ELSEWHERE = {
    'mpiexec': 'several processes', '--device': 'a GPU', 'cuda1': 'a GPU',
    'pip install': 'installs packages', 'rnnlm run': "a reader's script",
    'parallel.joined': 'several processes', '1best_recog': "ESPnet's folders",
}


class Block(NamedTuple):
    start: int  # in the text
    line: int
    language: str
    code: str
    mark: str


def blocks(text):
    """The blocks of a page, and the indented commands as blocks of sh."""
    found, fenced = [], []
    for match in BLOCK.finditer(text):
        fenced.append(match.span())
        found.append(Block(
            match.start(), text.count('\n', 0, match.start('code')),
            match['language'], match['code'], match['mark'] or ''))
    for match in COMMANDS.finditer(text):
        if not any(start <= match.start() < end for start, end in fenced):
            code = re.sub(r'^    (?:\$ )?', '', match.group(), flags=re.M)
            found.append(Block(match.start(), text.count('\n', 0, match.start()), 'sh',
                               code, ''))
    return sorted(found)


def why_not(block):
    """Why a block is not run; '' if it is."""
    for word, reason in ELSEWHERE.items():
        if not block.mark and word in block.code:
            return reason
    kind, _, what = block.mark.partition(': ')
    if kind == 'needs':
        return '' if importlib.util.find_spec(what) else f'there is no {what}'
    return what


def run(block, page, names):
    """Runs a block; what it prints."""
    if block.language == 'sh':
        done = subprocess.run(['bash', '-e', '-o', 'pipefail', '-c', block.code],
                              capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(
                f'{page}:{block.line}: status {done.returncode}\n{done.stderr}')
        return done.stdout
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = '\n' * block.line + block.code
        exec(compile(code, page, 'exec'), names)
    return out.getvalue()


def without_numbers(text):
    return re.sub(r'-?\d[\d.,]*', '#', text).split()


def main(page):
    sys.path.insert(0, '')
    with open(page, encoding='utf-8') as f:
        found = blocks(f.read())
    names, printed = {'__name__': '__main__'}, None
    for block in found:
        if block.language == 'text' and printed is not None:
            assert without_numbers(printed) == without_numbers(block.code), (
                f'{page}:{block.line}: prints\n{printed}')
        printed = None
        if block.language in ('python', 'sh'):
            reason = why_not(block)
            print(f'{page}:{block.line}: {reason and "not run: " + reason or "runs"}',
                  flush=True)
            if not reason:
                printed = run(block, page, names)


if __name__ == '__main__':
    main(sys.argv[1])
