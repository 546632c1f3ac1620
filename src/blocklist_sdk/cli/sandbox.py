"""``blocklist sandbox``: a whole exchange on this machine, to develop against."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.extras import needs_extra
from blocklist_sdk.cli.logs import log_told
from blocklist_sdk.cli.output import AsJson, say, write_json
from blocklist_sdk.cli.signals import StopOnSignal

if TYPE_CHECKING:
    from blocklist_sdk.sandbox import Sandbox

_CASES_MAX = 100_000


def sandbox(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Keep everything in this new folder; by default nothing is kept."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one.")] = 0,
    cases: Annotated[
        int, typer.Option(min=1, max=_CASES_MAX, metavar="N", help="How many generated numbers are listed at first.")
    ] = 300,
    script: Annotated[
        bool, typer.Option("--script", help="Play one complaint from the report to the receipt, tell it, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a real exchange on loopback, with keys, accounts and generated numbers, until Ctrl-C.

    Its address goes to standard output; each account has a folder with a blocklist.toml that is ready to use.
    """
    from blocklist_sdk import sandbox as exchange
    from blocklist_sdk.demo.complaint import play_complaint

    with (
        StopOnSignal(interrupts=True) as bell,
        log_told(),
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
        bell.interrupts = False  # from here on that is how it is stopped
        _tell(box, as_json=as_json)
        bell.wait()


def _tell(box: "Sandbox", *, as_json: bool) -> None:
    if as_json:
        write_json({"url": box.url, "directory": box.directory, "root": box.root, "accounts": list(box.secrets)})
        return
    typer.echo(box.url)
    say(f"the accounts {', '.join(box.secrets)} have their blocklist.toml in {box.directory}")
    say(f"for instance: cd {box.directory / 'telkomsel'} && blocklist sync")
    say("Ctrl-C stops it")
