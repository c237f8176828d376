"""Thread pool for compiled kernels and NumPy functions that use one core.

Both release Python's global lock while they compute.  Matrix products are not run here,
because BLAS has its own threads.
"""
import concurrent.futures
import contextlib
import functools
import os
import queue
import threading


@functools.lru_cache(maxsize=None)
def count():
    """Returns the number of threads: OMP_NUM_THREADS, or the cores of this process."""
    try:
        return max(1, int(os.environ['OMP_NUM_THREADS']))
    except (KeyError, ValueError):
        pass
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def run(work, n_threads, give_up=lambda: None):
    """Calls ``work(k)`` for k = 0 .. n_threads - 1 concurrently, and waits for all.

    The calls may wait for each other in a barrier: each has a thread, and a lock allows
    only one `run` in a process at a time.  An exception is raised after all have ended.

    Args:
        work: Function of the index of a thread.
        n_threads (int): Number of threads.
        give_up: Function that ends all waits in barriers.  It is called if a thread
            raises, or if Ctrl-C arrives before all threads have started.
    """
    if n_threads == 1:
        work(0)
        return
    # Ctrl-C may come at any moment, even after a call was submitted and before its
    # future is returned.  So futures are not used: these lists are always up to date.
    begun, ended, errors, stopped = [], [], [], []
    wake = queue.SimpleQueue()

    def guarded(k):
        begun.append(k)
        try:
            if not stopped:
                work(k)
        except BaseException as e:
            errors.append(e)
            give_up()
        finally:
            ended.append(k)
            wake.put(k)

    def is_over():
        return len(ended) >= (len(begun) if stopped else n_threads - 1)

    with _lock:
        pool = _pool(n_threads)
        try:
            for k in range(1, n_threads):
                pool.submit(guarded, k)
            work(0)
        except BaseException:
            stopped.append(True)  # a call that has not begun does nothing
            give_up()
            raise
        finally:
            _wait(is_over, wake)
    if errors:
        raise errors[0]


def _wait(is_over, wake):
    """Waits until ``is_over()``, and raises an interrupt only then.

    The arrays of the threads may be reused as soon as `run` returns.

    Args:
        is_over: Function that returns whether all calls have ended.
        wake (queue.SimpleQueue): Gets an item when a call has ended.
    """
    interrupt = None
    while True:
        try:
            while not is_over():
                with contextlib.suppress(queue.Empty):
                    wake.get(timeout=0.1)  # an interrupt may lose the item
            break
        except BaseException as e:
            interrupt = e
    if interrupt is not None:
        raise interrupt


def split(work, length, grain=1):
    """Splits range(length) into a part for each thread; calls ``work(start, stop)``.

    Args:
        work: Function, which must not call `run` or `split`.
        length (int): Number of elements.
        grain (int): Minimum number of elements for a thread.
    """
    n_threads = max(1, min(count(), length // grain))
    edges = [length * k // n_threads for k in range(n_threads + 1)]
    run(lambda k: work(edges[k], edges[k + 1]), n_threads)


_lock = threading.Lock()


@functools.lru_cache(maxsize=None)
def _pool(n_threads):
    """Returns a pool of n_threads - 1 threads, all started."""
    pool = concurrent.futures.ThreadPoolExecutor(n_threads - 1, 'rnnlm')
    # Tests that the system grants all threads, before kernels wait for each other.
    together = threading.Barrier(n_threads)
    try:
        for _ in range(n_threads - 1):
            pool.submit(together.wait)
        together.wait()
    except BaseException:  # also Ctrl-C: else they would wait for ever
        together.abort()
        raise
    return pool


def _after_fork():
    global _lock
    _lock = threading.Lock()
    _pool.cache_clear()  # a forked process has no copies of its threads


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)
