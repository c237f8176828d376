"""Checks of the sizes of layers."""
from typing import Any

from rnnlm.errors import require_count


def require_sizes(in_size: Any, out_size: Any) -> None:
    """Checks the sizes of a layer, which may be left out as in Chainer's `LSTM`.

    Args:
        in_size: Size of the inputs; None for that of the first one.
        out_size: Size of the outputs; None if `in_size` is that.

    Raises:
        rnnlm.errors.InputError: If a size is not an integer of at least 1.
    """
    if out_size is not None:
        require_count('out_size', out_size)
    if out_size is None or in_size is not None:
        require_count('in_size', in_size)
