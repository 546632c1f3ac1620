"""What an attacker tries, what it must raise, and that the last verified generation still answers."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from blocklist_sdk import InvalidInput, Malformed, NotSynced, Stale, Untrusted
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.files import write_delta
from blocklist_sdk.release.merge import delta_between
from support.mirrors import replace_online_key
from support.world import (
    FEED,
    FIRST,
    OTHER_FEED,
    SECOND,
    Forger,
    World,
    assert_still_answers,
    copy_world,
    make_world,
    past,
    refused,
    stranger,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world)


def test_a_replayed_timestamp(world: World) -> None:
    old = (world.metadata / "timestamp.json").read_bytes()
    world.release(SECOND)
    recipient = world.recipient()
    recipient.sync()
    (world.metadata / "timestamp.json").write_bytes(old)
    refused(recipient, Untrusted, serial=2)


def test_a_rolled_back_snapshot(world: World, forger: Forger) -> None:
    old = forger.newest("snapshot")
    world.release(SECOND)
    recipient = world.recipient()
    recipient.sync()
    meta = MetaFile.from_data(int(old.name.split(".")[0]), old.read_bytes(), ["sha256"])
    forger.forge("timestamp", lambda timestamp: setattr(timestamp, "snapshot_meta", meta))
    refused(recipient, Untrusted, serial=2)


@pytest.mark.parametrize("role", ["targets", FEED])
def test_a_rolled_back_role(world: World, forger: Forger, role: str) -> None:
    old = forger.newest(role)
    forger.forge(role)
    recipient = world.recipient()
    recipient.sync()
    meta = MetaFile.from_data(int(old.name.split(".")[0]), old.read_bytes(), ["sha256"])
    forger.forge("snapshot", lambda snapshot: snapshot.meta.__setitem__(f"{role}.json", meta))
    refused(recipient, Untrusted)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", FEED, "root"])
def test_an_expired_role(world: World, forger: Forger, role: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger.forge(role, past)
    error = refused(recipient, Stale, "expired")
    assert isinstance(error, Stale)
    assert error.role == role


def test_a_rotated_root(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger.forge("root", signers=forger.keys("root")[:2])
    world.release(SECOND)
    assert recipient.sync().after == 2
    assert_still_answers(recipient, 2)


def test_a_root_signed_by_one_of_three(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger.forge("root", signers=forger.keys("root")[:1])
    refused(recipient, Untrusted)


def test_a_root_of_the_wrong_version(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()
    root = forger.load("root")
    root.signed.version = 3
    forger.write("root", root, forger.keys("root"), name="2.root.json")
    refused(recipient, Untrusted)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", FEED])
def test_an_unknown_key(world: World, forger: Forger, role: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger.forge(role, signers=[stranger()])
    refused(recipient, Untrusted)


def test_a_feed_signed_by_the_key_of_another(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger.forge(FEED, signers=forger.keys(OTHER_FEED))
    refused(recipient, Untrusted)


def test_a_feed_that_signs_for_another(world: World, forger: Forger) -> None:
    """The other feed's role lists this feed's index, which must not be trusted."""
    recipient, newcomer = world.recipient(), world.recipient(cache="new")
    recipient.sync()
    index = f"{FEED}/index.json"
    stolen: TargetFile = forger.load(FEED).signed.targets[index]
    forger.forge(FEED, lambda signed: signed.targets.pop(index))
    forger.forge(OTHER_FEED, lambda signed: signed.targets.__setitem__(index, stolen))
    refused(recipient, Untrusted, "has the feed 'id-telkomsel' and no release of it, but release 1 is in force")
    with pytest.raises(NotSynced, match="has the feed 'id-telkomsel', which has no release yet"):
        newcomer.sync()


def test_a_feed_that_vanished(world: World, forger: Forger) -> None:
    """If a feed that is in force here disappears, the error must not say that its name is mistyped."""
    recipient = world.recipient()
    recipient.sync()

    def without_the_feed(targets: Any) -> None:
        del targets.delegations.roles[FEED]

    forger.forge("targets", without_the_feed)
    refused(recipient, Untrusted, "any more")


def test_a_feed_that_signs_outside_its_path(world: World, forger: Forger, tmp_path: Path) -> None:
    """With a stolen feed key and the online key: neither another feed nor the protected numbers are touched."""
    other = world.recipient(feed=OTHER_FEED)
    other.sync()
    world.release(SECOND)
    stolen = forger.load(FEED).signed.targets

    def elsewhere(signed: Any) -> None:
        for path in (f"{OTHER_FEED}/index.json", "protected.json", f"{OTHER_FEED}/1.snapshot.parquet"):
            signed.targets[path] = forger.store(path, b'{"protocol": 1, "numbers": []}')

    forger.forge(FEED, elsewhere)
    assert len(forger.load(FEED).signed.targets) == len(stolen) + 3
    assert other.sync().kind == "none"
    assert_still_answers(other)
    newcomer = world.recipient(feed=OTHER_FEED, cache="new")
    assert newcomer.sync().after == 1
    assert_still_answers(newcomer)
    # Targets outside its path are ignored; those inside are not.
    assert world.recipient().sync().after == 2


def test_an_index_that_leads_outside_its_path(world: World, forger: Forger) -> None:
    """A file that the feed signs without being allowed to is not fetched."""
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    outside = f"{OTHER_FEED}/2.snapshot.parquet"

    def lead_outside(index: Any) -> None:
        index["releases"] = index["releases"][-1:]
        index["releases"][0].update(snapshot={"path": outside, "length": 1}, delta=None)

    forger.forge_index(lead_outside)
    inside = forger.load(FEED).signed.targets[f"{FEED}/2.snapshot.parquet"]
    data = (world.repository / "targets" / FEED / f"{inside.hashes['sha256']}.2.snapshot.parquet").read_bytes()
    target = forger.store(outside, data)
    forger.forge(FEED, lambda signed: signed.targets.__setitem__(outside, target))
    refused(recipient, Malformed, "is not the path of a file of this feed")


@pytest.mark.parametrize("damage", ["tampered", "short", "long", "empty", "gone"])
def test_a_release_file_that_is_not_what_was_signed(world: World, damage: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    before = set(world.release_files())
    world.release(SECOND)
    for path in set(world.release_files()) - before:
        data = path.read_bytes()
        middle = len(data) // 2
        changed = {
            "tampered": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "short": data[:-1],
            "long": data + b"\0",
            "empty": b"",
        }
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(changed[damage])
    if damage == "gone":
        from blocklist_sdk import Unreachable

        refused(recipient, Unreachable, "404")
    else:
        refused(recipient, Untrusted)


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "targets", FEED])
def test_old_files_under_new_names(world: World, forger: Forger, name: str) -> None:
    """Mix-and-match: one file of the release before instead of the new one."""
    recipient = world.recipient()
    recipient.sync()
    old = forger.newest(name).read_bytes()
    world.release(SECOND)
    if name == "targets":
        forger.forge("targets")
    forger.newest(name).write_bytes(old)
    if name == "timestamp":
        assert recipient.sync().kind == "none"  # a freeze: it cannot be noticed while the signatures are valid
        assert_still_answers(recipient)
    else:
        refused(recipient, Untrusted)


def test_an_old_release_file_under_a_new_name(world: World) -> None:
    recipient = world.recipient()
    old = world.release_files("*.snapshot.parquet")[0].read_bytes()
    recipient.sync()
    before = set(world.release_files())
    world.release(SECOND)
    for path in set(world.release_files()) - before:
        path.write_bytes(old)
    refused(recipient, Untrusted)


def test_a_release_that_does_not_have_its_signed_digest(world: World, forger: Forger) -> None:
    """The publisher's own fault: delta and snapshot are signed, but lead elsewhere."""
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)

    def another_digest(index: Any) -> None:
        index["digest"] = index["releases"][-1]["digest"] = "0" * 64

    forger.forge_index(another_digest)
    refused(recipient, Malformed, "digest")


@pytest.mark.parametrize("fault", ["leads elsewhere", "does not fit", "is no Parquet"])
def test_a_delta_that_is_wrong_is_healed_by_the_snapshot(
    world: World, forger: Forger, tmp_path: Path, fault: str
) -> None:
    recipient = world.recipient()
    recipient.sync()
    report = world.release(SECOND)
    none = from_table(recipient.to_arrow()).take(np.arange(0))
    never_listed = replace(from_table(recipient.to_arrow()).take(np.arange(1)), entry=np.array([10**6]))
    file = tmp_path / "delta"
    if fault == "is no Parquet":
        file.write_bytes(b"PAR1 and no more")
    else:
        write_delta(delta_between(none if fault == "leads elsewhere" else never_listed, none), file)
    path = f"{FEED}/2.delta.parquet"
    target = forger.store(path, file.read_bytes())
    forger.forge(FEED, lambda signed: signed.targets.__setitem__(path, target))
    result = recipient.sync()
    assert (result.kind, result.after, result.added, result.removed) == ("snapshot", 2, 1, 99)
    assert recipient.status().digest == report.digest
    assert FIRST[5] not in recipient
    assert_still_answers(recipient, 2)


def test_a_serial_that_leads_nowhere_does_not_lock_out_what_comes(world: World, forger: Forger) -> None:
    """Otherwise one wrong index, signed with a stolen key, would block the feed for ever."""
    recipient = world.recipient()
    recipient.sync()
    whole = forger.index_target()

    def nowhere(index: Any) -> None:
        index["serial"] = index["releases"][-1]["serial"] = 2**31 - 1
        index["releases"][-1].update(snapshot=None, delta=None)

    forger.forge_index(nowhere)
    refused(recipient, Malformed, "no snapshot")
    forger.forge(FEED, lambda signed: signed.targets.__setitem__(f"{FEED}/index.json", whole))
    assert recipient.sync().kind == "none"
    assert_still_answers(recipient)


def test_a_serial_beyond_all_sense(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()

    def beyond(index: Any) -> None:
        index["serial"] = index["releases"][-1]["serial"] = 2**62

    forger.forge_index(beyond)
    refused(recipient, Malformed, "serial")


def test_a_wiped_cache_and_an_old_repository(world: World) -> None:
    """Without its cache TUF accepts what it has refused before; our own state prevents that."""
    old = world.directory / "old"
    shutil.copytree(world.repository, old)
    world.release(SECOND)
    recipient = world.recipient()
    recipient.sync()
    shutil.rmtree(world.directory / "cache")
    replayed = world.recipient(url=old.as_uri())
    with pytest.raises(Untrusted, match=r"release 1 .* release 2"):
        replayed.sync()
    with pytest.raises(NotSynced):
        replayed.check(FIRST[0])
    assert world.recipient().sync().kind == "snapshot"


@pytest.mark.parametrize(
    "what", ["tuf files", "tuf directories", "pointer", "generation", "base", "state", "everything"]
)
def test_a_damaged_cache_heals(world: World, what: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    recipient.sync()
    cache = world.directory / "cache" / FEED
    tuf = [path for path in (cache / "tuf").rglob("*.json") if path.is_file() and not path.is_symlink()]
    damaged = {
        "tuf files": tuf,
        "tuf directories": tuf,
        "pointer": [cache / "current.json"],
        "generation": list(cache.glob("generations/000000000002-*/puts.arrow")),
        "base": list(cache.glob("generations/000000000002-*/rows.arrow")),
        "state": list((world.directory / "cache-state").rglob("state.json")),
    }
    damaged["everything"] = [path for paths in damaged.values() for path in paths]
    assert damaged[what]
    left = {"generation": 1, "base": None, "everything": None}.get(what, 2)
    for path in damaged[what]:
        if what == "tuf directories":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(b"\0" * 100)
    # A whole generation is left, and answers before a sync repairs the rest; but if the base that both have is gone.
    if left is None:
        assert world.recipient().status().serial is None
    else:
        assert_still_answers(world.recipient(), left)
    anew = world.recipient()
    anew.sync()
    assert_still_answers(anew, 2)
    world.release(FIRST)
    assert anew.sync().after == 3


@pytest.mark.parametrize("root", [b"", b"{}", b"<html>", b'{"signed": {}, "signatures": []}'])
def test_a_root_that_is_not_root_metadata(world: World, root: bytes) -> None:
    from blocklist_sdk import Blocklist

    recipient = Blocklist.open(world.url, feed=FEED, root=root, cache_dir=world.directory / "c")
    before = contents(world.directory)
    with pytest.raises(InvalidInput, match="root"):
        recipient.sync()
    assert contents(world.directory) == before


def test_an_invalid_root_changes_nothing_on_disk(world: World) -> None:
    from blocklist_sdk import Blocklist

    world.recipient().sync()
    wrong = Blocklist.open(
        world.url,
        feed=FEED,
        root=b"{}",
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
    )
    before = contents(world.directory)
    with pytest.raises(InvalidInput, match="root"):
        wrong.sync()
    assert contents(world.directory) == before


def contents(directory: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file and folder below, with its content and when it last changed."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*")
    }


def test_a_tampered_pinned_root(world: World) -> None:
    from blocklist_sdk import Blocklist

    pinned: Metadata[Any] = Metadata.from_file(str(world.directory / "publisher" / "root.json"))
    pinned.signed.version = 9
    recipient = Blocklist.open(world.url, feed=FEED, root=pinned.to_bytes(), cache_dir=world.directory / "c")
    with pytest.raises(InvalidInput, match="root"):
        recipient.sync()


def test_the_root_of_another_authority(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    from blocklist_sdk import Blocklist

    other = make_world(tmp_path_factory.mktemp("other"))
    recipient = Blocklist.open(
        world.url, feed=FEED, root=other.directory / "publisher" / "root.json", cache_dir=world.directory / "c"
    )
    with pytest.raises(Untrusted):
        recipient.sync()


def test_an_unknown_feed(world: World) -> None:
    with pytest.raises(InvalidInput, match="no feed 'id-nobody'"):
        world.recipient(feed="id-nobody").sync()


def test_a_revoked_online_key_serves_only_who_never_saw_the_new_root(world: World, forger: Forger) -> None:
    """Who controls the network hides the new root; that lasts until the old one expires. So it is with TUF."""
    seen, unseen = world.recipient(), world.recipient(cache="unseen")
    seen.sync()
    unseen.sync()
    old = world.directory / "old"
    shutil.copytree(world.repository, old)
    replace_online_key(forger)
    seen.sync()
    shutil.rmtree(world.repository)
    shutil.copytree(old, world.repository)
    Forger(world).forge("timestamp")
    assert unseen.sync().kind == "none"
    refused(seen, Untrusted)
