"""Checks of callers' arguments, made before anything is done with them.

Each returns the value that was checked or raises `InvalidInput`; a wrong type, too, is invalid input and not a crash.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.places import absolute, check_name, resolved
from blocklist_sdk.release.limits import TEXT_BYTES_MAX
from blocklist_sdk.texts import is_displayable


def is_text(value: object) -> bool:
    """Whether a value is a text that can be encoded as UTF-8; text from a command line may contain other bytes."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_path(name: str, value: object) -> Path:
    """A path."""
    if isinstance(value, (str, os.PathLike)) and "\0" not in str(value):
        return Path(value)
    raise InvalidInput(f"{name} must be a path, not {value!r}")


def check_directory(value: object) -> Path:
    """The absolute path of the folder of a publisher or a mirror."""
    path = absolute(check_path("the folder", value))
    check_name(path)
    return path


def check_text(name: str, value: object) -> str:
    """A text for an entry: one short line without control characters, and without white space around it."""
    text = value.strip() if isinstance(value, str) else ""
    if not text or not is_text(text):
        raise InvalidInput(f"{name} must be a text in UTF-8 that is not empty, not {value!r}")
    if not is_displayable(text):
        raise InvalidInput(f"{name} must be one line without control characters, not {value!r}")
    size = len(text.encode())
    if size > TEXT_BYTES_MAX:
        raise InvalidInput(f"{name} must have at most {TEXT_BYTES_MAX} bytes of UTF-8, not {size:,}: {text[:32]!r}…")
    return text


def check_list(name: str, values: Iterable[str]) -> list[str]:
    """A list of texts; a single text is a mistake, since it would be read letter by letter."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput(f"{name} must be a list of texts, not a {type(values).__name__}")
    return list(values)


def check_scope(scope: str | Iterable[str]) -> str:
    """A scope, its parts joined by ``+``; whether the parts are known is not checked here."""
    parts = [scope] if isinstance(scope, str) else check_list("scope", scope)
    return "+".join(check_text("scope", part) for part in parts)


def check_share(name: str, value: object) -> float:
    """A share of a whole, from 0 to 1."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InvalidInput(f"{name} must be a share from 0 to 1, such as 0.1, not {value!r}")


def check_count(name: str, value: object) -> int:
    """A whole number that is not negative."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidInput(f"{name} must be a whole number, 0 or more, not {value!r}")


def check_moment(name: str, value: object) -> datetime | None:
    """A moment with its time zone, or None."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"{name} must be a datetime with a time zone, such as datetime.UTC, not {value!r}")
    return value


def check_column(column: object) -> str | None:
    """A column's name, without white space around it, or None."""
    if column is not None and not isinstance(column, str):
        raise InvalidInput(f"column must be the name of a column, not {column!r}")
    return None if column is None else column.strip()


def check_outside(path: Path, directory: Path, *, but: Path) -> None:
    """Make sure that a file to be written is not in a folder whose files the caller must not replace."""
    target = resolved(path)
    if target.is_relative_to(resolved(directory)) and not target.is_relative_to(resolved(but)):
        raise InvalidInput(f"{path} is among the publisher's own files: give a file elsewhere, or under {but}")
