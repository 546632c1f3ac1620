"""Runs commands in this process, as a shell would, and looks at what they write."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from blocklist_sdk.cli.app import run as run_command


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def documents(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.lines]

    @property
    def document(self) -> Any:
        (only,) = self.documents
        return only


def run(*arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
    """Run one command; no settings come from outside but those given."""
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(stream, encoding="utf-8", newline="") for stream in written)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKLIST_")}
    with (
        mock.patch.dict(os.environ, {**inherited, **(env or {})}, clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run_command([str(argument) for argument in arguments])
        out.flush()
        err.flush()
    return Ran(code, *(stream.getvalue().decode() for stream in written))


def assert_fails(ran: Ran, code: int, *words: str) -> None:
    """One line on standard error that says so, nothing on standard output, no traceback."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("blocklist: ")
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran.err
