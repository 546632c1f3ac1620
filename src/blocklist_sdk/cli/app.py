"""All commands together, and the place where errors become one line and an exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from blocklist_sdk.cli.examples import EXAMPLES
from blocklist_sdk.cli.exit_codes import FINE, INTERRUPTED, OUTPUT_CLOSED, SOFTWARE, STORAGE, USAGE, exit_code
from blocklist_sdk.cli.logs import DeferredWarnings
from blocklist_sdk.cli.messages import flush_or_discard, say, say_bug
from blocklist_sdk.cli.quiet import QUIET, add_quiet
from blocklist_sdk.cli.visible_secrets import warn_of_visible_secrets
from blocklist_sdk.errors import BlocklistError
from blocklist_sdk.places import is_nowhere
from blocklist_sdk.settings.setting_places import described

PANELS: Final = {
    "Try it": {"demo": "demo", "sandbox": "sandbox", "version": "app"},
    "Receive a list": {
        "init": "init",
        "feeds": "feeds",
        "sync": "recipient",
        "status": "recipient",
        "check": "recipient",
        "explain": "inspect",
        "override": "override",
        "verify": "inspect",
        "doctor": "doctor",
        "trust": "trust",
    },
    "Screen and export": {"screen": "screen", "export": "export", "changes": "inspect", "bundle": "bundle"},
    "Serve look-ups": {"serve": "serve"},
    "Enforce": {"enforce": "enforce", "receipts": "receipts", "statement": "statement"},
    "Exchange": {"report": "report", "case": "case", "appeal": "appeal", "exchange": "exchange"},
    "Publish": {"publish": "publish", "mirror": "mirror"},
}
"""The module of each command, by the panel of ``blocklist --help`` that shows the command."""

_MODULES: Final = {command: module for panel in PANELS.values() for command, module in panel.items()}


_HELP_OPTIONS: Final = ["-h", "--help"]

_COMPLETE_VARIABLE: Final = "_BLOCKLIST_COMPLETE"
"""With it, the scripts that `--install-completion` installs ask what may come next on a command line."""


def import_command(command: str) -> ModuleType:
    """Import the module of a command; for an unknown name, return this module.

    Only the module that is needed is imported: typer takes a while to read the options of a command, and scripts call
    `blocklist check` in loops.
    """
    return import_module(f"blocklist_sdk.cli.{_MODULES.get(command, 'app')}")


def command_line(only: str | None = None) -> TyperGroup:
    """Make the group of all commands, or of one of them; an unknown name means all."""
    app = typer.Typer(
        name="blocklist",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": _HELP_OPTIONS},
    )
    app.callback(invoke_without_command=True)(blocklist)
    for panel, commands in PANELS.items():
        for name in commands if only not in _MODULES else commands.keys() & {only}:
            module = import_command(name)
            if hasattr(module, "app"):
                app.add_typer(module.app, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(getattr(module, name))
    group = get_group(app)
    # Typer puts commands before groups, and shows panels in the order of their first command.
    group.commands = {name: group.commands[name] for name in _MODULES if name in group.commands}
    if only not in _MODULES:
        # Two options; only where the whole group is made, since they take a while to import.
        from typer.main import get_install_completion_arguments

        group.params.extend(get_install_completion_arguments())
    _improve_help(group)
    return group


def _improve_help(command: Any, path: str = "") -> None:
    """Change what typer shows in help.

    The lines of a docstring become paragraphs, and examples come last. Flags have no type beside them, since they take
    no value, and neither have arguments. Usage lines show the arguments' metavars without typer's braces.
    """
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    if path in EXAMPLES:
        command.epilog = "\n\n".join(["Examples:", *EXAMPLES[path]])
    if path in QUIET:
        add_quiet(command)
    context = typer.Context(command, help_option_names=_HELP_OPTIONS)
    for parameter in [*command.params, command.get_help_option(context)]:
        is_argument = parameter.param_type_name == "argument"
        if is_argument or parameter.is_flag:
            parameter.display_type_rich = lambda ctx: ""
        if is_argument:
            parameter.get_usage_pieces = lambda ctx, metavar=parameter.metavar: [metavar]
    if isinstance(command, TyperGroup):
        # Typer would write the group's help to standard output, and raise an error without a message.
        command.no_args_is_help = False
        for name, subcommand in command.commands.items():
            _improve_help(subcommand, f"{path} {name}".strip())


def blocklist(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Exchange signed blocklists of fraud phone numbers: publish, sync, verify, check."""
    if show_version:
        version()
        raise typer.Exit(FINE)
    if context.invoked_subcommand is None:
        # Typer prints help on standard output; here it is a message, and may be lost.
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(OSError):
            typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def version() -> None:
    """Show the version."""
    from blocklist_sdk import __version__

    typer.echo(f"blocklist-sdk {__version__}")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; a failure is one line on standard error.

    Args:
        arguments: as a shell gives them, without the program's name.
    """
    warnings = DeferredWarnings()
    root = logging.getLogger()
    root.addHandler(warnings)
    try:
        code, failure = _code_and_failure(arguments, warnings)
    finally:
        root.removeHandler(warnings)
    warnings.write()
    if failure is not None:
        say(failure)
    for stream in (sys.stdout, sys.stderr):
        flush_or_discard(stream)
    return code


def _code_and_failure(arguments: Sequence[str], warnings: DeferredWarnings) -> tuple[int, str | None]:
    """Run one command; return its exit code, and the message if it failed and has not written one."""
    try:
        return _call(arguments), None
    except typer.TyperException as error:
        context: typer.Context | None = getattr(error, "ctx", None)
        path = "blocklist" if context is None else context.command_path
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return USAGE, f"{message}{'' if message.endswith('?') else '.'} See {path} --help"
    except BlocklistError as error:
        warnings.forget(str(error))
        return exit_code(error), described(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED, None
    except BrokenPipeError:
        return OUTPUT_CLOSED, None
    except SystemExit as exit_:
        # Rich exits when the reader of its output has gone.
        if isinstance(exit_.__context__, BrokenPipeError):
            return OUTPUT_CLOSED, None
        raise
    except OSError as error:
        return _code_and_failure_of_system(error)
    except Exception as error:  # noqa: BLE001 -- 1, Python's own exit code, means blocked
        say_bug(error)
        return SOFTWARE, None


def _call(arguments: Sequence[str]) -> int:
    """Parse the arguments, call the command and return its exit code."""
    if _COMPLETE_VARIABLE in os.environ:
        from blocklist_sdk.cli.completion import complete

        return complete(command_line(), os.environ[_COMPLETE_VARIABLE], variable=_COMPLETE_VARIABLE)
    command = command_line(arguments[0] if arguments else None)
    try:
        with command.make_context("blocklist", list(arguments)) as context:
            warn_of_visible_secrets(arguments)
            command.invoke(context)
        code = FINE
    except typer.Exit as exit_:
        code = exit_.exit_code
    sys.stdout.flush()
    return code


def _code_and_failure_of_system(error: OSError) -> tuple[int, str]:
    """The library translates its own errors; the others are about standard output, such as on a full disk."""
    if error.filename is not None:
        return STORAGE, f"cannot use {error.filename}: {error.strerror}"
    if is_nowhere():
        return USAGE, "the working directory has been deleted: change to one that exists"
    return STORAGE, f"cannot write the output: {error}"
