"""All parts of a work are done once, whatever the number of threads."""
import concurrent.futures
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
    ended = []

    def work(k):
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


def test_an_interrupt_before_all_have_begun(monkeypatch):
    """Ctrl-C between two submissions: those that were submitted end, and then it."""
    given_up, ended = threading.Event(), []
    pool = threads._pool(3)

    def submit(function, k):
        if k == 2:
            raise KeyboardInterrupt
        return submitted(function, k)

    submitted = pool.submit
    monkeypatch.setattr(pool, 'submit', submit)

    def work(k):
        assert given_up.wait(timeout=30)
        time.sleep(0.1)
        ended.append(k)

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, 3, given_up.set)
    assert ended == [1]


def test_an_interrupt_while_others_work(monkeypatch):
    waits, ended = [], []
    wait = concurrent.futures.wait

    def interrupted(futures):
        waits.append(1)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return wait(futures)

    monkeypatch.setattr(concurrent.futures, 'wait', interrupted)

    def work(k):
        if k:
            time.sleep(0.1)
        ended.append(k)

    with pytest.raises(KeyboardInterrupt):
        threads.run(work, 2)
    assert sorted(ended) == [0, 1]


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
