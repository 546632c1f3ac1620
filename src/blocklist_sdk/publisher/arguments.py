"""What callers give, looked at before anything is done with it: a wrong type is wrong input, and no crash later on."""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from blocklist_sdk.errors import InvalidInput


def is_text(value: object) -> bool:
    """Whether it is a text that can be written as UTF-8; what comes from a command line may hold other bytes."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_path(name: str, value: object) -> Path:
    """A path.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(value, (str, os.PathLike)) and "\0" not in str(value):
        return Path(value)
    raise InvalidInput(f"{name} is {value!r}: give a path")


def check_directory(value: object) -> Path:
    """The absolute path of the publisher's folder.

    Raises:
        InvalidInput: it is no path, or it is relative and there is no working directory any more.
    """
    path = check_path("the folder", value)
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise InvalidInput("the working directory has been deleted: change to one that is there") from error


def check_text(name: str, value: object) -> str:
    """A text that an entry can carry, without white space around it.

    Raises:
        InvalidInput: it is no text, empty, or not UTF-8.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text or not is_text(text):
        raise InvalidInput(f"{name} is {value!r}: give a text, not empty, in UTF-8")
    return text


def check_list(name: str, values: Iterable[str]) -> list[str]:
    """Several texts; a single one is a mistake, since it would be taken for its letters.

    Raises:
        InvalidInput: it is one text, or nothing that has several.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput(f"{name}: give a list of texts, not a {type(values).__name__}")
    return list(values)


def check_scope(scope: str | Iterable[str]) -> str:
    """A scope, its parts joined by ``+``; which parts there are is not looked at.

    Raises:
        InvalidInput: it is neither a text nor several.
    """
    parts = [scope] if isinstance(scope, str) else check_list("scope", scope)
    return "+".join(check_text("scope", part) for part in parts)


def check_share(name: str, value: object) -> float:
    """A share of a whole, from 0 to 1.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InvalidInput(f"{name} is {value!r}: give a share from 0 to 1, such as 0.1")


def check_moment(name: str, value: object) -> datetime | None:
    """A moment with its time zone, or None.

    Raises:
        InvalidInput: it is something else.
    """
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"{name} is {value!r}: give a datetime with a time zone, such as datetime.UTC")
    return value


def check_column(column: object) -> str | None:
    """A column's name, without white space around it, or None.

    Raises:
        InvalidInput: it is no text.
    """
    if column is not None and not isinstance(column, str):
        raise InvalidInput(f"column is {column!r}: give a column's name")
    return None if column is None else column.strip()


def check_outside(path: Path, directory: Path, *, but: Path) -> None:
    """Keep a file that is about to be written out of a folder whose files are not the caller's to replace.

    Raises:
        InvalidInput: it is in `directory` and not under `but`.
    """
    target = path.resolve()
    if target.is_relative_to(directory.resolve()) and not target.is_relative_to(but.resolve()):
        raise InvalidInput(f"{path} is among the publisher's own files: name one elsewhere, or under {but}")
