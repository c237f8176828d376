"""The processes that train one model together: what they can ask of each other."""


class Group:
    """The processes of a job, of which this one is number `rank`.

    Every method but `heartbeat` must be called by all of them, in the same order.

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
        """slice: The streams of this process, of `batch_size` in all."""
        return slice(batch_size * self.rank // self.size,
                     batch_size * (self.rank + 1) // self.size)

    def clock(self):
        """float: Seconds, the same on all ranks."""
        raise NotImplementedError

    def agree_on_signal(self, number):
        """int: The number of a signal that reached any rank, or 0.

        Args:
            number (int): That of this process, or 0.
        """
        raise NotImplementedError

    def on_root(self, work):
        """What ``work()`` returns on rank 0, which alone calls it.

        Work that takes long calls `heartbeat` now and then.

        Raises:
            Exception: what `work` raised, on all ranks, its attribute `shared` set.
        """
        raise NotImplementedError

    def on_all(self, work):
        """What ``work()`` returns; it is called on all ranks.

        Raises:
            Exception: what `work` raised on the lowest rank on which it did, on all
                ranks, with its attribute `shared` set.
        """
        raise NotImplementedError

    def heartbeat(self):
        """Tells the ranks that wait in `on_root` that rank 0 is still working."""
        raise NotImplementedError

    def gather(self, value):
        """list: The values of all ranks on rank 0; None on the others."""
        raise NotImplementedError

    def sum(self, value):
        """float: The sum of the values of all ranks, on all of them."""
        raise NotImplementedError

    def require_same(self, name, value):
        """Raises InputError if a value is not the same string on all ranks."""
        raise NotImplementedError

    def broadcast(self, link):
        """Gives the parameters of rank 0 to all ranks."""
        raise NotImplementedError

    def separate_random_streams(self):
        """Gives each rank but 0 a random stream of its own."""
        raise NotImplementedError

    def device(self, spec):
        """str or int: The device of this process, among several on one machine."""
        raise NotImplementedError

    def exchange(self, target):
        """`rnnlm.parallel.exchange.Exchange` for a link; None for one process."""
        raise NotImplementedError
