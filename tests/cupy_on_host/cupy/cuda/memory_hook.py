"""Chainer's memory profile is a hook on the allocator; here it sees nothing."""


class MemoryHook:
    """A hook."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass
