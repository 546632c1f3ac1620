"""How the kit talks to a reader: an action and a document in, a document out."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

KINDS: Final = (
    *("untrusted", "malformed", "stale", "unreachable", "invalid", "not-synced"),
    *("refused", "locked", "storage", "not-offered"),
)
"""The kinds of error that a reader answers with; all but the last are those of the protocol's page."""

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

    def __call__(self, action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Run the program once; see `Reader`.

        Raises:
            ReaderFailed: the program did not keep to the contract.
            OSError: it cannot be started.
        """
        sent = json.dumps(document, ensure_ascii=False).encode()
        try:
            done = subprocess.run(  # noqa: S603 -- the command is what the caller wants to run
                [*self._command, action], input=sent, capture_output=True, timeout=self._timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ReaderFailed(f"it has not answered after {self._timeout_s:g} seconds") from error
        said = _excerpt(done.stderr) or _excerpt(done.stdout)
        try:
            answer = json.loads(done.stdout)
        except ValueError as error:
            raise ReaderFailed(
                f"it ended with {done.returncode} and wrote no JSON: {said or 'nothing at all'}"
            ) from error
        if not isinstance(answer, dict):
            raise ReaderFailed(f"it wrote JSON that is not an object: {_excerpt(done.stdout)}")
        if "error" in answer and done.returncode == 0:
            raise ReaderFailed(
                f"it answered with the error {answer['error']!r}, but exited with 0; an error needs another exit code"
            )
        if "error" not in answer and done.returncode != 0:
            raise ReaderFailed(f"it answered, but ended with {done.returncode}: {said}")
        return answer


def _excerpt(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return (lines[-1] if lines else "")[:_SHOWN_CHARACTERS]
