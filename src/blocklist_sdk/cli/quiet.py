"""``--quiet``: commands that do something, and say nothing unless it goes wrong."""

import contextlib
import functools
import io
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from blocklist_sdk.errors import InvalidInput

QUIET: Final = frozenset({
    "sync", "check", "verify", "trust replace", "screen", "enforce", "mirror", "demo",
    "override allow", "override block", "override import",
    "receipts send", "report send", "report attach", "report bulk",
    "case start-verification", "case decide", "case confirm", "case withdraw", "case recycled", "case evidence",
    "appeal send", "appeal attach", "appeal answer", "appeal evidence",
    "exchange init", "exchange publish", "exchange verify",
    "publish init", "publish add-feed", "publish set-scope", "publish release", "publish add", "publish remove",
    "publish refresh", "publish snapshot",
    "publish protect add", "publish protect remove", "publish protect set", "publish protect apply",
    "publish keys rotate", "publish keys propose", "publish keys sign", "publish keys install",
})  # fmt: skip
"""The commands that take it: those that do something. What they write on standard output is only what they did; the
others are there for what they write."""

HELP: Final = "Write nothing on standard output; warnings and failures still are, on standard error."


class _Silence(io.TextIOBase):
    """Standard output that takes text and drops it. Bytes that are written to its `buffer`, such as a file, arrive."""

    def __init__(self, stream: Any) -> None:
        self.buffer: Any = stream.buffer
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return str(self._stream.encoding)

    def write(self, text: str) -> int:
        """Drop it."""
        return len(text)

    def flush(self) -> None:
        """Write what the stream holds back."""
        self._stream.flush()


def add_quiet(command: Any) -> None:
    """Give a command the option."""
    is_quiet = False

    def note(value: bool) -> None:
        nonlocal is_quiet
        is_quiet = value

    call = command.callback

    @functools.wraps(call)
    def run(*args: Any, **values: Any) -> Any:
        if not is_quiet:
            return call(*args, **values)
        if values.get("as_json"):
            raise InvalidInput("--quiet leaves out what --json writes: give one of them")
        with _silence():
            return call(*args, **values)

    command.callback = run
    command.params.append(_option(note))


def _option(note: Any) -> Any:
    """The option, made by typer as it makes those of commands."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def only(
        quiet: Annotated[bool, typer.Option("--quiet", "-q", expose_value=False, callback=note, help=HELP)] = False,
    ) -> None:
        raise AssertionError("never called")

    (option,) = get_command(app).params
    return option


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(_Silence(sys.stdout)):
        yield
