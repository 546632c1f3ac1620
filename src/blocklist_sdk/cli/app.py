"""The commands put together, and the border where errors become one line and an exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Annotated, Final

import typer
from typer.main import get_command

from blocklist_sdk.cli.exit_codes import FINE, INTERRUPTED, OUTPUT_CLOSED, SOFTWARE, STORAGE, USAGE, exit_code
from blocklist_sdk.cli.logs import Notes
from blocklist_sdk.cli.prompts import say, say_bug, settle
from blocklist_sdk.errors import BlocklistError

_HOME: Final = {
    "demo": "demo",
    "sync": "recipient",
    "status": "recipient",
    "check": "recipient",
    "screen": "screen",
    "explain": "inspect",
    "verify": "inspect",
    "changes": "inspect",
    "export": "export",
    "override": "override",
    "mirror": "mirror",
    "publish": "publish",
    "enforce": "enforce",
    "exchange": "exchange",
    "sandbox": "sandbox",
    "report": "report",
    "case": "case",
    "appeal": "appeal",
    "receipts": "receipts",
    "statement": "statement",
}
"""Where each command lives. Only the one that is asked for is imported: typer takes a while to read a command's
options, and `blocklist check` stands in scripts' loops."""


def load(command: str) -> ModuleType:
    """Load what a command is made of; where there is none of that name, nothing that is not loaded anyway."""
    return import_module(f"blocklist_sdk.cli.{_HOME.get(command, 'app')}")


def command_line(only: str | None = None) -> typer.Typer:
    """The commands, or only one of them; all where there is none of that name."""
    app = typer.Typer(name="blocklist", add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(blocklist)
    for name in [only] if only in _HOME else _HOME:
        module = load(name)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    app.command("version")(show_version)
    return app


def blocklist(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Exchange signed blocklists of fraud phone numbers: publish, sync, verify, check."""
    if version:
        show_version()
        raise typer.Exit(FINE)
    if context.invoked_subcommand is None:
        # Typer prints help on standard output by itself; here it is no data, and may be lost.
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(OSError):
            typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def show_version() -> None:
    """Show the version."""
    from blocklist_sdk import __version__

    typer.echo(f"blocklist-sdk {__version__}")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what failed is one line on standard error.

    Args:
        arguments: as a shell gives them, without the program's name.
    """
    notes = Notes()
    root = logging.getLogger()
    root.addHandler(notes)
    try:
        code, failure = _outcome(arguments)
    finally:
        root.removeHandler(notes)
    notes.tell(but=failure)
    if failure is not None:
        say(failure)
    for stream in (sys.stdout, sys.stderr):
        settle(stream)
    return code


def _outcome(arguments: Sequence[str]) -> tuple[int, str | None]:
    """Run one command: its exit code, and what is left to say."""
    try:
        return _invoke(arguments), None
    except typer.TyperException as error:
        return USAGE, f"{error.format_message().rstrip('.')}: see blocklist --help"
    except BlocklistError as error:
        return exit_code(error), str(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED, None
    except BrokenPipeError:
        return OUTPUT_CLOSED, None
    except SystemExit as left:
        # Rich leaves in this way when the reader of what it writes has gone.
        if isinstance(left.__context__, BrokenPipeError):
            return OUTPUT_CLOSED, None
        raise
    except OSError as error:
        return _of_the_system(error)
    except Exception as error:  # noqa: BLE001 -- 1, Python's own exit code, means blocked
        say_bug(error)
        return SOFTWARE, None


def _invoke(arguments: Sequence[str]) -> int:
    command = get_command(command_line(arguments[0] if arguments else None))
    try:
        with command.make_context("blocklist", list(arguments)) as context:
            command.invoke(context)
        code = FINE
    except typer.Exit as done:
        code = done.exit_code
    sys.stdout.flush()
    return code


def _of_the_system(error: OSError) -> tuple[int, str]:
    """The library translates its own errors; what is left is standard output on a full disk, or the like."""
    if error.filename is not None:
        return STORAGE, f"cannot use {error.filename}: {error.strerror}"
    try:
        os.getcwd()
    except FileNotFoundError:
        return USAGE, "the working directory has been deleted: change to one that is there"
    return STORAGE, f"cannot write the output: {error}"
