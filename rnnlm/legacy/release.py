"""The Chainer release that the running script was written for, if known."""
from typing import Optional, Tuple

script: Optional[Tuple[int, ...]] = None


def before(*version: int) -> bool:
    """Returns whether it is known to be older than a release."""
    return script is not None and script < version
