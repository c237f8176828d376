"""`Group`: the interface of a group of processes that train one model together."""


class Group:
    """Group of the processes of a job.

    Methods that exchange values are collective: every rank must call them, in the same
    order.  `heartbeat`, `rows`, `clock`, `device`, `exchange` and
    `separate_random_streams` are not.

    Attributes:
        rank (int): Number of this process, from 0.
        size (int): Number of processes N.
        window (int): The window being computed, for messages.
    """
    rank = 0
    size = 1
    window = 0

    @property
    def is_root(self):
        """bool: Whether this is rank 0, which prints, logs and writes files."""
        return self.rank == 0

    def rows(self, batch_size):
        """Returns the slice of this process's streams, out of `batch_size` in all."""
        return slice(batch_size * self.rank // self.size,
                     batch_size * (self.rank + 1) // self.size)

    def clock(self):
        """Returns a time in seconds (float), the same on all ranks."""
        raise NotImplementedError

    def agree_on_signal(self, number):
        """Returns the number of a signal (int) that any rank received, or 0.

        Args:
            number (int): The signal received by this process, or 0.
        """
        raise NotImplementedError

    def on_root(self, work):
        """Calls ``work()`` on rank 0 only, and returns its result on all ranks.

        If it takes long, it should call `heartbeat` now and then.

        Raises:
            Exception: The error raised by `work`, on all ranks, with its attribute
                `shared` set.
        """
        raise NotImplementedError

    def on_all(self, work):
        """Calls ``work()`` on all ranks, and returns the result of this rank.

        Raises:
            Exception: The error raised on the lowest rank that failed, on all ranks,
                with its attribute `shared` set.
        """
        raise NotImplementedError

    def heartbeat(self):
        """Tells the ranks that wait in `on_root` that rank 0 is still working."""
        raise NotImplementedError

    def gather(self, value):
        """Returns a list of the values of all ranks on rank 0; None on the others."""
        raise NotImplementedError

    def sum(self, value):
        """Returns the sum of the values of all ranks, on all ranks."""
        raise NotImplementedError

    def require_same(self, name, value):
        """Raises InputError unless a string is the same on all ranks."""
        raise NotImplementedError

    def broadcast(self, link):
        """Copies the parameters of rank 0 to all ranks."""
        raise NotImplementedError

    def separate_random_streams(self):
        """Gives each rank except 0 a different random state."""
        raise NotImplementedError

    def device(self, spec):
        """Returns the device of this process, one of several on the machine."""
        raise NotImplementedError

    def exchange(self, target):
        """Returns the `rnnlm.parallel.exchange.Exchange` for a link, or None."""
        raise NotImplementedError
