"""How the kit talks to a reader: an action and a document in, a document out."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final, Protocol

KINDS: Final = (
    *("untrusted", "malformed", "stale", "unreachable", "invalid", "not-synced"),
    *("refused", "locked", "storage", "not-offered"),
)
"""The kinds of error that a reader answers with; all but the last are those of the protocol's page."""

OUTPUT_BYTES_MAX: Final = 16 << 20
"""Most that a reader may write for one answer: a hundred times the longest there is."""

_PIECE_BYTES: Final = 1 << 16
_LOOK_S: Final = 0.2

_SHOWN_CHARACTERS: Final = 300


class ReaderFailed(Exception):
    """A reader did not keep to the contract: it crashed, answered too late, or with something that is no answer."""


class Reader(Protocol):
    """A reader, as the kit sees it."""

    def __call__(self, action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a document; an object with ``error`` and ``message`` where the reader refuses.

        Raises:
            ReaderFailed: the reader did not keep to the contract.
        """
        ...


class CommandReader:
    """A reader that is a program: `COMMAND ACTION`, the document on its standard input, the answer on its output."""

    def __init__(self, command: Sequence[str], *, timeout_s: float = 60.0) -> None:
        """Starts nothing.

        Args:
            command: the program and its first arguments.
            timeout_s: how long one answer may take.
        """
        self._command = list(command)
        self._timeout_s = timeout_s
        self._is_stopped = threading.Event()

    def stop(self) -> None:
        """End what runs, and start nothing any more; from another thread."""
        self._is_stopped.set()

    def __call__(self, action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Run the program once; see `Reader`.

        Raises:
            ReaderFailed: the program did not keep to the contract.
            OSError: it cannot be started.
        """
        code, output, errors = _run(
            [*self._command, action],
            json.dumps(document, ensure_ascii=False),
            self._timeout_s,
            self._is_stopped,
        )
        said = _excerpt(errors) or _excerpt(output)
        try:
            answer = json.loads(output)
        except (ValueError, RecursionError) as error:
            raise ReaderFailed(f"it ended with {code} and wrote no JSON: {said or 'nothing at all'}") from error
        if not isinstance(answer, dict):
            raise ReaderFailed(f"it wrote JSON that is not an object: {_excerpt(output)}")
        if "error" in answer and code == 0:
            raise ReaderFailed(
                f"it answered with the error {answer['error']!r}, but exited with 0; an error needs another exit code"
            )
        if "error" not in answer and code != 0:
            raise ReaderFailed(f"it answered, but ended with {code}: {said}")
        return answer


def _run(command: Sequence[str], document: str, timeout_s: float, stopped: threading.Event) -> tuple[int, bytes, bytes]:
    """Run a program to its end: its exit code, its output and its errors.

    It gets a group of its own, so that what it has started ends with it where it keeps nothing of the contract.

    Raises:
        ReaderFailed: it takes too long, writes too much, or was stopped.
        OSError: it cannot be started.
    """
    until = time.monotonic() + timeout_s
    process = subprocess.Popen(  # noqa: S603 -- the command is what the caller wants to run
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        try:
            output = _talk(process.stdin, process.stdout, process.stderr, document.encode(), until, stopped)
            code = process.wait(max(0.0, until - time.monotonic()))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, TimeoutError | subprocess.TimeoutExpired):
                raise ReaderFailed(f"it has not answered after {timeout_s:g} seconds") from error
            raise
    return code, *output


def _talk(
    questions: IO[bytes], output: IO[bytes], errors: IO[bytes], document: bytes, until: float, stopped: threading.Event
) -> tuple[bytes, bytes]:
    """Write a document, and read all that comes back.

    Raises:
        TimeoutError: it has not ended by that moment of the monotonic clock.
        ReaderFailed: it is too much, or was stopped.
    """
    found: dict[object, bytearray] = {output: bytearray(), errors: bytearray()}
    left = memoryview(document)
    os.set_blocking(questions.fileno(), False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(questions, selectors.EVENT_WRITE)
        for pipe in (output, errors):
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if stopped.is_set():
                raise ReaderFailed("it was stopped")
            for key, _ in waiting.select(min(left_s, _LOOK_S)):
                if key.fileobj is questions:
                    try:
                        left = left[os.write(key.fd, left) :]
                    except BrokenPipeError:  # it needs not read all of it
                        left = left[:0]
                    if not left:
                        waiting.unregister(questions)
                        questions.close()
                    continue
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece:
                    waiting.unregister(key.fileobj)
                found[key.fileobj] += piece
                if len(found[key.fileobj]) > OUTPUT_BYTES_MAX:
                    raise ReaderFailed(f"it wrote more than {OUTPUT_BYTES_MAX:,} bytes, and was stopped")
    return bytes(found[output]), bytes(found[errors])


def _excerpt(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return (lines[-1] if lines else "")[:_SHOWN_CHARACTERS]
