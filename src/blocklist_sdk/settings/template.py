"""A settings file that is written for people: what is set, and beside it all that could be."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from blocklist_sdk.disk import storage, write_file
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.modes import PRIVATE, PUBLIC
from blocklist_sdk.places import absolute
from blocklist_sdk.settings.values import (
    BUNDLE,
    FILES,
    LIMITS,
    LIST,
    NAMES,
    SERVER,
    SINK,
    STATEMENT,
    holds_secret,
    meaning_of,
)

_WIDTH: Final = 100

_GROUPS: Final = {
    "The list": LIST,
    "An account at an exchange, and the server's certificates": (*SERVER, "client_secret"),
    "A bundle to ask in place of a cache": BUNDLE,
    "Who may read what is written": FILES,
    "What a sync may change by itself": LIMITS["sync"],
    "What a run of enforce may change by itself": LIMITS["enforce"],
    "The sink of enforce": SINK,
    "The month's statement": STATEMENT,
}
"""What a recipient may set. The limits of publishers are in the reference."""


def settings_text(settings: Mapping[str, str | None], *, about: str) -> str:
    """The text of a settings file.

    Args:
        settings: what is set, by name; None for what is not.
        about: whose it is, or what for; it comes first.

    Raises:
        InvalidInput: a value cannot stand in a file.

    >>> text = settings_text({"url": "https://lists.example"}, about="An example.")
    >>> [line for line in text.splitlines() if line.startswith(("url", "#feed"))]
    ['url = "https://lists.example"', '#feed = "…"']
    """
    lines = [
        *textwrap.wrap(about, _WIDTH, initial_indent="# ", subsequent_indent="# "),
        "# A line that begins with #name is not set: remove its # and give it a value.",
    ]
    for title, names in _GROUPS.items():
        lines += ["", f"# {title}", f"# {'=' * len(title)}"]
        for name in names:
            lines += ["", *textwrap.wrap(meaning_of(name), _WIDTH, initial_indent="# ", subsequent_indent="# ")]
            value = settings.get(name)
            lines.append(f'#{name} = "…"' if value is None else f"{name} = {_toml(name, value)}")
    return "\n".join(lines) + "\n"


def write_settings_file(path: Path, settings: Mapping[str, str | None], *, about: str, private: bool = False) -> None:
    """Write a settings file, or replace it; others may read it only if there is no secret in it.

    Args:
        path: the file.
        settings: what is set, by name.
        about: comes first in it.
        private: nobody else may read it, whatever is in it.

    Raises:
        InvalidInput: a value cannot stand in a file.
        StorageFailed: the disk refused.
    """
    assert settings.keys() <= {*NAMES}
    data = settings_text(settings, about=about).encode()
    with storage(path):
        write_file(path, data, PRIVATE if private or holds_secret(settings) else PUBLIC)


def path_from(folder: Path, path: str | Path) -> str:
    """A path as it stands in a settings file: relative if it is below the file's folder, and whole otherwise.

    >>> path_from(Path("/etc/blocklist"), "/etc/blocklist/root.json"), path_from(Path("/etc/blocklist"), "/srv/cache")
    ('root.json', '/srv/cache')
    """
    whole = absolute(path)
    base = absolute(folder)
    return str(whole.relative_to(base)) if whole.is_relative_to(base) else str(whole)


def _toml(name: str, value: str) -> str:
    """A text as TOML has it, in which one of JSON may stand, but for one control."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name} is not text that can stand in a settings file: it must be UTF-8") from error
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
