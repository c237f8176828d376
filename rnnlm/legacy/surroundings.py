"""The Python and NumPy that old scripts expect, for any Chainer release."""
from rnnlm.legacy import numpy_1, python_3, rewriting


def install():
    """Installs old Python and NumPy names in this process."""
    numpy_1.install()
    python_3.install()
    rewriting.install()
