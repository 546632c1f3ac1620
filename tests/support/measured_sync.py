"""One sync in a process of its own, with what it cost.

Run as a module, it takes what to do as JSON. Without arguments it reads lines of it, and forks for each: what all of
them import is imported once. A process that shall run out of memory is a new one, since forked ones have its parent's.
"""

import atexit
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.world import FEED, FIRST, World

_TESTS = Path(__file__).parents[1]
_COMMAND = [sys.executable, "-m", "support.measured_sync"]
_WAIT_S = 120


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sync cost, and what came of it.

    Attributes:
        outcome: its kind, or the class of its error.
        message: the error's message.
        is_ours: whether it succeeded, or its error is a `BlocklistError`.
        peak: the most memory that the process had, in bytes; whatever Python and the libraries take included.
        before: the memory that it had before the sync.
        cpu_s: the time of both its processors together, without imports.
        serial: the release in force in the same process afterwards; None if there is none.
        answers: whether a number is blocked that is listed, in the same process.
    """

    outcome: str
    message: str
    is_ours: bool
    peak: int
    before: int
    cpu_s: float
    serial: int | None
    answers: bool | None


def measured_sync(world: World, *, cache: str = "cache", spare: int | None = None, **options: Any) -> Measured:
    """Sync in a new process.

    Args:
        world: whose feed.
        cache: the recipient's cache.
        spare: the bytes that the process may map beyond what it has mapped before the sync (`ulimit -v`).
        options: more arguments of `Blocklist.open`; a guard of None only.
    """
    asked = {
        "spare": spare,
        "listed": FIRST[1],
        "open": {
            "url": world.url,
            "feed": FEED,
            "root": str(world.directory / "publisher" / "root.json"),
            "region": "ID",
            "cache_dir": str(world.directory / cache),
            "state_dir": str(world.directory / f"{cache}-state"),
            **options,
        },
    }
    if spare is not None:
        done = subprocess.run(
            [*_COMMAND, json.dumps(asked)],
            cwd=_TESTS,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=False,
        )
        assert done.returncode == 0, f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
        return Measured(**json.loads(done.stdout))
    parent = _parent()
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(json.dumps(asked) + "\n")
    parent.stdin.flush()
    answer = json.loads(parent.stdout.readline())
    assert "ended" not in answer, f"the process ended with {answer['ended']}: its standard error says why"
    return Measured(**answer)


@functools.cache
def _parent() -> "subprocess.Popen[str]":
    """The process whose children sync."""
    parent = subprocess.Popen(
        _COMMAND, cwd=_TESTS, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(parent.communicate)
    return parent


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])}


def _serve() -> None:
    """Read what to do, and write what came of it, a line each, until standard input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(_WAIT_S)
                print(json.dumps(asdict(_run(json.loads(line)))), flush=True)
                os._exit(0)
            except BaseException:  # noqa: BLE001 -- the child must not go on with the parent's work
                traceback.print_exc()
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != 0:
            print(json.dumps({"ended": code}), flush=True)


def _run(asked: dict[str, Any]) -> Measured:
    from blocklist_sdk import Blocklist, BlocklistError
    from blocklist_sdk.recipient.sync import run as run  # what syncs import counts as before

    blocklist = Blocklist.open(**asked["open"])
    if asked["spare"] is not None:
        resource.setrlimit(resource.RLIMIT_AS, (_said("VmSize") + asked["spare"],) * 2)
    before, started = _peak(), time.process_time()
    error: BaseException | None = None
    outcome = ""
    try:
        outcome = blocklist.sync().kind
    except BaseException as caught:  # noqa: BLE001 -- whatever it is, the test judges it
        error = caught
    cpu_s = time.process_time() - started
    serial = blocklist.status().serial
    return Measured(
        outcome=outcome if error is None else type(error).__name__,
        message=str(error or ""),
        is_ours=error is None or isinstance(error, BlocklistError),
        peak=_peak(),
        before=before,
        cpu_s=cpu_s,
        serial=serial,
        answers=None if serial is None else asked["listed"] in blocklist,
    )


def _peak() -> int:
    # Not `ru_maxrss`, which a process begins with its parent's.
    return _said("VmHWM")


def _said(name: str) -> int:
    """The bytes that the kernel says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    import blocklist_sdk.recipient.blocklist
    import blocklist_sdk.recipient.sync.run  # noqa: F401 -- for all that are forked

    if len(sys.argv) > 1:
        print(json.dumps(asdict(_run(json.loads(sys.argv[1])))))
    else:
        _serve()
