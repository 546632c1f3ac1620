"""After a fork no lock stays held, and a list still notices new releases."""

import os
import threading
import time
from pathlib import Path

import pytest

from blocklist_sdk.locks import ForkSafeLock
from blocklist_sdk.recipient.blocklist import internals_of
from support.world import ADDED, SECOND, make_world

PATIENCE_S = 120.0

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
"""Python from 3.12 on warns of forks in programs with threads, which are tested here."""


def ends_well(child: int) -> bool:
    """Whether a child process exits with 0 in time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def test_a_lock_that_another_thread_holds_is_free_in_a_child() -> None:
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(PATIENCE_S)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE_S)
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire(blocking=False) else 1)
    assert ends_well(child)
    assert not lock.acquire(blocking=False)
    done.set()
    holder.join()


def test_a_list_forked_while_another_thread_reloads_goes_on_and_sees_new_releases(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    recipient = world.recipient()
    recipient.sync()
    with internals_of(recipient).current._reloading:
        forked = threading.Thread(target=lambda: children.append(fork()))
        children: list[int] = []

        def fork() -> int:
            child = os.fork()
            if child == 0:
                recipient.status()
                while ADDED not in recipient:
                    time.sleep(0.05)
                os._exit(0)
            return child

        forked.start()
        forked.join()
    world.release(SECOND)
    world.recipient().sync()
    assert ends_well(children[0])
