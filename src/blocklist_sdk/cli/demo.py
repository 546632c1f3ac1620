"""``blocklist demo``: the whole loop, as a short story."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.exit_codes import FAILED
from blocklist_sdk.cli.output import AsJson, say, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from blocklist_sdk.demo.story import Step

_WIDTH_CHARS = 120
"""The width of the output if it is not a terminal."""

_SAMPLE_CELLS = 30

_ROWS_MAX = 10_000_000
"""The size of the largest list in the benchmarks; it takes about 5 GB of memory."""


def demo(
    rows: Annotated[
        int, typer.Option(min=3, max=_ROWS_MAX, metavar="N", help="How many numbers to generate.")
    ] = 100_000,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A real list, in place of generated numbers: CSV or text, a spreadsheet, JSON, vCard or Parquet.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(metavar="NAME", help="The column of FILE with the numbers.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Two-letter country code in which FILE's numbers are read.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="A new folder in which everything is kept; by default nothing is."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole loop on this machine: keys, signing, serving, sync, checks, a delta, two attacks refused.

    The numbers are generated, unless --from gives a real list; its numbers are shown masked.

    Exits with 0 only if every step had the expected result.
    """
    from blocklist_sdk.demo.loop import play_loop

    steps: list[Step] = []
    with _without_logs():
        story = play_loop(rows=rows, source=source, column=column, region=region, directory=directory)
        if as_json:
            steps.extend(story)
            write_json(
                {
                    "ok": all(step.ok for step in steps),
                    "generated": source is None,
                    "directory": directory,
                    "steps": [asdict(step) for step in steps],
                }
            )
        else:
            _show(story, steps, generated=source is None)
            if directory is not None:
                _show_folder(directory)
    failed = next((step for step in steps if not step.ok), None)
    if failed is not None:
        say(f"the step {failed.name!r} failed: {failed.outcome}")
        raise typer.Exit(FAILED)


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """The library logs every sync that it refuses; here two are expected, and the story shows them."""
    logger = logging.getLogger("blocklist_sdk")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _show(story: Iterator["Step"], steps: list["Step"], *, generated: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_CHARS
    numbers = "generated numbers" if generated else "a real list; its numbers are shown masked"
    console.print(f"The whole loop on this machine, with {numbers}.\n")
    for step in story:
        steps.append(step)
        mark = "[green]✓[/]" if step.ok else "[red]✗[/]"
        console.print(f"{mark} [bold]{step.name}[/]: {escape(step.outcome)}")
        _show_samples(console, step)
    console.print()
    console.print(_table(steps))
    if all(step.ok for step in steps):
        seconds = sum(step.seconds for step in steps)
        console.print(f"\nAll {len(steps)} steps had the expected result, in {seconds:.1f} s.")


def _show_samples(console: "Console", step: "Step") -> None:
    from rich.cells import set_cell_size
    from rich.markup import escape

    for sample in step.samples:
        colour = {"blocked": "red", "free": "green"}.get(sample.answer, "yellow")
        # Fullwidth digits take two cells each.
        text = escape(set_cell_size(sample.text, _SAMPLE_CELLS))
        console.print(f"    {text} {sample.what:<15} [{colour}]{sample.answer:<8}[/] {escape(sample.reason)}")


def _table(steps: Sequence["Step"]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(caption="bytes published, or fetched over the wire", caption_justify="right")
    table.add_column("step")
    table.add_column("result")
    table.add_column("bytes", justify="right")
    table.add_column("seconds", justify="right")
    for step in steps:
        table.add_row(
            step.name,
            Text("as expected", "green") if step.ok else Text("WRONG", "red"),
            "" if step.bytes is None else f"{step.bytes:,}",
            f"{step.seconds:.2f}",
        )
    return table


def _show_folder(directory: Path) -> None:
    settings = directory / "blocklist.toml"
    say(f"everything is in {directory}; the passphrase of the keys is in {directory / 'passphrase'}")
    say(f"continue with: blocklist status --config {settings}; blocklist publish serve {directory / 'authority'}")
