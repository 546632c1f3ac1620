"""A feed's own scope: declared when the feed is made or later, carried by the index, taken by new entries."""

import logging
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import InvalidInput, Publisher
from blocklist_sdk.publisher.scopes import choose_scope
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.index import FeedIndex

PASSPHRASE = "generated for a test"
MESSAGING, ALL = "id-messaging", "id-all"
NUMBERS = pa.table({"number": ["+6281234567001", "+6281234567002"]})
MORE = pa.table({"number": ["+6281234567001", "+6281234567002", "+6281234567003"]})


def publisher_of(tmp_path: Path, feeds: object) -> Publisher:
    return Publisher.init(tmp_path / "p", feeds=feeds, passphrase=PASSPHRASE, region="ID")  # type: ignore[arg-type]


def feed_of(publisher: Publisher, feed: str) -> SignedFeed:
    return SignedFeed.find(publisher._folder.load(), feed)


def scopes_of(publisher: Publisher, feed: str) -> list[str]:
    return feed_of(publisher, feed).rows().scope.tolist()


def index_of(publisher: Publisher, feed: str) -> FeedIndex:
    index = feed_of(publisher, feed).index
    assert index is not None
    return index


@pytest.mark.parametrize("scope", ["messaging", ["messaging"]])
def test_new_entries_get_the_feeds_scope_and_the_index_carries_it(tmp_path: Path, scope: object) -> None:
    publisher = publisher_of(tmp_path, {MESSAGING: scope, ALL: None})
    assert {feed.feed: feed.scope for feed in publisher.status().feeds} == {ALL: None, MESSAGING: "messaging"}
    publisher.release(MESSAGING, NUMBERS)
    publisher.release(ALL, NUMBERS)
    assert scopes_of(publisher, MESSAGING) == ["messaging"] * 2
    assert scopes_of(publisher, ALL) == ["sms+voice"] * 2
    assert index_of(publisher, MESSAGING).scope == "messaging"
    assert index_of(publisher, ALL).scope == "sms+voice"


def test_a_scope_given_for_a_release_is_for_that_release_only(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, {MESSAGING: "messaging"})
    publisher.release(MESSAGING, NUMBERS, scope="voice")
    publisher.release(MESSAGING, MORE)
    assert scopes_of(publisher, MESSAGING) == ["voice", "voice", "messaging"]
    assert index_of(publisher, MESSAGING).scope == "messaging"


def test_the_lists_own_scope_goes_before_the_feeds(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, {MESSAGING: "messaging"})
    publisher.release(MESSAGING, NUMBERS.append_column("scope", pa.array(["sms", ""])))
    assert scopes_of(publisher, MESSAGING) == ["sms", "messaging"]


def test_a_feed_can_be_added_with_a_scope(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, [ALL])
    publisher.add_feed("id-ott", scope="messaging + data")
    publisher.release("id-ott", NUMBERS)
    assert scopes_of(publisher, "id-ott") == ["data+messaging"] * 2


def test_a_scope_set_later_is_for_new_entries(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, [MESSAGING])
    publisher.release(MESSAGING, NUMBERS)
    publisher.set_scope(MESSAGING, "messaging")
    assert publisher.status().feeds[0].scope == "messaging"
    publisher.release(MESSAGING, MORE)
    assert scopes_of(publisher, MESSAGING) == ["sms+voice", "sms+voice", "messaging"]
    assert index_of(publisher, MESSAGING).scope == "messaging"


def test_the_index_keeps_the_scope_where_the_folders_settings_are_lost(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, {MESSAGING: "messaging"})
    publisher.release(MESSAGING, NUMBERS)
    (publisher.directory / "publisher.json").unlink()
    publisher.release(MESSAGING, MORE)
    assert scopes_of(publisher, MESSAGING) == ["messaging"] * 3


@pytest.mark.parametrize("feed", ["id-messaging", "ott", "id-whatsapp-2"])
def test_a_feed_for_messaging_without_a_scope_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, feed: str
) -> None:
    publisher = publisher_of(tmp_path, [feed])
    notes: list[str] = []
    publisher.release(feed, NUMBERS, notify=notes.append)
    publisher.release(feed, MORE, notify=notes.append)
    (note,) = notes
    assert f"publish set-scope DIR --feed {feed} --scope messaging" in note
    with caplog.at_level(logging.WARNING):
        publisher_of(tmp_path / "other", [feed]).release(feed, NUMBERS)
    assert caplog.messages == [note]


@pytest.mark.parametrize(
    ("feed", "given", "declared", "is_in_list"),
    [
        ("id-telkomsel", None, None, False),
        ("id-scotty", None, None, False),
        (MESSAGING, "sms", None, False),
        (MESSAGING, None, "sms+voice", False),
        (MESSAGING, None, None, True),
    ],
)
def test_a_scope_that_is_not_the_default_by_accident_is_not_noticed(
    feed: str, given: str | None, declared: str | None, is_in_list: bool
) -> None:
    assert choose_scope(feed, given=given, declared=declared, is_in_list=is_in_list).notice is None


def test_a_scope_that_the_lists_own_column_overrules_is_noticed(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, [ALL])
    notes: list[str] = []
    (tmp_path / "list.csv").write_text("number,scope\n+6281234567890,voice\n")
    publisher.release(ALL, tmp_path / "list.csv", scope="messaging", notify=notes.append)
    (note,) = notes
    assert "the list has a column scope, which goes before --scope" in note
    assert scopes_of(publisher, ALL) == ["voice"]


def test_an_index_without_a_scope_is_read(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, [ALL])
    publisher.release(ALL, NUMBERS)
    index = index_of(publisher, ALL)
    document = index.model_dump_json(exclude={"scope"}).encode()
    assert FeedIndex.from_json(document, feed=ALL).scope is None


@pytest.mark.parametrize("scope", ["fax", "", [], 7])
def test_what_is_not_a_scope_is_refused(tmp_path: Path, scope: object) -> None:
    with pytest.raises(InvalidInput):
        publisher_of(tmp_path, {MESSAGING: scope})
    assert not (tmp_path / "p").exists()
    publisher = publisher_of(tmp_path, [MESSAGING])
    with pytest.raises(InvalidInput):
        publisher.add_feed("id-ott", scope=scope)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        publisher.set_scope(MESSAGING, scope)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no feed"):
        publisher.set_scope("id-ott", "messaging")
    assert publisher.feeds == (MESSAGING,)


def said_of(publisher: Publisher, feed: str, source: object, **options: object) -> list[str]:
    said: list[str] = []
    publisher.release(feed, source, notify=said.append, **options)  # type: ignore[arg-type]
    return said


def test_entries_that_lack_the_feeds_scope_are_counted_each_time(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, {"id-ott": "messaging", MESSAGING: None, ALL: None, "id-wide": "messaging+sms"})
    other = NUMBERS.append_column("scope", pa.array(["sms+voice"] * 2))
    lack = "2 of 2 entries of feed 'id-ott' lack its scope messaging: a recipient that asks for messaging does not"
    for _ in range(2):
        (said,) = said_of(publisher, "id-ott", other)
        assert said.startswith(lack)
    (said,) = said_of(publisher, "id-ott", MORE, scope="sms")
    assert "3 of 3 entries" in said
    more: list[str] = []
    publisher.add("id-ott", ["+6281234567004"], notify=more.append)
    assert "3 of 4 entries" in more[0]
    publisher.remove("id-ott", ["+6281234567004"], notify=more.append)
    assert len(more) == 1
    mine = NUMBERS.append_column("scope", pa.array(["messaging"] * 2))
    assert said_of(publisher, "id-ott", mine) == []
    # A feed whose scope was never declared, though its name says what it is for.
    (said,) = said_of(publisher, MESSAGING, other)
    assert "lack the scope messaging, which the feed's name speaks of" in said
    # Operators' lists may mix their scopes; a part that most entries lack is said.
    assert said_of(publisher, ALL, NUMBERS) == []
    assert said_of(publisher, ALL, NUMBERS.append_column("scope", pa.array(["sms", "sms+voice"]))) == []
    assert said_of(publisher, "id-wide", NUMBERS) == []
    (said,) = said_of(publisher, "id-wide", NUMBERS.append_column("scope", pa.array(["sms", "sms"])))
    assert "lack its scope messaging" in said


def test_a_feed_whose_scope_is_set_later_says_what_stays(tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, [MESSAGING])
    said_of(publisher, MESSAGING, NUMBERS)
    publisher.set_scope(MESSAGING, "messaging")
    (said,) = said_of(publisher, MESSAGING, NUMBERS)
    assert "2 of 2 entries" in said
    assert scopes_of(publisher, MESSAGING) == ["sms+voice"] * 2


@pytest.mark.parametrize("cells", [["messaging", ""], ["messaging", None], [["messaging"], []]])
def test_empty_cells_rely_on_the_default_and_that_is_said(tmp_path: Path, cells: list[object]) -> None:
    publisher = publisher_of(tmp_path, [MESSAGING])
    said = said_of(publisher, MESSAGING, NUMBERS.append_column("scope", pa.array(cells)))
    assert "get the scope sms+voice, since the feed has no scope of its own" in said[0]
    assert scopes_of(publisher, MESSAGING) == ["messaging", "sms+voice"]
