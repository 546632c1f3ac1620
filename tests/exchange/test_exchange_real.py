"""The clients and the commands on the reference exchange itself."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import support.quick_secrets  # noqa: F401
from blocklist_sdk import (
    AsyncExchangeClient,
    ClientCredentials,
    ExchangeClient,
    ExchangeError,
    PrivateKeyJwt,
)
from blocklist_sdk.exchange.calls import new_report
from blocklist_sdk.exchange.models import BULK_MAX, PAGE_MAX
from blocklist_sdk.sandbox import Sandbox, sandbox, screenshot
from support.command_line import run

ROW: dict[str, Any] = {"category": "fraud", "channel": "sms", "text": "You have won", "reporter": "caller-1"}
WHEN = datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox(cases=2, two_person=False) as found:
        yield found


def key() -> str:
    return uuid.uuid4().hex


def test_a_report_goes_all_the_way(box: Sandbox, tmp_path: Path) -> None:
    with box.client("hotline") as hotline, box.client("officer") as officer:
        report = hotline.submit_report("0812-7777-0001", **ROW, happened_at=WHEN)
        assert report.missing == ("evidence",)
        file = hotline.attach_evidence(report.id, screenshot(), name="é ü.png")
        assert (file.media_type, file.name) == ("image/png", "é ü.png")
        assert officer.download_evidence(file, tmp_path / "a.png").read_bytes() == screenshot()
        assert report.case is None
        case = officer.get_report(report.id).case
        assert case is not None
        assert officer.start_verification(case).state == "verifying"
        decision = officer.decide(case, "block", reason="seen", scope=("sms",), version=officer.get_case(case).version)
        assert (decision.state, decision.scope) == ("effective", ("sms",))
        assert [event.event for event in officer.case_history(case)][-1] == "decided"
        appeal = hotline.submit_appeal(number="0812-7777-0001", grounds="a new owner", appellant="owner-1")
        version = officer.get_case(case).version
        assert officer.answer_appeal(appeal.id, grant=False, reason="no", version=version).state == "dismissed"
        assert [each.id for each in officer.appeals(state="dismissed")] == [appeal.id]
        assert appeal.id in [each.id for each in hotline.appeals(state="open")]  # nothing is published yet
        assert hotline.get_number_status("+62 812-7777-0001").number == 6281277770001


def test_bulks_are_known_again_and_pages_are_whole(box: Sandbox) -> None:
    reports = [new_report({**ROW, "number": f"0813-6{n:03}-0000", "happened_at": WHEN}) for n in range(BULK_MAX)]
    reports.append(new_report({**ROW, "number": "nonsense", "happened_at": WHEN}))
    own = key()
    with box.client("hotline") as hotline:
        first = list(hotline.submit_reports(reports, idempotency_key=own))
        again = list(hotline.submit_reports(reports, idempotency_key=own))
        assert first == again
        assert [each.index for each in first] == list(range(BULK_MAX + 1))
        assert first[-1].problem is not None
        ids = [each.id for each in hotline.reports(since=WHEN)]
    assert len(ids) == len(set(ids)) >= BULK_MAX > PAGE_MAX


def test_a_key_is_for_one_thing(box: Sandbox) -> None:
    own = key()
    with box.client("hotline") as hotline:
        first = hotline.submit_report("0812-7777-0002", **ROW, happened_at=WHEN, idempotency_key=own)
        assert hotline.submit_report("0812-7777-0002", **ROW, happened_at=WHEN, idempotency_key=own) == first
        with pytest.raises(ExchangeError, match="new Idempotency-Key") as refused:
            hotline.submit_report("0812-7777-0003", **ROW, happened_at=WHEN, idempotency_key=own)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("who", "use", "status"),
    [
        ("hotline", lambda x: x.start_verification(1), 403),
        ("officer", lambda x: x.submit_report("0812", **ROW, happened_at=WHEN), 403),
        ("hotline", lambda x: x.get_report(10**9), 404),
        ("hotline", lambda x: x.submit_report("112", **ROW, happened_at=WHEN), 422),
        ("hotline", lambda x: x.publish(), 403),
    ],
)
def test_what_is_refused_says_why_once(box: Sandbox, who: str, use: Any, status: int) -> None:
    with box.client(who) as client, pytest.raises(ExchangeError) as refused:
        use(client)
    assert refused.value.status == status
    assert "[request " in str(refused.value)
    detail = str(refused.value.problem["detail"])
    assert str(refused.value).count(detail) == 1


def test_wrong_credentials_and_none(box: Sandbox) -> None:
    wrong = ClientCredentials.for_exchange(box.url, "hotline", "wrong")
    with ExchangeClient(box.url, auth=wrong) as client, pytest.raises(ExchangeError, match="invalid_client"):
        client.get_account()
    with ExchangeClient(box.url) as client, pytest.raises(ExchangeError, match="check the credentials") as refused:
        client.get_account()
    assert refused.value.status == 401


@pytest.mark.parametrize("made", [lambda: ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate])
def test_an_account_with_a_key(made: Any, tmp_path: Path) -> None:
    from blocklist_sdk.exchange_server.exchange import Exchange
    from blocklist_sdk.exchange_server.serving import serving_exchange

    private = made()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with Exchange.init(
        tmp_path / "exchange", passphrase="correct horse battery", offline_passphrase="of root and targets"
    ) as exchange:
        exchange.add_account("bank", ("report",), key=public.decode())
        with serving_exchange(exchange, host="127.0.0.1", port=0) as url:
            auth = PrivateKeyJwt.for_exchange(url, "bank", pem)
            with ExchangeClient(url, auth=auth) as client:
                assert client.get_account().name == "bank"


def test_the_asynchronous_client(box: Sandbox) -> None:
    async def ask() -> tuple[str, list[int]]:
        async with AsyncExchangeClient(box.url, auth=box.auth("hotline")) as hotline:
            report = await hotline.submit_report("0812-7777-0004", **ROW, happened_at=WHEN)
            await hotline.attach_evidence(report.id, screenshot(2), name="a.png")
        async with AsyncExchangeClient(box.url, auth=box.auth("officer")) as officer:
            (case,) = [each async for each in officer.cases(number=f"+{report.number}")]
            found = [each.id async for each in officer.case_reports(case.id)]
            return (await officer.get_case(case.id)).state, found

    state, found = anyio.run(ask)
    assert state == "received"
    assert len(found) == 1


def test_the_commands(box: Sandbox, tmp_path: Path) -> None:
    def said(who: str, *arguments: str) -> Any:
        ran = run(*arguments, "--config", str(box.directory / who / "blocklist.toml"), "--json")
        assert (ran.code, ran.err) == (0, "")
        return ran.documents

    file = tmp_path / "a.png"
    file.write_bytes(screenshot(3))
    flags = ("--category", "fraud", "--channel", "sms", "--text", "You have won", "--reporter", "caller-2")
    when = ("--happened-at", "2026-11-24T15:00:00+07:00")
    (report,) = said("hotline", "report", "0812-7777-0005", *flags, *when, "--evidence", str(file))
    assert report["case_state"] == "received"
    assert report["case"] is None
    case = str(said("officer", "case", "list", "--number", "0812-7777-0005")[0]["id"])
    assert said("officer", "case", "start-verification", case)[0]["state"] == "verifying"
    assert said("officer", "case", "evidence", case, "--dir", str(tmp_path / "files"))[0]["name"] == "a.png"
    assert said("officer", "case", "decide", case, "reject", "--reason", "no evidence")[0]["kind"] == "reject"
    assert [each["event"] for each in said("officer", "case", "history", case)][-1] == "rejected"
    assert run("sync", "--config", str(box.directory / "telkomsel" / "blocklist.toml")).code == 0
    assert said("telkomsel", "receipts", "statistics", "2026-11")[0]["month"] == "2026-11"
