"""An exchange's audit heads in signed indexes, and what recipients make of them: a real publisher, a real recipient."""

import json
from pathlib import Path
from typing import Any

import pytest

from blocklist_sdk import Blocklists, InvalidInput, Malformed, Publisher, Refused, Untrusted
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.release.audit import AuditHead, SeenAuditHead, contradictions
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.merge import Delta
from support.command_line import run
from support.world import FEED, FIRST, OTHER_FEED, SECOND, Forger, World, copy_world, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("made"))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return copy_world(made, tmp_path / "world")


def head(length: int, digit: str = "a") -> AuditHead:
    return AuditHead(length, digit * 64)


def release(world: World, numbers: list[str], audit: AuditHead | None, feed: str = FEED) -> Any:
    return world.publisher.release(feed, numbers, audit=audit)


def index_of(world: World) -> dict[str, Any]:
    name = f"{Forger(world).index_target().hashes['sha256']}.index.json"
    document: dict[str, Any] = json.loads((world.repository / "targets" / FEED / name).read_bytes())
    return document


def status_of(publisher: Publisher) -> AuditHead | None:
    return next(each.audit for each in publisher.status().feeds if each.feed == FEED)


def test_an_index_has_the_head_that_was_given_and_keeps_it(world: World) -> None:
    assert "audit" not in index_of(world), "where no exchange publishes"
    assert status_of(world.publisher) is None
    release(world, SECOND, head(7))
    assert index_of(world)["audit"] == {"length": 7, "head": "a" * 64}
    assert status_of(world.publisher) == head(7)
    world.publisher.refresh()
    world.publisher.snapshot(FEED)
    world.publisher.add(FEED, ["+6281200777001"])
    assert status_of(world.publisher) == head(7), "signing again, and a release without a head, keep it"
    world.publisher.rotate_keys(f"feed.{FEED}", restart_serials=True, even_if_serials_are_left=True)
    assert status_of(world.publisher) == head(7)


def test_a_damaged_head_is_malformed(made: World) -> None:
    index, zeros = index_of(made), "0" * 64
    right: tuple[Any, ...] = ({"length": 0, "head": zeros}, {"length": 2**53 - 1, "head": "f" * 64, "later": [1]}, None)
    for audit in right:
        FeedIndex.from_json(json.dumps(index | {"audit": audit}).encode(), feed=FEED)
    for length in (2**53, -1, True, 1.0, "1", None):
        with pytest.raises(Malformed, match="audit"):
            FeedIndex.from_json(json.dumps(index | {"audit": {"length": length, "head": zeros}}).encode(), feed=FEED)
    wrong: tuple[Any, ...] = (
        {"length": 1, "head": "F" * 64},
        {"length": 1, "head": "0" * 63},
        {"length": 1},
        [1, zeros],
    )
    for audit in wrong:
        with pytest.raises(Malformed, match="audit"):
            FeedIndex.from_json(json.dumps(index | {"audit": audit}).encode(), feed=FEED)


def test_heads_that_are_none_are_refused() -> None:
    for length, text in ((-1, "0" * 64), (2**53, "0" * 64), (1, "A" * 64), (1, "")):
        with pytest.raises(InvalidInput):
            AuditHead(length, text)


def test_a_review_sees_what_a_release_puts_and_removes_and_may_refuse_it(world: World) -> None:
    seen: list[Delta] = []
    world.publisher.release(FEED, SECOND, review=seen.append)
    assert [f"+{number}" for number in seen[0].puts.number] == [SECOND[-1]]
    assert len(seen[0].removes) == len(FIRST) + 1 - len(SECOND)
    before = index_of(world)

    def refuse(delta: Delta) -> None:
        raise Refused(f"{len(delta)} rows")

    with pytest.raises(Refused, match="99"):
        world.publisher.release(FEED, SECOND[99:], review=refuse)
    assert index_of(world) == before


def test_recipients_keep_every_head_whatever_becomes_of_the_cache(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    assert recipient.audit_record().heads == (), "no exchange published it"
    for length in (3, 3, 9):
        release(world, SECOND, head(length))
        recipient.dry_run()
        assert recipient.sync().audit_warning is None
        recipient.sync()
    record = recipient.audit_record()
    assert [(seen.feed, seen.serial, seen.length) for seen in record.heads] == [
        (FEED, 2, 3),
        (FEED, 3, 3),
        (FEED, 4, 9),
    ]
    assert record
    assert internals_of(recipient).audit_file.path.stat().st_mode & 0o777 == 0o600
    internals_of(recipient).store.pointer.unlink()
    assert recipient.anew().audit_record() == record


def test_a_head_of_a_release_that_is_refused_is_kept(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    release(world, FIRST[:200], head(5))
    with pytest.raises(Refused):
        recipient.sync()
    assert [seen.length for seen in recipient.audit_record().heads] == [5]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (head(9), head(8, "b"), "the audit trail became shorter"),
        (head(9), head(9, "b"), "two audit trails of 9 lines"),
    ],
)
def test_a_contradiction_is_said_everywhere_and_holds_back_nothing(
    world: World, before: AuditHead, after: AuditHead, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    recipient = world.recipient()
    release(world, SECOND, before)
    recipient.sync()
    release(world, SECOND[1:], after)
    assert "contradicts that of the current release" in caplog.text, "the publisher says it as well"
    result = recipient.sync()
    assert result.removed == 1, "an unblock never waits"
    assert words in (result.audit_warning or "")
    assert recipient.sync().audit_warning is None, "it is said once,"
    assert words in (recipient.status().audit_warning or ""), "and stays"
    (problem,) = recipient.audit_record().problems
    assert words in problem
    assert "release 2" in problem
    assert "release 3" in problem


def test_a_forged_index_with_the_same_serial_leaves_its_head(world: World) -> None:
    recipient = world.recipient()
    release(world, SECOND, head(9))
    recipient.sync()

    def change(index: dict[str, Any]) -> None:
        index["audit"]["head"] = "b" * 64
        index["digest"] = index["releases"][-1]["digest"] = "tree-" + "0" * 64

    Forger(world).forge_index(change)
    with pytest.raises(Untrusted):
        recipient.sync()
    (problem,) = recipient.audit_record().problems
    assert "was seen with two audit heads" in problem


def test_heads_of_several_feeds_are_checked_together(world: World) -> None:
    first, second = world.recipient(), world.recipient(feed=OTHER_FEED)
    release(world, SECOND, head(9))
    release(world, SECOND, head(9, "b"), feed=OTHER_FEED)
    first.sync()
    second.sync()
    assert first.audit_record()
    assert second.audit_record()
    (problem,) = Blocklists([first, second]).audit_record().problems
    assert FEED in problem
    assert OTHER_FEED in problem


def test_a_torn_line_is_none_and_a_damaged_one_is_named(world: World) -> None:
    recipient = world.recipient()
    release(world, SECOND, head(3))
    recipient.sync()
    path = internals_of(recipient).audit_file.path
    path.write_bytes(path.read_bytes() + b'{"feed":"id-tel')
    assert recipient.audit_record()
    release(world, SECOND, head(4))
    recipient.sync()
    assert [seen.length for seen in recipient.audit_record().heads] == [3, 4]
    path.write_bytes(b"{}\n" + path.read_bytes())
    record = recipient.audit_record()
    assert len(record.heads) == 2
    assert "line 1 of" in record.problems[0]


def test_a_head_that_cannot_be_kept_holds_back_nothing(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    internals_of(recipient).audit_file.path.mkdir()
    release(world, SECOND, head(3))
    assert "could not be kept" in (recipient.sync().audit_warning or "")
    assert recipient.status().serial == 2


def test_contradictions_are_within_an_era_a_root_and_an_exchange() -> None:
    def seen(serial: int, length: int, digit: str = "a", **more: Any) -> SeenAuditHead:
        document = {"feed": FEED, "era": 1, "serial": serial, "length": length, "head": digit * 64, "url": "u"}
        moment = "2026-11-02T08:00:00Z"
        return SeenAuditHead.of_document(document | {"published_at": moment, "seen_at": moment} | more)

    assert not list(contradictions([seen(1, 5), seen(2, 5), seen(3, 6, "b"), seen(3, 6, "b")]))
    assert not list(contradictions([seen(2, 5), seen(1, 6, "b", era=7)])), "a thief's heads bind nobody"
    assert not list(contradictions([seen(2, 5), seen(1, 5, "b", root="f" * 64)]))
    assert not list(contradictions([seen(2, 5), seen(3, 5, "b", url="v")]))
    assert len(list(contradictions([seen(3, 4), seen(1, 5), seen(2, 6, "c")]))) == 1, "in whatever order"


def test_the_command_checks_and_exports_the_heads(world: World, tmp_path: Path) -> None:
    recipient = world.recipient()
    flags = ["--url", world.url, "--feed", FEED, "--root", str(world.directory / "publisher" / "root.json")]
    flags += ["--cache-dir", str(world.directory / "cache"), "--state-dir", str(world.directory / "cache-state")]
    assert run("verify", "--audit", *flags).code == 0
    release(world, SECOND, head(3))
    recipient.sync()
    file = tmp_path / "heads.jsonl"
    good = run("verify", "--audit", "--export", str(file), *flags)
    assert good.code == 0
    assert "1 audit head" in good.out
    (line,) = file.read_text().splitlines()
    assert "url" not in json.loads(line)
    assert run("verify", "--audit", "--export", "-", *flags).out.splitlines() == [line]
    assert run("verify", "--export", "-", *flags).code == 2
    release(world, SECOND, head(2, "b"))
    assert "audit trail became shorter" in run("sync", *flags).err
    assert "became shorter" in run("status", *flags).out
    bad = run("verify", "--audit", "--json", *flags)
    assert bad.code == 4
    assert json.loads(bad.out)["ok"] is False
    assert "release 2" in bad.err
