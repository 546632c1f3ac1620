"""What type checkers see of the public face. mypy and basedpyright check this file; it is never run."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, assert_type

from blocklist_sdk import (
    AsyncBlocklist,
    AsyncExchangeClient,
    Blocklist,
    Blocklists,
    Change,
    ClientCredentials,
    Entry,
    ExchangeClient,
    Explanation,
    Guard,
    Impact,
    Override,
    Publisher,
    Status,
    SyncResult,
    UpkeepResult,
    Verdict,
    Verification,
    format_e164,
    normalize,
    operator_of,
)
from blocklist_sdk.exchange import Appeal, Case, Decision, Receipt, Report, Statistics
from blocklist_sdk.mirror import MirrorResult, mirror
from blocklist_sdk.numbers import FormDecision, NumberRange, parse_pattern
from blocklist_sdk.publisher import (
    ProtectionChange,
    ProtectionResult,
    PublisherStatus,
    RefreshResult,
    ReleaseResult,
    SnapshotResult,
)
from blocklist_sdk.recipient import ArrowTable, AsyncOverrides, BackgroundSync, Changes, Overrides, Screening
from blocklist_sdk.spark import column_form, with_verdicts
from blocklist_sdk.testing import Clock, fake_clock, fake_exchange, fake_repository, generated_numbers


def numbers() -> None:
    assert_type(normalize("0812-3456-7890", region="ID"), int)
    assert_type(format_e164(6281234567890), str)
    assert_type(operator_of(6281234567890), str | None)
    assert_type(parse_pattern("+33162######"), list[NumberRange])


def recipient(column: ArrowTable) -> None:
    with Blocklist.open("https://lists.example", feed="id-all", root=b"", guard=Guard()) as blocklist:
        assert_type(blocklist, Blocklist)
        assert_type(blocklist.sync(), SyncResult)
        assert_type(blocklist.upkeep(), UpkeepResult)
        assert_type(blocklist.dry_run(), Impact)
        assert_type("0812-3456-7890" in blocklist, bool)
        assert_type(blocklist.check("0812-3456-7890", scope="sms"), Verdict)
        assert_type(blocklist.entries(6281234567890), list[Entry])
        assert_type(blocklist.screen(column), ArrowTable)
        assert_type(blocklist.screening(scope="voice"), Screening)
        assert_type(blocklist.to_arrow(), ArrowTable)
        assert_type(blocklist.changes(since=41), Changes)
        assert_type(iter(blocklist.changes(since=None)), Iterator[Change])
        assert_type(blocklist.explain("0812-3456-7890"), Explanation)
        assert_type(blocklist.verify(), Verification)
        assert_type(blocklist.status(), Status)
        assert_type(blocklist.overrides, Overrides)
        assert_type(blocklist.overrides.get("0812-3456-7890"), Override | None)
        assert_type(blocklist.keep_synced(3600), BackgroundSync)
        assert_type(blocklist.release_hold("billing"), bool)
        assert_type(Blocklists([blocklist]).check("0812-3456-7890"), Verdict)


class Frame(Protocol):
    """What Spark has, as far as it is asked."""

    columns: list[str]
    schema: object
    isStreaming: bool  # noqa: N815
    sparkSession: object  # noqa: N815

    def mapInArrow(self, func: object, schema: object) -> "Frame": ...  # noqa: N802

    def select(self, *cols: object) -> "Frame": ...

    def toDF(self, *cols: str) -> "Frame": ...  # noqa: N802


def in_spark(df: Frame) -> None:
    assert_type(column_form(df, "msisdn", region="ID"), FormDecision)
    assert_type(with_verdicts(df, "msisdn", "list.bundle", root=b"", form="national", scope="sms"), Frame)


async def asynchronous(column: ArrowTable) -> None:
    async with AsyncBlocklist.open("https://lists.example", feed="id-all", root=b"") as blocklist:
        assert_type(await blocklist.sync(), SyncResult)
        assert_type(await blocklist.upkeep(), UpkeepResult)
        assert_type(blocklist.check("0812-3456-7890"), Verdict)
        assert_type(await blocklist.screen(column), ArrowTable)
        assert_type(blocklist.overrides, AsyncOverrides)
        assert_type(await blocklist.overrides.block("0812-3456-7890", reason="ticket 17"), Override)
        assert_type(await blocklist.overrides.load(), list[Override])
        assert_type(await blocklist.dry_run(), Impact)
        assert_type(blocklist.screening(scope="voice"), Screening)
        assert_type(await blocklist.to_arrow(), ArrowTable)
        assert_type(await blocklist.changes(since=41), Changes)
        assert_type(blocklist.explain("0812-3456-7890"), Explanation)
        assert_type(await blocklist.verify(), Verification)
        assert_type(blocklist.status(), Status)
        assert_type(await blocklist.release_hold("billing"), bool)


def publisher(folder: Path) -> None:
    made = Publisher.init(folder, feeds=["id-all"], passphrase="correct horse battery")
    assert_type(made.release("id-all", folder / "list.csv"), ReleaseResult)
    assert_type(made.refresh(), RefreshResult)
    assert_type(made.snapshot("id-all"), SnapshotResult)
    assert_type(Publisher.init(folder, feeds={"id-messaging": "messaging"}, passphrase=None), Publisher)
    assert_type(made.protect_more(["0812-3456-7000"]), ProtectionResult)
    assert_type(made.plan_protection(remove=folder / "gone.txt"), ProtectionChange)
    assert_type(made.status(), PublisherStatus)
    assert_type(mirror("https://lists.example", folder, root=b""), MirrorResult)


def exchange(at: datetime) -> None:
    account = ClientCredentials.for_exchange("https://exchange.example", "gopay", "a-secret")
    with ExchangeClient("https://exchange.example", auth=account) as client:
        assert_type(
            client.submit_report(
                "0812-3456-7890",
                category="fraud",
                channel="sms",
                text="A prize",
                happened_at=at,
                reporter="customer-19",
            ),
            Report,
        )
        assert_type(client.reports(), Iterator[Report])
        assert_type(client.get_report(1), Report)
        assert_type(client.get_case(1), Case)
        assert_type(client.start_verification(1), Case)
        assert_type(client.decide(1, "block", reason="confirmed"), Decision)
        assert_type(client.submit_appeal(number="0812-3456-7890", grounds="mine", appellant="owner-1"), Appeal)
        assert_type(client.receipts(), Iterator[Receipt])
        assert_type(client.get_statistics("2026-11"), Statistics)


async def asynchronous_exchange() -> None:
    async with AsyncExchangeClient("https://exchange.example") as client:
        assert_type(await client.get_case(1), Case)
        assert_type(client.reports(), AsyncIterator[Report])


def testing(moment: datetime) -> None:
    with fake_repository("id-all", region="ID", scope="sms") as repository, repository.blocklist() as blocklist:
        assert_type(repository.publish(generated_numbers(3), until=moment), ReleaseResult)
        assert_type(blocklist, Blocklist)
        assert_type(repository.environment, dict[str, str])
        assert_type(repository.clock, Clock)
        with repository.fail("expired"):
            blocklist.sync()
    with fake_exchange(two_person=False) as exchange:
        assert_type(exchange.client("officer"), ExchangeClient)
        assert_type(exchange.async_client("officer"), AsyncExchangeClient)
        assert_type(exchange.auth("officer"), ClientCredentials)
        assert_type(exchange.blocklist("chat"), Blocklist)
        with exchange.fail(503, retry_after=5):
            pass
    with fake_clock() as clock:
        assert_type(clock.set(moment), datetime)
