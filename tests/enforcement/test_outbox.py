"""Receipts: which a record has, and that each is sent once, whatever happens on the way."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk.enforcement.items import Items
from blocklist_sdk.enforcement.ledger import Ledger
from blocklist_sdk.enforcement.paths import ledger_path
from blocklist_sdk.enforcement.receipts import (
    REFUSED_KEPT_MAX,
    ReceiptsResult,
    count_receipts,
    receipts_of,
    send_receipts,
)
from blocklist_sdk.enforcement.sink import DONE, Outcome, UniformOutcomes
from blocklist_sdk.errors import ExchangeError, InvalidInput, Locked, Unreachable
from blocklist_sdk.exchange.client import ExchangeClient
from blocklist_sdk.exchange.models import RECEIPTS_MAX
from blocklist_sdk.exchange.wire import ClientSettings
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.sandbox import RECIPIENTS, Sandbox, sandbox
from support.command_line import assert_fails, run
from support.exchanges import Asked, Told, exchanging, problem, routes
from support.killing import LATER, SOONER, Moment, Say, nursery
from support.ledgers import FIRST, PUBLISHED, items_of, listed, planned, written
from support.scale import scaled

WHO = "chat"
FEED = RECIPIENTS[WHO]
ACCOUNT = {"name": WHO, "scopes": ["receipt", f"feed:{FEED}"]}
ONCE = ClientSettings(attempts=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "hlr", feed=FEED) as opened:
        yield opened


# The receipts of a record


def test_every_entry_behind_a_change_has_a_receipt(ledger: Ledger) -> None:
    record = written(ledger, items_of([FIRST, (FIRST + 5, FIRST + 9)], entries=[(4, 9), (7,)]), serial=3)
    told = [(each.entry, each.outcome, each.serial, each.feed, each.at) for each in receipts_of(record)]
    assert told == [(entry, "enforced", 3, FEED, record.done) for entry in (4, 9, 7)]
    assert count_receipts(record) == 3


def test_a_recipients_own_decision_has_no_receipt(ledger: Ledger) -> None:
    record = written(ledger, items_of([FIRST, FIRST + 1], entries=[(), (5,)]))
    assert [each.entry for each in receipts_of(record)] == [5]
    assert count_receipts(record) == 1


def test_an_unblock_that_is_done_is_reversed(ledger: Ledger) -> None:
    kinds = [Outcome("reversed"), Outcome("enforced"), Outcome("already-inactive"), Outcome("refused", "held by court")]
    record = written(ledger, items_of(range(FIRST, FIRST + 4)), kinds, operation="unblock")
    assert [each.outcome for each in receipts_of(record)] == ["reversed", "reversed", "already-inactive", "refused"]


def test_what_is_tried_again_has_no_receipt_and_what_was_given_up_has_failed(ledger: Ledger) -> None:
    failed = Outcome("failed", "timeout")
    record = written(ledger, items_of(range(FIRST, FIRST + 3)), [failed, failed, DONE], given_up=[1])
    assert [(each.entry, each.outcome, each.detail) for each in receipts_of(record)] == [
        (2, "failed", "timeout"),
        (3, "enforced", ""),
    ]
    assert count_receipts(record) == 2


def test_a_change_in_doubt_has_no_receipt(ledger: Ledger) -> None:
    batch = ledger.begin(planned("block", items_of([FIRST])), serial=1, published=PUBLISHED, at=PUBLISHED)
    assert list(receipts_of(ledger.record(batch.number_in_ledger))) == []
    ledger.settle(batch.number_in_ledger, is_applied=False, at=PUBLISHED)
    record = ledger.record(batch.number_in_ledger)
    assert (list(receipts_of(record)), count_receipts(record)) == ([], 0)


def test_a_sinks_words_are_passed_on_as_the_exchange_takes_them(ledger: Ledger) -> None:
    said = [Outcome("refused", "no\x00such\nsubscriber"), Outcome("refused", "x" * 5000), Outcome("refused", "  ü ")]
    record = written(ledger, items_of(range(FIRST, FIRST + 3)), said)
    assert [each.detail for each in receipts_of(record)] == [
        "no\N{REPLACEMENT CHARACTER}such\nsubscriber",
        "x" * 1000,
        "ü",
    ]


# Sending


def answering(refuse: frozenset[int] = frozenset()) -> Any:
    """An exchange that accepts receipts, except for some entries."""

    def take(asked: Asked) -> Any:
        items = [
            {"index": index, "status": "refused", "reason": "no such entry"}
            if new["entry"] in refuse
            else {"index": index, "status": "accepted"}
            for index, new in enumerate(asked.document["receipts"])
        ]
        return {"items": items}

    return take


def posts(asked: list[Asked]) -> list[Asked]:
    return [each for each in asked if each.method == "POST"]


def sent_to(url: str, ledger: Ledger, **options: Any) -> ReceiptsResult:
    with ExchangeClient(url, settings=ONCE) as client:
        return send_receipts(ledger, client, **options)


def table(take: Any) -> dict[str, Any]:
    return {"GET /v1/account": ACCOUNT, "POST /v1/receipts": take}


def test_the_oldest_record_goes_first_and_each_once(ledger: Ledger) -> None:
    for serial in (1, 2, 3):
        written(ledger, items_of([FIRST + serial], entries=[(serial,)]), serial=serial)
    with exchanging(routes(table(answering()))) as (url, asked):
        assert sent_to(url, ledger) == ReceiptsResult(sent=3, records=3)
        assert [each.document["receipts"][0]["serial"] for each in posts(asked)] == [1, 2, 3]
        assert sent_to(url, ledger) == ReceiptsResult()
        assert len(posts(asked)) == 3
    assert list(ledger.unacknowledged()) == []


def test_a_record_without_receipts_is_done_without_a_request(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST], entries=[()]))
    with exchanging(routes({})) as (url, asked):
        assert sent_to(url, ledger) == ReceiptsResult(records=1)
        assert asked == []


def test_receipts_are_sent_again_under_the_same_key_if_the_answer_was_not_written_down(ledger: Ledger) -> None:
    written(ledger, items_of(range(FIRST, FIRST + 7)))
    with exchanging(routes(table(answering()))) as (url, asked):
        sent_to(url, ledger)
        next(ledger.directory.glob("records/*.receipts.json")).unlink()
        sent_to(url, ledger)
        once, again = posts(asked)
    assert once.headers["Idempotency-Key"] == again.headers["Idempotency-Key"]
    assert once.body == again.body


def test_a_ledger_restored_from_a_copy_uses_no_key_for_another_body(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST], entries=[(1,)]))
    with exchanging(routes(table(answering()))) as (url, asked):
        sent_to(url, ledger)
        for file in (ledger.directory / "records").iterdir():
            file.unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ledger, "_next", 1)
            written(ledger, items_of([FIRST], entries=[(2,)]))
        sent_to(url, ledger)
        once, other = posts(asked)
    assert once.headers["Idempotency-Key"] != other.headers["Idempotency-Key"]


def test_refused_receipts_are_kept_with_their_reason_and_can_be_sent_again(ledger: Ledger) -> None:
    written(ledger, items_of(range(FIRST, FIRST + 3)))
    with exchanging(routes(table(answering(frozenset({2}))))) as (url, asked):
        assert sent_to(url, ledger) == ReceiptsResult(sent=2, refused=1, records=1)
        assert sent_to(url, ledger) == ReceiptsResult()
    assert list(ledger.refused_receipts()) == [(1, {"entry": 2, "outcome": "enforced", "reason": "no such entry"})]
    with exchanging(routes(table(answering()))) as (url, asked_again):
        assert sent_to(url, ledger, again=True) == ReceiptsResult(sent=3, records=1)
    assert list(ledger.refused_receipts()) == []
    keys = [posts(each)[0].headers["Idempotency-Key"] for each in (asked, asked_again)]
    assert keys[0] != keys[1]


def test_after_an_error_sending_continues_after_the_last_answered_batch(ledger: Ledger) -> None:
    written(ledger, many(3 * RECEIPTS_MAX + 5))
    take = answering(frozenset({7}))
    answers = [take, problem(503, "busy"), take, take, take]
    with exchanging(routes(table(answers))) as (url, asked):
        with pytest.raises(ExchangeError):
            sent_to(url, ledger)
        assert sent_to(url, ledger) == ReceiptsResult(sent=2 * RECEIPTS_MAX + 5, records=1)
        counts = [len(each.document["receipts"]) for each in posts(asked)]
        entries = {new["entry"] for each in posts(asked) for new in each.document["receipts"]}
    assert counts == [RECEIPTS_MAX, RECEIPTS_MAX, RECEIPTS_MAX, RECEIPTS_MAX, 5]
    assert entries == set(range(1, 3 * RECEIPTS_MAX + 6))
    assert [refused["entry"] for _, refused in ledger.refused_receipts()] == [7]


def test_very_many_refusals_are_counted_and_not_kept_one_by_one(ledger: Ledger) -> None:
    count = REFUSED_KEPT_MAX + 5
    written(ledger, many(count))
    with exchanging(routes(table(answering(frozenset(range(count + 1)))))) as (url, _):
        assert sent_to(url, ledger).refused == count
    refused = [each for _, each in ledger.refused_receipts()]
    assert len(refused) == REFUSED_KEPT_MAX + 1
    assert refused[-1] == {"entry": None, "outcome": None, "reason": "5 more receipts were refused"}


def test_an_account_that_may_not_answer_for_the_feed_sends_nothing(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    other = {"name": "gopay", "scopes": ["receipt", "feed:id-all"]}
    with exchanging(routes({"GET /v1/account": other})) as (url, asked):
        with pytest.raises(InvalidInput, match=f"'gopay' may not send receipts for feed '{FEED}'"):
            sent_to(url, ledger)
        assert posts(asked) == []
    assert len(list(ledger.unacknowledged())) == 1


def test_the_next_process_waits_as_the_exchange_has_asked(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    busy = problem(503, "busy", headers={"Retry-After": "3600"})
    with exchanging(routes(table([busy, answering()]))) as (url, asked):
        with pytest.raises(ExchangeError):
            sent_to(url, ledger)
        count = len(asked)
        with pytest.raises(Unreachable, match="asked to wait until") as caught:
            sent_to(url, ledger)
        assert len(asked) == count
        assert caught.value.retry_after == pytest.approx(3600, abs=120)
        (ledger.directory / "outbox.json").unlink()
        assert sent_to(url, ledger).sent == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: None,
        lambda document: {**document, "not_before": "soon"},
        lambda document: {**document, "not_before": 7},
        lambda document: {**document, "parts": "1"},
        lambda document: {name: value for name, value in document.items() if name != "parts"},
        lambda document: {**document, "refused": 7},
        lambda document: {**document, "more": None},
    ],
)
def test_damaged_progress_costs_nothing_but_time(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, damage: Callable[[dict[str, Any]], Any]
) -> None:
    record = written(ledger, items_of([FIRST]))
    progress = {"format": 1, "about": [str(record.done), RECEIPTS_MAX, 1], "parts": 0, "refused": [], "more": 0}
    (ledger.directory / "outbox.json").write_text(json.dumps(damage(progress)), encoding="utf-8")
    with exchanging(routes(table(answering()))) as (url, _):
        assert sent_to(url, ledger).sent == 1
    assert "outbox.json is damaged" in caplog.text


def test_an_unreachable_exchange_leaves_everything_for_the_next_call(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    with exchanging(routes({})) as (url, _):
        pass
    with pytest.raises(Unreachable):
        sent_to(url, ledger)
    assert len(list(ledger.unacknowledged())) == 1


def test_an_answer_for_too_few_receipts_does_not_count(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST, FIRST + 1]))
    few = Told({"items": [{"index": 0, "status": "accepted"}]})
    with exchanging(routes(table([few, answering()]))) as (url, _):
        with pytest.raises(Exception, match="answered for 1 of 2"):
            sent_to(url, ledger)
        assert sent_to(url, ledger).sent == 2


def test_a_shadows_receipts_are_not_sent(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "hlr.shadow", feed=FEED) as ledger, exchanging(routes({})) as (url, asked):
        written(ledger, items_of([FIRST]))
        with pytest.raises(InvalidInput, match="no receipts to send"):
            sent_to(url, ledger)
        assert asked == []


def test_receipts_are_sent_while_a_run_goes_on_but_not_twice_at_once(ledger: Ledger) -> None:
    written(ledger, items_of([FIRST]))
    with Ledger.outbox(ledger.directory, feed=FEED) as outbox, exchanging(routes(table(answering()))) as (url, _):
        with pytest.raises(Locked, match="sends the receipts"):
            Ledger.outbox(ledger.directory, feed=FEED, wait_s=0)
        written(ledger, items_of([FIRST + 1]))
        assert sent_to(url, outbox).records == 2
    assert list(ledger.unacknowledged()) == []


@pytest.mark.parametrize("way", [Ledger.outbox, Ledger.read])
def test_a_ledger_must_exist_to_be_sent_or_read(tmp_path: Path, way: Any) -> None:
    with pytest.raises(InvalidInput, match="nothing has been enforced into hlr yet"):
        way(tmp_path / "hlr", feed=FEED)
    assert not list(tmp_path.iterdir())


def many(count: int) -> Items:
    """Very many items."""
    number = np.arange(FIRST, FIRST + count, dtype=np.int64)
    return Items(
        number=number,
        last=number,
        scope=np.full(count, 15, np.uint8),
        entry=number - FIRST + 1,
        until=np.full(count, FOREVER_MS, np.int64),
        category=np.zeros(count, np.int32),
        categories=("fraud",),
        entry_lists={},
    )


def test_receipts_of_a_huge_record_are_made_as_they_are_needed(ledger: Ledger) -> None:
    import tracemalloc

    count = 1_000_000
    items = many(count)
    batch = ledger.begin(planned("block", items), serial=1, published=PUBLISHED, at=PUBLISHED)
    record = ledger.finish(batch, UniformOutcomes(DONE, count), at=PUBLISHED)
    tracemalloc.start()
    try:
        last = 0
        for place, receipt in enumerate(receipts_of(record)):
            last = receipt.entry
            if place == 100_000:
                break
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert last == 100_001
    assert count_receipts(record) == count


# At a real exchange


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("exchange") / "box", cases=120) as running:
        yield running


def fill(box: Sandbox, directory: Path, *, a_record: int) -> Counter[tuple[int, str]]:
    """Fill a ledger with everything that is listed, and lift some of it; returns the receipts, by entry."""
    with box.blocklist(WHO) as blocklist:
        blocklist.sync()
        items, serial = listed(blocklist)
    wanted: Counter[tuple[int, str]] = Counter()
    now = datetime.now(UTC) - timedelta(minutes=1)
    with Ledger.open(directory, feed=FEED) as ledger:
        for start in range(0, len(items), a_record):
            some = items.take(np.arange(start, min(start + a_record, len(items))))
            kinds = [DONE if each % 5 else Outcome("not-ours", "ported out") for each in some.entry.tolist()]
            record = written(ledger, some, kinds, serial=serial, published=now, begun=now, took=timedelta())
            wanted.update((each.entry, each.outcome) for each in receipts_of(record))
        lifted = items.take(np.arange(0, len(items), 3))
        record = written(ledger, lifted, operation="unblock", serial=serial, published=now, begun=now, took=timedelta())
        wanted.update((each.entry, each.outcome) for each in receipts_of(record))
    return wanted


def send(box: Sandbox, directory: Path, argument: int, say: Say) -> None:
    with Ledger.outbox(directory, feed=FEED) as ledger, box.client(WHO) as client:
        say("open")
        send_receipts(ledger, client)


@pytest.mark.timing
def test_receipts_are_complete_and_single_however_often_sending_is_killed(
    box: Sandbox, tmp_path: Path, tally: Any
) -> None:
    """Kill -9 at random moments, until all have been sent."""
    kills_wanted = scaled(6, long=150)
    directory, chance = tmp_path / "sinks" / "app", random.Random(5)
    wanted: Counter[tuple[int, str]] = Counter()
    kills = sends = 0
    longest_s = 0.2
    with nursery(partial(send, box, directory)) as children:
        while kills < kills_wanted:
            wanted = fill(box, directory, a_record=8)
            for _ in range(200):
                with Ledger.read(directory, feed=FEED) as ledger:
                    if not any(ledger.unacknowledged()):
                        break
                end = children.run(0, Moment(chance.uniform(0, longest_s), ""))
                kills, sends = kills + end.was_killed, sends + 1
                longest_s *= LATER if end.was_killed else SOONER
    with Ledger.outbox(directory, feed=FEED) as ledger, box.client(WHO) as client:
        send_receipts(ledger, client)
        assert list(ledger.refused_receipts()) == []
        assert list(ledger.unacknowledged()) == []
        there = Counter((each.entry, each.outcome) for each in client.receipts(feed=FEED))
    assert there == wanted
    assert set(there.values()) == {1}
    tally(kills=kills, sends=sends)


# From the command line


def settings_of(box: Sandbox) -> dict[str, str]:
    return {"BLOCKLIST_CONFIG": str(box.directory / WHO / "blocklist.toml")}


def test_the_commands_send_what_waits_and_make_a_statement_of_it(box: Sandbox, tmp_path: Path) -> None:
    env = settings_of(box)
    with box.blocklist(WHO) as blocklist:
        assert_fails(run("receipts", "pending", "--sink", "hlr", env=env), 2, "nothing has been enforced into hlr")
        directory = ledger_path(blocklist, "hlr")
        fill(box, directory, a_record=50)
    with Ledger.open(directory, feed=FEED) as ledger:
        written(ledger, items_of([FIRST], entries=[(99_999,)]), begun=datetime.now(UTC), took=timedelta())

    waiting = run("receipts", "pending", "--sink", "hlr", "--json", env=env).documents
    assert [each["status"] for each in waiting] == ["pending"] * len(waiting)
    ran = run("receipts", "send", "--sink", "hlr", "--json", env=env)
    assert ran.code == 7
    assert ran.document["records"] == len(waiting)
    assert ran.document["sent"] + ran.document["repeated"] == sum(each["receipts"] for each in waiting) - 1
    assert ran.document["refused"] == 1
    assert "pending --sink hlr shows why" in ran.err
    left = run("receipts", "pending", "--sink", "hlr", env=env)
    assert left.out == f"refused  record {len(waiting)}: entry 99999, enforced: the feed has never had this entry\n"
    assert run("receipts", "send", "--sink", "hlr", env=env).out == "0 accepted, 0 repeated, 0 refused\n"
    again = run("receipts", "send", "--sink", "hlr", "--again", env=env)
    assert (again.code, again.out) == (7, "0 accepted, 0 repeated, 1 refused\n")

    month = f"{datetime.now(UTC):%Y-%m}"
    page = tmp_path / "statement.html"
    assert run("statement", "--sink", "hlr", "--month", month, "-o", page, env=env).code == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    statement = run("statement", "--sink", "hlr", "--month", month, "--format", "csv", env=env)
    assert f"{month},{FEED},hlr,other,,receipts_refused,1" in statement.lines


def test_sending_takes_a_file_or_a_sink(box: Sandbox) -> None:
    env = settings_of(box)
    for arguments in (
        (),
        ("a.csv", "--sink", "hlr"),
        ("a.csv", "--again"),
        ("--sink", "hlr", "--idempotency-key", "k"),
    ):
        assert_fails(run("receipts", "send", *arguments, env=env), 2, "FILE", "--sink")
    assert_fails(run("receipts", "send", "--sink", "../x", env=env), 2, "cannot name a sink")
    assert_fails(run("statement", "--sink", "hlr", "--month", "10-2026", env=env), 2)
