"""The exchange for integrators' tests: the real one, without a network. Numbers are generated."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest

import support.quick_secrets  # noqa: F401
from blocklist_sdk import (
    Blocklist,
    BlocklistError,
    ExchangeClient,
    ExchangeError,
    InvalidInput,
    Malformed,
    NotPermitted,
    Unreachable,
)
from blocklist_sdk.enforcement import Batch, Ledger, Outcome, enforce, ledger_path, send_receipts
from blocklist_sdk.net.in_memory import server_at
from blocklist_sdk.net.oauth import ClientCredentials
from blocklist_sdk.sandbox import screenshot
from blocklist_sdk.testing import ExchangeFault, FakeExchange, fake_exchange, generated_numbers

NUMBER = "+6281234500001"
OTHER = "+6281234500002"
"""Telkomsel's."""

FAULTS: list[tuple[int | ExchangeFault, type[BlocklistError]]] = [
    *((status, ExchangeError) for status in (401, 403, 409, 413, 422, 429, 500, 503)),
    ("unreachable", Unreachable),
    ("slow", Unreachable),
    ("captive-portal", Malformed),
]
"""docs/how-to/test-an-integration.md has the same table."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.fixture
def exchange() -> Iterator[FakeExchange]:
    with fake_exchange() as made:
        yield made


def fields(exchange: FakeExchange, **changed: Any) -> dict[str, Any]:
    return {
        "category": "fraud",
        "channel": "sms",
        "text": "You have won",
        "happened_at": exchange.clock.now - timedelta(hours=1),
        "reporter": "customer-17",
    } | changed


def reported(exchange: FakeExchange, number: str = NUMBER) -> int:
    """A case that officers can decide."""
    hotline, officer = exchange.client("hotline"), exchange.client("officer")
    report = hotline.submit_report(number, **fields(exchange))
    hotline.attach_evidence(report.id, screenshot(), name="a.png")
    return next(officer.cases(number=number)).id


def listed(exchange: FakeExchange, number: str = NUMBER) -> int:
    case = reported(exchange, number)
    officer, second = exchange.client("officer"), exchange.client("second-officer")
    decision = officer.decide(case, "block", reason="seen", urgent=True, version=officer.get_case(case).version)
    second.confirm_decision(decision.id, version=second.get_case(case).version)
    return case


class Network:
    """A recipient's system: a sink that does everything."""

    def apply(self, batch: Batch) -> list[Outcome]:
        return [Outcome("enforced") for _ in batch]

    def close(self) -> None:
        pass


def test_a_complaint_goes_from_the_report_to_receipts_and_an_appeal_back(exchange: FakeExchange) -> None:
    officer, blocklist = exchange.client("officer"), exchange.blocklist("telkomsel")
    case = listed(exchange)
    listed(exchange, OTHER)  # a list that becomes empty is refused
    assert officer.get_case(case).state == "published", "what is urgent is published at once"
    blocklist.sync()
    assert NUMBER in blocklist
    enforce(blocklist, Network(), name="network")
    with Ledger.outbox(ledger_path(blocklist, "network"), feed=blocklist.feed) as ledger:
        assert send_receipts(ledger, exchange.client("telkomsel")).sent == 2
    assert [receipt.outcome for receipt in officer.receipts()] == ["enforced"] * 2
    appeal = exchange.client("chat").submit_appeal(number=NUMBER, grounds="a new owner", appellant="owner-1")
    officer.answer_appeal(appeal.id, grant=True, reason="It is so.", version=officer.get_case(case).version)
    blocklist.sync()
    assert NUMBER not in blocklist


def test_what_is_not_urgent_waits_for_the_cycle(exchange: FakeExchange) -> None:
    exchange.clock.set(datetime(2027, 3, 10, tzinfo=UTC))
    case, blocklist = reported(exchange), exchange.blocklist("telkomsel")
    officer, second = exchange.client("officer"), exchange.client("second-officer")
    decision = officer.decide(case, "block", reason="seen", version=officer.get_case(case).version)
    assert decision.state == "proposed"
    second.confirm_decision(decision.id, version=second.get_case(case).version)
    blocklist.sync()
    assert NUMBER not in blocklist
    exchange.clock.set(datetime(2027, 4, 1, 1, tzinfo=UTC))
    blocklist.sync()
    assert NUMBER in blocklist
    exchange.publish()
    assert officer.get_case(case).state == "published"


def test_the_real_exchange_refuses_what_it_refuses(exchange: FakeExchange) -> None:
    hotline, officer = exchange.client("hotline"), exchange.client("officer")
    case = reported(exchange)
    with pytest.raises(ExchangeError) as forbidden:
        hotline.decide(case, "block", reason="x", version=1)
    with pytest.raises(ExchangeError) as conflict:
        officer.decide(case, "block", reason="x", version=1)
    with pytest.raises(ExchangeError) as invalid:
        hotline.submit_report("GoPay", **fields(exchange))
    hotline.submit_report(NUMBER, **fields(exchange, reporter="2"), idempotency_key="k1")
    with pytest.raises(ExchangeError) as reused:
        hotline.submit_report(NUMBER, **fields(exchange, reporter="3"), idempotency_key="k1")
    wrong = ClientCredentials.for_exchange(exchange.url, "hotline", "wrong")
    with ExchangeClient(exchange.url, auth=wrong) as stranger, pytest.raises(ExchangeError) as unknown:
        next(stranger.reports())
    statuses = [each.value.status for each in (forbidden, conflict, invalid, reused, unknown)]
    assert statuses == [403, 409, 422, 422, 401]
    with pytest.raises(NotPermitted):
        exchange.blocklist("telkomsel", feed="id-indosat").sync()


def test_the_same_key_is_one_report(exchange: FakeExchange) -> None:
    hotline, given = exchange.client("hotline"), fields(exchange)
    first, second = (hotline.submit_report(NUMBER, **given, idempotency_key="k1") for _ in range(2))
    assert first.id == second.id
    assert len(list(hotline.reports())) == 1


@pytest.mark.parametrize(("fault", "error"), FAULTS, ids=lambda each: str(each))
def test_a_fault_is_the_error_of_the_real_client(
    exchange: FakeExchange, fault: int | ExchangeFault, error: type[BlocklistError]
) -> None:
    hotline = exchange.client("hotline")
    with exchange.fail(fault, retry_after=7):
        with pytest.raises(error) as caught:
            hotline.submit_report(NUMBER, **fields(exchange))
        if isinstance(caught.value, ExchangeError):
            assert (caught.value.status, caught.value.retry_after) == (fault, 7.0)
            assert caught.value.problem["status"] == fault
    assert list(hotline.reports()) == [], "a request that fails does nothing"
    assert hotline.submit_report(NUMBER, **fields(exchange)).id


def test_a_fault_that_passes_is_tried_again_without_a_wait(exchange: FakeExchange) -> None:
    hotline = exchange.client("hotline")
    exchange.fail(503, retry_after=20, count=3)
    report = hotline.submit_report(NUMBER, **fields(exchange))
    assert [each.id for each in hotline.reports()] == [report.id]
    exchange.fail(401, path="/oauth/", count=1)
    with pytest.raises(ExchangeError):
        next(exchange.client("chat").reports())
    with exchange.fail("unreachable", path="/repository/"), pytest.raises(Unreachable):
        exchange.blocklist("chat").sync()


def test_a_fault_or_account_that_is_not_known_is_an_error(exchange: FakeExchange) -> None:
    for fault in (200, 600, "flood"):
        with pytest.raises(InvalidInput, match="is not a fault: give a status from 400 to 599"):
            exchange.fail(fault)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="'nobody' is not an account here; the accounts are hotline, officer"):
        exchange.client("nobody")
    with pytest.raises(InvalidInput, match="give feed="):
        exchange.blocklist("hotline")


def test_asynchronous_programs_use_it_too(exchange: FakeExchange) -> None:
    async def run() -> tuple[int, list[str]]:
        async with exchange.async_client("hotline") as hotline, exchange.async_client("officer") as officer:
            report = await hotline.submit_report(NUMBER, **fields(exchange))
            await hotline.attach_evidence(report.id, screenshot(), name="a.png")
            return report.id, [case.state.value async for case in officer.cases()]

    # asyncio itself has a pair of sockets.
    assert asyncio.run(run()) == (1, ["received"])


def test_accounts_settings_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_exchange(two_person=False, report_quota="2/hour") as exchange:
        exchange.add_account("bank", ["report", "feed:id-all"])
        bank = exchange.client("bank")
        for number in generated_numbers(2):
            bank.submit_report(number, **fields(exchange))
        with pytest.raises(ExchangeError) as caught:
            bank.submit_report(NUMBER, **fields(exchange))
        assert caught.value.status == 429
        assert exchange.blocklist("bank", feed="id-all").sync().after == 1
        case, officer = reported(exchange), exchange.client("officer")
        version = officer.get_case(case).version
        assert officer.decide(case, "block", reason="x", urgent=True, version=version).state == "effective"
        for name, value in exchange.environment("telkomsel").items():
            monkeypatch.setenv(name, value)
        with Blocklist.from_settings() as blocklist:
            blocklist.sync()
            assert NUMBER in blocklist


def test_each_is_on_its_own_and_nothing_is_left() -> None:
    with fake_exchange() as one, fake_exchange() as another:
        reported(one)
        assert list(another.client("officer").cases()) == []
        assert one.secrets == another.secrets, "an exchange is made once, and copied"
        folder = one.directory
        assert folder.is_dir()
    assert server_at(one.url) is None
    assert not folder.exists()


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("blocklist_sdk.exchange_server.exchange")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with (
        pytest.raises(InvalidInput, match=r"sqlalchemy is not installed: .* pip install \'\.\[exchange\]\'"),
        fake_exchange(),
    ):
        pass
