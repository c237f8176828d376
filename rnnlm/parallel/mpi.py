"""Joining the processes that mpiexec started, and ending them together.

The command parses its options with this, before Chainer and NumPy are imported.
"""
import contextlib
import os
import sys
import threading
import time
import traceback

from rnnlm.errors import InputError, NotFinite, ProcessLost, require
from rnnlm.parallel.single import SINGLE_PROCESS

# ChainerMN's names of communicators.
COMMUNICATORS = 'naive', 'flat', 'non_cuda_aware', 'pure_nccl'

# Seconds for the other ranks to print their messages before all are ended, and for
# MPI to end them.
LAST_WORDS = 1.0
LAST_RESORT = 10.0

_RANKS = 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK'
_SIZES = 'OMPI_COMM_WORLD_SIZE', 'PMI_SIZE'


def launched_rank():
    """Returns the rank that mpiexec gave this process, or 0; works before MPI starts.
    """
    return next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)


def launched_size():
    """Returns the number of processes that mpiexec started, or 1."""
    return next((int(os.environ[name]) for name in _SIZES if name in os.environ), 1)


@contextlib.contextmanager
def only_root_reports():
    """Silences all ranks but 0 for work that may end the program before MPI starts.

    An example is parsing the command line: all ranks fail in the same way, and only
    rank 0 reports it.  The others exit with status 0, because at any other status
    mpiexec kills all processes, and rank 0 may not have printed its message yet.
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
def joined(name, timeout=300.0, resume_command=None):
    """Yields the group of the processes that mpiexec started.

    Only rank 0 prints within the context.  An error that is not `shared` by all ranks
    is printed by the rank that raised it, and ends all of them.

    Args:
        name (str): ChainerMN's communicator, one of `COMMUNICATORS`; None for a single
            process.
        timeout (float): Seconds after which an unresponsive process counts as lost.
        resume_command (callable): Function that returns the command that resumes the
            run after a process was lost, for the message; '' if there is no snapshot.

    Yields:
        rnnlm.parallel.Group: An `MPIGroup`, if there are several processes.

    Raises:
        rnnlm.errors.InputError: If mpi4py, MPI or a requirement of the communicator is
            missing.
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
            sys.exit(0)  # rank 0 reports it and sets the exit status
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
            # When a rank exits with a status other than 0, as after a signal, mpiexec
            # kills the others.  So wait until rank 0 has written everything.
            group.on_root(_flush)
        except SystemExit:
            raise
        except BaseException as e:
            if not getattr(e, 'shared', isinstance(e, NotFinite)):
                _end_all(communicator, e, resume_command)
            if not communicator.rank:
                raise
            sys.exit(0)  # rank 0 reports it and sets the exit status


def _communicator(name):
    # Waiting threads yield, because computing threads may need the core.
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
    except RuntimeError as e:  # a requirement is missing
        reason = str(e)
    world = mpi4py.MPI.COMM_WORLD
    for rank, reason in enumerate(world.allgather(reason)):
        if reason is not None:
            if world.rank:
                sys.exit(0)
            raise InputError(
                f'expected a communicator that works here, found {name}, for which '
                f'rank {rank} reports: {reason}  naive needs only MPI', 'communicator')
    return communicator


def _flush():
    with contextlib.suppress(OSError, ValueError):  # disk full, or stdout closed
        print(end='', flush=True)


@contextlib.contextmanager
def _own_cores(n_processes):
    """Limits threads to this process's share of the cores, or to OMP_NUM_THREADS."""
    if 'OMP_NUM_THREADS' in os.environ:
        yield
        return
    import threadpoolctl
    from rnnlm.kernels import threads
    n_threads = max(1, threads.count() // n_processes)
    os.environ['OMP_NUM_THREADS'] = str(n_threads)
    threads.count.cache_clear()
    try:
        with threadpoolctl.threadpool_limits(n_threads, 'blas'):
            yield
    finally:
        del os.environ['OMP_NUM_THREADS']
        threads.count.cache_clear()


def _end_all(communicator, error, resume_command):
    """Prints an error, and ends all processes of the job."""
    if isinstance(error, ProcessLost):
        text = f'{error}.  All processes end'
        command = resume_command() if resume_command else ''
        if command:
            text += f'; the last snapshot is intact: continue with: {command}'
    elif isinstance(error, KeyboardInterrupt):
        text = f'rank {communicator.rank}: interrupted'
    else:
        if not isinstance(error, (InputError, OSError, MemoryError)):
            traceback.print_exception(type(error), error, error.__traceback__)
        text = f'rank {communicator.rank}: {type(error).__name__}: {error}'
    sys.stderr.write(f'rnnlm: error: {text}\n')
    sys.stderr.flush()
    if isinstance(error, ProcessLost):
        time.sleep(LAST_WORDS)  # lets the others print what they noticed
    timer = threading.Timer(LAST_RESORT, os._exit, (1,))
    timer.daemon = True
    timer.start()
    communicator.mpi_comm.Abort(1)
    os._exit(1)
