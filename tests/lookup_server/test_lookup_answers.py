"""The quick answers of a look-up server are those of `Blocklist.check`, whatever decides on a number."""

from datetime import timedelta
from pathlib import Path

import pytest

from blocklist_sdk import Blocklist, InvalidInput, InvalidNumber, NotSynced, Stale
from blocklist_sdk.lookup_server.answers import Answers
from blocklist_sdk.recipient.blocklist import level_path_of
from blocklist_sdk.records import SCOPES
from support.clock import Clock
from support.mixed_list import (
    ADDED_LATER,
    ADVISED,
    BLOCKED,
    BOTH,
    ENDS_SOON,
    FREE,
    QUESTIONS,
    RANGE,
    SMS_ONLY,
    VOICE_ONLY,
    MixedList,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> MixedList:
    return MixedList(tmp_path_factory.mktemp("published"))


@pytest.fixture
def recipient(published: MixedList, tmp_path: Path) -> Blocklist:
    recipient = published.recipient(str(tmp_path / "cache"))
    recipient.sync()
    return recipient


def levels(recipient: Blocklist) -> dict[str, str | None]:
    """What is answered about each question, after a comparison of all ways to ask, for every scope."""
    answers = Answers(recipient)
    for scope in (None, *SCOPES):
        expected = [recipient.check(number, scope=scope).level or "" for number in QUESTIONS]
        assert [answers.level(number, scope) for number in QUESTIONS] == expected
        assert answers.levels(QUESTIONS, scope) == expected
    return {number: answers.level(number) or None for number in QUESTIONS}


def test_every_question_is_answered_as_check_does(recipient: Blocklist) -> None:
    found = levels(recipient)
    assert (found[BLOCKED], found[ADVISED], found[FREE], found[RANGE]) == ("block", "advisory", None, "block")
    answers = Answers(recipient)
    assert answers.level(int(BLOCKED)) == "block"
    assert [answers.level(VOICE_ONLY, scope) for scope in SCOPES] == ["", "", "", "block"]
    assert [answers.level(SMS_ONLY, scope) for scope in SCOPES] == ["", "", "advisory", ""]
    assert [answers.level(BOTH, scope) for scope in SCOPES] == ["", "", "block", "advisory"]


def test_own_decisions_and_their_ends_count_at_once(recipient: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(recipient.check(FREE).as_of + timedelta(minutes=1))
    clock.install(monkeypatch)
    recipient.overrides.allow(BLOCKED, reason="for a while", until=clock.now + timedelta(seconds=1))
    recipient.overrides.block(FREE, reason="our own case")
    recipient.overrides.allow("0812-3456-00##", reason="a range")
    found = levels(recipient)
    assert (found[BLOCKED], found[FREE], found[RANGE], found[ENDS_SOON]) == (None, "block", None, "block")
    clock.at_s += 1
    assert levels(recipient)[BLOCKED] == "block"
    clock.at_s += 3600
    assert levels(recipient)[ENDS_SOON] is None
    clock.at_s -= 3 * 86_400  # a clock that is set back: every row is read
    assert level_path_of(recipient, None) is None
    levels(recipient)


def test_a_new_release_counts_without_a_restart(recipient: Blocklist, published: MixedList) -> None:
    assert levels(recipient)[ADDED_LATER] is None
    published.release_later()
    recipient.sync()
    found = levels(recipient)
    assert (found[BLOCKED], found[ADDED_LATER]) == (None, "block")


def test_what_has_no_answer_is_the_same_error(published: MixedList, tmp_path: Path) -> None:
    recipient = published.recipient(str(tmp_path / "cache"))
    answers = Answers(recipient)
    with pytest.raises(NotSynced):
        answers.level(BLOCKED)
    recipient.sync()
    with pytest.raises(InvalidNumber):
        answers.levels([BLOCKED, "GoPay"])
    with pytest.raises(InvalidInput, match="not a scope"):
        answers.level(BLOCKED, "fax")  # type: ignore[arg-type]


def test_a_stale_list_is_asked_as_the_policy_says(
    published: MixedList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = published.recipient(str(tmp_path / "cache"), when_stale="raise")
    strict.sync()
    clock = Clock(published.now + timedelta(days=400))
    clock.install(monkeypatch)
    with pytest.raises(Stale):
        Answers(strict).level(BLOCKED)
    assert Answers(published.recipient(str(tmp_path / "cache"))).level(ADVISED) == "advisory"
