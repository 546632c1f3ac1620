"""Whole processes, start to end."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import Result, median

_BLOCKED = 1
"""`blocklist check` answers a blocked number with this exit code."""

_TIMES = 5
"""Processes are started so many times as often as other things are repeated: they are short, and vary more."""


def imports(*, repeats: int) -> list[Result]:
    """`import blocklist_sdk`, beside `import httpx`."""
    ours, anchor = _in_turn(
        [sys.executable, "-c", "import blocklist_sdk"], [sys.executable, "-c", "import httpx"], repeats=repeats
    )
    return [Result("`import blocklist_sdk`, whole process", None, "s", ours, anchor, "`import httpx`", most_ratio=2)]


def check(number: int, rows: int, synced: Mapping[str, str], *, repeats: int) -> list[Result]:
    """`blocklist check`, beside importing what it is made of.

    Args:
        number: one that is blocked.
        rows: entries on the list.
        synced: arguments of `Blocklist.open` for a list that was synced.
        repeats: as everywhere.
    """
    options = [text for name, value in synced.items() for text in (f"--{name.replace('_', '-')}", value)]
    command = [str(Path(sys.executable).with_name("blocklist")), "check", f"+{number}", *options]
    ours, anchor = _in_turn(
        command, [sys.executable, "-c", "import pyarrow, tuf.api.metadata"], repeats=repeats, status=_BLOCKED
    )
    against = "`python -c 'import pyarrow, tuf.api.metadata'`"
    return [Result("`blocklist check`, whole process", rows, "s", ours, anchor, against, most_ratio=2)]


def _in_turn(ours: Sequence[str], anchor: Sequence[str], *, repeats: int, status: int = 0) -> tuple[float, float]:
    """Median seconds of each; both run once before, so that files and compiled modules are at hand."""
    _run(ours, status)
    _run(anchor, 0)
    pairs = [(_run(ours, status), _run(anchor, 0)) for _ in range(_TIMES * repeats)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def _run(command: Sequence[str], status: int) -> float:
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - started
    if run.returncode != status:
        raise RuntimeError(f"{command[0]} ended with {run.returncode}, not {status}: {run.stderr}")
    return seconds
