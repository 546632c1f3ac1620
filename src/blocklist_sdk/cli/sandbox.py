"""``blocklist sandbox``: a whole exchange on this machine, to develop against."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.extras import needs_extra
from blocklist_sdk.cli.logs import log_to_stderr
from blocklist_sdk.cli.output import AsJson, say, write_json
from blocklist_sdk.cli.signals import StopOnSignal

if TYPE_CHECKING:
    from blocklist_sdk.sandbox import Sandbox

_CASES_MAX = 100_000


def sandbox(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="A folder in which everything is kept, and goes on the next time; by default nothing is.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes the one of before, or a free one."),
    ] = 0,
    cases: Annotated[
        int,
        typer.Option(min=1, max=_CASES_MAX, metavar="N", help="How many generated numbers are listed from the start."),
    ] = 300,
    script: Annotated[
        bool,
        typer.Option("--script", help="Play one complaint from the report to the receipts, show each step, and exit."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a real exchange on loopback, with keys, accounts and generated numbers, until Ctrl-C.

    Prints its address to standard output. Each account has a folder with a blocklist.toml that is ready to use. Two
    officers have work waiting: cases to decide, decisions to confirm, an appeal. With --dir, a folder that had a
    sandbox before goes on with the same keys, secrets and data, and at the same port if that is free.
    """
    from blocklist_sdk import sandbox as exchange
    from blocklist_sdk.demo.complaint import play_complaint

    with (
        StopOnSignal(interrupts=True) as stop,
        log_to_stderr(),
        needs_extra("exchange"),
        exchange.sandbox(directory, port=port, cases=cases) as box,
    ):
        if script:
            scenes = []
            for step in play_complaint(box):
                scenes.append({"who": step.name, "what": step.outcome})
                if not as_json:
                    typer.echo(f"{step.name:>9}  {step.outcome}")
            if as_json:
                write_json({"scenes": scenes})
            return
        stop.interrupts = False  # from here on, Ctrl-C ends the command as intended
        _show(box, as_json=as_json)
        stop.wait()


def _show(box: "Sandbox", *, as_json: bool) -> None:
    if as_json:
        write_json(
            {"url": box.url, "directory": box.directory, "root": box.root, "accounts": list(box.secrets)}
            | {"resumed": box.resumed}
        )
        return
    typer.echo(box.url)
    say(f"accounts, each with a folder in {box.directory}: {', '.join(box.secrets)}")
    if box.resumed:
        say("it goes on where it was left, with the secrets and keys of before")
    say(f"try: cd {box.directory / 'telkomsel'} && blocklist sync")
    say(f"what waits for an officer: cd {box.directory / 'officer'} && blocklist case list")
    say("Ctrl-C stops it")
