"""``blocklist receipts``: what came of entries, told to the exchange, and what it is told; a month's figures."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blocklist_sdk import times
from blocklist_sdk.cli.exchange_session import KeyOption, Rejects, records_in, write_each, write_model
from blocklist_sdk.cli.exit_codes import USAGE
from blocklist_sdk.cli.number_format import figure_lines
from blocklist_sdk.cli.output import AsJson, moment, say, write_json
from blocklist_sdk.cli.settings import CREDENTIALS, LIST, Settings, check_output, takes
from blocklist_sdk.errors import BlocklistError, InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.enforcement.receipts import ReceiptsResult
    from blocklist_sdk.exchange.models import Receipt

app = typer.Typer(no_args_is_help=True, help="Say what came of entries, and see what others say.")

_FIELDS = ("feed", "serial", "entry", "outcome", "at", "detail")


SinkOption = Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink, by the name it is enforced under.")]


class Form(StrEnum):
    """What a report is written as."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


@app.command()
@takes(*LIST, *CREDENTIALS)
def send(
    settings: Settings,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help=f"CSV with the columns {', '.join(_FIELDS)}, or JSONL with such objects."
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option("--sink", metavar="NAME", help="Instead of a file: what was enforced into this sink."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --sink: also what the exchange has refused before.")
    ] = False,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Send receipts; exits with 2 if any was refused, after the others were sent.

    From a file, each line of it has a line with --json, with "status" or "error". From a sink's ledger, what the
    exchange has acknowledged is not sent again, and what an error cuts short goes on the next time.
    """
    if (file is None) == (sink is None) or (again and sink is None) or (idempotency_key and sink):
        raise InvalidInput("name a FILE, perhaps with --idempotency-key, or else a --sink, perhaps with --again")
    if file is not None:
        _send_file(settings, file, idempotency_key, as_json=as_json)
    elif sink is not None:
        _send_ledger(settings, sink, again=again, as_json=as_json)


def _send_file(settings: Settings, file: Path, idempotency_key: str | None, *, as_json: bool) -> None:
    from blocklist_sdk.exchange import calls

    rejects, lines = Rejects(as_json=as_json), list[int]()
    counts = {"accepted": 0, "repeated": 0}
    with settings.client() as exchange:
        rows = rejects.readable(records_in(file, _FIELDS), calls.new_receipt, lines)
        for item in exchange.submit_receipts(rows, idempotency_key=idempotency_key):
            line = lines[item.index]
            if item.status == "refused":
                rejects.add(line, "ExchangeError", item.reason or "the exchange does not say why")
                continue
            counts[item.status] += 1
            if as_json:
                write_json({"line": line, "status": item.status})
    if not as_json:
        typer.echo(f"{counts['accepted']:,} accepted, {counts['repeated']:,} repeated, {rejects.count:,} refused")
    if rejects.count:
        raise typer.Exit(USAGE)


def _send_ledger(settings: Settings, sink: str, *, again: bool, as_json: bool) -> None:
    from blocklist_sdk.enforcement.ledger import Ledger
    from blocklist_sdk.enforcement.paths import ledger_path
    from blocklist_sdk.enforcement.receipts import ReceiptsResult, send_receipts

    sums = ReceiptsResult()

    def note(so_far: ReceiptsResult) -> None:
        nonlocal sums
        sums = so_far

    with (
        settings.open() as blocklist,
        settings.client() as exchange,
        Ledger.outbox(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger,
    ):
        try:
            send_receipts(ledger, exchange, again=again, progress=note)
        except BlocklistError:
            if sums != ReceiptsResult():
                say(f"{_sums(sums)} so far; the rest is sent the next time")
            raise
    if as_json:
        write_json({"sink": sink, **asdict(sums)})
    else:
        typer.echo(_sums(sums))
    if sums.refused:
        say(f"the exchange refused {sums.refused:,} receipts: blocklist receipts pending --sink {sink} shows why")
        raise typer.Exit(USAGE)


def _sums(sums: "ReceiptsResult") -> str:
    return f"{sums.sent:,} accepted, {sums.repeated:,} repeated, {sums.refused:,} refused"


@app.command()
@takes(*LIST)
def pending(settings: Settings, sink: SinkOption, as_json: AsJson = False) -> None:
    """Show what the exchange has not acknowledged of what was enforced into a sink, and what it has refused."""
    from blocklist_sdk.enforcement.ledger import Ledger
    from blocklist_sdk.enforcement.paths import ledger_path
    from blocklist_sdk.enforcement.receipts import count_receipts

    with settings.open() as blocklist, Ledger.read(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger:
        for record in ledger.unacknowledged():
            batch, count = record.batch, count_receipts(record)
            if as_json:
                about = {"operation": batch.operation, "serial": batch.serial, "done": record.done, "receipts": count}
                write_json({"status": "pending", "record": batch.number_in_ledger, **about})
            else:
                typer.echo(
                    f"{moment(record.done)}  record {batch.number_in_ledger}: {batch.operation}, release "
                    f"{batch.serial}: {count:,} receipts to be sent"
                )
        for number, refused in ledger.refused_receipts():
            if as_json:
                write_json({"status": "refused", "record": number, **refused})
            else:
                entry = "" if refused["entry"] is None else f"entry {refused['entry']}, {refused['outcome']}: "
                typer.echo(f"refused  record {number}: {entry}{refused['reason']}")


@app.command()
@takes(*LIST)
def report(
    settings: Settings,
    sink: SinkOption,
    month: Annotated[str, typer.Option("--month", metavar="MONTH", help="Such as 2026-10; UTC.")],
    form: Annotated[Form, typer.Option("--format", metavar="FORMAT", help="html, csv or json.")] = Form.HTML,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="By default standard output.")
    ] = None,
) -> None:
    """Sum up a month of enforcement for the authority: counts and times, no numbers."""
    from blocklist_sdk.disk import replaced, storage
    from blocklist_sdk.enforcement.ledger import Ledger
    from blocklist_sdk.enforcement.paths import ledger_path
    from blocklist_sdk.enforcement.statement import monthly_statement

    with settings.open() as blocklist:
        if output is not None:
            check_output(output, blocklist)
        with Ledger.read(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger:
            found = monthly_statement(ledger, month, now=times.now())
    text = {Form.HTML: found.to_html, Form.CSV: found.to_csv, Form.JSON: found.to_json}[form]()
    if output is None:
        typer.echo(text, nl=False)
        return
    with replaced(output) as temporary, storage(output):
        temporary.write_text(text, encoding="utf-8")
    say(f"wrote {output}")


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
        found = exchange.get_statistics(month)
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
