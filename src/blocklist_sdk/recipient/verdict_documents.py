"""Verdicts as JSON: the shape of ``blocklist check --json``, which every door of the look-up server answers as well."""

import json
import re
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from blocklist_sdk import times
from blocklist_sdk.records import Entry, Verdict

_VERDICT_FIELDS: Final = tuple(each.name for each in fields(Verdict))
_ENTRY_FIELDS: Final = tuple(each.name for each in fields(Entry))

_NOT_ESCAPED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What JSON does not escape, although a terminal obeys it: more controls, and those of the direction of writing."""


def moment(when: datetime | None) -> str | None:
    """A moment as text, in UTC and whole seconds; None for None.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 11, 24, 8, 0, tzinfo=UTC))
    '2026-11-24T08:00:00Z'
    """
    return None if when is None else _moment_text(when)


@lru_cache(maxsize=4096)
def _moment_text(when: datetime) -> str:
    """The same; remembered, since the entries of a list begin and end at few moments."""
    return times.iso(when.replace(microsecond=0))


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


def json_line(document: object, *, is_ascii: bool = False) -> str:
    r"""A document as one line of JSON, which a terminal shows and does not obey.

    Args:
        document: of JSON's own types, moments and paths.
        is_ascii: escape everything else than ASCII, for streams whose encoding lacks some characters.

    >>> json_line({"issuer": "é\u202e"})
    '{"issuer": "é\\u202e"}'
    """
    line = (_AS_ASCII if is_ascii else _AS_UTF8).encode(document)
    return line if line.isascii() and "\x7f" not in line else _NOT_ESCAPED.sub(_escape, line)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _json_value(value: object) -> str | None:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_AS_UTF8: Final = json.JSONEncoder(default=_json_value, ensure_ascii=False, check_circular=False)
_AS_ASCII: Final = json.JSONEncoder(default=_json_value, ensure_ascii=True, check_circular=False)
