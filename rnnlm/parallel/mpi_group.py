"""`MPIGroup`: the processes started by mpiexec, communicating in a thread."""
import concurrent.futures
import os
import pickle
import socket
import time
import zlib

import chainer
import numpy

from rnnlm.errors import InputError, ProcessLost
from rnnlm.parallel.exchange import Exchange
from rnnlm.parallel.group import Group

# Seconds between two checks that the other processes are alive.
TICK = 0.25

# Tag of messages from rank 0 to ranks that wait for it.
TAG = 1

# Columns of the table that ranks exchange after each window, as float64.
LOSS, SIGNAL, CLOCK = range(3)


class MPIGroup(Group):
    """Group of the processes that mpiexec started.

    All communication runs in a separate thread.  So the gradients of a layer are sent
    while those of the next one are computed, and the main thread can check timeouts and
    the other processes, and receive signals.  All ranks must call the same methods in
    the same order.

    Args:
        communicator: Result of ``chainermn.create_communicator``.
        timeout (float): Seconds after which an unresponsive rank counts as lost.

    Raises:
        rnnlm.errors.ProcessLost: By every method that waits.
    """

    def __init__(self, communicator, timeout):
        self.communicator = communicator
        self.timeout = timeout
        self._mpi = communicator.mpi_comm.Dup()  # separate from other messages
        self.rank, self.size = self._mpi.rank, self._mpi.size
        self._thread = concurrent.futures.ThreadPoolExecutor(1, 'rnnlm-mpi')
        self._heard = time.monotonic()
        self._asked = self._signal = 0
        self._gone = None
        self._peers = []
        self._peers = self._all((_host(), os.getpid()))
        self._now = self.on_root(time.monotonic)

    # Waiting

    def start(self, work, *args):
        """Calls ``work(mpi communicator, *args)`` in the thread; returns a future."""
        return self._thread.submit(work, self._mpi, *args)

    def wait(self, future):
        """Waits for a future that needs the other ranks, and returns its result."""
        self._heard = time.monotonic()
        while True:
            try:
                return future.result(timeout=TICK)
            except concurrent.futures.TimeoutError:
                if future.done():
                    continue
            waited = time.monotonic() - self._heard
            gone = self._local('', 'Z', 'X')
            # Seen twice, so that a process that just ended normally is not reported.
            if gone and gone == self._gone or waited > self.timeout:
                stopped = self._local('T', 't')
                why = ' and '.join(
                    f'{" and ".join(names)} {what}' for names, what in (
                        (gone, 'ended'), (stopped, 'stopped')) if names)
                raise ProcessLost(
                    f'rank {self.rank}, window {self.window}: expected an answer from '
                    f'all {self.size} processes within {self.timeout:g} seconds, found '
                    f'none after {waited:.0f}' + (why and f'; found {why}'))
            self._gone = gone

    def _do(self, work, *args):
        return self.wait(self.start(work, *args))

    def _local(self, *states):
        """Returns the other processes on this machine that are in one of the states."""
        return [f'rank {rank} (process {pid})'
                for rank, (host, pid) in enumerate(self._peers)
                if rank != self.rank and host == _host() and _state(pid) in states]

    # Telling

    def on_root(self, work):
        if self.is_root:
            value, error = _attempt(work)
            self._do(_tell, pickle.dumps((value, _portable(error))))
        else:
            value, error = self._do(self._listen)
        if error is not None:
            raise _shared(error)
        return value

    def heartbeat(self):
        if self.is_root and time.monotonic() - self._heard > 1:
            self._do(_tell, pickle.dumps(None))

    def _listen(self, mpi):
        while True:
            if not mpi.iprobe(source=0, tag=TAG):
                time.sleep(0.0005)  # leaves the core to a thread of rank 0
                continue
            message = pickle.loads(mpi.recv(source=0, tag=TAG))
            if message is not None:
                return message
            self._heard = time.monotonic()

    def on_all(self, work):
        value, error = _attempt(work)
        for rank, other in enumerate(self._all(_portable(error))):
            if other is not None:
                raise _shared(error if rank == self.rank else other)
        return value

    def _all(self, value):
        return self._do(lambda mpi: mpi.allgather(value))

    def gather(self, value):
        return self._do(lambda mpi: mpi.gather(value))

    def sum(self, value):
        return sum(self._all(float(value)))

    def sum_losses(self, loss):
        """Returns the sum of all ranks' losses; also exchanges signals and the time."""
        mine = numpy.array([loss, self._asked, time.monotonic()])
        table = numpy.empty((self.size, len(mine)))
        self._do(lambda mpi: mpi.Allgather(mine, table))
        self._signal = int(table[:, SIGNAL].max())
        self._now = table[0, CLOCK]
        return table[:, LOSS].sum()

    def clock(self):
        """Returns the time of rank 0 at the last window, in seconds (float)."""
        return self._now

    def agree_on_signal(self, number):
        self._asked = max(self._asked, number)
        return self._signal

    def require_same(self, name, value):
        for rank, other in enumerate(self._all(value)):
            if other != value:
                error = InputError(
                    f'{name}: expected the same on all ranks, found a difference '
                    f'between rank {min(rank, self.rank)} and rank '
                    f'{max(rank, self.rank)}')
                raise _shared(error)

    # Sharing

    def rows(self, batch_size):
        """Returns the slice of this process's streams.

        Raises:
            rnnlm.errors.InputError: If there are fewer streams than processes.
        """
        if batch_size < self.size:
            raise _shared(InputError(
                f'expected at least one stream for each of the {self.size} processes, '
                f'found {batch_size}', 'batch_size'))
        return super().rows(batch_size)

    def broadcast(self, link):
        for name, param in sorted(link.namedparams()):
            if param.array is None:
                raise _shared(InputError(
                    f'{name}: expected a parameter whose shape is known at the start, '
                    'since all processes must start with equal parameters, found none'))
            array = numpy.ascontiguousarray(chainer.cuda.to_cpu(param.array))
            data = array.view(numpy.uint8).reshape(-1)
            self._do(lambda mpi: mpi.Bcast(data))
            if not self.is_root:
                param.array[...] = param.device.send(array)

    def separate_random_streams(self):
        if self.is_root:
            return
        # A draw from the common random state: the same entropy on all ranks.
        entropy = numpy.random.randint(0, 2 ** 32, 8, dtype=numpy.uint32)
        numbers = numpy.random.SeedSequence(
            [int(n) for n in entropy], spawn_key=(self.rank,)).generate_state(8)
        numpy.random.seed(numbers)
        if chainer.backends.cuda.available:
            chainer.backends.cuda.cupy.random.seed(int(numbers[0]))

    def device(self, spec):
        """Returns the device numbered `spec` plus the process's rank on the machine."""
        try:
            number = int(spec)
        except ValueError:
            return spec
        if number < 0:
            return spec
        number += self.communicator.intra_rank
        if self.exchanges_on_host and chainer.backends.cuda.available:
            number %= chainer.backends.cuda.cupy.cuda.runtime.getDeviceCount()
        return number

    @property
    def exchanges_on_host(self):
        """bool: Whether MPI exchanges the gradients in host memory."""
        return type(self.communicator).__name__ == 'NaiveCommunicator'

    def exchange(self, target):
        return Exchange(self, target)


def checksum(link):
    """Returns a checksum of a link's parameters (str)."""
    value = 0
    for _, param in sorted(link.namedparams()):
        array = numpy.ascontiguousarray(chainer.cuda.to_cpu(param.array))
        value = zlib.crc32(array.view(numpy.uint8).reshape(-1), value)
    return f'{value:08x}'


def _tell(mpi, message):
    for rank in range(1, mpi.size):
        mpi.send(message, dest=rank, tag=TAG)


def _attempt(work):
    try:
        return work(), None
    except Exception as e:
        return None, e


def _portable(error):
    """Returns an error that can be pickled: the same, or its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error


def _shared(error):
    error.shared = True
    return error


def _host():
    """Returns the host name and its PID namespace."""
    try:
        return socket.gethostname(), os.readlink('/proc/self/ns/pid')
    except OSError:  # not Linux
        return socket.gethostname(), os.getpid()


def _state(pid):
    """Returns the state letter of a process on Linux; '' if it does not exist."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rpartition(')')[2].split()[0]
    except (OSError, IndexError):
        return ''
