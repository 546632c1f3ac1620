"""What the tests of mirrors share: making one, and looking at what it serves."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blocklist_sdk.mirror import MirrorResult, mirror
from blocklist_sdk.publisher.signed_state import load_published
from support.world import FEED, FIRST, OTHER_FEED, PATIENT, Forger, Recipient, World, assert_still_answers, stranger


def place(world: World) -> Path:
    return world.directory / "mirror"


def make_mirror(world: World, *, url: str | None = None, **named: Any) -> MirrorResult:
    return mirror(url or world.url, place(world), root=world.publisher.root, transport=PATIENT, **named)


def served(directory: Path) -> dict[str, bytes]:
    """Every file that readers may ask for."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for folder in ("metadata", "targets")
        for path in (directory / folder).rglob("*")
        if path.is_file()
    }


def published(world: World, feeds: Iterable[str] = (FEED, OTHER_FEED)) -> dict[str, bytes]:
    """What the repository publishes at this moment, as the publisher's own reading of it has it."""
    state = load_published(world.metadata, world.publisher.root.read_bytes())
    names = {"timestamp.json", f"{state.snapshot.signed.version}.snapshot.json"}
    names |= {f"{version}.root.json" for version in range(1, state.root.signed.version + 1)}
    targets: set[str] = set()
    for role in ("targets", *feeds):
        signed = state.targets_role(role).signed
        names.add(f"{signed.version}.{role}.json")
        for path, target in signed.targets.items():
            folder, slash, name = path.rpartition("/")
            targets.add(f"{folder}{slash}{target.hashes['sha256']}.{name}")
    paths = {*(f"metadata/{name}" for name in names), *(f"targets/{name}" for name in targets)}
    return {path: (world.repository / path).read_bytes() for path in paths}


def at_mirror(world: World, *, cache: str = "at-mirror", feed: str = FEED, url: str | None = None) -> Recipient:
    return world.recipient(url=url or place(world).as_uri(), cache=cache, feed=feed)


def assert_mirror_answers(world: World, serial: int) -> None:
    recipient = at_mirror(world, cache=f"answers-{os.urandom(4).hex()}")
    assert recipient.sync().after == serial
    assert_still_answers(recipient, serial)
    assert (FIRST[1] in recipient) is (serial == 1)


def contents(directory: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file and folder below, and of each file when it last changed and what is in it."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else (0, b"")
        for path in directory.rglob("*")
    }


def renew_root(forger: Forger) -> None:
    """The same keys sign a root of the next version."""
    forger.forge("root", signers=forger.keys("root")[:2])


def replace_online_key(forger: Forger) -> None:
    """A new root names another online key, which signs what it has to."""
    online = stranger()

    def change(root: Any) -> None:
        for role in ("snapshot", "timestamp"):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            root.add_key(online.public_key, role)

    forger.forge("root", change, signers=forger.keys("root")[:2])
    forger.known["online"] = [online]
    forger.forge("snapshot")
