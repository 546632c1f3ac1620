"""A question for a scope that no entry on the list has is answered, and the answer says so."""

import io
import logging
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist, Blocklists, Publisher
from blocklist_sdk.recipient.screening.files import screen_file

PASSPHRASE = "generated for a test"
LISTED, OTHER = "+6281234567001", "+6281234567002"
WARNING = "has the scope messaging, only sms, voice"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    feeds = {"id-voice": "sms+voice", "id-ott": "messaging"}
    made = Publisher.init(tmp_path / "p", feeds=feeds, passphrase=PASSPHRASE, region="ID")
    for feed in feeds:
        made.release(feed, pa.table({"number": [LISTED]}))
    return made


def opened(publisher: Publisher, feed: str) -> Blocklist:
    cache = publisher.directory.parent / "cache"
    blocklist = Blocklist.open(publisher.repository.as_uri(), feed=feed, root=publisher.root, cache_dir=cache)
    blocklist.sync()
    return blocklist


def test_a_verdict_says_whether_the_list_has_the_scope(publisher: Publisher) -> None:
    with opened(publisher, "id-voice") as blocklist:
        for number in (LISTED, OTHER):
            assert blocklist.check(number).scope_listed is None
            assert blocklist.check(number, scope="sms").scope_listed is True
            assert blocklist.check(number, scope="messaging").scope_listed is False
        assert blocklist.explain(LISTED, scope="messaging").verdict.scope_listed is False
        assert blocklist.status().scopes == ("sms", "voice")


def test_an_empty_list_has_no_scope_to_miss(publisher: Publisher) -> None:
    publisher.release("id-voice", pa.table({"number": pa.array([], pa.string())}), allow_empty=True)
    with opened(publisher, "id-voice") as blocklist:
        assert blocklist.check(LISTED, scope="messaging").scope_listed is None
        assert blocklist.status().scopes == ()


def test_the_log_says_it_once_for_each_generation(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    with opened(publisher, "id-voice") as blocklist, caplog.at_level(logging.WARNING):
        for _ in range(3):
            blocklist.check(LISTED, scope="messaging")
            blocklist.screen(pa.array([LISTED]), scope="messaging")
        assert [WARNING in message for message in caplog.messages] == [True]
        publisher.release("id-voice", pa.table({"number": [LISTED, OTHER]}))
        blocklist.sync()
        blocklist.check(LISTED, scope="messaging")
        blocklist.check(LISTED, scope="sms")
        assert [WARNING in message for message in caplog.messages] == [True, True]


def test_screening_says_whether_the_list_has_the_scope(publisher: Publisher) -> None:
    with opened(publisher, "id-voice") as blocklist:
        for scope, listed in ((None, None), ("voice", True), ("messaging", False)):
            screening = blocklist.screening(scope=scope)  # type: ignore[arg-type]
            result = screen_file(screening, io.BytesIO(LISTED.encode()), io.BytesIO())
            assert (screening.scope_listed, result.scope_listed) == (listed, listed)
            assert result.blocked == (listed is not False)


def test_with_several_feeds_one_that_has_the_scope_is_enough(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with Blocklists([opened(publisher, "id-voice"), opened(publisher, "id-ott")]) as both:
        with caplog.at_level(logging.WARNING):
            assert both.check(LISTED, scope="messaging").scope_listed is True
            assert both.check(LISTED).scope_listed is None
            both.screen(pa.array([LISTED]), scope="messaging")
            assert {feed: verdict.scope_listed for feed, verdict in both.verdicts(LISTED, scope="sms").items()} == {
                "id-voice": True,
                "id-ott": False,
            }
        assert caplog.messages == []
        with caplog.at_level(logging.WARNING):
            assert both.check(LISTED, scope="data").scope_listed is False
            both.screen(pa.array([LISTED]), scope="data")
        assert ["has the scope data" in message for message in caplog.messages] == [True, True]


def test_a_list_with_few_entries_of_a_scope_says_how_few(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    many = [f"+62812345670{i:02}" for i in range(50)]
    publisher.release("id-ott", pa.table({"number": many}), scope="sms+voice")
    publisher.release("id-ott", pa.table({"number": many, "scope": ["sms+voice"] * 50}))
    publisher.add("id-ott", [OTHER[:-1] + "9"], scope="messaging")
    with opened(publisher, "id-ott") as blocklist, caplog.at_level(logging.WARNING):
        assert blocklist.status().scope_entries == {"messaging": 1, "sms": 50, "voice": 50}
        screening = blocklist.screening(scope="messaging")
        result = screen_file(screening, io.BytesIO(LISTED.encode()), io.BytesIO())
        assert (result.scope_listed, result.scope_entries, result.list_entries) == (True, 1, 51)
        for _ in range(3):
            blocklist.check(LISTED, scope="messaging")
            blocklist.check(LISTED, scope="sms")
        (message,) = [message for message in caplog.messages if "have the scope" in message]
        assert message.startswith("only 1 of 51 entries of feed 'id-ott', release 4, have the scope messaging")
