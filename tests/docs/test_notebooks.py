"""The notebooks run in a real kernel; interrupting it leaves a snapshot.

Needs the extra `docs`.
"""
import glob
import os
import queue
import re
import time

from helpers import ROOT
import pytest

manager = pytest.importorskip('jupyter_client.manager', reason='needs the extra docs')
pytest.importorskip('ipykernel', reason='needs the extra docs')

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('default')]

NOTEBOOKS = sorted(glob.glob(os.path.join(ROOT, 'docs', 'notebooks', '*.md')))
TIMEOUT = 240

TRAIN = '''
import rnnlm
recipe = rnnlm.Recipe(n_units=16, n_layers=1, dropout=0, bprop_len=20, epochs={epochs})
print(rnnlm.train(rnnlm.load_corpus('demo'), recipe, out='result', seed=0,
                  progress_bar=True, resume={resume}))
'''


class Kernel:
    """A kernel, and what its cells print."""

    def __init__(self, folder):
        env = dict(os.environ, PYTHONPATH=ROOT)
        env.pop('MPLBACKEND', None)
        self.manager, self.client = manager.start_new_kernel(
            cwd=str(folder), env=env, startup_timeout=120)

    def start(self, code):
        self.client.execute(code)

    def printed(self, until=None):
        """What a cell prints until it has ended, or until a pattern is in it."""
        text, end = '', time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            content = message['content']
            if message['msg_type'] == 'stream':
                text += content['text']
            if message['msg_type'] == 'error':
                pytest.fail('\n'.join(content['traceback']))
            if content.get('execution_state') == 'idle' and text != '' and (
                    until is None) or until and re.search(until, text):
                return text
        pytest.fail(f'no end in {TIMEOUT} s: {text}')

    def run(self, code):
        """Runs a cell; what it printed."""
        self.start(code + '\nprint("end of the cell")')
        return self.printed(until='end of the cell\n')

    def interrupt(self):
        self.manager.interrupt_kernel()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    made = Kernel(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize('path', NOTEBOOKS, ids=os.path.basename)
def test_a_notebook_runs(path, kernel):
    with open(path, encoding='utf-8') as f:
        cells = re.findall(r'```\{code-cell\} ipython3\n(.*?)```', f.read(), re.S)
    assert len(cells) > 5
    printed = [kernel.run(cell) for cell in cells]
    assert not any('step by step' in text for text in printed)


def test_interrupting_leaves_a_snapshot(kernel, tmp_path):
    kernel.start(TRAIN.format(epochs=500, resume=None))
    seen = kernel.printed(until=r'epoch 0\.[1-9]')  # the bar moves
    assert 'perplexity' in seen
    kernel.interrupt()
    seen = kernel.printed(until=r"\{'signal': 2, 'snapshot': .*\}")
    assert 'stopped' in seen
    assert list((tmp_path / 'result').glob('snapshot_iter_*'))
    # The kernel lives, and goes on.
    assert '\n2\n' in '\n' + kernel.run('print(1 + 1)')
    seen = kernel.run(TRAIN.format(epochs=1, resume="'result'"))
    assert "'signal': 0" in seen
