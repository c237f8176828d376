"""Joining the processes that mpiexec started, and ending them together."""
import contextlib
import os
import sys
import threading
import time
import traceback

import threadpoolctl

from rnnlm.errors import InputError, NotFinite, ProcessLost, require
from rnnlm.kernels import threads
from rnnlm.parallel.single import SINGLE_PROCESS

# Chainer's names for ways of communication.
COMMUNICATORS = 'naive', 'flat', 'non_cuda_aware', 'pure_nccl'

# Seconds that the others have to say what they know before all are ended, and that MPI
# has to end them.
LAST_WORDS = 1.0
LAST_RESORT = 10.0

_RANKS = 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK'
_SIZES = 'OMPI_COMM_WORLD_SIZE', 'PMI_SIZE'


def launched_rank():
    """int: The rank that mpiexec gave this process, 0 without it; known before MPI is.
    """
    return next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)


def launched_size():
    """int: The number of processes that mpiexec started, 1 without it."""
    return next((int(os.environ[name]) for name in _SIZES if name in os.environ), 1)


@contextlib.contextmanager
def only_root_reports():
    """Work before MPI is there that ends the program, reading a command line say.

    All ranks come to the same end, and only rank 0 says so.  The others exit with
    status 0: at any other status mpiexec kills all processes that still run, and rank
    0 may not have printed its message yet.
    """
    if not launched_rank():
        yield
        return
    with open(os.devnull, 'w', encoding='utf-8', errors='replace') as quiet, \
            contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        try:
            yield
        except SystemExit:
            sys.exit(0)


@contextlib.contextmanager
def joined(name, timeout=300.0):
    """The group of the processes that mpiexec started, to train one model together.

    In all of them but rank 0 nothing is printed meanwhile.  An error that is not
    `shared` by all ranks is printed by the rank that has it, and ends all of them.

    Args:
        name (str): ChainerMN's communicator, one of `COMMUNICATORS`; None for a
            process that works alone.
        timeout (float): Seconds after which a process that does not answer is given up.

    Yields:
        rnnlm.parallel.Group: an `MPIGroup`, if there are several processes.

    Raises:
        rnnlm.errors.InputError: if mpi4py, MPI or what the communicator needs is not
            there.
    """
    if name is None:
        yield SINGLE_PROCESS
        return
    try:
        require('communicator', name, f'one of {", ".join(COMMUNICATORS)}',
                lambda v: v in COMMUNICATORS)
        require('timeout', timeout, 'seconds, more than 0', lambda v: v > 0)
    except InputError:
        if launched_rank():
            sys.exit(0)  # rank 0 says it, and has the exit status
        raise
    communicator = _communicator(name)
    if communicator.size == 1:
        yield SINGLE_PROCESS
        return
    from rnnlm.parallel.mpi_group import MPIGroup
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own_cores(communicator.intra_size))
        try:
            group = MPIGroup(communicator, timeout)
            if not group.is_root:
                quiet = stack.enter_context(open(
                    os.devnull, 'w', encoding='utf-8', errors='replace'))
                stack.enter_context(contextlib.redirect_stdout(quiet))
            yield group
            # mpiexec kills the others when a rank exits with a status other than 0,
            # after a signal say: none may before rank 0 has written everything.
            group.on_root(_flush)
        except SystemExit:
            raise
        except BaseException as e:
            if not getattr(e, 'shared', isinstance(e, NotFinite)):
                _end_all(communicator, e)
            if not communicator.rank:
                raise
            sys.exit(0)  # rank 0 says it, and has the exit status


def _communicator(name):
    # Of threads that wait for others; those that compute may need the core.
    os.environ.setdefault('OMPI_MCA_mpi_yield_when_idle', '1')
    try:
        import mpi4py.MPI
    except (ImportError, RuntimeError) as e:
        reason = str(e).strip().split('\n')[0]
        raise InputError(
            f'expected mpi4py and an MPI, found {reason}; install '
            "'chainer-rnnlm[mpi]'", 'communicator') from None
    import chainermn
    communicator = reason = None
    try:
        communicator = chainermn.create_communicator(name)
    except RuntimeError as e:  # of what is missing
        reason = str(e)
    world = mpi4py.MPI.COMM_WORLD
    for rank, reason in enumerate(world.allgather(reason)):
        if reason is not None:
            if world.rank:
                sys.exit(0)
            raise InputError(
                f'expected one that works here, found {name}, of which rank {rank} '
                f'says: {reason}  naive needs nothing but MPI', 'communicator')
    return communicator


def _flush():
    with contextlib.suppress(OSError, ValueError):  # a full disk, or closed
        print(end='', flush=True)


@contextlib.contextmanager
def _own_cores(n_processes):
    """Takes the cores of a machine, or what was asked for, not those of the others."""
    if 'OMP_NUM_THREADS' in os.environ:
        yield
        return
    n_threads = max(1, threads.count() // n_processes)
    os.environ['OMP_NUM_THREADS'] = str(n_threads)
    threads.count.cache_clear()
    try:
        with threadpoolctl.threadpool_limits(n_threads, 'blas'):
            yield
    finally:
        del os.environ['OMP_NUM_THREADS']
        threads.count.cache_clear()


def _end_all(communicator, error):
    """Says what happened, and ends all processes of the job."""
    if isinstance(error, ProcessLost):
        text = f'{error}.  All processes end; the last snapshot is as it was: go on ' \
               'with the same command and --resume'
    elif isinstance(error, KeyboardInterrupt):
        text = f'rank {communicator.rank}: interrupted'
    else:
        if not isinstance(error, (InputError, OSError, MemoryError)):
            traceback.print_exception(type(error), error, error.__traceback__)
        text = f'rank {communicator.rank}: {type(error).__name__}: {error}'
    sys.stderr.write(f'rnnlm: error: {text}\n')
    sys.stderr.flush()
    if isinstance(error, ProcessLost):
        time.sleep(LAST_WORDS)  # the others have noticed too
    timer = threading.Timer(LAST_RESORT, os._exit, (1,))
    timer.daemon = True
    timer.start()
    communicator.mpi_comm.Abort(1)
    os._exit(1)
