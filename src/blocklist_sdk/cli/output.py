"""What commands write: data to standard output, talk to standard error, files that are whole or not there."""

import json
import os
import re
import sys
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.prompts import say as say
from blocklist_sdk.records import Entry, Verdict

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


_VERDICT = tuple(each.name for each in fields(Verdict))
_ENTRY = tuple(each.name for each in fields(Entry))

_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the text after them around (Unicode Standard Annex 9)."""


def write_json(document: object) -> None:
    """Write one JSON document as one line on standard output."""
    is_utf8 = sys.stdout.encoding.lower() == "utf-8"
    typer.echo((_AS_UTF8 if is_utf8 else _AS_ASCII).encode(document))


def in_colour(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def moment(when: datetime | None) -> str | None:
    """A moment as text, UTC to the second.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 11, 24, 8, 0, tzinfo=UTC))
    '2026-11-24T08:00:00Z'
    """
    return None if when is None else times.iso(when.replace(microsecond=0))


def indented(text: str, by: str) -> str:
    r"""What a stranger wrote, so that none of its lines can be taken for one of ours.

    >>> indented("won\r\ncase 5: decided \u202edne", "    ")
    '    won\n    case 5: decided \\u202edne'
    """
    lines = _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).splitlines()
    return "\n".join(by + line for line in lines)


def scope_text(scope: frozenset[str]) -> str:
    """A scope as release files write it.

    >>> scope_text(frozenset({"voice", "sms"}))
    'sms+voice'
    """
    return "+".join(sorted(scope))


def verdict_document(text: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict for JSON: the text that was asked about, then the record's own fields."""
    # Not asdict, which copies every value deeply: a million verdicts then take much longer.
    document = {"input": text} | {name: getattr(verdict, name) for name in _VERDICT}
    document["entries"] = [entry_document(entry) for entry in verdict.entries]
    document["override"] = verdict.override and asdict(verdict.override)
    return document


def entry_document(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, with the columns of a release file."""
    return {name: getattr(entry, name) for name in _ENTRY} | {"scope": scope_text(entry.scope)}


def _plain(value: object) -> str | None:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_AS_UTF8 = json.JSONEncoder(default=_plain, ensure_ascii=False, check_circular=False)
_AS_ASCII = json.JSONEncoder(default=_plain, ensure_ascii=True, check_circular=False)
"""For streams in an encoding that lacks characters."""
