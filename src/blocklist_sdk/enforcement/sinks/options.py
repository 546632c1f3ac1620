"""The URL of a sink: which options it may have, and where its password comes from.

A sink takes the options that it knows, and no others: the drivers behind have some that load a library, run a command
or switch the checks of certificates off, and a URL often comes from somewhere else than the program.
"""

import os
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote

from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.net.addresses import SECRET_OPTIONS, Url, are_options, read_url, unreadable
from blocklist_sdk.texts import is_control

PASSWORD_VARIABLE: Final = "BLOCKLIST_SINK_PASSWORD"  # noqa: S105 -- the name of a variable
"""The variable with the password of a sink whose URL has none."""

_WORDS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_sink_url(url: str, *, kind: str, known: Collection[str], example: str) -> tuple[Url, dict[str, str]]:
    """Read a sink's URL and its options.

    Args:
        url: the URL.
        kind: what the sink is, for errors, such as ``a Redis sink``.
        known: the options that it may have.
        example: what such a URL looks like, for errors.

    Raises:
        InvalidInput: `url` is not such a URL, or has an option twice, or one that the sink does not know, or a control
            character in a name. The message has no value of it.

    >>> read_sink_url("redis://127.0.0.1/0?prefix=a", kind="a Redis sink", known={"prefix"}, example="redis://h/0")[1]
    {'prefix': 'a'}
    """
    read = read_url(url, what="the sink's URL", example=example)
    if not are_options(read.query):
        # An option without a value may be the rest of a password.
        raise unreadable("the sink's URL", f"{example}?option=value")
    options = checked_options(read.options, kind=kind, known=known)
    names = {"path": unquote(read.path), "user": read.user or ""}
    for name, text in (*names.items(), *options.items()):
        if name.lower() not in SECRET_OPTIONS:
            check_sent_name(name, text)
    if any("\0" in text for text in (read.password or "", *options.values())):
        raise InvalidInput("the sink's password has the control character U+0000: choose another one")
    return read, options


def check_sent_name(name: str, text: str) -> None:
    """Refuse a name of something in another system that has control characters.

    Many systems end a name at NUL, so that two names become one, and take line ends for the end of a command.

    Raises:
        InvalidInput: it has one.
    """
    found = next((character for character in text if is_control(character) or character in "\n\r\t"), None)
    if found is not None:
        raise InvalidInput(f"the sink's {name} has the control character U+{ord(found):04X}: leave it out")


def checked_options(given: Iterable[tuple[str, str]], *, kind: str, known: Collection[str]) -> dict[str, str]:
    """Options by name.

    Raises:
        InvalidInput: one is there twice, or is not known.
    """
    options: dict[str, str] = {}
    is_behind_secret = False
    for name, value in given:
        if name not in known:
            # Behind a password with an ampersand in it, the name is a part of the password.
            which = "an option" if is_behind_secret else f"the option {name!r}"
            raise InvalidInput(f"{kind} does not take {which}: it takes {', '.join(sorted(known))}")
        if name in options:
            raise InvalidInput(f"{kind} has the option {name!r} twice")
        options[name] = value
        is_behind_secret = is_behind_secret or name.lower() in SECRET_OPTIONS
    return options


def password_of(url: Url, option: str | None, given: str | None) -> str | None:
    """The password of a sink: the one that is given, the URL's, or that of the environment; None if there is none.

    Args:
        url: the sink's URL.
        option: the password among the options of the URL.
        given: the password that the caller gave.

    Raises:
        InvalidInput: there are two.
    """
    own = [password for password in (url.password, option, given) if password]
    if len(own) > 1:
        raise InvalidInput("the sink has two passwords: leave the one in its URL out")
    return own[0] if own else os.environ.get(PASSWORD_VARIABLE) or None


def truth(name: str, text: str) -> bool:
    """The value of an option that is true or false.

    Raises:
        InvalidInput: it is neither.

    >>> truth("create", "false")
    False
    """
    if text.lower() not in _WORDS:
        raise InvalidInput(f"{name} must be true or false in the sink's URL")
    return _WORDS[text.lower()]


def whole(name: str, text: str) -> int:
    """The value of an option that is a whole number.

    Raises:
        InvalidInput: it is not.

    >>> whole("db", "15")
    15
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidInput(f"{name} must be a whole number in the sink's URL")
    return int(text)


def seconds(name: str, text: str) -> float:
    """The value of an option that is a time in seconds.

    Raises:
        InvalidInput: it is not.

    >>> seconds("socket_timeout", "1.5")
    1.5
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise InvalidInput(f"{name} must be seconds, more than 0, in the sink's URL")
    return value
