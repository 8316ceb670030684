"""The budget of bytes in flight: never exceeded, never starving, never deadlocking."""

from __future__ import annotations

import threading

from crossdock.connectors.budget import Budget


def test_the_budget_is_never_exceeded():
    budget, lock = Budget(100), threading.Lock()
    held, peak = [0], [0]

    def work(size):
        for _ in range(200):
            with budget.holding(size):
                with lock:
                    held[0] += min(size, 100)
                    peak[0] = max(peak[0], held[0])
                with lock:
                    held[0] -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 30, 60, 100, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert not any(thread.is_alive() for thread in threads)
    assert 0 < peak[0] <= 100


def test_a_large_piece_is_served_before_those_that_came_later():
    budget, order = Budget(10), []
    first = budget.acquire(8)
    waiting = threading.Event()

    def take(name, size):
        waiting.set()
        with budget.holding(size):
            order.append(name)

    large = threading.Thread(target=take, args=("large", 10))
    large.start()
    while len(budget._queue) < 1:  # until it stands in the queue
        waiting.wait(0.01)
    small = threading.Thread(target=take, args=("small", 1))
    small.start()
    while len(budget._queue) < 2:
        waiting.wait(0.01)
    budget.release(first)
    large.join(10)
    small.join(10)

    assert order == ["large", "small"]
