"""All parts of a work are done once, whatever the number of threads."""
import os
import signal
import threading
import time

import pytest

from rnnlm.kernels import threads


@pytest.mark.parametrize('count', [1, 2, 3, 7])
@pytest.mark.parametrize('length, grain', [(0, 1), (1, 1), (10, 1), (10, 4), (5, 100)])
def test_split(monkeypatch, count, length, grain):
    monkeypatch.setattr(threads, 'count', lambda: count)
    parts = []
    threads.split(lambda a, b: parts.append((a, b)), length, grain)
    parts.sort()
    assert parts[0][0] == 0 and parts[-1][1] == length
    assert all(b == a for (_, b), (a, _) in zip(parts, parts[1:]))
    assert 1 <= len(parts) <= max(1, min(count, length // grain))


def test_ranks_run_concurrently():
    barrier = threading.Barrier(3)
    threads.run(lambda k: barrier.wait(timeout=30), 3)


def test_an_error_is_raised():
    def work(k):
        if k == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.run(work, 2)


@pytest.mark.parametrize('raising', [0, 1])
def test_it_ends_when_all_have_ended(raising):
    ended, begin = [], threading.Barrier(3)

    def work(k):
        begin.wait(timeout=30)
        if k == raising:
            raise ZeroDivisionError
        time.sleep(0.1)
        ended.append(k)

    with pytest.raises(ZeroDivisionError):
        threads.run(work, 3)
    assert len(ended) == 2


@pytest.mark.parametrize('raising', [0, 1, 2])
def test_nobody_waits_for_one_that_raised(raising):
    given_up = threading.Event()

    def work(k):
        if k == raising:
            raise ZeroDivisionError
        assert given_up.wait(timeout=30)

    with pytest.raises(ZeroDivisionError):
        threads.run(work, 3, given_up.set)


@pytest.mark.parametrize('submitted_first', [False, True])
def test_an_interrupt_before_all_have_begun(monkeypatch, submitted_first):
    """Ctrl-C before or just after a submission: what has begun ends, and then it."""
    given_up, begun, ended = threading.Event(), threading.Event(), []
    pool = threads._pool(3)

    def submit(function, k):
        if k == 1 or submitted_first:
            submitted(function, k)
        if k == 2:
            assert begun.wait(timeout=30)
            raise KeyboardInterrupt

    submitted = pool.submit
    monkeypatch.setattr(pool, 'submit', submit)
    last = 2 if submitted_first else 1

    def work(k):
        if k == last:
            begun.set()
        assert given_up.wait(timeout=30)
        time.sleep(0.1)
        ended.append(k)

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, 3, given_up.set)
    assert sorted(ended) == list(range(1, last + 1))


def test_a_call_that_begins_after_an_interrupt_does_nothing(monkeypatch):
    calls, called = [], []
    pool = threads._pool(2)
    monkeypatch.setattr(pool, 'submit', lambda *call: calls.append(call))

    def work(k):
        called.append(k)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, 2)
    (function, k), = calls
    function(k)
    assert called == [0]


@pytest.mark.skipif(os.name == 'nt', reason='no signals to oneself')
def test_interrupts_while_others_work():
    """The last one is raised when all have ended."""
    ended = []

    def work(k):
        if k:
            for _ in range(3):
                time.sleep(0.05)  # meanwhile the main thread has ended
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        ended.append(k)

    # A shell starts what it runs in the background without Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.run(work, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(ended) == [0, 1]


def test_an_interrupt_while_threads_start(monkeypatch):
    """None of them is left waiting; the next run has its threads."""
    wait = threading.Barrier.wait

    def interrupted(barrier, timeout=None):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return wait(barrier, timeout)

    threads._pool.cache_clear()
    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Barrier, 'wait', interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.run(lambda k: None, 3)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=30)
        assert not thread.is_alive()
    threads.run(lambda k: None, 3)


def test_a_thread_that_cannot_start(monkeypatch):
    start, started = threading.Thread.start, []

    def refuse(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    threads._pool.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', refuse)
        called = []
        with pytest.raises(RuntimeError, match='new thread'):
            threads.run(called.append, 5)
    assert not called and len(started) == 2
    threads._pool.cache_clear()
    threads.run(called.append, 5)  # the next time it may
    assert sorted(called) == list(range(5))


def test_count_can_be_set(monkeypatch):
    threads.count.cache_clear()
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert threads.count() == 3
    threads.count.cache_clear()
    monkeypatch.setenv('OMP_NUM_THREADS', 'many')
    assert threads.count() >= 1
    threads.count.cache_clear()
