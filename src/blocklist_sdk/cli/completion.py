"""What may come next on a command line, for the scripts that `blocklist --install-completion` installs."""

import os
from pathlib import Path
from typing import Any, Final

import typer.completion

from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.recipient.arguments import directories
from blocklist_sdk.settings.values import read_config, variable

_FEED: Final = "--feed"
_FILES: Final = frozenset({"FILE", "DIR", "[FILE]", "FILE..."})
"""The metavars of paths: the shell completes these itself where a program offers nothing."""


def complete(command: Any, instruction: str, *, variable: str) -> int:
    """Write what may come next, as the shell's script asks for it in the environment; returns an exit code."""
    shells: Any = typer.completion
    shells.completion_init()
    _offer(command)
    return int(shells.shell_complete(command, {}, "blocklist", variable, instruction))


def _offer(command: Any) -> None:
    """Have options and arguments offer what is known on this machine."""
    for parameter in command.params:
        if _FEED in parameter.opts:
            parameter.shell_complete = lambda context, incomplete: _items(_feeds(), incomplete)
        elif parameter.metavar in _FILES:
            parameter.shell_complete = lambda context, incomplete: []
    for subcommand in getattr(command, "commands", {}).values():
        _offer(subcommand)


def _items(texts: list[str], incomplete: str) -> list[Any]:
    from typer._click.shell_completion import CompletionItem

    return [CompletionItem(text) for text in texts if text.startswith(incomplete)]


def _feeds() -> list[str]:
    """The feeds that this machine has received, by the settings in the environment and the settings file."""
    given = os.environ.get("BLOCKLIST_CONFIG")
    try:
        settings = read_config(Path(given) if given else None)
        url, cache = (os.environ.get(variable(name)) or getattr(settings, name) for name in ("url", "cache_dir"))
        folder, _ = directories(url or "", cache, None)
        found = (
            sorted(each.name for each in folder.iterdir() if (each / "current.json").exists()) if url or cache else []
        )
    except (BlocklistError, OSError, ValueError):
        return []  # a completion never fails
    return found
