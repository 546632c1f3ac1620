"""Run commands in this process as a shell would, and check what they write."""

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from blocklist_sdk.cli import app
from support import json_shapes

_command_line = functools.cache(app.command_line)
"""To read a command's options takes typer longer than most commands take, and a process of a user's does it once."""


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def documents(self) -> list[Any]:
        """Standard output, read as lines of JSON."""
        return [json.loads(line) for line in self.lines]

    @property
    def document(self) -> Any:
        (only,) = self.documents
        return only


def run(*arguments: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
    """Run one command; of settings, and of the terminal's width, it sees only what is given here."""
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(stream, encoding="utf-8", newline="") for stream in written)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BLOCKLIST_", "COLUMNS"))}
    with (
        mock.patch.dict(os.environ, {**inherited, **(env or {})}, clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(app, "command_line", _command_line),
    ):
        code = app.run([str(argument) for argument in arguments])
        out.flush()
        err.flush()
    ran = Ran(code, *(stream.getvalue().decode() for stream in written))
    if "--json" in arguments:
        json_shapes.validate([str(argument) for argument in arguments], ran.lines)
    return ran


def assert_fails(ran: Ran, code: int, *words: str) -> None:
    """Check the exit code, and for one line on standard error with these words, no output and no traceback."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("blocklist: ")
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, ran.err
