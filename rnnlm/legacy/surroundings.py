"""The Python and the NumPy that old scripts knew, for whichever Chainer they are."""
from rnnlm.legacy import numpy_1, python_3, rewriting


def install():
    """Puts it in place: from here on this process is a legacy script's."""
    numpy_1.install()
    python_3.install()
    rewriting.install()
