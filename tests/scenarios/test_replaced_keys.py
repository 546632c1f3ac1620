"""Keys that are stolen, lost or old are replaced, and recipients, who sync over HTTP, have nothing to do."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import Signer

from blocklist_sdk import Blocklist, Publisher
from blocklist_sdk.errors import InvalidInput, Refused, Untrusted
from blocklist_sdk.publisher import PublisherGuard, serving
from blocklist_sdk.release.eras import era_of
from blocklist_sdk.release.index import SERIAL_MAX
from support.holders import PASSPHRASE as HOLDERS_PASSPHRASE
from support.holders import Killed, Renames, holders
from support.scale import scaled
from support.world import ADDED, FEED, FIRST, OTHER_FEED, PASSPHRASE, SECOND, Forger, World, make_world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("template"))
    world.release(SECOND)
    world.release(FIRST)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> Iterator[World]:
    """A publisher at release 3, served over HTTP."""
    shutil.copytree(template.directory, tmp_path, dirs_exist_ok=True)
    publisher = reopened(tmp_path / "publisher")
    with serving(publisher.repository) as url:
        yield World(tmp_path, publisher, url)


def reopened(directory: Path, passphrase: str = PASSPHRASE) -> Publisher:
    return Publisher.open(directory, passphrase=passphrase, guard=PublisherGuard.off())


def published(world: World, numbers: Any, feed: str = FEED) -> int:
    source = world.directory / "list.txt"
    source.write_text("\n".join(numbers) + "\n")
    return reopened(world.directory / "publisher").release(feed, source).serial


class Thief(Forger):
    """Has taken keys, and signs with them whatever the publisher does later."""

    def __init__(self, world: World, *names: str) -> None:
        super().__init__(world)
        self.known = {name: world.signers(name) for name in names}

    def keys(self, role: str) -> list[Signer]:
        return self.known[{"snapshot": "online", "timestamp": "online"}.get(role, self.key_name(role))]


def era(world: World, feed: str = FEED) -> int:
    return era_of(world.publisher._folder.load().state.targets.signed, feed)


@pytest.mark.parametrize("role", ["online", f"feed.{FEED}", "targets", "root"])
def test_a_key_is_replaced_and_recipients_go_on(world: World, role: str) -> None:
    recipient = world.recipient()
    assert recipient.sync().after == 3
    change = world.publisher.rotate_keys(role)
    assert change.added
    assert change.removed
    assert not change.kept
    assert recipient.sync().after == 3
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4
    assert ADDED in recipient
    newcomer = world.recipient(cache="newcomer")
    assert newcomer.sync().after == 4
    assert recipient.verify().problems == ()


def test_a_stolen_online_key_signs_nothing_any_more(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    thief = Thief(world, "online")
    world.publisher.rotate_keys("online")
    recipient.sync()
    before = recipient.status()
    honest = {path: path.read_bytes() for path in world.metadata.iterdir()}
    thief.forge("timestamp", lambda signed: setattr(signed, "version", signed.version + 10**6))
    with pytest.raises(Untrusted):
        recipient.sync()
    assert recipient.status().serial == before.serial
    for path, data in honest.items():
        path.write_bytes(data)
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4


def test_what_the_thief_of_the_online_key_signed_before_stands_in_nobodys_way(world: World) -> None:
    """Versions a million ahead were verified here; the new root ends them (section 5.3.11 of the specification)."""
    recipient = world.recipient()
    recipient.sync()
    honest = {path: path.read_bytes() for path in world.metadata.iterdir()}
    thief = Thief(world, "online")
    thief.forge("snapshot", lambda signed: setattr(signed, "version", signed.version + 10**6))
    thief.forge("timestamp", lambda signed: setattr(signed, "version", signed.version + 10**6))
    recipient.sync()
    for path in world.metadata.iterdir():
        path.unlink()
    for path, data in honest.items():
        path.write_bytes(data)
    with pytest.raises(Untrusted):
        recipient.sync()
    world.publisher.rotate_keys("online")
    assert recipient.sync().after == 3
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4


def test_a_stolen_feed_key_signs_nothing_any_more(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    thief = Thief(world, "online", f"feed.{FEED}")
    assert era(world) == 1
    world.publisher.rotate_keys(f"feed.{FEED}")
    assert era(world) == world.publisher._folder.load().state.targets.signed.version > 1
    assert era(world, OTHER_FEED) == 1
    recipient.sync()
    thief.forge(FEED)
    with pytest.raises(Untrusted):
        recipient.sync()


def seized(world: World, serial: int) -> dict[Path, bytes]:
    """A thief of the feed's and the online key publishes a release with that serial; returns what was there before."""
    files = {path: path.read_bytes() for path in world.repository.rglob("*") if path.is_file()}

    def leap(index: Any) -> None:
        index["serial"] = index["releases"][-1]["serial"] = serial
        index["releases"] = index["releases"][-1:]
        index["releases"][0]["snapshot"] = snapshot
        index["releases"][0]["delta"] = None

    thief = Thief(world, "online", f"feed.{FEED}")
    index = world.publisher._folder.load().file(FEED, f"{FEED}/index.json")
    assert index is not None
    snapshot = json.loads(index.read_bytes())["releases"][-1]["snapshot"]
    thief.forge_index(leap)
    return files


def test_a_serial_that_a_thief_used_up_is_left_behind_with_the_era(world: World) -> None:
    """The thief published elsewhere: the publisher's own folder goes on at 4."""
    recipient = world.recipient()
    recipient.sync()
    honest = seized(world, SERIAL_MAX)
    take_what_the_thief_signed(recipient)
    for path in world.repository.rglob("*"):
        if path.is_file():
            path.unlink()
    for path, data in honest.items():
        path.write_bytes(data)
    publisher = reopened(world.directory / "publisher")
    publisher.rotate_keys("online")
    publisher.rotate_keys(f"feed.{FEED}")
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4
    assert ADDED in recipient


def test_serials_begin_anew_where_a_thief_used_them_up_here(world: World) -> None:
    """The thief published into the publisher's own folder: no serial is left."""
    ids = entry_ids(world, "before")
    seized(world, SERIAL_MAX)
    publisher = reopened(world.directory / "publisher")
    with pytest.raises(InvalidInput, match="no serial left after 2,147,483,647") as caught:
        published(world, SECOND)
    assert f"--role feed.{FEED} --restart-serials" in str(caught.value)
    with pytest.raises(InvalidInput, match="restart_serials"):
        publisher.rotate_keys(f"feed.{FEED}")
    last_entry = publisher.status().feeds[1].last_entry
    publisher.rotate_keys(f"feed.{FEED}", restart_serials=True)
    newcomer = world.recipient(cache="newcomer")
    assert newcomer.sync().after == 1
    assert entry_ids(world, "after") == ids
    assert published(world, SECOND) == 2
    assert newcomer.sync().kind == "delta"
    assert newcomer.status().serial == 2
    after = publisher.status().feeds[1]
    assert after.feed == FEED
    assert after.last_entry is not None
    assert last_entry is not None
    assert after.last_entry == last_entry + 1


def take_what_the_thief_signed(recipient: Blocklist) -> None:
    """A person lets it in, since the guard does not."""
    with pytest.raises(Refused, match="its serial is 2,147,483,644 higher than the one in force"):
        recipient.sync()
    assert recipient.sync(accept=SERIAL_MAX).after == SERIAL_MAX


def entry_ids(world: World, cache: str) -> dict[str, int]:
    recipient = world.recipient(cache=cache)
    recipient.sync()
    return {number: recipient.entries(number)[0].entry for number in FIRST[:100]}


def test_recipients_follow_serials_that_begin_anew(world: World) -> None:
    recipient = world.recipient()
    recipient.sync()
    seized(world, SERIAL_MAX)
    take_what_the_thief_signed(recipient)
    publisher = reopened(world.directory / "publisher")
    publisher.rotate_keys(f"feed.{FEED}", restart_serials=True)
    assert recipient.sync().after == 1
    assert published(world, SECOND) == 2
    assert recipient.sync().after == 2
    assert ADDED in recipient


def test_an_old_key_may_sign_until_caches_have_forgotten_it(world: World) -> None:
    """A cache serves the old timestamp with the new root for a while: that verifies."""
    recipient = world.recipient()
    recipient.sync()
    old = (world.metadata / "timestamp.json").read_bytes()
    kept = world.publisher.rotate_keys("online", keep_old=True)
    assert len(kept.added) == len(kept.kept) == 1
    assert not kept.removed
    now = (world.metadata / "timestamp.json").read_bytes()
    (world.metadata / "timestamp.json").write_bytes(old)
    recipient.sync()
    (world.metadata / "timestamp.json").write_bytes(now)
    reopened(world.directory / "publisher").refresh()
    recipient.sync()
    dropped = reopened(world.directory / "publisher").rotate_keys("online", drop_old=True)
    assert dropped.removed == kept.kept
    assert dropped.kept == kept.added
    assert recipient.sync().after == 3
    with pytest.raises(InvalidInput, match="no old key"):
        world.publisher.rotate_keys("online", drop_old=True)


def test_a_stolen_key_is_replaced_while_an_old_one_still_signs(world: World) -> None:
    kept = world.publisher.rotate_keys("online", keep_old=True)
    change = world.publisher.rotate_keys("online")
    assert {*change.removed} == {*kept.added, *kept.kept}
    assert not change.kept


@pytest.mark.parametrize("role", scaled(["online", "root"], long=["online", f"feed.{FEED}", "targets", "root"]))
def test_a_power_cut_at_any_step_leaves_a_whole_repository(
    world: World, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each number of renames the run ends: recipients sync, and the same command completes it."""
    recipient = world.recipient()
    recipient.sync()
    folder = world.directory / "publisher"
    steps = 0
    for allowed in range(100):
        before = signing(world, role)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Renames(allowed))
            try:
                reopened(folder).rotate_keys(role)
            except Killed:
                steps += 1
            else:
                break
        recipient.sync()
        assert world.recipient(cache=f"newcomer-{allowed}").sync().after == 3
        reopened(folder).refresh()
        recipient.sync()
        reopened(folder).rotate_keys(role)
        after = signing(world, role)
        assert len(after) == len(before)
        assert not after & before
        recipient.sync()
    # At least: the key, keys.json, metadata, the timestamp, keys.json again, the old key's name.
    assert steps >= 5
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4


def signing(world: World, role: str) -> set[str]:
    """Key ids of a role's keys, as they are signed."""
    name = {"online": "timestamp"}.get(role, role.removeprefix("feed."))
    return {key.keyid for each in world.publisher.key_roles() if each.role == name for key in each.keys}


def test_root_and_targets_are_replaced_by_a_ceremony_of_holders(tmp_path: Path) -> None:
    """2 of 3 root keys and a targets key are never on the publisher's machine, from the first day on."""
    first, second, third, fourth = holders(tmp_path, ["first", "second", "third", "fourth"])
    minister, successor = holders(tmp_path, ["minister", "successor"])
    folder = tmp_path / "publisher"
    begun = Publisher.begin(
        folder,
        feeds=[FEED],
        public_keys={"root": [first.public, second.public, third.public], "targets": [minister.public]},
        passphrase=PASSPHRASE,
        region="ID",
    )
    with pytest.raises(InvalidInput, match="waits for the holders' signatures"):
        reopened(folder)
    one, _ = begun.sign(signer(first))
    two, _ = begun.sign(signer(third))
    with pytest.raises(InvalidInput, match=r"1\.root needs 1 more signature of"):
        Publisher.complete(folder, [one], passphrase=PASSPHRASE)
    three, _ = begun.sign(signer(minister))
    publisher = Publisher.complete(folder, [one, two, three], passphrase=PASSPHRASE)
    assert publisher.root.read_bytes() == publisher.root_file
    pinned = tmp_path / "pinned.json"
    pinned.write_bytes(publisher.root_file)
    publisher.add(FEED, ["+6281200000001"])
    with serving(publisher.repository) as url:
        recipient = Blocklist.open(
            url, feed=FEED, root=pinned, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state"
        )
        assert recipient.sync().after == 1

        # The second holder leaves, the fourth comes.
        proposal = publisher.propose_keys("root", add=[fourth.public], remove=[second.keyid[:16]])
        signed = [proposal.sign(signer(who))[0] for who in (first, fourth)]
        with pytest.raises(InvalidInput, match=r"2\.root needs 1 more signature of"):
            publisher.install_keys(signed)
        signed.append(proposal.sign(signer(second))[0])
        change = publisher.install_keys(signed)
        assert change.added == (fourth.keyid,)
        assert change.removed == (second.keyid,)
        assert recipient.sync().after == 1

        # Another minister.
        proposal = publisher.propose_keys("targets", add=[successor.public], remove=[minister.keyid])
        signed = [proposal.sign(signer(who))[0] for who in (first, fourth, successor)]
        publisher.install_keys(signed)
        assert recipient.sync().after == 1

        # A feed's key is stolen: the new minister signs; the online key: the root's holders do.
        for role, who in ((f"feed.{FEED}", [successor]), ("online", [third, fourth])):
            with pytest.raises(InvalidInput, match="blocklist publish keys propose"):
                publisher.rotate_keys(role)
            proposal = publisher.propose_keys(role)
            change = publisher.install_keys([proposal.sign(signer(each))[0] for each in who])
            assert len(change.added) == len(change.removed) == 1
            reopened(folder).add(FEED, [f"+62812000001{len(role):02}"])
            recipient.sync()
        assert recipient.status().serial == 3

        # Both are renewed with the same keys.
        for role, who in (("root", [first, third]), ("targets", [successor])):
            proposal = publisher.propose_keys(role)
            change = publisher.install_keys([proposal.sign(signer(each))[0] for each in who])
            assert not change.added
            assert not change.removed
        assert recipient.sync().after == 3
        assert recipient.verify().problems == ()


def signer(who: Any) -> Signer:
    from blocklist_sdk.publisher.holder_keys import open_key

    return open_key(who.key, lambda _: HOLDERS_PASSPHRASE)


@pytest.mark.parametrize("role", ["online", f"feed.{FEED}", "targets", "root"])
def test_a_power_cut_while_a_proposal_is_installed(world: World, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipient = world.recipient()
    recipient.sync()
    folder = world.directory / "publisher"
    new = holders(world.directory, ["new"])[0]
    kwargs: dict[str, Any] = {}
    if role in ("root", "targets"):
        (gone,) = next(each for each in world.publisher.key_roles() if each.role == role).keys[:1]
        kwargs = {"add": [new.public], "remove": [gone.keyid]}
    proposal = world.publisher.propose_keys(role, **kwargs)
    for each in [*world.signers("root"), *world.signers("targets"), signer(new)]:
        if any(each.public_key.keyid in needed.keys for needed in proposal.needed):
            proposal, _ = proposal.sign(each)
    copy = world.directory / "copy"
    shutil.copytree(folder, copy)
    steps = 0
    for allowed in range(100):
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Renames(allowed))
            try:
                reopened(folder).install_keys([proposal])
            except Killed:
                steps += 1
            else:
                break
        assert world.recipient(cache=f"newcomer-{allowed}").sync().after == 3
        with contextlib.suppress(InvalidInput):
            reopened(folder).install_keys([proposal])
        with pytest.raises(InvalidInput, match="installed before"):
            reopened(folder).install_keys([proposal])
        assert world.recipient(cache=f"newcomer-{allowed}").sync().after == 3
    assert steps >= 2
    assert recipient.sync().after == 3
    assert published(world, SECOND) == 4
    assert recipient.sync().after == 4
