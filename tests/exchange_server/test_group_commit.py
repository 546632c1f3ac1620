"""What many want done, done by one for all of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from blocklist_sdk.exchange_server.store.group_commit import GroupCommit, Result
from support.waiting import until


def halves(numbers: list[int]) -> list[Result[int]]:
    """Of each its half; the odd ones have none."""

    return [Result.of(partial(half, number)) for number in numbers]


def half(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number // 2


def test_everyone_gets_what_came_of_his_own() -> None:
    turns = GroupCommit(halves)
    with ThreadPoolExecutor(8) as threads:
        with turns.turn:
            asked = [threads.submit(turns.do, number) for number in range(8)]
            until(lambda: turns.waiting == 8)
        for number, each in enumerate(asked):
            if number % 2:
                with pytest.raises(ValueError, match=str(number)):
                    each.result()
            else:
                assert each.result() == number // 2
    assert turns.waiting == 0


def test_those_who_wait_are_done_together() -> None:
    done: list[list[int]] = []

    def run(numbers: list[int]) -> list[Result[int]]:
        done.append(numbers)
        return [Result(number) for number in numbers]

    turns = GroupCommit(run)
    with ThreadPoolExecutor(8) as threads:
        with turns.turn:
            asked = [threads.submit(turns.do, number) for number in range(8)]
            until(lambda: turns.waiting == 8)
        assert sorted(each.result() for each in asked) == list(range(8))
    assert [sorted(numbers) for numbers in done] == [list(range(8))]
    assert turns.do(9) == 9
    assert done[-1] == [9]


def test_a_fault_of_the_work_itself_reaches_everyone_and_the_next_turn_works() -> None:
    broken = threading.Event()
    broken.set()

    def run(numbers: list[int]) -> list[Result[int]]:
        if broken.is_set():
            raise OSError("broken")
        return [Result(number) for number in numbers]

    turns = GroupCommit(run)
    with ThreadPoolExecutor(3) as threads:
        with turns.turn:
            asked = [threads.submit(turns.do, number) for number in range(3)]
            until(lambda: turns.waiting == 3)
        for each in asked:
            with pytest.raises(OSError, match="broken"):
                each.result()
    broken.clear()
    assert turns.do(1) == 1


def test_work_that_tells_of_too_few_leaves_nobody_waiting() -> None:
    turns = GroupCommit[int, int](lambda numbers: [Result(number) for number in numbers if number])
    with ThreadPoolExecutor(3) as threads:
        with turns.turn:
            asked = [threads.submit(turns.do, number) for number in (1, 0, 2)]
            until(lambda: turns.waiting == 3)
        failed = [each for each in asked if isinstance(each.exception(timeout=30), ValueError)]
    assert failed
    assert turns.do(1) == 1


def test_what_is_not_to_be_kept_is_raised_at_once() -> None:
    with pytest.raises(ValueError, match="1"):
        Result.of(lambda: halves([1])[0].get(), but=ValueError)
    assert Result.of(lambda: 1, but=ValueError) == Result(1)
