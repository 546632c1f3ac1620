"""Processes that are killed while they enforce."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import itertools, sys
from support.sink_batches import FEED, numbered
from blocklist_sdk.enforcement.registry import open_sink

sink = open_sink(sys.argv[1], feed=FEED)
for number in itertools.count(int(sys.argv[2]) + 1):
    sink.apply(numbered(number))
    print(number, flush=True)
"""


def kill_in_the_middle(url: str, before: int) -> None:
    """Run a process that applies one batch after the other, and kill it after a few."""
    command = [sys.executable, "-c", PROGRAM, url, str(before)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
