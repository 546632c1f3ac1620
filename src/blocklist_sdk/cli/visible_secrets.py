"""Passwords on the command line, which every user of the machine can read in the list of processes."""

from collections.abc import Sequence
from typing import Final

from blocklist_sdk.cli.messages import say
from blocklist_sdk.net.addresses import may_have_secret

_WARNING: Final = (
    "the command line has a URL with a password, which other users see in the list of processes: give a sink's with "
    "--sink-password-file or BLOCKLIST_SINK_PASSWORD, and any other URL in blocklist.toml or the environment "
    "(BLOCKLIST_URL, BLOCKLIST_SINK)"
)


def warn_of_visible_secrets(arguments: Sequence[str]) -> None:
    """Say once if an argument is a URL with a password or another credential in it."""
    if any(map(_has_secret, arguments)):
        say(_WARNING)


def _has_secret(argument: str) -> bool:
    """Whether an argument is, or ends with, a URL with a credential.

    >>> _has_secret("--sink=redis://:hunter2@cache/0"), _has_secret("https://lists.example/@ours"), _has_secret("+628")
    (True, True, False)
    """
    text = argument.partition("=")[2] if argument.startswith("-") else argument
    return "://" in text and may_have_secret(text)
