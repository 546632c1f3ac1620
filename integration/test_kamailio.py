"""Kamailio refuses listed callers, and nobody else, whichever way it asks; what it cannot ask about it lets through."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from integration import listed
from integration.calls import call, spellings
from integration.deciding import check_counts_soon, check_end
from integration.kamailio import CARD, Kamailio, defines, kamailio
from integration.listed import Commands
from integration.services import WAYS, Service, service
from integration.sip import NextHop, caller, next_hop
from support.waiting import until

BOUND_S: Final = 3.0
"""So long a call may take whose question is not answered; the example's own limits are 0.3 s and 1 s."""


@pytest.fixture(scope="module")
def hop() -> Iterator[NextHop]:
    with next_hop() as started:
        yield started


@pytest.fixture(scope="module", params=WAYS)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    commands = Commands(tmp_path_factory.mktemp("lists"))
    commands.publish_first()
    with service(request.param, commands) as started:
        started.follow()
        yield started


@pytest.fixture(scope="module")
def gateway(asked: Service, hop: NextHop, module_folder: Path) -> Iterator[Kamailio]:
    folder = module_folder / asked.way
    folder.mkdir()
    with kamailio(folder, asked.way, next_hop=hop.port, defines=defines(asked)) as started:
        yield started


@pytest.fixture
def answered(gateway: Kamailio) -> Iterator[Kamailio]:
    """The gateway, in a test in which each question is answered: no caller is let through for want of an answer."""
    before = gateway.statistic("blocklist_unchecked")
    yield gateway
    assert gateway.statistic("blocklist_unchecked") == before


def test_a_listed_caller_is_refused_and_told_where_to_complain(answered: Kamailio, hop: NextHop) -> None:
    before = len(hop.origins)
    response = call(answered.port, f"+{listed.LISTED}")
    assert (response.status, response.reason) == (608, "Rejected")
    assert response.values("call-info") == [f"<{CARD}>;purpose=jwscard"]
    assert len(hop.origins) == before


def test_a_number_is_the_same_however_it_is_written(answered: Kamailio) -> None:
    for number, status in ((listed.LISTED, 608), (listed.FREE, 200), (listed.IN_RANGE[1], 608)):
        answers = {text: call(answered.port, text).status for text in spellings(number)}
        assert answers == dict.fromkeys(answers, status)


def test_a_range_is_refused_from_its_first_number_to_its_last(answered: Kamailio) -> None:
    answers = {number: call(answered.port, f"+{number}").status for number in (*listed.IN_RANGE, *listed.BESIDE_RANGE)}
    assert answers == dict.fromkeys(listed.IN_RANGE, 608) | dict.fromkeys(listed.BESIDE_RANGE, 200)


def test_an_advisory_is_let_through(answered: Kamailio) -> None:
    assert call(answered.port, f"+{listed.ADVISORY}").status == 200


def test_a_message_is_asked_about_as_a_message(answered: Kamailio) -> None:
    assert call(answered.port, f"+{listed.SMS_ONLY}").status == 200
    assert call(answered.port, f"+{listed.SMS_ONLY}", method="MESSAGE").status == 608
    assert call(answered.port, f"+{listed.FREE}", method="MESSAGE").status == 200


def test_a_caller_is_refused_until_its_entry_ends_and_let_through_before_any_sync(
    answered: Kamailio, asked: Service
) -> None:
    check_end(answered.port, asked)


def test_what_is_no_telephone_number_is_let_through(answered: Kamailio) -> None:
    for user in ("anonymous", "alice", "112", "+62", "0", "1%27%22%20OR", "%7B%7D", "99999", "0000000", "+62812.(-)"):
        assert call(answered.port, user).status == 200, user


@pytest.mark.parametrize(
    "asserted",
    [
        f"<sip:+{listed.LISTED}@trunk.example>",
        f"<tel:+{listed.LISTED}>",
        f'"Bank" <sip:0{listed.LISTED[2:]}@trunk.example;user=phone>',
        f'"Bank" <sip:+{listed.LISTED}@trunk.example>, <tel:+{listed.LISTED}>',
    ],
)
def test_a_trunk_says_who_calls(answered: Kamailio, asserted: str) -> None:
    """The identity that the trunk asserts counts, and not what the caller put into From."""
    assert call(answered.port, f"+{listed.FREE}", asserted=asserted).status == 608
    assert (
        call(answered.port, f"+{listed.LISTED}", asserted=asserted.replace(listed.LISTED[2:], listed.FREE[2:])).status
        == 200
    )


def test_an_identity_that_a_stranger_asserts_counts_nothing(answered: Kamailio) -> None:
    """A listed caller could assert any number, and would get through."""
    with caller(answered.port) as client:
        free = f"<tel:+{listed.FREE}>"
        assert client.call(f"sip:+{listed.LISTED}@trunk.example", asserted=free).status == 608


def test_an_override_allows_at_once(answered: Kamailio, asked: Service) -> None:
    number = listed.LISTED_TOO
    assert call(answered.port, f"+{number}").status == 608
    asked.commands.run("override", "allow", f"+{number}", "--reason", "appeal 17")
    asked.follow()
    check_counts_soon(answered.port, number, 200)
    asked.commands.run("override", "remove", f"+{number}")
    asked.follow()
    check_counts_soon(answered.port, number, 608)


def test_a_new_release_counts_without_a_reload(answered: Kamailio, asked: Service) -> None:
    number = listed.LATER
    assert call(answered.port, f"+{number}").status == 200
    asked.commands.add(number)
    asked.follow()
    check_counts_soon(answered.port, number, 608)
    asked.commands.run("publish", "remove", "publisher", "--feed", listed.FEED, f"+{number}")
    asked.follow()
    check_counts_soon(answered.port, number, 200)


def unchecked(gateway: Kamailio) -> list[str]:
    """What the gateway's log says about calls that it could not ask about."""
    return re.findall(r"blocklist: calls are let through unchecked: (.*)", gateway.process.text())


def test_calls_go_on_while_nothing_answers_and_the_log_says_so(gateway: Kamailio, asked: Service) -> None:
    for name, begin, end in (("down", asked.stop, asked.start), ("frozen", asked.freeze, asked.thaw)):
        said, counted = len(unchecked(gateway)), gateway.statistic("blocklist_unchecked")
        begin()
        try:
            # More calls than the gateway has processes.
            responses = [call(gateway.port, f"+{listed.LISTED}") for _ in range(10)]
        finally:
            end()
        assert {response.status for response in responses} == {200}, name
        assert max(response.seconds for response in responses) < BOUND_S, name
        assert unchecked(gateway)[said].startswith("no answer"), name
        assert gateway.statistic("blocklist_unchecked") - counted == len(responses), name
        until(lambda: call(gateway.port, f"+{listed.LISTED}").status == 608)
    assert not [line for line in gateway.process.text().splitlines() if listed.LISTED[3:] in line]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "SINK"])
def test_before_the_first_sync_calls_go_on_and_the_log_says_so(way: str, hop: NextHop, tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    commands.publish_first()
    with (
        service(way, commands) as asked,
        kamailio(tmp_path, way, next_hop=hop.port, defines=defines(asked)) as gateway,
    ):
        assert call(gateway.port, f"+{listed.LISTED}").status == 200
        until(lambda: bool(unchecked(gateway)))
        assert re.match("NOTSYNCED " if way == "REDIS" else "status 503 of", unchecked(gateway)[0])
        asked.follow()
        until(lambda: call(gateway.port, f"+{listed.LISTED}").status == 608)


@pytest.mark.parametrize("way", WAYS)
def test_a_gateway_starts_before_what_it_asks(way: str, hop: NextHop, tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    commands.publish_first()
    with service(way, commands) as asked:
        asked.follow()
        asked.stop()
        with kamailio(tmp_path, way, next_hop=hop.port, defines=defines(asked)) as gateway:
            assert call(gateway.port, f"+{listed.LISTED}").status == 200
            asked.start()
            until(lambda: call(gateway.port, f"+{listed.LISTED}").status == 608)


def test_the_redis_door_asks_for_its_token(hop: NextHop, tmp_path: Path) -> None:
    commands = Commands(tmp_path)
    commands.publish_first()
    with service("REDIS", commands, token="generated-for-a-test-0123456789") as asked:
        asked.follow()
        for name, password, status in (("right", asked.token, 608), ("wrong", "generated-for-another-test-01", 200)):
            folder = tmp_path / name
            folder.mkdir()
            values = defines(replace(asked, token=password))
            with kamailio(folder, "REDIS", next_hop=hop.port, defines=values) as gateway:
                assert call(gateway.port, f"+{listed.LISTED}").status == status
                assert bool(unchecked(gateway)) is (status == 200)
