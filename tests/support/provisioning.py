"""A provisioning system of the old kind: it picks up files, carries them out, and sends responses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blocklist_sdk.enforcement.sink import HeldItem, Outcome
from blocklist_sdk.enforcement.sinks.drop_files import NAME, drop_response_name, read_drop_file, write_drop_response

Answers = Callable[[int], Outcome]
"""Returns the outcome of a change, by its first number."""


def files_in(directory: Path) -> list[Path]:
    """The files to pick up, in the order in which they must be done."""
    if not directory.exists():
        return []  # it is made with the first batch
    return sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))


def replayed(directory: Path, feed: str) -> list[HeldItem]:
    """The items that are blocked after every file of a feed."""
    held: dict[int, HeldItem] = {}
    for path in files_in(directory):
        file = read_drop_file(path)
        if file.feed == feed:
            for change in file.changes:
                held.pop(change.number, None)
                if change.operation != "unblock":
                    held[change.number] = HeldItem(change.number, change.last, change.scope)
    return list(held.values())


def answer_all(directory: Path, responses: Path, answers: Answers = lambda _: Outcome("enforced")) -> int:
    """Write the missing responses; returns how many."""
    count = 0
    for path in files_in(directory):
        answer = responses / drop_response_name(path.name)
        if not answer.exists():
            numbers = [change.number for change in read_drop_file(path).changes]
            write_drop_response(answer, {number: answers(number) for number in numbers})
            count += 1
    return count


@contextmanager
def answering(directory: Path, responses: Path, answers: Answers = lambda _: Outcome("enforced")) -> Iterator[None]:
    """Write a response to each file as it comes."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.005):
            if directory.is_dir():
                answer_all(directory, responses, answers)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
