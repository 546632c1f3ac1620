"""The work of many threads, done by one of them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, WorkResult
from support.waiting import until


def halves(numbers: list[int]) -> list[WorkResult[int]]:
    """The half of each number; an odd one raises."""
    return [WorkResult.of(partial(half, number)) for number in numbers]


def half(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number // 2


def test_each_thread_gets_its_own_result() -> None:
    commit = GroupCommit(halves)
    with ThreadPoolExecutor(8) as threads:
        with commit.lock:
            submitted = [threads.submit(commit.do, number) for number in range(8)]
            until(lambda: commit.waiting == 8)
        for number, each in enumerate(submitted):
            if number % 2:
                with pytest.raises(ValueError, match=str(number)):
                    each.result()
            else:
                assert each.result() == number // 2
    assert commit.waiting == 0


def test_waiting_work_is_done_together() -> None:
    done: list[list[int]] = []

    def run(numbers: list[int]) -> list[WorkResult[int]]:
        done.append(numbers)
        return [WorkResult(number) for number in numbers]

    commit = GroupCommit(run)
    with ThreadPoolExecutor(8) as threads:
        with commit.lock:
            submitted = [threads.submit(commit.do, number) for number in range(8)]
            until(lambda: commit.waiting == 8)
        assert sorted(each.result() for each in submitted) == list(range(8))
    assert [sorted(numbers) for numbers in done] == [list(range(8))]
    assert commit.do(9) == 9
    assert done[-1] == [9]


def test_an_error_of_the_work_itself_reaches_every_thread_and_the_next_work_is_done() -> None:
    broken = threading.Event()
    broken.set()

    def run(numbers: list[int]) -> list[WorkResult[int]]:
        if broken.is_set():
            raise OSError("broken")
        return [WorkResult(number) for number in numbers]

    commit = GroupCommit(run)
    with ThreadPoolExecutor(3) as threads:
        with commit.lock:
            submitted = [threads.submit(commit.do, number) for number in range(3)]
            until(lambda: commit.waiting == 3)
        for each in submitted:
            with pytest.raises(OSError, match="broken"):
                each.result()
    broken.clear()
    assert commit.do(1) == 1


def test_too_few_results_leave_no_thread_waiting() -> None:
    commit = GroupCommit[int, int](lambda numbers: [WorkResult(number) for number in numbers if number])
    with ThreadPoolExecutor(3) as threads:
        with commit.lock:
            submitted = [threads.submit(commit.do, number) for number in (1, 0, 2)]
            until(lambda: commit.waiting == 3)
        failed = [each for each in submitted if isinstance(each.exception(timeout=30), ValueError)]
    assert failed
    assert commit.do(1) == 1


def test_an_error_that_passes_is_raised_at_once() -> None:
    with pytest.raises(ValueError, match="1"):
        WorkResult.of(lambda: halves([1])[0].get(), passing=ValueError)
    assert WorkResult.of(lambda: 1, passing=ValueError) == WorkResult(1)


def test_a_crowd_is_gathered_and_who_is_alone_does_not_wait() -> None:
    done: list[list[int]] = []

    def run(numbers: list[int]) -> list[WorkResult[int]]:
        done.append(numbers)
        return [WorkResult(number) for number in numbers]

    gather_s = 0.5
    commit = GroupCommit(run, gather_s=gather_s)
    began = time.monotonic()
    for number in range(20):
        commit.do(number)
    assert time.monotonic() - began < gather_s, "one after another is no crowd"
    done.clear()
    with ThreadPoolExecutor(8) as threads:
        with commit.lock:
            first = [threads.submit(commit.do, number) for number in range(2)]
            until(lambda: commit.waiting == 2)
        for each in first:
            each.result()
        later = [threads.submit(commit.do, number) for number in range(2, 8)]
        assert [each.result() for each in later] == [*range(2, 8)]
    assert [sorted(numbers) for numbers in done] == [[0, 1], [*range(2, 8)]]
    assert time.monotonic() - began >= gather_s
