"""Write ``docs/cli.md`` from the commands themselves: ``python docs/generate_cli.py``.

A test fails while the file differs from what this writes, so no command or option goes undocumented.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from blocklist_sdk.cli import exit_codes
from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.settings import CONFIG_NAME, NAMES, SECRET_VARIABLE

PATH = Path(__file__).with_name("cli.md")

_INTRODUCTION = f"""\
# Command line

`docs/generate_cli.py` writes this page from the commands.

Commands write data to standard output and talk to standard error. `--json` writes one line of JSON for each answer.
Colours appear on a terminal only; `NO_COLOR` turns them off.

## Settings

Commands share these settings, and each takes those that it needs. Flags win over the environment, the environment over
`{CONFIG_NAME}`, and that over the defaults. `{CONFIG_NAME}` is read from the working directory, or from where
`--config` or `BLOCKLIST_CONFIG` say; relative paths in it are relative to it, and a name that is no setting is an
error.

| setting | flag | environment | meaning |
|---|---|---|---|
"""

_EXIT_CODES = (
    (exit_codes.FINE, "fine; for `check`: no number is blocked"),
    (exit_codes.BLOCKED, "`check`: at least one number is blocked; `demo`: a step did not come out as it must"),
    (exit_codes.USAGE, "usage, or input that cannot be used; for `check`: none is blocked, but one is no number"),
    (exit_codes.SOFTWARE, "an internal error, which is a bug: `BLOCKLIST_DEBUG=1` shows its traceback"),
    (exit_codes.STORAGE, "standard output is closed or full"),
    (exit_codes.TRY_AGAIN, "`ExchangeError` with status 408, 425, 429 or 500 and above"),
    (exit_codes.NOT_PERMITTED, "`ExchangeError` with status 401 or 403, or where no token was given"),
    (exit_codes.INTERRUPTED, "interrupted with Ctrl-C; `publish serve`, which is stopped in that way, ends with 0"),
    (exit_codes.OUTPUT_CLOSED, "whoever read standard output has gone"),
)


def render() -> str:
    """The whole page."""
    return "".join(_pieces())


def _pieces() -> Iterator[str]:
    command: Any = get_command(command_line())
    yield _INTRODUCTION
    for each in _parameters(command.commands["sync"], shared=True):
        if each.name in NAMES:
            yield f"| `{each.name}` | `{each.opts[0]}` | `{each.envvar}` | {_cell(each.help)} |\n"
    yield f"| `client_secret` | | `{SECRET_VARIABLE}` | The account's secret itself. |\n"
    yield "\n## Exit codes\n\n| code | meaning |\n|---|---|\n"
    meanings: dict[int, list[str]] = {code: [meaning] for code, meaning in _EXIT_CODES}
    for kind, code in exit_codes.ERRORS.items():
        meanings.setdefault(code, []).append(f"`{kind.__name__}`: {_summary(kind)}")
    for code, parts in sorted(meanings.items()):
        yield f"| {code} | {'<br>'.join(parts)} |\n"
    yield "\nWhat went wrong is one line on standard error. If that is closed or full, the exit code is the same.\n"
    yield from _commands(command, "blocklist")


def _summary(kind: type) -> str:
    """The first sentence of a class's docstring, without its full stop."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")


def _parameters(command: Any, *, shared: bool) -> list[Any]:
    """A command's parameters: the settings that commands share, or its own."""
    has_settings = any(each.name == "config" for each in command.params)
    return [each for each in command.params if (has_settings and each.name in (*NAMES, "config")) is shared]


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield from _command(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    rows = _parameters(command, shared=False)
    arguments = [each.metavar for each in rows if each.param_type_name == "argument"]
    usage = " ".join([path, *(["[OPTIONS]"] if command.params else []), *arguments])
    yield f"\n## {path}\n\n```\n{usage}\n```\n\n{command.help.strip()}\n"
    if rows:
        yield "\n| argument or option | meaning | default |\n|---|---|---|\n"
    for each in rows:
        yield f"| {_written(each)} | {_cell(each.help)} | {_default(each)} |\n"
    settings = [each.name for each in _parameters(command, shared=True) if each.name in NAMES]
    if settings:
        yield f"\nAnd the [settings](#settings) {_listed(settings)}.\n"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"]))


def _written(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _cell(f"`{parameter.metavar}`")
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value}`" for name in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False) else f"`{parameter.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {PATH}\n")
