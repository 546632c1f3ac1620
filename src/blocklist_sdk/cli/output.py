"""What commands write: data to standard output, messages to standard error."""

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.messages import say as say
from blocklist_sdk.records import Entry, Override, Verdict
from blocklist_sdk.texts import displayable

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]

_VERDICT_FIELDS = tuple(each.name for each in fields(Verdict))
_ENTRY_FIELDS = tuple(each.name for each in fields(Entry))

_NOT_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What JSON does not escape, although a terminal obeys it: more controls, and those of the direction of writing."""


def write_line(line: str) -> None:
    """Write one line for people to standard output, whatever is in it: much comes from lists and servers."""
    typer.echo(displayable(line))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines for people to standard output, as `write_line` does."""
    for line in lines:
        write_line(line)


def write_json(document: object) -> None:
    """Write a JSON document to standard output as one line."""
    is_utf8 = sys.stdout.encoding.lower() == "utf-8"
    line = (_AS_UTF8 if is_utf8 else _AS_ASCII).encode(document)
    typer.echo(line if line.isascii() and "\x7f" not in line else _NOT_ESCAPED.sub(_escape, line))


def in_colour(stream: TextIO) -> bool:
    """Whether to write colours: on a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def moment(when: datetime | None) -> str | None:
    """A moment as text, in UTC and whole seconds; None for None.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 11, 24, 8, 0, tzinfo=UTC))
    '2026-11-24T08:00:00Z'
    """
    return None if when is None else times.iso(when.replace(microsecond=0))


def numbers_text(override: Override) -> str:
    """The number of an override, or its range from first to last."""
    return f"+{override.number}" if override.last is None else f"+{override.number}-+{override.last}"


def indented(text: str, by: str) -> list[str]:
    r"""A stranger's text as lines that are indented, so that none of them looks like a line of this program.

    >>> indented("won\r\ncase 5: decided \u202edne", "    ")
    ['    won', '    case 5: decided \\u202edne']
    """
    return [by + displayable(line) for line in text.splitlines()]


def scope_text(scope: frozenset[str]) -> str:
    """A scope as release files write it.

    >>> scope_text(frozenset({"voice", "sms"}))
    'sms+voice'
    """
    return "+".join(sorted(scope))


def verdict_document(text: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON: the text that was looked up, then the record's own fields."""
    # Not asdict: it copies every value deeply, which takes long for a million verdicts.
    document = {"input": text} | {name: getattr(verdict, name) for name in _VERDICT_FIELDS}
    document["entries"] = [entry_document(entry) for entry in verdict.entries]
    document["override"] = verdict.override and asdict(verdict.override)
    return document


def entry_document(entry: Entry) -> dict[str, Any]:
    """An entry as JSON, with the columns of a release file."""
    return {name: getattr(entry, name) for name in _ENTRY_FIELDS} | {"scope": scope_text(entry.scope)}


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _json_value(value: object) -> str | None:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_AS_UTF8 = json.JSONEncoder(default=_json_value, ensure_ascii=False, check_circular=False)
_AS_ASCII = json.JSONEncoder(default=_json_value, ensure_ascii=True, check_circular=False)
"""For streams whose encoding lacks some characters."""
