"""Asterisk refuses listed callers, and nobody else; what it cannot ask about it lets through."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import listed
from integration.asterisk import Asterisk, asterisk
from integration.calls import call, spellings
from integration.deciding import check_counts_soon, check_end
from integration.listed import Commands
from integration.services import Service, service
from integration.sip import NextHop, next_hop
from support.waiting import until

BOUND_S = 3.0
"""So long a call may take whose question is not answered; the example's own limit is 0.3 s."""

PAUSE = {"BLOCKLIST_PAUSE_S=5": "BLOCKLIST_PAUSE_S=1"}


@pytest.fixture(scope="module")
def hop() -> Iterator[NextHop]:
    with next_hop() as started:
        yield started


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    commands = Commands(tmp_path_factory.mktemp("lists"))
    commands.publish_first()
    with service("HTTP", commands) as started:
        started.follow()
        yield started


@pytest.fixture(scope="module")
def gateway(asked: Service, hop: NextHop) -> Iterator[Asterisk]:
    with asterisk(next_hop=hop.port, asked=asked, changes=PAUSE) as started:
        yield started


def unchecked(gateway: Asterisk) -> list[str]:
    """What the gateway's log says about calls that it could not ask about."""
    return re.findall(r"blocklist: calls are let through unchecked for \d+ s: (.*)", gateway.process.text())


@pytest.fixture
def answered(gateway: Asterisk) -> Iterator[Asterisk]:
    """The gateway, in a test in which each question is answered: no caller is let through for want of an answer."""
    before = unchecked(gateway)
    yield gateway
    assert unchecked(gateway) == before


def test_a_listed_caller_is_refused(answered: Asterisk, hop: NextHop) -> None:
    before = len(hop.origins)
    response = call(answered.port, f"+{listed.LISTED}")
    assert (response.status, response.reason) == (608, "Rejected")
    assert len(hop.origins) == before


def test_a_number_is_the_same_however_it_is_written(answered: Asterisk) -> None:
    for number, status in ((listed.LISTED, 608), (listed.FREE, 200), (listed.IN_RANGE[1], 608)):
        answers = {text: call(answered.port, text).status for text in spellings(number)}
        assert answers == dict.fromkeys(answers, status)


def test_ranges_advisories_and_scopes_count_as_in_the_library(answered: Asterisk) -> None:
    free = (*listed.BESIDE_RANGE, listed.ADVISORY, listed.SMS_ONLY)
    answers = {number: call(answered.port, f"+{number}").status for number in (*listed.IN_RANGE, *free)}
    assert answers == dict.fromkeys(listed.IN_RANGE, 608) | dict.fromkeys(free, 200)


def test_what_is_no_telephone_number_is_let_through(answered: Asterisk) -> None:
    for user in ("anonymous", "alice", "112", "+62", "0", "1%27%22%20OR", "%7B%7D", "99999", "0000000", "$%7BEPOCH%7D"):
        assert call(answered.port, user).status == 200, user


def test_a_trunk_says_who_calls_and_a_stranger_does_not(answered: Asterisk) -> None:
    blocked, free = f'"Bank" <sip:+{listed.LISTED}@trunk.example>', f"<tel:+{listed.FREE}>"
    assert call(answered.port, f"+{listed.FREE}", asserted=blocked).status == 608
    assert call(answered.port, f"+{listed.LISTED}", asserted=free).status == 200
    assert call(answered.port, f"+{listed.LISTED}", headers=[f"P-Asserted-Identity: {free}"]).status == 608


def test_an_override_and_a_new_release_count_at_once(answered: Asterisk, asked: Service) -> None:
    assert call(answered.port, f"+{listed.LISTED_TOO}").status == 608
    asked.commands.run("override", "allow", f"+{listed.LISTED_TOO}", "--reason", "appeal 17")
    check_counts_soon(answered.port, listed.LISTED_TOO, 200)
    assert call(answered.port, f"+{listed.LATER}").status == 200
    asked.commands.add(listed.LATER)
    asked.follow()
    check_counts_soon(answered.port, listed.LATER, 608)


def test_a_caller_is_refused_until_its_entry_ends_and_let_through_before_any_sync(
    answered: Asterisk, asked: Service
) -> None:
    check_end(answered.port, asked)


def test_calls_go_on_while_nothing_answers_and_the_log_says_so(gateway: Asterisk, asked: Service) -> None:
    for name, begin, end in (("down", asked.stop, asked.start), ("frozen", asked.freeze, asked.thaw)):
        logged = len(unchecked(gateway))
        begin()
        try:
            responses = [call(gateway.port, f"+{listed.LISTED}") for _ in range(10)]
        finally:
            end()
        assert {response.status for response in responses} == {200}, name
        assert max(response.seconds for response in responses) < BOUND_S, name
        assert unchecked(gateway)[logged:] == ["no answer"], name
        until(lambda: call(gateway.port, f"+{listed.LISTED}").status == 608)


def test_before_the_first_sync_calls_go_on_and_the_log_says_so(hop: NextHop, tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    commands.publish_first()
    with (
        service("HTTP", commands) as asked,
        asterisk(next_hop=hop.port, asked=asked, changes=PAUSE) as gateway,
    ):
        assert call(gateway.port, f"+{listed.LISTED}").status == 200
        until(lambda: unchecked(gateway) == ["status 503"])
        asked.follow()
        until(lambda: call(gateway.port, f"+{listed.LISTED}").status == 608)


def test_a_caller_hears_where_to_complain_unless_its_side_knows_608(asked: Service, hop: NextHop) -> None:
    changes = {"BLOCKLIST_ANNOUNCEMENT=": "BLOCKLIST_ANNOUNCEMENT=@FOLDER@/complain"}
    with asterisk(
        next_hop=hop.port, asked=asked, changes=changes, recordings={"complain.alaw": bytes(1600)}
    ) as gateway:
        told = call(gateway.port, f"+{listed.LISTED}")
        knows = call(gateway.port, f"+{listed.LISTED}", headers=["Feature-Caps: *;+sip.608"])
    assert (told.status, 183 in told.provisional) == (608, True)
    assert (knows.status, 183 in knows.provisional) == (608, False)
    assert told.seconds > knows.seconds
