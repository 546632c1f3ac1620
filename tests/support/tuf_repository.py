"""A TUF repository that tests may sign wrongly, which the publisher of this package never does."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

FEED, OTHER_FEED = "id-telkomsel", "id-messaging"
INDEX = f"{FEED}/index.json"
T = TypeVar("T", Root, Snapshot, Targets, Timestamp)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


class TufRepository:
    """Two feeds under a root of three keys, two of which must sign; `metadata/` and `targets/` in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root_keys = [CryptoSigner.generate_ed25519() for _ in range(3)]
        self.keys = {role: CryptoSigner.generate_ed25519() for role in ("targets", "online", FEED, OTHER_FEED)}
        self.root = Root(expires=tomorrow(), consistent_snapshot=True)
        for key in self.root_keys:
            self.root.add_key(key.public_key, "root")
        self.root.roles["root"].threshold = 2
        self.root.add_key(self.keys["targets"].public_key, "targets")
        for role in ("snapshot", "timestamp"):
            self.root.add_key(self.keys["online"].public_key, role)
        roles = {feed: DelegatedRole(feed, [], 1, terminating=True, paths=[f"{feed}/*"]) for feed in (FEED, OTHER_FEED)}
        self.targets = Targets(expires=tomorrow(), delegations=Delegations({}, roles))
        for feed in roles:
            self.targets.add_key(self.keys[feed].public_key, feed)
        self.feeds = {feed: Targets(expires=tomorrow()) for feed in roles}
        self.snapshot = Snapshot(version=1, expires=tomorrow(), meta={})
        self.timestamp = Timestamp(version=1, expires=tomorrow())
        self.write_root()
        self.pinned = self.metadata("1.root.json").read_bytes()

    @property
    def url(self) -> str:
        return self.directory.as_uri()

    def metadata(self, name: str) -> Path:
        return self.directory / "metadata" / name

    def target_file(self, path: str, data: bytes) -> Path:
        folder, slash, name = path.rpartition("/")
        return self.directory / "targets" / f"{folder}{slash}{hashlib.sha256(data).hexdigest()}.{name}"

    def add(self, path: str, data: bytes, *, role: Targets) -> Path:
        """List a target in a role, whether it may or not, and put the file there."""
        role.targets[path] = TargetFile.from_data(path, data, ["sha256"])
        file = self.target_file(path, data)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def release(self, data: bytes) -> None:
        """A new state of the feed's index, published as it should be."""
        self.add(INDEX, data, role=self.feeds[FEED])
        for signed in (*self.feeds.values(), self.targets, self.snapshot, self.timestamp):
            signed.version += 1
        self.publish()

    def publish(self) -> None:
        """Write every role unchanged, referred to by the versions it has."""
        for feed, role in self.feeds.items():
            self.write(f"{role.version}.{feed}.json", role, [self.keys[feed]])
            self.snapshot.meta[f"{feed}.json"] = MetaFile(role.version)
        self.write(f"{self.targets.version}.targets.json", self.targets, [self.keys["targets"]])
        self.snapshot.meta["targets.json"] = MetaFile(self.targets.version)
        self.write_online()

    def write_online(self) -> None:
        """Write snapshot and timestamp as they are now."""
        self.write(f"{self.snapshot.version}.snapshot.json", self.snapshot, [self.keys["online"]])
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.write("timestamp.json", self.timestamp, [self.keys["online"]])

    def write_root(self, *, signers: Sequence[CryptoSigner] = (), name: str = "") -> None:
        self.write(name or f"{self.root.version}.root.json", self.root, signers or self.root_keys[:2])

    def write(self, name: str, signed: T, signers: Sequence[CryptoSigner]) -> None:
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        path = self.metadata(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(metadata.to_bytes())
