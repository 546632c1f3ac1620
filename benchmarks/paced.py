"""Asks a server at a fixed rate, or as fast as it answers, by a program in C that is compiled when it is needed.

wrk and redis-benchmark know no fixed rate, and wrk no Unix socket. A client in Python takes as much processor time as
the server does: on a machine of two processors its latencies are mostly its own.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.serving_world import FIRST

SOURCE: Final = Path(__file__).with_suffix(".c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked, and how fast.

    Attributes:
        is_redis: whether in the protocol of Redis, else over HTTP.
        uds: the path of a Unix socket; None for the port.
        port: of the loopback address.
        rate: questions a second; 0 for as fast as they are answered.
        seconds: for how long.
        connections: at most so many questions at a time.
        keys: of how many numbers, from the first generated one on.
        body: a file to post instead.
        content_type: of that file, and of its answer.
    """

    is_redis: bool = False
    uds: Path | None = None
    port: int = 0
    rate: float = 0.0
    seconds: float = 3.0
    connections: int = 50
    keys: int = 1
    body: Path | None = None
    content_type: str = "application/json"


def compiled(folder: Path) -> Path:
    """The program, in a folder; compiled if it is not there yet.

    Raises:
        subprocess.CalledProcessError: the compiler refused.
    """
    program = folder / "paced"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


def measure(program: Path, questions: Questions) -> dict[str, Any]:
    """Ask, in a process of its own.

    Returns:
        `answers`, `per_second`, `failures` (answers that were none), `unanswered` at the end, and `p50_s` and `p99_s`
        of the time from the moment at which a question was due, also where it waited for a connection, or until the
        end.

    Raises:
        subprocess.CalledProcessError: it could not connect.
    """
    words = ["redis" if questions.is_redis else "http", questions.uds or "", questions.port, questions.rate]
    words += [questions.seconds, questions.connections, FIRST, questions.keys, questions.body or ""]
    command = [str(program), *map(str, words), questions.content_type]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found
