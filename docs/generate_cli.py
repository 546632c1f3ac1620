"""Write the pages about the command line from the commands themselves: ``python docs/generate_cli.py``.

A test fails while a file differs from what this writes, so no command, option, setting or exit code goes undocumented.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from blocklist_sdk.cli.app import PANELS, command_line
from blocklist_sdk.cli.examples import EXAMPLES
from blocklist_sdk.cli.exit_codes import ERRORS, MEANINGS
from blocklist_sdk.cli.settings import LIMITS, NAMES, PANEL, Settings, flag, variable
from blocklist_sdk.settings.values import CONFIG_NAME

_REFERENCE: Final = Path(__file__).parent / "reference"
_NOTE: Final = "<!-- Written by docs/generate_cli.py from the commands. -->\n"

_COMMANDS: Final = f"""\
{_NOTE}# Commands

Commands write data to standard output and messages to standard error. `--json` writes one line of JSON for each
answer; [JSON output](json.md) has the fields. Colours appear on a terminal only; `NO_COLOR` turns them off. What
commands share is in [Settings](settings.md), what they end with in [Exit codes](exit-codes.md).

- `-h` and `--help` show what a command takes, with examples.
- `-q` makes a command that does something write nothing on standard output. Warnings and failures are on standard error
  as ever, and the exit code is the same. With `check -q`, the exit code is the answer.
- `--limit N` shows the first N of a list, and says if there are more.
- Tables are cut to the width of the terminal, or of `COLUMNS`; in a pipe nothing is cut.
- `blocklist --install-completion` has the shell complete commands, options, the feeds that this machine has received,
  and file names: bash, zsh, fish and PowerShell. `--show-completion` writes the script instead.

"""

_SETTINGS: Final = f"""\
{_NOTE}# Settings

Commands share these settings, and each takes those that it needs. A flag comes before a variable of the environment, a
variable before `{CONFIG_NAME}`, and the file before the default. A flag must not be empty; an empty variable counts as
not set.

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
organisation = "PT Contoh"
contact = "compliance@operator.example"
```

The limits of the three guards, and `sync_max_rows` and `sync_deadline`, are settings as well, each with the name of its
command, since `enforce --watch` has two of them. On the command line of that command the name is left out:
`publish_max_removed` is `--max-removed` of `publish release`, `add` and `remove`. A share is written as `0.1` or `10%`;
above 1, only as a percentage. What a guard lets pass is the larger of share and number; [Decide what comes into
force](../how-to/decide-what-comes-into-force.md) has the reasons.

`blocklist init` writes a file with every setting of a recipient and its meaning.
An error about a setting begins with the place of its value: `--feed`, `BLOCKLIST_FEED in the environment`, or `feed in
the settings file blocklist.toml, line 2`. A path that begins with `~` is in a home directory. Text files are UTF-8, and
may have a byte order mark.

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
    "organisation": "none",
    "contact": "none",
}

_VARIABLES: Final = """
## Other variables

| variable | meaning |
|---|---|
| `BLOCKLIST_CONFIG` | The settings file, as `--config`. |
| `BLOCKLIST_PASSPHRASE` | The passphrase of a publisher's keys, where `--passphrase-file` is not given. |
| `BLOCKLIST_OFFLINE_PASSPHRASE` | That of root and targets keys, if they have their own. |
| `BLOCKLIST_METRICS_FILE` | Where `sync` and `status` write [metrics](metrics.md), as `--metrics-file`. |
| `BLOCKLIST_SINK` | The sink of `enforce` and `doctor`, as `--sink`. |
| `BLOCKLIST_SINK_PASSWORD` | A [sink's](../how-to/enforce-a-list.md) password; its URL and the flag go before. |
| `BLOCKLIST_WEBHOOK_SECRET` | What a [webhook](../how-to/enforce-into-a-webhook.md) is signed with. |
| `CREDENTIALS_DIRECTORY` | Set by systemd: where [a service's secrets](../how-to/run-as-a-service.md#secrets) are. |
| `BLOCKLIST_DEBUG` | `1` shows the traceback of an internal error. It may hold telephone numbers. |
| `NO_COLOR` | No colours ([no-color.org](https://no-color.org)). |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | [Proxies](../how-to/reach-a-repository.md#proxies). |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | Which certificate authorities are trusted; `ca` comes before them. |
| `XDG_CACHE_HOME`, `XDG_STATE_HOME` | Where the user's cache and state directories are. |

In Python these are arguments. Only `Blocklist.from_settings` and its siblings read settings from the environment and
the file; the rest of the library reads those for proxies, certificates, directories and the secrets of sinks alone.
"""

_EXIT_CODES: Final = f"""\
{_NOTE}# Exit codes

What went wrong is one line on standard error. If that stream is closed or full, the exit code is the same. The reasons
for these codes are in [decision 4](../adr/0004-exit-codes-and-settings.md); [Errors](errors.md) says what to do about
each.

| code | meaning |
|---|---|
"""


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
    commands: Any = command_line().commands
    yield _COMMANDS
    for panel, names in PANELS.items():
        yield f"- {panel}: {', '.join(f'[{name}](#blocklist-{name})' for name in names)}\n"
    for panel, names in PANELS.items():
        yield f"\n## {panel}\n"
        for name in names:
            yield from _command(commands[name], f"blocklist {name}", usage=f"blocklist {name}")


def _settings_page() -> Iterator[str]:
    yield _SETTINGS
    for setting in fields(Settings):
        if setting.name in NAMES:
            meaning = _cell(_text(setting.metadata["help"]).partition("; by default")[0].rstrip("."))
            metavar = setting.metadata.get("metavar")
            ways = list(_flags(setting.name)) if metavar else []
            ways.append(f"`{variable(setting.name)}`")
            limit = setting.metadata.get("limit")
            default = limit.default if limit else _DEFAULTS.get(setting.name, "none")
            yield f"| `{setting.name}` | {'<br>'.join(ways)} | {default} | {meaning}. |\n"
    yield _VARIABLES


def _flags(name: str) -> Iterator[str]:
    """The flags of a setting; that of a guard's limit is shorter in the command that asks the guard."""
    guard = next((guard for guard, names in LIMITS.items() if name in names), None)
    if guard is None:
        yield f"`{flag(name)}`"
        return
    yield f"`{flag(name, guard)}` of `{guard}`"
    if guard == "sync":
        yield f"`{flag(name)}` of `enforce`"


def _exit_codes_page() -> Iterator[str]:
    yield _EXIT_CODES
    for code, meaning in MEANINGS.items():
        errors = ", ".join(f"`{kind.__name__}`" for kind, its_code in ERRORS.items() if its_code == code)
        yield f"| {code} | {meaning}{f' ({errors})' if errors else ''} |\n"


def _command(command: Any, path: str, *, usage: str) -> Iterator[str]:
    """Describe a command, or a group and its commands.

    Args:
        command: typer's object for it.
        path: its names.
        usage: its names, with ``[OPTIONS]`` after each that takes some.
    """
    subcommands = getattr(command, "commands", {})
    own = [each for each in command.params if getattr(each, "rich_help_panel", None) != PANEL]
    settings = [each for each in command.params if each.name in NAMES and each not in own]
    if command.params:
        usage += " [OPTIONS]"
    whole = " ".join([usage, *(each.metavar for each in own if each.param_type_name == "argument")])
    yield f"\n### {path}\n\n```text\n{whole}{' COMMAND' if subcommands else ''}\n```\n\n{_text(command.help)}\n"
    if own:
        yield "\n"
    for each in own:
        yield f"- {_written(each)}{_default(each)}: {_text(each.help)}\n"
    if settings:
        *others, last = [_setting(each) for each in settings]
        place = f", as flags right after `{path}`" if subcommands else ""
        yield f"\nIt takes the [settings](settings.md) {', '.join(others)} and {last}{place}.\n"
    examples = EXAMPLES.get(path.removeprefix("blocklist "), ())
    if examples:
        yield "".join(["\n```console\n", *(f"$ {each}\n" for each in examples), "```\n"])
    for name, subcommand in subcommands.items():
        yield from _command(subcommand, f"{path} {name}", usage=f"{usage} {name}")


def _setting(parameter: Any) -> str:
    """A setting of a command, with its flag if that does not follow from its name."""
    its_flag = "" if parameter.opts == [flag(parameter.name)] else f" (`{parameter.opts[0]}`)"
    return f"`{parameter.name}`{its_flag}"


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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for page, written in PAGES.items():
        page.write_text(written(), encoding="utf-8")
        sys.stderr.write(f"wrote {page}\n")
