"""Each call as the contract has it, by both clients alike; what cannot be sent is refused before anything is."""

import contextlib
import dataclasses
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk import AsyncExchangeClient, ExchangeClient, InvalidInput, Malformed
from blocklist_sdk.exchange import calls
from blocklist_sdk.exchange.models import (
    BULK_MAX,
    EVIDENCE_BYTES_MAX,
    RECEIPTS_MAX,
    BulkItem,
    Case,
    Event,
    NewReceipt,
    NewReport,
    Page,
    ReceiptItem,
    Report,
)
from blocklist_sdk.net.tls import tls_context
from support.exchanges import (
    EVENT,
    EVIDENCE,
    MOMENT,
    NUMBER,
    RECEIPT,
    RECYCLED,
    RECYCLED_ANSWER,
    STATISTICS,
    Asked,
    Told,
    appeal,
    case,
    decision,
    exchanging,
    page,
    report,
    routes,
)

WHEN = datetime(2026, 11, 24, 8, tzinfo=UTC)
REPORT = {
    "category": "fraud",
    "channel": "sms",
    "text": "You have won",
    "happened_at": WHEN,
    "reporter": "customer-17",
}
WIRE = {**REPORT, "number": "0812-3456-7890", "happened_at": MOMENT, "app": None}
FEED_ = {"feed": "id-all", "serial": 4, "rows": 10, "published_at": MOMENT}
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001
WAITING: dict[str, Any] = {
    "feed": "id-all",
    "digest": "0" * 64,
    "refused_at": MOMENT,
    "listings": 1001,
    "added": 1001,
    "blocked": 500,
    "reasons": ["it would begin to block 1,001 numbers"],
    "examples": [
        {
            "case": 7,
            "number": NUMBER,
            "why": "other",
            "level": "block",
            "category": "fraud",
            "scope": ["sms"],
            "since": MOMENT,
            "until": None,
        }
    ],
    "accepted_by": None,
}
PUBLICATION: dict[str, Any] = {"at": MOMENT, "routine": True, "feeds": [], "waiting": [WAITING]}
PUBLICATION |= {"ends_held": 21, "ends_held_why": "the clock", "listings_held_why": "the trail"}

AUTHORITIES = tls_context()
"""Read once: to read them takes longer than most of these tests."""

Use = Callable[[Any], Any]

CALLS: dict[str, tuple[Use, str, Any, Any]] = {
    "submit_report": (lambda x: x.submit_report("0812-3456-7890", **REPORT), "POST /v1/reports", report(), WIRE),
    "reports": (lambda x: x.reports(number="+62812", since=WHEN), "GET /v1/reports", page(report()), None),
    "get_report": (lambda x: x.get_report(1), "GET /v1/reports/1", report(), None),
    "attach_evidence": (
        lambda x: x.attach_evidence(1, b"data", name="a b.png"),
        "POST /v1/reports/1/evidence",
        EVIDENCE,
        b"data",
    ),
    "cases": (lambda x: x.cases(state="received", number="+62", overdue=True), "GET /v1/cases", page(case()), None),
    "get_case": (lambda x: x.get_case(7), "GET /v1/cases/7", case(), None),
    "case_reports": (lambda x: x.case_reports(7), "GET /v1/cases/7/reports", page(report()), None),
    "case_history": (lambda x: x.case_history(7), "GET /v1/cases/7/history", page(EVENT), None),
    "start_verification": (lambda x: x.start_verification(7), "POST /v1/cases/7/verification", case(), b""),
    "decide": (
        lambda x: x.decide(7, "block", reason="seen", scope={"sms", "voice"}, until=WHEN, urgent=True, version=12),
        "POST /v1/cases/7/decisions",
        decision(),
        {
            "kind": "block",
            "reason": "seen",
            "category": None,
            "scope": ["sms", "voice"],
            "until": MOMENT,
            "urgent": True,
            "version": 12,
        },
    ),
    "confirm_decision": (
        lambda x: x.confirm_decision(5, version=12),
        "POST /v1/decisions/5/confirmation",
        decision(),
        {"version": 12},
    ),
    "withdraw_decision": (lambda x: x.withdraw_decision(5), "POST /v1/decisions/5/withdrawal", decision(), b""),
    "submit_appeal": (
        lambda x: x.submit_appeal(feed="id-all", entry=11, grounds="a new owner", appellant="customer-18"),
        "POST /v1/appeals",
        appeal(),
        {"number": None, "feed": "id-all", "entry": 11, "grounds": "a new owner", "appellant": "customer-18"},
    ),
    "appeals": (lambda x: x.appeals(state="open"), "GET /v1/appeals", page(appeal()), None),
    "get_appeal": (lambda x: x.get_appeal(9), "GET /v1/appeals/9", appeal(), None),
    "attach_appeal_evidence": (
        lambda x: x.attach_appeal_evidence(9, b"data", name="a.bin"),
        "POST /v1/appeals/9/evidence",
        EVIDENCE,
        b"data",
    ),
    "answer_appeal": (
        lambda x: x.answer_appeal(9, grant=True, reason="a new owner"),
        "POST /v1/appeals/9/answer",
        appeal(),
        {"grant": True, "reason": "a new owner", "version": None},
    ),
    "recycled_batches": (lambda x: x.recycled_batches(), "GET /v1/receipts/recycled", [RECYCLED], None),
    "answer_recycled": (
        lambda x: x.answer_recycled("0" * 64, confirm=True, reason="asked the operator"),
        "POST /v1/receipts/recycled/answers",
        RECYCLED_ANSWER,
        {"digest": "0" * 64, "confirm": True, "reason": "asked the operator"},
    ),
    "receipts": (lambda x: x.receipts(feed="id-all", entry=11), "GET /v1/receipts", page(RECEIPT), None),
    "feeds": (lambda x: x.feeds(), "GET /v1/feeds", [FEED_], None),
    "publish": (lambda x: x.publish(everything=True), "POST /v1/publications", PUBLICATION, {"everything": True}),
    "waiting_releases": (lambda x: x.waiting_releases(), "GET /v1/publications/waiting", [WAITING], None),
    "accept_release": (
        lambda x: x.accept_release("id-all", "0" * 64),
        "POST /v1/publications/acceptances",
        PUBLICATION,
        {"feed": "id-all", "digest": "0" * 64},
    ),
    "get_statistics": (lambda x: x.get_statistics("2026-11"), "GET /v1/statistics/2026-11", STATISTICS, None),
    "get_number_status": (
        lambda x: x.get_number_status("+62 812/3456"),
        "GET /v1/numbers/%2B62%20812%2F3456",
        {"number": NUMBER, "status": "listed"},
        None,
    ),
    "get_account": (lambda x: x.get_account(), "GET /v1/account", {"name": "gopay", "scopes": ["report"]}, None),
    "get_health": (lambda x: x.get_health(), "GET /readyz", {"status": "ok", "version": "1"}, None),
}
QUERIES = {
    "reports": {"number": "+62812", "since": MOMENT, "limit": "500"},
    "attach_evidence": {"name": "a b.png"},
    "attach_appeal_evidence": {"name": "a.bin"},
    "cases": {"state": "received", "number": "+62", "overdue": "true", "limit": "500"},
    "case_reports": {"limit": "500"},
    "case_history": {"limit": "500"},
    "appeals": {"state": "open", "limit": "500"},
    "receipts": {"feed": "id-all", "entry": "11", "limit": "500"},
}


def synchronously(url: str, use: Use) -> Any:
    with ExchangeClient(url, tls=AUTHORITIES) as client:
        found = use(client)
        return list(found) if isinstance(found, Iterator) else found


def asynchronously(url: str, use: Use) -> Any:
    async def run() -> Any:
        async with AsyncExchangeClient(url, tls=AUTHORITIES) as client:
            found = use(client)
            return [each async for each in found] if isinstance(found, AsyncIterator) else await found

    return anyio.run(run)


both = pytest.mark.parametrize("ask", [synchronously, asynchronously])


@both
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_what_the_contract_says(name: str, ask: Any) -> None:
    use, place, answer, sent = CALLS[name]
    with exchanging(routes({place: Told(answer)})) as (url, asked):
        found = ask(url, use)
    (only,) = asked
    assert only.query == QUERIES.get(name, {})
    if only.method == "GET":
        assert "Idempotency-Key" not in only.headers
        assert only.body == b""
    else:
        assert 1 <= len(only.headers["Idempotency-Key"]) <= 128
        assert only.body == sent if isinstance(sent, bytes) else only.document == sent
    if isinstance(found, (list, tuple)):
        (found,) = found
        (answer,) = answer["items"] if isinstance(answer, dict) else answer
    shown = found.model_dump(mode="json")
    assert shown == {name: value for name, value in answer.items() if name in shown}


def test_no_call_of_either_client_is_left_out() -> None:
    own = {"submit_reports", "submit_receipts", "download_evidence", "send", "close"}
    for kind in (ExchangeClient, AsyncExchangeClient):
        methods = {name for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}
        assert methods - own == CALLS.keys()


@pytest.mark.parametrize("kind", [ExchangeClient, AsyncExchangeClient])
def test_every_method_has_the_documentation_and_the_arguments_of_its_call(kind: type) -> None:
    for name in CALLS:
        method, call = getattr(kind, name), getattr(calls, name)
        assert method.__doc__, name
        assert list(inspect.signature(method).parameters) == ["self", *inspect.signature(call).parameters], name


@pytest.mark.parametrize(("name", "item"), [("reports", Report), ("cases", Case), ("case_history", Event)])
def test_the_signature_of_a_list_says_what_it_yields(name: str, item: type) -> None:
    for kind, many in ((ExchangeClient, Iterator), (AsyncExchangeClient, AsyncIterator)):
        assert inspect.signature(getattr(kind, name)).return_annotation == many[item]


@both
def test_a_key_of_the_callers_own_is_sent(ask: Any) -> None:
    with exchanging(routes({"POST /v1/reports": report()})) as (url, asked):
        ask(url, lambda x: x.submit_report("0812", **REPORT, idempotency_key="ticket 17"))
    assert asked[0].headers["Idempotency-Key"] == "ticket 17"


BAD: dict[str, tuple[Use, str]] = {
    "no number": (lambda x: x.submit_report("", **REPORT), "number"),
    "no text": (lambda x: x.submit_report(None, **REPORT), "number"),
    "a naive moment": (lambda x: x.submit_report("0812", **{**REPORT, "happened_at": NAIVE}), "happened_at"),
    "a category": (lambda x: x.submit_report("0812", **{**REPORT, "category": "Fraud!"}), "category"),
    "a channel": (lambda x: x.submit_report("0812", **{**REPORT, "channel": "fax"}), "channel"),
    "messaging without app": (lambda x: x.submit_report("0812", **{**REPORT, "channel": "messaging"}), "app"),
    "an app without messaging": (lambda x: x.submit_report("0812", **REPORT, app="x"), "app"),
    "a control character": (lambda x: x.submit_report("0812", **{**REPORT, "text": "a\0b"}), "U\\+0000"),
    "a half character": (lambda x: x.submit_report("0812", **{**REPORT, "text": "a\ud800"}), "text"),
    "an empty key": (lambda x: x.submit_report("0812", **REPORT, idempotency_key=""), "idempotency_key"),
    "a long key": (lambda x: x.submit_report("0812", **REPORT, idempotency_key="x" * 129), "129"),
    "a key in two lines": (lambda x: x.submit_report("0812", **REPORT, idempotency_key="a\r\nb"), "idempotency_key"),
    "an ID": (lambda x: x.get_report(0), "report"),
    "an ID that is a text": (lambda x: x.get_case("../numbers/1"), "case"),
    "an ID that is truth": (lambda x: x.get_case(True), "case"),
    "a large ID": (lambda x: x.start_verification(1 << 53), "case"),
    "a state": (lambda x: x.cases(state="closed"), "closed"),
    "an appeal's state": (lambda x: x.appeals(state="closed"), "closed"),
    "a kind": (lambda x: x.decide(1, "ban", reason="x"), "kind"),
    "a scope": (lambda x: x.decide(1, "block", reason="x", scope={"fax"}), "scope"),
    "no scope": (lambda x: x.decide(1, "block", reason="x", scope=()), "scope"),
    "no reason": (lambda x: x.decide(1, "block", reason=" "), "reason"),
    "a version": (lambda x: x.decide(1, "block", reason="x", version=0), "version"),
    "number and entry": (lambda x: x.submit_appeal(number="1", feed="a", entry=1, grounds="x", appellant="x"), "feed"),
    "neither": (lambda x: x.submit_appeal(grounds="x", appellant="x"), "number"),
    "a month": (lambda x: x.get_statistics("2026-13"), "month"),
    "a path": (lambda x: x.get_number_status(".."), "number"),
    "a naive since": (lambda x: x.reports(since=datetime(2026, 1, 1)), "since"),  # noqa: DTZ001
    "no file": (lambda x: x.attach_evidence(1, "nowhere.png"), "nowhere.png"),
    "a folder": (lambda x: x.attach_evidence(1, "/"), "not a regular file"),
    "a path with a zero": (lambda x: x.attach_evidence(1, "a\0b"), "cannot read"),
    "an empty file": (lambda x: x.attach_evidence(1, b"", name="x"), "empty"),
    "bytes without a name": (lambda x: x.attach_evidence(1, b"x"), "name"),
    "too much": (lambda x: x.attach_evidence(1, bytes(EVIDENCE_BYTES_MAX + 1), name="x"), "20,000,001"),
    "a media type": (lambda x: x.attach_evidence(1, b"x", name="x", media_type="a\nb"), "media_type"),
    "a name": (lambda x: x.attach_evidence(1, b"x", name="a\0"), "name"),
    "no reports": (lambda x: x.submit_reports([{"number": "0812"}]), "item 0 is a dict"),
    "no receipts": (lambda x: x.submit_receipts([None]), "item 0"),
}


@both
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_name_and_nothing_is_sent(name: str, ask: Any) -> None:
    use, words = BAD[name]
    with exchanging(routes({})) as (url, asked), pytest.raises(InvalidInput, match=words):
        ask(url, use)
    assert asked == []


def test_a_message_does_not_repeat_what_was_given() -> None:
    with ExchangeClient("http://127.0.0.1:9") as client, pytest.raises(InvalidInput) as refused:
        client.submit_report("+6281234567890" * 10, **{**REPORT, "channel": "+6281234567890"})  # type: ignore[arg-type]
    assert "6281234567890" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "exchange.example",
        "file:///srv",
        "https://",
        "https://me:pw@exchange.example",
        "https://x.example/?a=b",
        "https://x.example/#a",
        "http://[::1",
        "http://x:99999",
        None,
    ],
)
def test_an_address_that_cannot_be_used(url: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ExchangeClient(url)
    assert "pw" not in str(refused.value)


def test_an_environment_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy.example")
    for kind in (ExchangeClient, AsyncExchangeClient):
        with pytest.raises(InvalidInput, match="ALL_PROXY"):
            kind("https://exchange.example")


def pages(asked: Asked) -> Any:
    start = int(asked.query.get("cursor", "0"))
    return page(report(start + 1), report(start + 2), following=None if start == 4 else str(start + 2))


@both
def test_pages_are_followed_to_the_last(ask: Any) -> None:
    with exchanging(routes({"GET /v1/reports": pages})) as (url, asked):
        found = ask(url, lambda x: x.reports())
    assert [each.id for each in found] == [1, 2, 3, 4, 5, 6]
    assert [each.query.get("cursor") for each in asked] == [None, "2", "4"]


def test_a_page_is_fetched_when_it_is_needed() -> None:
    with exchanging(routes({"GET /v1/reports": pages})) as (url, asked), ExchangeClient(url) as client:
        reports = client.reports()
        assert asked == []
        assert next(reports).id == 1
        assert len(asked) == 1


@both
def test_pages_that_go_round_in_a_circle_end(ask: Any) -> None:
    with (
        exchanging(routes({"GET /v1/reports": page(following="again")})) as (url, asked),
        pytest.raises(Malformed, match="endless list of pages"),
    ):
        ask(url, lambda x: x.reports())
    assert len(asked) == 2


def new_reports(count: int) -> Iterator[NewReport]:
    for number in range(count):
        yield calls.new_report({**REPORT, "number": f"0812{number:06}"})


def bulk(asked: Asked) -> Any:
    sent = asked.document["reports"]
    return {
        "items": [{"index": index, "report": report(index + 1, text=each["number"])} for index, each in enumerate(sent)]
    }


@both
def test_reports_go_in_bulks_and_are_counted_from_the_first(ask: Any) -> None:
    with exchanging(routes({"POST /v1/reports/bulk": bulk})) as (url, asked):
        found = ask(url, lambda x: x.submit_reports(new_reports(BULK_MAX + 1), idempotency_key="file-17"))
    assert [len(each.document["reports"]) for each in asked] == [BULK_MAX, 1]
    assert [each.headers["Idempotency-Key"] for each in asked] == ["file-17-0", "file-17-1"]
    assert [each.index for each in found] == list(range(BULK_MAX + 1))
    assert [each.report.text for each in found] == [f"0812{number:06}" for number in range(BULK_MAX + 1)]


def test_reports_are_taken_as_they_are_sent() -> None:
    taken = list[int]()

    def some() -> Iterator[NewReport]:
        for place, each in enumerate(new_reports(BULK_MAX * 3)):
            taken.append(place)
            yield each

    with exchanging(routes({"POST /v1/reports/bulk": bulk})) as (url, _), ExchangeClient(url) as client:
        answers = client.submit_reports(some())
        assert taken == []
        next(answers)
        assert len(taken) == BULK_MAX


@both
def test_nothing_to_report_is_no_request(ask: Any) -> None:
    with exchanging(routes({})) as (url, asked):
        assert ask(url, lambda x: x.submit_reports([])) == []
        assert ask(url, lambda x: x.submit_receipts([])) == []
    assert asked == []


@both
@pytest.mark.parametrize("items", [[], [{"index": 1}], [{"index": 0}, {"index": 1}]])
def test_results_for_other_items_are_malformed(items: Any, ask: Any) -> None:
    with (
        exchanging(routes({"POST /v1/reports/bulk": {"items": items}})) as (url, _),
        pytest.raises(Malformed, match="mixed them up"),
    ):
        ask(url, lambda x: x.submit_reports(new_reports(1)))


def new_receipts(count: int) -> list[NewReceipt]:
    row = {"feed": "id-all", "serial": "4", "outcome": "enforced", "at": MOMENT}
    return [calls.new_receipt({**row, "entry": number + 1}) for number in range(count)]


@both
def test_receipts_go_in_batches(ask: Any) -> None:
    def answer(asked: Asked) -> Any:
        return {"items": [{"index": at, "status": "accepted"} for at, _ in enumerate(asked.document["receipts"])]}

    with exchanging(routes({"POST /v1/receipts": answer})) as (url, asked):
        found = ask(url, lambda x: x.submit_receipts(new_receipts(RECEIPTS_MAX + 2)))
    assert [len(each.document["receipts"]) for each in asked] == [RECEIPTS_MAX, 2]
    assert len({each.headers["Idempotency-Key"] for each in asked}) == 2
    assert [each.index for each in found] == list(range(RECEIPTS_MAX + 2))


@given(st.integers(0, 50), st.integers(1, 7))
def test_batches_hold_everything_once_in_order(count: int, most: int) -> None:
    items = list(new_reports(count))
    found = list(calls._batches(iter(items), NewReport, most))
    assert [each for _, some in found for each in some] == items
    assert [start for start, _ in found] == list(range(0, count, most))
    assert all(len(some) == most for _, some in found[:-1])


@given(st.integers(0, 10**6), st.lists(st.integers(-1, 5), max_size=6))
def test_answers_are_renumbered_only_where_they_are_whole(start: int, places: list[int]) -> None:
    batch = calls.BulkCall(start, len(places), calls.get_account())
    items = tuple(ReceiptItem(index=place, status="accepted") for place in places)
    if places == list(range(len(places))):
        assert [each.index for each in calls.renumbered(batch, items)] == [start + place for place in places]
    else:
        with pytest.raises(Malformed):
            calls.renumbered(batch, items)


@given(st.text())
def test_any_text_makes_a_path_below_numbers_or_is_refused(text: str) -> None:
    try:
        call = calls.get_number_status(text)
    except InvalidInput:
        return
    assert call.path.startswith("/v1/numbers/")
    assert call.path.count("/") == 3
    assert call.path.isascii()
    assert not set("?#\\") & set(call.path)
    assert call.shown == "/v1/numbers/…"


@given(
    st.dictionaries(st.sampled_from([*NewReport.model_fields, "other"]), st.one_of(st.none(), st.text(), st.integers()))
)
def test_any_row_makes_a_report_or_is_refused(row: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInput):
        json.loads(calls.new_report(row).model_dump_json())


@given(st.none() | st.text(min_size=1), st.none() | st.text(min_size=1))
def test_a_following_page_is_asked_with_its_cursor(cursor: str | None, following: str | None) -> None:
    call = calls.reports()
    if cursor is not None:
        call = dataclasses.replace(call, query={**call.query, "cursor": cursor})
    found: Page[Any] = Page[Any](items=(), next=following)
    if following is None:
        assert calls.next_page(call, found) is None
    elif following == cursor:
        with pytest.raises(Malformed):
            calls.next_page(call, found)
    else:
        after = calls.next_page(call, found)
        assert after is not None
        assert after.query == {"limit": "500", "cursor": following}


def test_a_problem_of_one_report_leaves_the_others(tmp_path: Path) -> None:
    problem = {"type": "x", "title": "x", "status": 422, "detail": "no number", "errors": []}
    items = [{"index": 0, "report": report()}, {"index": 1, "problem": problem}]
    with (
        exchanging(routes({"POST /v1/reports/bulk": Told({"items": items})})) as (url, _),
        ExchangeClient(url) as client,
    ):
        found: list[BulkItem] = list(client.submit_reports(new_reports(2)))
    assert found[0].report is not None
    assert found[1].problem is not None
    assert found[1].problem.detail == "no number"
