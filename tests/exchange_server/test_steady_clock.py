"""A clock that jumps ends nothing for good: the exchange goes by counted seconds, and asks after a stop."""

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from blocklist_sdk.exchange_server.alarms import ALARMS
from blocklist_sdk.exchange_server.clock import STEP, SteadyClock, elapsed_s
from blocklist_sdk.exchange_server.exchange import Exchange
from support.command_line import run
from support.talking import PASSPHRASE, START, Clock, Server, Talk

PASSED = {"BLOCKLIST_PASSPHRASE": PASSPHRASE}


class Machine:
    """A machine whose clock can be set; the seconds that it counts cannot."""

    def __init__(self) -> None:
        self.wall = Clock()
        self.counted_s = 1000.0

    def steady(self) -> SteadyClock:
        return SteadyClock(self.wall, lambda: self.counted_s)

    def passes(self, **span: float) -> None:
        self.counted_s += timedelta(**span).total_seconds()
        self.wall.forward(**span)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def talk(machine: Machine, template: Path, server: Server, tmp_path: Path) -> Iterator[Talk]:
    """An exchange that goes by the machine's clock."""
    shutil.copytree(template, tmp_path / "exchange")
    with Exchange.open(tmp_path / "exchange", passphrase=PASSPHRASE, clock=machine.steady()) as exchange:
        server.serve(exchange)
        yield Talk(exchange, machine.wall, server)


def alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.name == ALARMS]
    caplog.clear()
    return found


def assertion(talk: Talk, private: str, at: datetime) -> str:
    claims = {"iss": "anna", "sub": "anna", "aud": f"{talk.url}/oauth/token", "jti": "once"}
    claims |= {"iat": int(at.timestamp()), "exp": int(at.timestamp()) + 200}  # type: ignore[dict-item]
    return jwt.encode({"alg": "Ed25519"}, claims, OKPKey.import_key(private), algorithms=["Ed25519"])


def token_by(talk: Talk, signed: str) -> int:
    form = {"grant_type": "client_credentials", "client_assertion": signed}
    form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return talk.request("POST", "/oauth/token", data=form).status_code


def test_a_clock_that_is_half_a_year_ahead_for_five_seconds_changes_nothing(
    talk: Talk, machine: Machine, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    cases = [talk.listed() for _ in range(3)]
    used = assertion(talk, secrets["anna"], machine.wall())
    assert token_by(talk, used) == 200
    with caplog.at_level(logging.ERROR, logger=ALARMS):
        for step in (timedelta(days=181), -timedelta(days=181), -timedelta(days=3), timedelta(days=3)):
            machine.wall.moment += step
            machine.passes(seconds=5)
            assert talk.publish() == {}
            made = talk.exchange.tokens.issue("anna", ["officer"], talk.exchange.clock().timestamp())
            assert token_by(talk, used) == 401
    ahead, back = alarms(caplog)  # once for each jump, and none for the way back
    assert "has jumped ahead by 181 days" in ahead
    assert "The exchange goes on by 2026-11-02T08:00:05Z" in ahead
    assert "has jumped back by 3 days" in back
    assert [talk.state(case) for case in cases] == ["published"] * 3
    machine.passes(seconds=901)
    answer = talk.request("GET", "/v1/account", headers={"Authorization": f"Bearer {made}"})
    assert answer.status_code == 401
    talk.decide(cases[0], "retract")
    assert talk.publish()


def test_small_steps_are_followed_and_many_of_them_are_one_jump() -> None:
    machine = Machine()
    clock = machine.steady()
    machine.wall.moment += timedelta(minutes=3)
    assert clock() == machine.wall()
    machine.passes(hours=1)
    machine.wall.moment += timedelta(minutes=3)  # six in an hour
    assert clock() == machine.wall() - timedelta(minutes=6)
    assert clock.jumped == timedelta(minutes=6)
    clock.follow()
    assert clock() == machine.wall()
    machine.passes(days=300)  # a machine whose seconds are a little long
    machine.wall.moment += timedelta(minutes=30)
    assert clock() == machine.wall()
    assert SteadyClock()() - datetime.now(UTC) < STEP
    assert elapsed_s() > 0


def reopened(talk: Talk, machine: Machine) -> Exchange:
    return Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=machine.steady())


def test_after_a_stop_very_many_ends_and_a_step_back_wait_for_a_person(
    talk: Talk, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    cases = [talk.complete() for _ in range(8)]
    for case in cases:
        talk.decide(case, urgent=True)
    talk.publish()
    machine.wall.moment += timedelta(days=181)
    with caplog.at_level(logging.ERROR, logger=ALARMS), reopened(talk, machine) as later:
        talk.server.serve(later)
        made = later.publish(everything=True)
        assert made.ends_held == 24
        assert made.ends_held_why == "24 of 24 listings would end at once, and at most 20 may"
        assert {feed.removed for feed in made.feeds} == {0}
        assert "ends are held, 24 listings by now" in alarms(caplog)[0]
        assert (later.publish().feeds, alarms(caplog)) == ((), [])  # said once, and nothing is published again
        assert {each["state"] for each in talk_to(talk, later).read("anna", "/v1/cases")["items"]} == {"published"}
        again = talk_to(talk, later)
        again.decide(cases[0], "retract")  # goes on
        assert {feed.removed for feed in later.publish().feeds} == {1}
        assert again.state(cases[0]) == "retracted"
    # The clock is right again, and what was seen while it was ahead does not count.
    machine.wall.moment -= timedelta(days=181)
    with caplog.at_level(logging.ERROR, logger=ALARMS), reopened(talk, machine) as right:
        assert (right.publish().ends_held_why, alarms(caplog)) == (None, [])
    machine.wall.moment -= timedelta(days=3)
    with caplog.at_level(logging.ERROR, logger=ALARMS), reopened(talk, machine) as behind:
        why = behind.publish().ends_held_why
        assert why is not None
        assert why.startswith("the clock shows 2026-10-30T08:00:00Z, and the exchange has seen 2026-11-02")
        assert len(alarms(caplog)) == 1
        behind.accept_clock()
        assert behind.publish().ends_held_why is None
    machine.wall.moment += timedelta(days=300)
    with reopened(talk, machine) as ended:
        talk.server.serve(ended)
        assert ended.publish().ends_held == 21
        ended.accept_clock()
        assert {feed.removed for feed in ended.publish().feeds} == {7}
        assert {talk_to(talk, ended).state(case) for case in cases} == {"retracted"}


def talk_to(talk: Talk, exchange: Exchange) -> Talk:
    talk.exchange = exchange
    return talk


def test_a_server_that_runs_follows_a_clock_that_a_person_accepts(talk: Talk, machine: Machine) -> None:
    talk.publish()
    machine.wall.moment += timedelta(days=2)
    assert talk.exchange.clock() == START
    with reopened(talk, machine) as command:
        command.accept_clock()
    talk.publish()
    assert talk.exchange.clock() == START + timedelta(days=2)


def test_the_command_says_what_is_held_and_lets_it_end(talk: Talk) -> None:
    for _ in range(7):
        talk.listed()
    talk.exchange.close()
    in_two_days = Clock(datetime.now(UTC).replace(microsecond=0) + timedelta(days=2))
    with Exchange.open(talk.exchange.directory, passphrase=PASSPHRASE, clock=in_two_days) as ahead:
        ahead.publish()
    ran = run("exchange", "publish", talk.exchange.directory, env=PASSED)
    assert ran.code == 6
    assert "the exchange has seen" in ran.err
    assert "--accept-clock" in ran.err
    assert run("exchange", "publish", talk.exchange.directory, "--accept-clock", env=PASSED).code == 0
