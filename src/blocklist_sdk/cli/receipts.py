"""``blocklist receipts``: send the outcomes of entries to the exchange, and show receipts and a month's figures."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blocklist_sdk.cli.exchange_session import KeyOption, Rejects, records_in, write_each, write_model
from blocklist_sdk.cli.exit_codes import REJECTED
from blocklist_sdk.cli.output import AsJson, moment, say, write_json, write_line, write_lines
from blocklist_sdk.cli.settings import LIST, SERVER, Settings, with_settings
from blocklist_sdk.cli.statistics_text import statistics_lines
from blocklist_sdk.cli.text_tables import LimitOption, limited
from blocklist_sdk.errors import BlocklistError, InvalidInput

if TYPE_CHECKING:
    from blocklist_sdk.enforcement import LedgerRecord, ReceiptsResult
    from blocklist_sdk.exchange.models import Receipt

app: typer.Typer = typer.Typer(
    no_args_is_help=True, help="Send the outcomes of entries to the exchange, and show them."
)

_FIELDS = ("feed", "serial", "entry", "outcome", "at", "detail")


@app.command()
@with_settings(*LIST, *SERVER)
def send(
    settings: Settings,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help=f"A table with the columns {', '.join(_FIELDS)}, such as CSV; - is standard input.",
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option("--sink", metavar="NAME", help="Instead of a file: send what was enforced into this sink."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="With --sink: also send what the exchange has refused before.")
    ] = False,
    idempotency_key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Send receipts. Exits with 7 if one was refused, after sending the others.

    With a file and --json, each line of the file gives one line with "status" or "error". With --sink, receipts that
    the exchange has acknowledged are not sent again, and after an error the next call continues where this one stopped.
    """
    if (file is None) == (sink is None) or (again and sink is None) or (idempotency_key and sink):
        raise InvalidInput("give a FILE, with or without --idempotency-key, or a --sink, with or without --again")
    if file is not None:
        _send_file(settings, file, idempotency_key, as_json=as_json)
    elif sink is not None:
        _send_ledger(settings, sink, again=again, as_json=as_json)


def _send_file(settings: Settings, file: Path, idempotency_key: str | None, *, as_json: bool) -> None:
    from blocklist_sdk.exchange import calls

    rejects, lines = Rejects(file, as_json=as_json), list[int]()
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
        raise typer.Exit(REJECTED)


def _send_ledger(settings: Settings, sink: str, *, again: bool, as_json: bool) -> None:
    from blocklist_sdk.enforcement import Ledger, ReceiptsResult, ledger_path, send_receipts

    result = ReceiptsResult()

    def note(so_far: ReceiptsResult) -> None:
        nonlocal result
        result = so_far

    with (
        settings.open() as blocklist,
        settings.client() as exchange,
        Ledger.outbox(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger,
    ):
        try:
            send_receipts(ledger, exchange, again=again, progress=note)
        except BlocklistError:
            if result != ReceiptsResult():
                say(f"{_result_line(result)} so far; the others are sent the next time")
            raise
    if as_json:
        write_json({"sink": sink, **asdict(result)})
    else:
        typer.echo(_result_line(result))
    if result.refused:
        what = "1 receipt" if result.refused == 1 else f"{result.refused:,} receipts"
        say(f"the exchange refused {what}: blocklist receipts pending --sink {sink} shows why")
        raise typer.Exit(REJECTED)


def _result_line(result: "ReceiptsResult") -> str:
    return f"{result.sent:,} accepted, {result.repeated:,} repeated, {result.refused:,} refused"


@app.command()
@with_settings(*LIST)
def pending(
    settings: Settings,
    sink: Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink, by the name it is enforced under.")],
    limit: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the receipts of a sink that the exchange has not acknowledged, and those that it has refused."""
    from blocklist_sdk.enforcement import Ledger, ledger_path

    with settings.open() as blocklist, Ledger.read(ledger_path(blocklist, sink), feed=blocklist.feed) as ledger:
        lines = chain(
            (_pending(record, as_json=as_json) for record in ledger.unacknowledged()),
            (_refused(number, receipt, as_json=as_json) for number, receipt in ledger.refused_receipts()),
        )
        for line in limited(lines, limit):
            if as_json:
                write_json(line)
            else:
                write_line(str(line))


def _pending(record: "LedgerRecord", *, as_json: bool) -> dict[str, Any] | str:
    """A batch of receipts that are to be sent, as JSON or as a line."""
    from blocklist_sdk.enforcement.receipts import count_receipts

    batch, count = record.batch, count_receipts(record)
    if as_json:
        return {
            "status": "pending",
            "record": batch.number_in_ledger,
            "operation": batch.operation,
            "serial": batch.serial,
            "era": batch.era,
            "done": record.done,
            "receipts": count,
        }
    return (
        f"{moment(record.done)}  record {batch.number_in_ledger}: {batch.operation}, release {batch.release}: "
        f"{count:,} receipt{'' if count == 1 else 's'} to send"
    )


def _refused(number: int, receipt: Mapping[str, Any], *, as_json: bool) -> dict[str, Any] | str:
    """A receipt that the exchange has refused, as JSON or as a line."""
    if as_json:
        return {"status": "refused", "record": number, **receipt}
    entry = "" if receipt["entry"] is None else f"entry {receipt['entry']}, {receipt['outcome']}: "
    return f"refused  record {number}: {entry}{receipt['reason']}"


@app.command("list")
@with_settings(*SERVER)
def show_all(
    settings: Settings,
    feed: Annotated[str | None, typer.Option(metavar="NAME", help="Only receipts of this feed.")] = None,
    entry: Annotated[int | None, typer.Option(metavar="ENTRY", help="Only receipts of this entry.")] = None,
    limit: LimitOption = None,
    as_json: AsJson = False,
) -> None:
    """Show receipts: your own, or for an officer all of them."""
    with settings.client() as exchange:
        write_each(limited(exchange.receipts(feed=feed, entry=entry), limit), _line, as_json=as_json)


@app.command()
@with_settings(*SERVER)
def statistics(
    settings: Settings,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="The month, such as 2026-11.")],
    as_json: AsJson = False,
) -> None:
    """Show a month's figures; a recipient sees its own part."""
    with settings.client() as exchange:
        figures = exchange.get_statistics(month)
    if as_json:
        write_model(figures)
    else:
        write_lines(statistics_lines(figures))


def _line(receipt: "Receipt") -> str:
    detail = f": {receipt.detail}" if receipt.detail else ""
    return (
        f"{moment(receipt.at)}  {receipt.recipient}  {receipt.feed} entry {receipt.entry}, release {receipt.serial}: "
        f"{receipt.outcome}{detail}"
    )
