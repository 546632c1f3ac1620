"""What commands write: data to standard output, talk to standard error, files that are whole or not there."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from blocklist_sdk.records import Entry, Verdict

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


def say(message: str) -> None:
    """Tell the person at the terminal, on standard error, in one line."""
    print(f"blocklist: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201


def write_json(document: object) -> None:
    """Write one JSON document as one line on standard output."""
    typer.echo(json.dumps(document, default=_plain, ensure_ascii=False))


def in_colour(stream: TextIO) -> bool:
    """Whether colours are welcome: on a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def moment(when: datetime | None) -> str | None:
    """A moment as text, UTC to the second.

    >>> moment(datetime(2026, 11, 24, 8, 0, tzinfo=UTC))
    '2026-11-24T08:00:00Z'
    """
    return None if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def scope_text(scope: frozenset[str]) -> str:
    """A scope as release files write it.

    >>> scope_text(frozenset({"voice", "sms"}))
    'sms+voice'
    """
    return "+".join(sorted(scope))


def verdict_document(text: str, verdict: Verdict) -> dict[str, Any]:
    """A verdict for JSON: the text that was asked about, then the record's own fields."""
    return {"input": text, **asdict(verdict), "entries": [entry_document(entry) for entry in verdict.entries]}


def entry_document(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, with the columns of a release file."""
    return {**asdict(entry), "scope": scope_text(entry.scope)}


def _plain(value: object) -> str | None:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
