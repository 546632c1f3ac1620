"""Where the values of settings were found, so that an error about one says what to correct, and where."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from blocklist_sdk.errors import BlocklistError, InvalidInput


def file_place(name: str, file: Path, text: str) -> str:
    """The file and the line that gave a setting.

    Args:
        name: the setting.
        file: the settings file.
        text: its content.
    """
    begins = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*=""")
    line = next((number for number, line in enumerate(text.splitlines(), start=1) if begins.match(line)), None)
    return f"{name} in the settings file {file}{'' if line is None else f', line {line}'}"


@contextlib.contextmanager
def placing(places: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Note in errors about a setting where its value was found, once; `described` shows it.

    Args:
        places: returns the place of each setting that was given. It may raise `InvalidInput`.
    """
    try:
        yield
    except InvalidInput as error:
        if error.argument is not None:
            with contextlib.suppress(InvalidInput):
                place = places().get(error.argument)
                if place is not None:
                    error.add_note(place)
                    error.argument = None
        raise


def described(error: BlocklistError) -> str:
    """The message of an error, after the place of the setting that it is about."""
    return ": ".join([*getattr(error, "__notes__", ()), str(error)])
