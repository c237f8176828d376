"""The release of Chainer that the running script was written for, as far as known."""
from typing import Optional, Tuple

script: Optional[Tuple[int, ...]] = None


def before(*version: int) -> bool:
    """Whether it is known to be older than a release."""
    return script is not None and script < version
