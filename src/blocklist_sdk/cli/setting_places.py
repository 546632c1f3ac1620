"""Where the values of settings were found, so that an error about one says what to correct, and where."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import typer

from blocklist_sdk.errors import BlocklistError, InvalidInput


def given_place(name: str, *, flag: str, variable: str, context: typer.Context | None) -> str:
    """The flag or the variable that gave a setting.

    Args:
        name: the setting.
        flag: its flag.
        variable: its variable in the environment.
        context: where typer keeps what it has parsed; None for a flag.
    """
    source = None if context is None else context.get_parameter_source(name)
    return f"{variable} in the environment" if source is not None and source.name == "ENVIRONMENT" else flag


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


@contextlib.contextmanager
def concerning(argument: str) -> Iterator[None]:
    """Mark errors as being about a setting, unless they are about another one already."""
    try:
        yield
    except InvalidInput as error:
        error.argument = error.argument or argument
        raise
