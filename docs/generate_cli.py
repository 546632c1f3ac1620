"""Write the pages about the command line from the commands themselves: ``python docs/generate_cli.py``.

A test fails while a file differs from what this writes, so no command, option, setting or exit code goes undocumented.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from blocklist_sdk.cli import exit_codes
from blocklist_sdk.cli.app import command_line
from blocklist_sdk.cli.settings import CONFIG_NAME, NAMES, SECRET_VARIABLE

_REFERENCE: Final = Path(__file__).parent / "reference"
_NOTE: Final = "<!-- Written by docs/generate_cli.py from the commands. -->\n"

_COMMANDS: Final = f"""\
{_NOTE}# Commands

Commands write data to standard output and messages to standard error. `--json` writes one line of JSON for each
answer; [JSON output](json.md) has the fields. Colours appear on a terminal only; `NO_COLOR` turns them off. What
commands share is in [Settings](settings.md), what they end with in [Exit codes](exit-codes.md).

"""

_ROLES: Final = {
    "Receive a list": ("sync", "status", "check", "screen", "explain", "verify", "changes", "export", "override"),
    "Enforce it": ("enforce",),
    "Pass it on": ("mirror",),
    "Publish a list": ("publish",),
    "Report, decide, appeal, answer": ("report", "case", "appeal", "receipts"),
    "Run an exchange": ("exchange",),
    "Try it out": ("demo", "sandbox"),
    "Other": ("version",),
}
"""Which commands a role needs; one that is in no group here comes with the others."""

_SETTINGS: Final = f"""\
{_NOTE}# Settings

Commands share these settings, and each takes those that it needs. A flag comes before a variable of the environment, a
variable before `{CONFIG_NAME}`, and the file before the default.

`{CONFIG_NAME}` is read from the working directory; `--config` or `BLOCKLIST_CONFIG` names another file. Every value in
it is a text in quotes. Relative paths in it are relative to the file, those in flags and variables to the working
directory. A name that is not a setting is an error.

```toml
# {CONFIG_NAME} of a recipient that has an account
url = "https://exchange.example/repository"
feed = "id-telkomsel"
root = "root.json"
region = "ID"
client_id = "telkomsel"
client_secret_file = "client-secret"
```

A file with `client_secret` in it, and the file that `client_secret_file` names, must be readable by their user alone
(mode 0600).

| setting, as in the file | flag and variable | default | meaning |
|---|---|---|---|
"""

_DEFAULTS: Final = {
    "url": "required",
    "feed": "required",
    "root": "required",
    "region": "none",
    "cache_dir": "the user's cache directory",
    "state_dir": "`CACHE_DIR/.state` where a cache directory is given, else the user's state directory",
    "protected": "none",
    "exchange": "the server of `url`; required by commands that speak to an exchange",
    "client_id": "no account",
    "client_secret_file": "none",
    "client_key": "none",
    "client_cert": "none",
    "ca": "public authorities",
}

_VARIABLES: Final = """
## Other variables

| variable | meaning |
|---|---|
| `BLOCKLIST_CONFIG` | The settings file, as `--config`. |
| `BLOCKLIST_PASSPHRASE` | The passphrase of a publisher's keys, where `--passphrase-file` is not given. |
| `BLOCKLIST_METRICS_FILE` | Where `sync` and `status` write [metrics](metrics.md), as `--metrics-file`. |
| `BLOCKLIST_SINK` | The sink of `enforce`, as `--sink`. |
| `BLOCKLIST_WEBHOOK_SECRET` | What a [webhook](../how-to/enforce-into-a-webhook.md) is signed with. |
| `BLOCKLIST_DEBUG` | `1` shows the traceback of an internal error. It may hold telephone numbers. |
| `NO_COLOR` | No colours ([no-color.org](https://no-color.org)). |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | The proxy for HTTP, and which hosts are reached without it. |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | The certificate authorities that are trusted; `ca` comes before them. |
| `XDG_CACHE_HOME`, `XDG_STATE_HOME` | Where the user's cache and state directories are. |

In Python these are arguments, and the library reads no setting from the environment but those for proxies, certificates
and directories.
"""

_EXIT_CODES: Final = f"""\
{_NOTE}# Exit codes

What went wrong is one line on standard error. If that stream is closed or full, the exit code is the same. The reasons
for these codes are in [decision 4](../adr/0004-exit-codes-and-settings.md); [Errors](errors.md) says what to do about
each.

| code | meaning |
|---|---|
"""

_MEANINGS: Final = (
    (exit_codes.FINE, "Done. `check`: no number is blocked"),
    (exit_codes.BLOCKED, "`check`, `explain`: at least one number is blocked; `enforce --reconcile`: the sink differs"),
    (exit_codes.FAILED, "`demo`: a step failed"),
    (exit_codes.USAGE, "Wrong usage. `check`: no number is blocked, but one text is not a number"),
    (exit_codes.SOFTWARE, "An internal error, which is a bug: `BLOCKLIST_DEBUG=1` shows its traceback"),
    (exit_codes.STORAGE, "Standard output is closed or full"),
    (exit_codes.TRY_AGAIN, "`ExchangeError` with status 408, 425, 429, or 500 and above"),
    (exit_codes.NOT_PERMITTED, "`ExchangeError` with status 401 or 403, or where no token was given"),
    (exit_codes.INTERRUPTED, "Interrupted with Ctrl-C; commands that serve or watch end with 0"),
    (exit_codes.OUTPUT_CLOSED, "The reader of standard output has gone"),
)


def commands_page() -> str:
    """Every command, with its options."""
    return "".join(_commands_page())


def settings_page() -> str:
    """The settings that commands share."""
    return "".join(_settings_page())


def exit_codes_page() -> str:
    """What commands end with."""
    return "".join(_exit_codes_page())


PAGES: Final[dict[Path, Callable[[], str]]] = {
    _REFERENCE / "cli.md": commands_page,
    _REFERENCE / "settings.md": settings_page,
    _REFERENCE / "exit-codes.md": exit_codes_page,
}


def _commands_page() -> Iterator[str]:
    command: Any = get_command(command_line())
    yield _COMMANDS
    names = {name for group in _ROLES.values() for name in group}
    others = tuple(name for name in command.commands if name not in names)
    ordered: dict[str, Any] = {}
    yield "| to | commands |\n|---|---|\n"
    for role, group in _ROLES.items():
        found = [name for name in (*group, *(others if role == "Other" else ())) if name in command.commands]
        paths = [path for name in found for path in _paths(command.commands[name], name)]
        links = [f"[`{path}`](#blocklist-{path.replace(' ', '-')})" for path in paths]
        yield f"| {role} | {', '.join(links)} |\n"
        ordered.update((name, command.commands[name]) for name in found)
    for name, each in ordered.items():
        yield from _commands(each, f"blocklist {name}")


def _paths(command: Any, path: str) -> Iterator[str]:
    """A command's words, or those of all commands of a group."""
    if not hasattr(command, "commands"):
        yield path
        return
    for name, each in command.commands.items():
        yield from _paths(each, f"{path} {name}")


def _settings_page() -> Iterator[str]:
    yield _SETTINGS
    command: Any = get_command(command_line())
    for each in _parameters(command.commands["sync"], shared=True):
        if each.name in NAMES:
            meaning = _cell(each.help.partition("; by default")[0].rstrip("."))
            yield f"| `{each.name}` | `{each.opts[0]}`<br>`{each.envvar}` | {_DEFAULTS[each.name]} | {meaning}. |\n"
    yield f"| `client_secret` | `{SECRET_VARIABLE}` | none | The account's secret itself. |\n"
    yield _VARIABLES


def _exit_codes_page() -> Iterator[str]:
    yield _EXIT_CODES
    meanings: dict[int, list[str]] = {}
    for code, meaning in _MEANINGS:
        meanings.setdefault(code, []).append(meaning)
    for kind, code in exit_codes.ERRORS.items():
        meanings.setdefault(code, []).append(f"`{kind.__name__}`: {_summary(kind)}")
    for code, parts in sorted(meanings.items()):
        yield f"| {code} | {'<br>'.join(parts)} |\n"


def _summary(kind: type) -> str:
    """The first sentence of a class's docstring, without its full stop."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")


def _parameters(command: Any, *, shared: bool) -> list[Any]:
    """A command's parameters: the settings that commands share, or its own."""
    has_settings = any(each.name == "config" for each in command.params)
    return [each for each in command.params if (has_settings and each.name in (*NAMES, "config")) is shared]


def _commands(command: Any, path: str) -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield from _command(command, path)
        return
    for name, each in command.commands.items():
        yield from _commands(each, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    rows = _parameters(command, shared=False)
    arguments = [each.metavar for each in rows if each.param_type_name == "argument"]
    usage = " ".join([path, *(["[OPTIONS]"] if command.params else []), *arguments])
    yield f"\n## {path}\n\n```text\n{usage}\n```\n\n{command.help.strip()}\n"
    if rows:
        yield "\n| argument or option | meaning |\n|---|---|\n"
    for each in rows:
        yield f"| {_written(each)} | {_cell(each.help)}{_default(each)} |\n"
    settings = [each.name for each in _parameters(command, shared=True) if each.name in NAMES]
    if settings:
        yield f"\nAnd the [settings](settings.md) {_listed(settings)}.\n"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(f"`{name}`" for name in names[:-1]), f"`{names[-1]}`"]))


def _written(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _cell(f"`{parameter.metavar}`")
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value}`" for name in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return " Required."
    return "" if parameter.default in (None, False) else f" Default: `{parameter.default}`."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for page, written in PAGES.items():
        page.write_text(written(), encoding="utf-8")
        sys.stderr.write(f"wrote {page}\n")
