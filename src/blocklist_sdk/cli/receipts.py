"""``blocklist receipts``: what recipients say came of their entries, and a month's figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk.cli.conversation import KeyOption, Rejects, records_in, write_each, write_model
from blocklist_sdk.cli.exit_codes import USAGE
from blocklist_sdk.cli.figures import figure_lines
from blocklist_sdk.cli.output import AsJson, moment, write_json
from blocklist_sdk.cli.settings import CREDENTIALS, Settings, takes

if TYPE_CHECKING:
    from blocklist_sdk.exchange.models import Receipt

app = typer.Typer(no_args_is_help=True, help="Say what came of entries, and see what others say.")

_FIELDS = ("feed", "serial", "entry", "outcome", "at", "detail")


@app.command()
@takes(*CREDENTIALS)
def send(
    settings: Settings,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=f"CSV with the columns {', '.join(_FIELDS)}, or JSONL with such objects."),
    ],
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Send receipts; exits with 2 if any was refused, after the others were sent.

    With --json each line of the file has a line, with "status" or "error".
    """
    from blocklist_sdk.exchange import calls

    rejects, lines = Rejects(as_json=as_json), list[int]()
    counts = {"accepted": 0, "repeated": 0}
    with settings.client() as exchange:
        rows = rejects.made(records_in(file, _FIELDS), calls.new_receipt, lines)
        for item in exchange.send_receipts(rows, idempotency_key=idempotency_key):
            line = lines[item.index]
            if item.status == "refused":
                rejects.tell(line, "ExchangeError", item.reason or "the exchange does not say why")
                continue
            counts[item.status] += 1
            if as_json:
                write_json({"line": line, "status": item.status})
    if not as_json:
        typer.echo(f"{counts['accepted']:,} accepted, {counts['repeated']:,} repeated, {rejects.count:,} refused")
    if rejects.count:
        raise typer.Exit(USAGE)


@app.command("list")
@takes(*CREDENTIALS)
def show_all(
    settings: Settings,
    feed: Annotated[str | None, typer.Option(metavar="NAME", help="Of this feed only.")] = None,
    entry: Annotated[int | None, typer.Option(metavar="ENTRY", help="Of this entry only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show receipts: your own, or for an officer all."""
    with settings.client() as exchange:
        write_each(exchange.receipts(feed=feed, entry=entry), _line, as_json=as_json)


@app.command()
@takes(*CREDENTIALS)
def statistics(
    settings: Settings,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-11.")],
    as_json: AsJson = False,
) -> None:
    """Show a month's figures; a recipient sees its own part."""
    with settings.client() as exchange:
        found = exchange.statistics(month)
    if as_json:
        write_model(found)
    else:
        typer.echo("\n".join(figure_lines(found)))


def _line(receipt: "Receipt") -> str:
    detail = f": {receipt.detail}" if receipt.detail else ""
    return (
        f"{moment(receipt.at)}  {receipt.recipient}  {receipt.feed} entry {receipt.entry}, release {receipt.serial}: "
        f"{receipt.outcome}{detail}"
    )
