"""Dates in a declared form, such as 31/12/2026, as ISO 8601."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from blocklist_sdk.errors import InvalidInput

_TOKENS: Final = {
    "yyyy": r"(?P<year>\d{4})",
    "yy": r"(?P<year>\d\d)",
    "mm": r"(?P<month>\d\d)",
    "m": r"(?P<month>\d{1,2})",
    "dd": r"(?P<day>\d\d)",
    "d": r"(?P<day>\d{1,2})",
    "hh:mm:ss": r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)",
    "hh:mm": r"(?P<hour>\d{1,2}):(?P<minute>\d\d)",
}
_SPLIT: Final = re.compile("(hh:mm:ss|hh:mm|yyyy|yy|mm|m|dd|d)", re.IGNORECASE)

_CENTURY: Final = 2000
"""What a year of two digits belongs to."""

_DAY_FIRST: Final = re.compile(r"\s*\d{1,4}[/.\-]\d{1,2}[/.\-]\d{1,4}(\s.*)?")

NEEDS_A_FORMAT: Final = "a date in a form of its own needs a declared format, such as --date-format dd/mm/yyyy"


def why_no_moment(name: str, text: str, *, example: str, date_format: str | None) -> str:
    """Why a cell is not a moment, and what to do.

    Args:
        name: the column, by its meaning.
        text: the cell.
        example: a moment as it may be written.
        date_format: the format that was declared, if one was.

    >>> why_no_moment("until", "14/11/2026", example="2027-01-31", date_format="mm/dd/yyyy")
    "until: '14/11/2026' does not fit --date-format mm/dd/yyyy, and is not ISO 8601 such as 2027-01-31"
    >>> why_no_moment("until", "soon", example="2027-01-31", date_format=None)
    "until must be a moment such as 2027-01-31, not 'soon'"
    """
    if date_format is not None:
        return f"{name}: {text!r} does not fit --date-format {date_format}, and is not ISO 8601 such as {example}"
    hint = f": {NEEDS_A_FORMAT}" if _DAY_FIRST.fullmatch(text) else ""
    return f"{name} must be a moment such as {example}, not {text!r}{hint}"


def date_reader(form: str) -> Callable[[str], str | None]:
    """A function that rewrites a date in a form as ISO 8601; None for a text that is not in it.

    Args:
        form: the form, of ``dd`` or ``d``, ``mm`` or ``m``, ``yyyy`` or ``yy``, and perhaps ``hh:mm`` or ``hh:mm:ss``.

    Raises:
        InvalidInput: `form` lacks the day, the month or the year, or has one twice.

    >>> date_reader("dd/mm/yyyy")("31/12/2026")
    '2026-12-31'
    >>> date_reader("d.m.yy hh:mm")("1.2.26 8:30")
    '2026-02-01T08:30:00'
    """
    pattern, groups = "", list[str]()
    for part in _SPLIT.split(form.strip()):
        token = _TOKENS.get(part.lower())
        pattern += re.escape(part) if token is None else token
        groups += re.findall(r"<(\w+)>", token or "")
    if (
        not {"day", "month", "year"} <= set(groups)
        or len(groups) != len(set(groups))
        or re.search("[a-z]", _rest(form))
    ):
        raise InvalidInput(
            f"{form!r} is not a format of dates: write it with dd, mm and yyyy, such as dd/mm/yyyy or yyyy.mm.dd hh:mm"
        )
    compiled = re.compile(pattern, re.ASCII)

    def read(text: str) -> str | None:
        found = compiled.fullmatch(text.strip())
        if found is None:
            return None
        parts = {name: int(value) for name, value in found.groupdict().items()}
        if len(found["year"]) == len("yy"):
            parts["year"] += _CENTURY
        try:
            moment = datetime(**parts)  # type: ignore[arg-type]  # noqa: DTZ001 - the list says no zone
        except ValueError:
            return None
        return moment.isoformat() if "hour" in parts else moment.date().isoformat()

    return read


def _rest(form: str) -> str:
    """What is left of a form without its tokens and an ISO 8601 separator."""
    return _SPLIT.sub("", form).replace("T", "").lower()
