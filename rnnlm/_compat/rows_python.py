"""Patches for what Python deprecated."""
from rnnlm._compat.row import python_since, Row

ROWS = (
    Row('Thread.setDaemon is deprecated',
        'chainer.iterators.multiprocess_iterator',
        'Python 3.10 (October 2021)',
        python_since(3, 10),
        (('thread.setDaemon(True)', 'thread.daemon = True'),)),
)
