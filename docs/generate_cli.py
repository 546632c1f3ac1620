"""Write ``docs/cli.md`` from the commands themselves: ``python docs/generate_cli.py``.

A test fails while the file differs from what this writes, so that every command and option is documented.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from blocklist_sdk.cli.app import PANELS, command_line
from blocklist_sdk.cli.exit_codes import ERRORS, MEANINGS
from blocklist_sdk.cli.settings import CONFIG_NAME, NAMES, Settings, flag, variable

PATH = Path(__file__).with_name("cli.md")

_INTRODUCTION = f"""\
<!-- Written by docs/generate_cli.py: change the commands, not this page. -->

# Command line

A `{CONFIG_NAME}` in the working directory says which list to use:

```toml
url = "https://lists.example/repository"
feed = "id-messaging"
root = "root.json"
region = "ID"
```

Then fetch the list, and ask about numbers:

```console
$ blocklist sync
$ blocklist check 0812-3456-7890
```

`blocklist --help` lists the commands, and `blocklist COMMAND --help` explains one. Commands write data to standard
output and messages to standard error. With `--json` each answer is one line of JSON. Colours appear only on a terminal,
and not if `NO_COLOR` is set.

"""

_SETTINGS = f"""
## Settings

Several commands share these settings. A flag wins over the environment, the environment over `{CONFIG_NAME}`, and that
over the default. The file is read from the working directory, or from the path in `--config` or `BLOCKLIST_CONFIG`.
Relative paths in it are relative to its folder. An unknown name in it is an error.

"""

_EXIT_CODES = """
## Exit codes

| code | meaning |
|---|---|
"""

_AFTER_EXIT_CODES = """
The names are those of the library's exceptions. An error is one line on standard error; if that is closed or full, the
exit code is the same.
"""


def render() -> str:
    """Make the whole page."""
    return "".join(_pieces())


def _pieces() -> Iterator[str]:
    commands: Any = command_line().commands
    yield _INTRODUCTION
    for panel, names in PANELS.items():
        yield f"- {panel}: {', '.join(f'[{name}](#blocklist-{name})' for name in names)}\n"
    yield _SETTINGS
    for setting in fields(Settings):
        if setting.name in NAMES:
            metavar = setting.metadata.get("metavar")
            ways = [f"`{flag(setting.name)} {metavar}`"] if metavar else []
            ways.append(f"`{variable(setting.name)}`")
            yield f"- `{setting.name}` ({', '.join(ways)}): {_text(setting.metadata['help'])}\n"
    yield _EXIT_CODES
    for code, meaning in MEANINGS.items():
        errors = ", ".join(f"`{kind.__name__}`" for kind, its_code in ERRORS.items() if its_code == code)
        yield f"| {code} | {meaning}{f' ({errors})' if errors else ''} |\n"
    yield _AFTER_EXIT_CODES
    for panel, names in PANELS.items():
        yield f"\n## {panel}\n"
        for name in names:
            yield from _command(commands[name], f"blocklist {name}", usage=f"blocklist {name}")


def _command(command: Any, path: str, *, usage: str) -> Iterator[str]:
    """Describe a command, or a group and its commands.

    Args:
        command: what typer made of it.
        path: its names.
        usage: its names, with ``[OPTIONS]`` after each that takes some.
    """
    subcommands = getattr(command, "commands", {})
    own = [each for each in command.params if each.name not in (*NAMES, "config") or not _takes_settings(command)]
    settings = [each.name for each in command.params if each.name in NAMES and each not in own]
    if command.params:
        usage += " [OPTIONS]"
    whole = " ".join([usage, *(each.metavar for each in own if each.param_type_name == "argument")])
    yield f"\n### {path}\n\n```\n{whole}{' COMMAND' if subcommands else ''}\n```\n\n{_text(command.help)}\n"
    if own:
        yield "\n"
    for each in own:
        yield f"- {_written(each)}{_default(each)}: {_text(each.help)}\n"
    if settings:
        *others, last = [f"`{name}`" for name in settings]
        place = f", as flags right after `{path}`" if subcommands else ""
        yield f"\nIt takes the [settings](#settings) {', '.join(others)} and {last}{place}.\n"
    for name, subcommand in subcommands.items():
        yield from _command(subcommand, f"{path} {name}", usage=f"{usage} {name}")


def _takes_settings(command: Any) -> bool:
    """Whether names such as `feed` are settings here; some commands have options of the same name."""
    return any(each.name == "config" for each in command.params)


def _text(help_text: str) -> str:
    """Help as Markdown: in running text, two hyphens would become a dash."""
    return re.sub(r"`[^`]*`|(--[a-z][a-z-]*|BLOCKLIST_[A-Z_]+)", lambda found: f"`{found[0].strip('`')}`", help_text)


def _written(parameter: Any) -> str:
    """A parameter as a user types it."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return " (required)"
    if parameter.secondary_opts:
        return f" (default: `{(parameter.opts if parameter.default else parameter.secondary_opts)[0]}`)"
    return "" if parameter.default is None or parameter.is_flag else f" (default: `{parameter.default}`)"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
