"""PDFs are read in a process of their own, so that one that is made to break its reader breaks nothing else.

The process has a limit for memory, processor time and files, gets only the document, and ends with it. It is started
anew for each document: that takes 0.2 s, and nothing of one document is left when the next one comes.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Final

from blocklist_sdk.exchange_server.evidence.judge import Content, Unfit
from blocklist_sdk.exchange_server.evidence.media import pdf_child

_AT_ONCE: Final = threading.BoundedSemaphore(2)
"""Documents that are read at a time: they may take all their memory."""

_TIME_MAX_S: Final = 60
"""Longest time for a document on a busy machine, several times its processor time."""

_COSTLY: Final = "the PDF takes far longer to be read than a document does"
_BREAKS: Final = "the PDF breaks a reader of PDFs"

_START: Final = (
    f"import sys, json; sys.path[:] = json.loads(sys.argv[2]); from {pdf_child.__name__} import main; main(sys.argv[1])"
)


def judge_pdf(data: Content) -> None:
    """Refuse a PDF that is not evidence.

    Raises:
        Unfit: it is not evidence, or reading it costs too much.
        OSError: the process could not be started, or something ended it.
    """
    _ask(pdf_child.JUDGE, data)


def clean_pdf(data: Content) -> bytes:
    """A PDF written anew, without what describes its author; see `pdf_reading.cleaned`.

    Raises:
        Unfit: it is not evidence by today's rules.
        OSError: the process could not be started, or something ended it.
    """
    return _ask(pdf_child.CLEAN, data)


def _ask(task: str, data: Content) -> bytes:
    command = [sys.executable, "-I", "-S", "-c", _START, task, json.dumps([path for path in sys.path if path])]
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    with _AT_ONCE:
        try:
            done = subprocess.run(  # noqa: S603  our own interpreter, and nothing of the document's
                command,
                input=data[:],
                capture_output=True,
                env=environment,
                cwd="/",
                timeout=_TIME_MAX_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unfit(_COSTLY) from None
    line, _, copy = done.stdout.partition(b"\n")
    if done.returncode == -signal.SIGXCPU:
        raise Unfit(_COSTLY)
    if done.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL):
        raise Unfit(_BREAKS)
    if done.returncode != 0 or not line:
        why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise OSError(errno.EAGAIN, f"the process that reads PDFs ended with {done.returncode}: {why}")
    reason = json.loads(line)["reason"]
    if reason is not None:
        raise Unfit(reason)
    return copy
