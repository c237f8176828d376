"""What a single process does where several would talk to each other."""
import time


class Alone:
    """The group of one process: what is asked of the others costs nothing.

    `rnnlm.parallel.group.Group` says what each method means for several.

    Attributes:
        rank (int): Number of this process, from 0.
        size (int): Number of processes N.
        window (int): The window in work, for messages.
    """
    rank = 0
    size = 1
    window = 0

    @property
    def is_first(self):
        """bool: Whether this process is the one that prints, logs and writes."""
        return self.rank == 0

    def rows(self, batch_size):
        """slice: The streams of this process, of `batch_size` in all."""
        return slice(batch_size * self.rank // self.size,
                     batch_size * (self.rank + 1) // self.size)

    def clock(self):
        """float: Seconds, the same on all ranks."""
        return time.monotonic()

    def agreed(self, number):
        """int: The number of a signal that came to any rank, or 0.

        Args:
            number (int): That of this process.
        """
        return number

    def first(self, work):
        """What ``work()`` gives on rank 0, which alone calls it."""
        return work()

    def together(self, work):
        """What ``work()`` gives, called on all ranks; an error of one is all's."""
        return work()

    def beat(self):
        """Tells those who wait in `first` that the work goes on."""

    def gather(self, value):
        """list: The values of all ranks on rank 0; None on the others."""
        return [value]

    def sum(self, value):
        """float: The sum of the values of all ranks, on all of them."""
        return value

    def require_same(self, name, value):
        """Raises InputError if a value is not the same string on all ranks."""

    def broadcast(self, link):
        """Gives the parameters of rank 0 to all."""

    def part_random(self):
        """Gives each rank but the first a random stream of its own."""

    def device(self, spec):
        """str or int: The device of this process, of several on one machine."""
        return spec

    def exchange(self, target):
        """`rnnlm.parallel.exchange.Exchange` for a link; None for one process."""
        return None


ALONE = Alone()
