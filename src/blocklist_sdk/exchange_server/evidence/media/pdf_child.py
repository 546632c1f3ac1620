"""The process that reads one PDF; see `pdf_process`. It gets the document on its standard input and nothing else."""

import io
import json
import os
import resource
import sys
from typing import Final

MEMORY_MAX: Final = 1_000_000_000
"""Most bytes of address space, of which Python and the library take 200 MB."""

CPU_MAX_S: Final = 10
"""Most seconds of processor time; documents of 20 MB take one or two."""

_FILES_MAX: Final = 16

JUDGE: Final = "judge"
CLEAN: Final = "clean"


def limit_itself() -> None:
    """Take from this process what reading a document does not need: time, memory, files, core dumps."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_MAX),
        (resource.RLIMIT_CPU, CPU_MAX_S),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES_MAX),
    ):
        _soft, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(task: str) -> None:
    """Read a document, and write one line of JSON, which has a reason if it is refused, and a copy if that is asked.

    Args:
        task: `JUDGE` or `CLEAN`.
    """
    from blocklist_sdk.exchange_server.evidence.judge import Unfit
    from blocklist_sdk.exchange_server.evidence.media import pdf_reading

    limit_itself()
    data = sys.stdin.buffer.read()
    copy, reason = b"", None
    try:
        copy = pdf_reading.cleaned(data) if task == CLEAN else pdf_reading.judged(data)
    except Unfit as unfit:
        reason = unfit.reason
    except (MemoryError, RecursionError):
        reason = "the PDF needs more memory to be read than a document does"
    answer = io.BytesIO(json.dumps({"reason": reason}).encode() + b"\n" + copy)
    sys.stdout.buffer.write(answer.getbuffer())
    sys.stdout.buffer.flush()
    os._exit(0)  # without the time that freeing a large document takes
