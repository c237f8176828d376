"""`SingleProcess`: a group of one process, without communication."""
import time

from rnnlm.parallel.group import Group


class SingleProcess(Group):
    """Group of a single process; see `rnnlm.parallel.group.Group`."""

    def clock(self):
        return time.monotonic()

    def agree_on_signal(self, number):
        return number

    def on_root(self, work):
        return work()

    def on_all(self, work):
        return work()

    def heartbeat(self):
        pass

    def gather(self, value):
        return [value]

    def sum(self, value):
        return value

    def require_same(self, name, value):
        pass

    def broadcast(self, link):
        pass

    def separate_random_streams(self):
        pass

    def device(self, spec):
        return spec

    def exchange(self, target):
        return None


SINGLE_PROCESS = SingleProcess()
