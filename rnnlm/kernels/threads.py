"""Work on all cores at once, for what NumPy does on one.

NumPy and compiled kernels let go of Python's lock while they work; its matrix
products have threads of their own, which sleep meanwhile.
"""
import concurrent.futures
import functools
import os
import threading


@functools.lru_cache(maxsize=None)
def count():
    """Number of threads: OMP_NUM_THREADS, else the cores that we may use."""
    try:
        return max(1, int(os.environ['OMP_NUM_THREADS']))
    except (KeyError, ValueError):
        pass
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def run(work, n_threads, give_up=lambda: None):
    """Calls ``work(k)`` for k = 0 .. n_threads - 1, all of them at once.

    They may wait for one another: only one `run` is under way in a process, and it
    ends when all of them have ended, whatever one of them raises.

    Args:
        work: Function of the number of a thread.
        n_threads (int): How many threads.
        give_up: Called when one of them raises, or Ctrl-C comes before all have begun:
            it must make those that wait for the missing one end.
    """
    if n_threads == 1:
        work(0)
        return

    def guarded(k):
        try:
            work(k)
        except BaseException:
            give_up()
            raise

    with _lock:
        pool, others = _pool(n_threads), []
        try:
            for k in range(1, n_threads):
                others.append(pool.submit(guarded, k))
            work(0)
        except BaseException:
            give_up()
            raise
        finally:
            _wait(others)
        for other in others:
            other.result()


def _wait(futures):
    """Waits until all have ended; an interrupt is raised only then.

    Their arrays may be used again as soon as `run` has ended.
    """
    interrupt = None
    while True:
        try:
            concurrent.futures.wait(futures)
            break
        except BaseException as e:
            interrupt = e
    if interrupt is not None:
        raise interrupt


def split(work, length, grain=1):
    """Calls ``work(start, stop)`` on parts of range(length), one a thread.

    Args:
        work: Must not use `run` or `split` itself.
        length (int): Size of the whole.
        grain (int): Fewest elements that are worth a thread.
    """
    n_threads = max(1, min(count(), length // grain))
    edges = [length * k // n_threads for k in range(n_threads + 1)]
    run(lambda k: work(edges[k], edges[k + 1]), n_threads)


_lock = threading.Lock()


@functools.lru_cache(maxsize=None)
def _pool(n_threads):
    """That many threads less one, all of them started: between two calls they sleep."""
    pool = concurrent.futures.ThreadPoolExecutor(n_threads - 1, 'rnnlm')
    # A thread that the system refuses is missed here, before others wait for it.
    together = threading.Barrier(n_threads)
    try:
        for _ in range(n_threads - 1):
            pool.submit(together.wait)
    except BaseException:
        together.abort()
        raise
    together.wait()
    return pool


def _after_fork():
    global _lock
    _lock = threading.Lock()
    _pool.cache_clear()  # its threads stayed behind


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)
