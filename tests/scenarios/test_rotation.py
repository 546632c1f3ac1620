"""Keys are replaced: recipients follow the roots from the one they pinned, and take nothing from a revoked key."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from securesystemslib.signer import Signer

from blocklist_sdk import Untrusted
from support.world import FEED, SECOND, Forger, World, assert_still_answers, copy_world, make_world, refused, stranger


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world)


def strangers(count: int) -> list[Signer]:
    return [stranger() for _ in range(count)]


def rotate_root(forger: Forger, root: Sequence[Signer], online: Signer, *, signers: Sequence[Signer]) -> None:
    """A new root with other root keys and another online key."""
    metadata = forger.load("root")
    signed = metadata.signed
    signed.version += 1
    for role, keys in (("root", root), ("snapshot", [online]), ("timestamp", [online])):
        for keyid in list(signed.roles[role].keyids):
            signed.revoke_key(keyid, role)
        for key in keys:
            signed.add_key(key.public_key, role)
    forger.write("root", metadata, signers)


def rotate(forger: Forger) -> None:
    """A correct rotation: the old and the new root keys sign, then the new online key signs its roles."""
    root, (online,) = strangers(3), strangers(1)
    rotate_root(forger, root, online, signers=[*forger.keys("root")[:2], *root[:2]])
    forger.known.update(root=root, online=[online])
    forger.forge("snapshot")


@pytest.mark.parametrize("times", [1, 3])
def test_recipients_follow_a_rotation(world: World, forger: Forger, times: int) -> None:
    """Recipients with a list, without one, and some that missed several rotations."""
    recipient = world.recipient()
    recipient.sync()
    world.release(SECOND)
    for _ in range(times):
        rotate(forger)
    assert recipient.sync().kind == "delta"
    assert_still_answers(recipient, 2)
    newcomer = world.recipient(cache="new")
    assert newcomer.sync().after == 2
    assert_still_answers(newcomer, 2)
    rotate(forger)
    forger.forge(FEED)
    assert recipient.sync().kind == "none"


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_the_revoked_online_key_is_worth_nothing(world: World, forger: Forger, role: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    revoked = forger.keys("online")
    rotate(forger)
    newcomer = world.recipient(cache="new")
    for each in (recipient, newcomer):
        each.sync()
    forger.forge(role, signers=revoked)
    for each in (recipient, newcomer):
        refused(each, Untrusted, f"{role}.* does not verify")


def test_what_the_revoked_key_signed_before_is_worth_nothing(world: World, forger: Forger) -> None:
    """The whole state before the rotation is replayed to a recipient that has followed it."""
    recipient = world.recipient()
    recipient.sync()
    forger.forge("timestamp")
    old = forger.newest("timestamp").read_bytes()
    rotate(forger)
    recipient.sync()
    forger.newest("timestamp").write_bytes(old)
    refused(recipient, Untrusted)


def test_revoked_root_keys_are_worth_nothing(world: World, forger: Forger) -> None:
    recipient = world.recipient()
    recipient.sync()
    revoked = forger.keys("root")
    rotate(forger)
    recipient.sync()
    rotate_root(forger, revoked, stranger(), signers=revoked)
    refused(recipient, Untrusted)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (1, 3), (2, 0), (3, 1)])
def test_a_rotation_that_too_few_sign(world: World, forger: Forger, old: int, new: int) -> None:
    recipient = world.recipient()
    recipient.sync()
    root = strangers(3)
    rotate_root(forger, root, stranger(), signers=[*forger.keys("root")[:old], *root[:new]])
    refused(recipient, Untrusted)
