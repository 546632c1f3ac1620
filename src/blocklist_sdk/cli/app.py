"""The commands put together, and the border where errors become one line and an exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final

import typer
from typer.main import get_command

from blocklist_sdk.cli.exit_codes import FINE, INTERRUPTED, OUTPUT_CLOSED, STORAGE, USAGE, exit_code
from blocklist_sdk.cli.output import say
from blocklist_sdk.errors import BlocklistError

_HOME: Final = {
    "demo": "demo",
    "sync": "recipient",
    "status": "recipient",
    "check": "recipient",
    "screen": "screen",
    "export": "export",
    "publish": "publish",
}
"""Where each command lives. Only the one that is asked for is imported: typer takes a while to read a command's
options, and `blocklist check` stands in scripts' loops."""


def command_line(only: str | None = None) -> typer.Typer:
    """The commands, or only one of them; all where there is none of that name."""
    app = typer.Typer(name="blocklist", add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(blocklist)
    for name in [only] if only in _HOME else _HOME:
        module = import_module(f"blocklist_sdk.cli.{_HOME[name]}")
        if name == "publish":
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
        # Typer prints help on standard output by itself; here it is no data.
        with contextlib.redirect_stdout(sys.stderr):
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
    notes = _Notes()
    root = logging.getLogger()
    root.addHandler(notes)
    raised: BlocklistError | None = None
    try:
        command = get_command(command_line(arguments[0] if arguments else None))
        with command.make_context("blocklist", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
        code = FINE
    except typer.Exit as done:
        code = done.exit_code
    except typer.TyperException as error:
        say(f"{error.format_message().rstrip('.')}: see blocklist --help")
        code = USAGE
    except BlocklistError as error:
        raised = error
        code = exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        code = OUTPUT_CLOSED
    except OSError as error:
        # The library translates its own; what is left is standard output on a full disk, or the like.
        _give_up_output()
        say(f"cannot write the output: {error}")
        code = STORAGE
    finally:
        root.removeHandler(notes)
    notes.tell(but=raised)
    if raised is not None:
        say(str(raised))
    return code


def _give_up_output() -> None:
    """Python flushes standard output once more at exit; that must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Notes(logging.Handler):
    """Warnings of the library, told at the end: the one that is also raised is then told once, not twice."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def tell(self, *, but: BlocklistError | None) -> None:
        """Print them, without the one that is about an error to be reported anyway."""
        for record in self._records:
            if but is None or not isinstance(record.args, tuple) or but not in record.args:
                say(record.getMessage())
