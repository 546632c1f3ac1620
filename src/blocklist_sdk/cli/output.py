"""What commands write: data to standard output, messages to standard error."""

import os
import sys
from collections.abc import Iterable
from typing import Annotated, TextIO

import typer

from blocklist_sdk.cli.messages import say as say
from blocklist_sdk.recipient.verdict_documents import entry_document as entry_document
from blocklist_sdk.recipient.verdict_documents import json_line
from blocklist_sdk.recipient.verdict_documents import moment as moment
from blocklist_sdk.recipient.verdict_documents import scope_text as scope_text
from blocklist_sdk.recipient.verdict_documents import verdict_document as verdict_document
from blocklist_sdk.records import Override
from blocklist_sdk.texts import displayable

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]

RequireFresh = Annotated[
    bool,
    typer.Option(
        "--require-fresh",
        help="Fail with exit code 5 if the list is past its signed expiry, or this machine's clock is behind.",
    ),
]


def write_line(line: str) -> None:
    """Write one line for people to standard output, whatever is in it: much comes from lists and servers."""
    typer.echo(displayable(line))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines for people to standard output, as `write_line` does."""
    for line in lines:
        write_line(line)


def write_json(document: object) -> None:
    """Write a JSON document to standard output as one line."""
    typer.echo(json_line(document, is_ascii=sys.stdout.encoding.lower() != "utf-8"))


def in_colour(stream: TextIO) -> bool:
    """Whether to write colours: on a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def numbers_text(override: Override) -> str:
    """The number of an override, or its range from first to last."""
    return f"+{override.number}" if override.last is None else f"+{override.number}-+{override.last}"


def indented(text: str, by: str) -> list[str]:
    r"""A stranger's text as lines that are indented, so that none of them looks like a line of this program.

    >>> indented("won\r\ncase 5: decided \u202edne", "    ")
    ['    won', '    case 5: decided \\u202edne']
    """
    return [by + displayable(line) for line in text.splitlines()]
