"""Tests of code that uses a blocklist, against a real signed repository and a real exchange: no network, no waiting.

    pytest test_my_integration.py

The code under test is `may_send`; yours is in a module of its own. The numbers are generated; they are nobody's.
"""

import contextlib
from datetime import timedelta

import pytest

from blocklist_sdk import Blocklist, Unreachable
from blocklist_sdk.testing import FakeExchange, FakeRepository, generated_numbers

pytest_plugins = ["blocklist_sdk.testing.plugin"]

LISTED, OTHER = generated_numbers(2)


def may_send(number: str, blocklist: Blocklist) -> bool:
    """What a message service asks before it sends a message."""
    with contextlib.suppress(Unreachable):  # the last verified list goes on answering
        blocklist.sync()
    return not blocklist.check(number, scope="messaging")


@pytest.fixture
def blocklist_repository_options() -> dict[str, str]:
    return {"feed": "id-messaging", "region": "ID"}


def test_a_listed_number_gets_no_message(blocklist_repository: FakeRepository) -> None:
    blocklist_repository.publish([LISTED])
    blocklist = blocklist_repository.blocklist()
    assert not may_send(LISTED, blocklist)
    assert may_send(OTHER, blocklist)


def test_an_unblock_arrives(blocklist_repository: FakeRepository) -> None:
    blocklist = blocklist_repository.blocklist()
    blocklist_repository.publish([LISTED, OTHER])
    assert not may_send(LISTED, blocklist)
    blocklist_repository.remove([LISTED])
    assert may_send(LISTED, blocklist)


def test_the_list_goes_on_while_the_authority_cannot_be_reached(blocklist_repository: FakeRepository) -> None:
    blocklist = blocklist_repository.blocklist()
    blocklist_repository.publish([LISTED])
    assert not may_send(LISTED, blocklist)
    with blocklist_repository.fail("unreachable"):
        assert not may_send(LISTED, blocklist)


def test_a_block_ends_by_the_clock(blocklist_repository: FakeRepository) -> None:
    blocklist, clock = blocklist_repository.blocklist(), blocklist_repository.clock
    blocklist_repository.publish([LISTED], until=clock.now + timedelta(days=60))
    assert not may_send(LISTED, blocklist)
    clock.advance(timedelta(days=61))
    assert may_send(LISTED, blocklist)


def test_our_settings_lead_to_the_list(blocklist_environment: FakeRepository) -> None:
    blocklist_environment.publish([LISTED])
    with Blocklist.from_settings() as blocklist:
        assert not may_send("0812-0000-0000", blocklist)


def test_our_report_becomes_a_case(blocklist_exchange: FakeExchange) -> None:
    clock = blocklist_exchange.clock
    with blocklist_exchange.fail(503, count=2):  # the client tries again
        blocklist_exchange.client("chat").submit_report(
            OTHER,
            category="fraud",
            channel="messaging",
            app="chat",
            text="You have won a prize",
            happened_at=clock.now - timedelta(hours=1),
            reporter="customer-17",
        )
    (case,) = blocklist_exchange.client("officer").cases()
    assert case.state == "incomplete"
