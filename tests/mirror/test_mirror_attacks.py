"""What is wrong at the source, or with what the caller gave, leaves a mirror as it was, and still serving."""

import contextlib
import copy
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, TargetFile

from blocklist_sdk import BlocklistError, InvalidInput, Locked, Malformed, Stale, StorageFailed, Unreachable, Untrusted
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.mirror import mirror
from blocklist_sdk.publisher import serving
from support.mirrors import (
    assert_mirror_answers,
    at_mirror,
    contents,
    make_mirror,
    place,
    published,
    renew_root,
    replace_online_key,
    served,
)
from support.world import (
    FEED,
    OTHER_FEED,
    PATIENT,
    SECOND,
    Forger,
    World,
    assert_still_answers,
    copy_world,
    make_world,
    past,
    stranger,
)

NOWHERE = Path("/proc/nowhere/mirror")
"""Where not even root can make a folder."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world)


def refused(world: World, error: type[BlocklistError], match: str | None = None, **named: Any) -> BlocklistError:
    """A run fails with that error, and the state that the mirror serves is the one that it served."""
    before = served(place(world))
    with serving(world.repository) as url, pytest.raises(error, match=match) as caught:
        make_mirror(world, **{"url": url, **named})
    assert type(caught.value) is error
    after = served(place(world))
    assert before.items() <= after.items()
    # What had been fetched by then may stay for the next run; nothing refers to it.
    assert all(path.startswith("targets/") for path in after.keys() - before.keys())
    assert_mirror_answers(world, 1)
    return caught.value


# The source


def tampered(world: World, forger: Forger) -> None:
    world.release(SECOND)
    for path in world.release_files("*.2.snapshot.parquet"):
        data = path.read_bytes()
        path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])


def too_long(world: World, forger: Forger) -> None:
    world.release(SECOND)
    for path in world.release_files("*.2.delta.parquet"):
        path.write_bytes(path.read_bytes() + b"\0")


def lacking(world: World, forger: Forger) -> None:
    world.release(SECOND)
    for path in world.release_files("*.2.delta.parquet"):
        path.unlink()


def emptied(world: World, forger: Forger) -> None:
    for path in world.metadata.iterdir():
        path.unlink()


def rolled_back(world: World, forger: Forger) -> None:
    """With a stolen online key."""
    old = forger.newest(FEED)
    forger.forge(FEED)
    make_mirror(world)
    meta = MetaFile.from_data(int(old.name.split(".")[0]), old.read_bytes(), ["sha256"])
    forger.forge("snapshot", lambda snapshot: snapshot.meta.__setitem__(f"{FEED}.json", meta))


def out_of_the_folder(world: World, forger: Forger) -> None:
    """The targets role itself signs a path that leads elsewhere."""
    target = forger.store("evil.json", b"evil")

    def sign(targets: Any) -> None:
        targets.targets["../../evil.json"] = target
        target.path = "../../evil.json"

    forger.forge("targets", sign)


@pytest.mark.parametrize(
    ("harm", "error", "match"),
    [
        (rolled_back, Untrusted, FEED),
        (out_of_the_folder, Malformed, "not a target path"),
        (lambda world, forger: forger.forge("timestamp", signers=[stranger()]), Untrusted, "timestamp"),
        (lambda world, forger: forger.forge("root", signers=forger.keys("root")[:1]), Untrusted, "root"),
        (lambda world, forger: forger.forge("timestamp", past), Stale, "timestamp"),
        (lambda world, forger: forger.forge("targets", past), Stale, "targets"),
        (lambda world, forger: (world.metadata / "timestamp.json").write_text("<html>"), Malformed, "not metadata"),
        (emptied, Unreachable, "404"),
    ],
)
def test_a_source_that_is_refused(
    world: World,
    forger: Forger,
    harm: Callable[[World, Forger], object],
    error: type[BlocklistError],
    match: str,
) -> None:
    make_mirror(world)
    harm(world, forger)
    refused(world, error, match)
    assert not list(world.directory.glob("*evil.json"))
    assert not list(place(world).rglob("*evil.json"))


def signs(path: str) -> Callable[[World, Forger], object]:
    """The feed's own key signs a file under a path that no file system should see."""

    def harm(world: World, forger: Forger) -> None:
        target = TargetFile.from_data(path, b"evil", ["sha256"])
        forger.forge(FEED, lambda role: role.targets.__setitem__(path, target))

    return harm


def delegates(world: World, forger: Forger) -> None:
    role = DelegatedRole("deputy", [], 1, terminating=True, paths=[f"{FEED}/*"])
    forger.forge(FEED, lambda signed: setattr(signed, "delegations", Delegations({}, {"deputy": role})))


@pytest.mark.parametrize(
    ("harm", "error", "match"),
    [
        (tampered, Untrusted, "2.snapshot.parquet"),
        (too_long, Untrusted, "longer"),
        (lacking, Unreachable, "404"),
        (lambda world, forger: forger.forge(FEED, signers=forger.keys(OTHER_FEED)), Untrusted, FEED),
        (lambda world, forger: forger.forge(FEED, past), Stale, FEED),
        (signs(f"{FEED}/.."), Malformed, "not a target path"),
        (signs(f"{FEED}/"), Malformed, "not a target path"),
        (signs(f"{FEED}/a\0b"), Malformed, "not a target path"),
        (signs(f"{FEED}/{'a' * 250}"), Malformed, "not a target path"),
        (delegates, Malformed, "delegates to others"),
    ],
)
def test_a_feed_that_fails_does_not_stop_the_others(
    world: World,
    forger: Forger,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[World, Forger], object],
    error: type[BlocklistError],
    match: str,
) -> None:
    make_mirror(world)
    failing, other = (world.recipient(url=place(world).as_uri(), feed=feed, cache=feed) for feed in (FEED, OTHER_FEED))
    failing.sync()
    other.sync()
    world.release(SECOND, OTHER_FEED)
    harm(world, forger)
    with pytest.raises(error, match=rf"{FEED} could not be mirrored, 1 other feed could: ") as caught:
        make_mirror(world)
    assert type(caught.value) is error
    assert re.search(match, str(caught.value))
    assert f"feed {FEED} was not mirrored: " in caplog.text
    assert other.sync().after == 2
    assert_still_answers(failing, failing.status().serial or 0)
    with contextlib.suppress(BlocklistError):
        failing.sync()
    assert_still_answers(failing, failing.status().serial or 0)


def test_a_fault_of_this_library_in_one_feed_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mirror(world)
    other = world.recipient(url=place(world).as_uri(), feed=OTHER_FEED, cache="other")
    world.release(SECOND, OTHER_FEED)
    check = Trust.check_feed

    def faulty(self: Trust, feed: str) -> None:
        if feed == FEED:
            raise OverflowError("date value out of range")
        check(self, feed)

    monkeypatch.setattr(Trust, "check_feed", faulty)
    with pytest.raises(BlocklistError, match="unexpected OverflowError"):
        make_mirror(world)
    assert other.sync().after == 2


@pytest.mark.parametrize("lost", ["nothing", "timestamp.json", "all", "damaged"])
def test_nothing_goes_back_behind_what_the_mirror_has(world: World, lost: str) -> None:
    """Not even where TUF's own memory is lost: what is served remembers as well."""
    old = world.directory / "old"
    shutil.copytree(world.repository, old)
    world.release(SECOND)
    make_mirror(world)
    kept = place(world) / ".mirror" / "tuf"
    if lost == "timestamp.json":
        (kept / lost).unlink()
    elif lost == "all":
        shutil.rmtree(kept)
    elif lost == "damaged":
        for path in kept.glob("*.json"):
            path.write_bytes(b"")
    before = served(place(world))
    with pytest.raises(Untrusted, match="timestamp"):
        make_mirror(world, url=old.as_uri())
    assert served(place(world)) == before
    assert_mirror_answers(world, 2)
    assert not make_mirror(world).changed


def test_a_state_that_failed_half_way_is_not_taken_back_either(world: World, forger: Forger) -> None:
    """What a run verified stays verified, although it was not placed: such as which key was revoked."""
    make_mirror(world)
    old = world.directory / "old"
    shutil.copytree(world.repository, old)
    world.release(SECOND)
    replace_online_key(forger)
    lost = world.release_files("*.2.delta.parquet")[0]
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(Unreachable, match="404"):
        make_mirror(world)
    with pytest.raises(Untrusted):
        make_mirror(world, url=old.as_uri())
    lost.write_bytes(data)
    make_mirror(world)
    assert served(place(world)).items() >= published(world).items()
    assert_mirror_answers(world, 2)


def test_a_feed_that_signs_outside_its_path_is_not_heard(world: World, forger: Forger) -> None:
    def elsewhere(signed: Any) -> None:
        for path in (f"{OTHER_FEED}/index.json", "protected.json"):
            signed.targets[path] = forger.store(path, b"forged")

    forger.forge(FEED, elsewhere)
    make_mirror(world)
    assert b"forged" not in served(place(world)).values()
    assert_mirror_answers(world, 1)


def test_a_feed_that_vanished(world: World, forger: Forger) -> None:
    """A mirror of all feeds follows, as recipients at the source have to; a mirror of chosen feeds is refused."""
    make_mirror(world, feeds=[FEED])
    assert_mirror_answers(world, 1)

    def without_the_feed(targets: Any) -> None:
        del targets.delegations.roles[FEED]

    forger.forge("targets", without_the_feed)
    refused(world, Untrusted, f"no longer signs the feed '{FEED}', which is mirrored", feeds=[FEED])
    assert make_mirror(world).feeds == (OTHER_FEED,)


def test_a_role_that_is_not_a_feed_is_left_out(world: World, forger: Forger) -> None:
    """A later version of the protocol may have others, and none of them may name a file here."""

    def with_more(targets: Any) -> None:
        role = copy.deepcopy(targets.delegations.roles[OTHER_FEED])
        role.name = "../../evil"
        targets.delegations.roles[role.name] = role

    forger.forge("targets", with_more)
    assert make_mirror(world).feeds == (OTHER_FEED, FEED)


# What the caller gave


def nothing_changes(world: World, error: type[BlocklistError], match: str, **named: Any) -> None:
    """A run is refused, and leaves nothing behind and nothing altered."""
    given: dict[str, Any] = {
        "url": world.url,
        "directory": place(world),
        "root": world.publisher.root,
        "transport": PATIENT,
        **named,
    }
    before = contents(world.directory)
    with pytest.raises(error, match=match) as caught:
        mirror(given.pop("url"), given.pop("directory"), **given)
    assert type(caught.value) is error
    assert contents(world.directory) == before


@pytest.mark.parametrize("there", ["a file", "a folder", "a link to nowhere", "a repository", "a publisher"])
def test_a_folder_that_holds_something_else(world: World, there: str) -> None:
    directory, match = place(world), "neither empty nor a mirror"
    if there == "a file":
        directory.write_text("mine")
        match = "is not a folder"
    elif there == "a link to nowhere":
        directory.symlink_to(world.directory / "nowhere")
        match = "is not a folder"
    elif there == "a folder":
        directory.mkdir()
        (directory / "notes.txt").write_text("mine")
    else:
        # Above all the publisher's own: the same root, the same files, and nothing for a mirror to change.
        directory = world.repository if there == "a repository" else world.repository.parent
    nothing_changes(world, InvalidInput, match, directory=directory)


def test_an_empty_folder_will_do(world: World) -> None:
    place(world).mkdir()
    make_mirror(world)
    assert served(place(world)) == published(world)


def test_the_root_of_somebody_else(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = make_world(tmp_path_factory.mktemp("other"))
    root = other.publisher.root
    nothing_changes(world, Untrusted, "does not verify", root=root)
    place(world).mkdir()
    nothing_changes(world, Untrusted, "does not verify", root=root)
    make_mirror(world)
    nothing_changes(world, InvalidInput, "a repository with another root", root=root)
    nothing_changes(world, InvalidInput, "a repository with another root", root=root, url=other.url)


@pytest.mark.parametrize("is_mirror", [False, True])
def test_a_root_that_is_invalid(world: World, is_mirror: bool) -> None:
    if is_mirror:
        make_mirror(world)
    for root in (b"", b"{}", b"<html>"):
        nothing_changes(world, InvalidInput, "root", root=root)
    nothing_changes(world, InvalidInput, "cannot read the root", root=world.directory / "nowhere.json")
    nothing_changes(world, InvalidInput, "not a regular file", root=world.directory)


def test_a_root_that_the_mirror_has_not_seen_yet(world: World, forger: Forger) -> None:
    make_mirror(world)
    renew_root(forger)
    latest = (world.metadata / "2.root.json").read_bytes()
    nothing_changes(world, InvalidInput, "root.json that the mirror was made with", root=latest)


def test_an_unknown_feed(world: World) -> None:
    nothing_changes(world, InvalidInput, "no feed 'id-nobody'", feeds=[FEED, "id-nobody"])
    make_mirror(world)
    before = served(place(world))
    world.release(SECOND)
    with pytest.raises(InvalidInput, match="no feed 'id-nobody'"):
        make_mirror(world, feeds=["id-nobody"])
    assert served(place(world)) == before


@pytest.mark.parametrize("feeds", [[], ["No Feed"], ["snapshot"], [""], FEED, [7]])
def test_feeds_that_are_invalid(world: World, feeds: Any) -> None:
    nothing_changes(world, InvalidInput, "feed", feeds=feeds)


@pytest.mark.parametrize("url", ["", "lists.example", "ftp://lists.example", "http://[", "https:"])
def test_an_address_that_is_invalid(world: World, url: str) -> None:
    nothing_changes(world, InvalidInput, "URL", url=url)


def test_a_source_that_is_not_there(world: World) -> None:
    nothing_changes(world, Unreachable, "404", url=(world.directory / "nowhere").as_uri())
    nothing_changes(world, Unreachable, "127.0.0.1", url="http://127.0.0.1:9")


def test_a_folder_that_cannot_be_made(world: World) -> None:
    nothing_changes(world, StorageFailed, "cannot use", directory=NOWHERE)
    nothing_changes(world, StorageFailed, "cannot use", directory=world.publisher.root / "below-a-file")
    with pytest.raises(InvalidInput, match="must be a path"):
        mirror(world.url, "mirror\0", root=world.publisher.root)


def test_a_read_only_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, since nothing is read-only for who runs the tests as root."""

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", read_only)
        nothing_changes(world, StorageFailed, "Read-only")
    make_mirror(world)
    world.release(SECOND)
    with monkeypatch.context() as patch:
        for name in ("mkdir", "open", "replace", "symlink"):
            patch.setattr(os, name, read_only)
        nothing_changes(world, StorageFailed, "Read-only")
    assert_mirror_answers(world, 1)


def test_a_mirror_of_a_newer_version(world: World) -> None:
    make_mirror(world)
    (place(world) / ".mirror" / "mirror.json").write_text('{"format": 2}')
    nothing_changes(world, InvalidInput, "newer blocklist-sdk")


def test_a_folder_that_another_run_holds(world: World) -> None:
    make_mirror(world)
    lock = place(world) / ".mirror" / "lock"
    with FileLock(lock):
        with pytest.raises(Locked, match=r"another run is mirroring into .*waited 0 s") as caught:
            make_mirror(world, wait_s=0)
        with pytest.raises(Locked):
            make_mirror(world, wait_s=-1)
    assert caught.value.path == lock
    assert not make_mirror(world).changed


def test_a_first_run_that_another_holds_leaves_its_folder_alone(world: World) -> None:
    lock = place(world) / ".mirror" / "lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        with pytest.raises(Locked):
            make_mirror(world, wait_s=0)
        assert lock.exists()
    make_mirror(world)
    assert at_mirror(world).sync().after == 1
