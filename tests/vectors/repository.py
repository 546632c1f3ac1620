"""A repository in memory, signed as the protocol wants it, or wrongly where a vector has to be refused."""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

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
from tuf.api.serialization.json import JSONSerializer

from vectors.keys import REMARK, key

FEED: Final = "id-messaging"
OTHER_FEED: Final = "id-telkomsel"
EXPIRES: Final = datetime(2099, 1, 1, tzinfo=UTC)
"""Far ahead, so that the vectors can be read for as long as the protocol is."""

LONG_AGO: Final = datetime(2026, 6, 1, tzinfo=UTC)
"""Before the moment at which the vectors are read, for roles that have expired by then."""

_TOP: Final = ("root", "targets", "snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Release:
    """A release as an index offers it.

    Attributes:
        serial: its serial.
        published_at: RFC 3339.
        rows: the number of its rows, as the index says.
        digest: its digest, as the index says.
        snapshot: the bytes of its snapshot.
        delta: the bytes of its delta.
    """

    serial: int
    published_at: str
    rows: int
    digest: str
    snapshot: bytes | None = None
    delta: bytes | None = None


@dataclass
class Repository:
    """Two feeds under a root of three keys, two of which must sign.

    Attributes:
        files: every file by its path below the repository.
        signers: the names of the keys that sign each role.
        roles: what each role says.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    signers: dict[str, list[str]] = field(default_factory=dict)
    roles: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, protected: Sequence[int]) -> "Repository":
        """A repository whose feeds have no release yet."""
        root = Root(expires=EXPIRES, consistent_snapshot=True, unrecognized_fields={"remark": REMARK})
        for name in ("root-1", "root-2", "root-3"):
            root.add_key(key(name).public_key, "root")
        root.roles["root"].threshold = 2
        root.add_key(key("targets").public_key, "targets")
        for role in ("snapshot", "timestamp"):
            root.add_key(key("online").public_key, role)
        feeds = (FEED, OTHER_FEED)
        delegated = {feed: DelegatedRole(feed, [], 1, terminating=True, paths=[f"{feed}/*"]) for feed in feeds}
        targets = Targets(expires=EXPIRES, delegations=Delegations({}, delegated))
        for feed in feeds:
            targets.add_key(key(feed).public_key, feed)
        made = cls(
            signers={
                "root": ["root-1", "root-2"],
                "targets": ["targets"],
                "snapshot": ["online"],
                "timestamp": ["online"],
                **{feed: [feed] for feed in feeds},
            },
            roles={
                "root": root,
                "targets": targets,
                "snapshot": Snapshot(expires=EXPIRES, meta={}),
                "timestamp": Timestamp(expires=EXPIRES),
                **{feed: Targets(expires=EXPIRES) for feed in feeds},
            },
        )
        for role in made.roles.values():
            role.version = 0
        made.put("protected.json", document({"numbers": sorted(protected), "protocol": 1}), role="targets")
        made.sign("root")
        made.publish("targets", *feeds)
        return made

    def copy(self) -> "Repository":
        return copy.deepcopy(self)

    def put(self, path: str, data: bytes, *, role: str | None = None, hash_name: str = "sha256") -> TargetFile:
        """Put a target where readers look for it, and list it in the feed's role, or in another one."""
        target = TargetFile.from_data(path, data, [hash_name])
        self.roles[role or path.partition("/")[0]].targets[path] = target
        self.files[stored(path, data, hash_name)] = data
        return target

    def sign(self, role: str, *, version: int | None = None) -> bytes:
        """Sign a role's next version, or the one that is named, and return the file."""
        signed = self.roles[role]
        signed.version = signed.version + 1 if version is None else version
        metadata = Metadata(signed)
        for name in self.signers[role]:
            metadata.sign(key(name), append=True)
        data = metadata.to_bytes(JSONSerializer(compact=True))
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        self.files[f"metadata/{name}"] = data
        return data

    def publish(self, *roles: str) -> None:
        """Sign the next version of roles, and of the snapshot and the timestamp that name them."""
        for role in roles:
            data = self.sign(role)
            if role != "root":
                self.roles["snapshot"].meta[f"{role}.json"] = MetaFile.from_data(
                    self.roles[role].version, data, ["sha256"]
                )
        self.publish_online()

    def publish_online(self) -> None:
        """Sign the snapshot's and the timestamp's next version."""
        data = self.sign("snapshot")
        self.roles["timestamp"].snapshot_meta = MetaFile.from_data(self.roles["snapshot"].version, data, ["sha256"])
        self.sign("timestamp")

    def offer(
        self,
        releases: Sequence[Release],
        *,
        feed: str = FEED,
        last_entry: int = 1000,
        change: Callable[[dict[str, Any]], None] = lambda index: None,
        also: Sequence[str] = (),
    ) -> None:
        """Publish an index of these releases.

        Args:
            releases: what is offered, the current one last.
            feed: whose index it is.
            last_entry: the highest entry id ever given out.
            change: changes the index before it is signed.
            also: other roles to sign along with the feed's.
        """
        offered = []
        for release in releases:
            files: dict[str, Any] = {"snapshot": None, "delta": None}
            for kind, data in (("snapshot", release.snapshot), ("delta", release.delta)):
                if data is not None:
                    path = f"{feed}/{release.serial}.{kind}.parquet"
                    self.put(path, data)
                    files[kind] = {"path": path, "length": len(data)}
            offered.append({**_about(release), **files})
        index = {
            "protocol": 1,
            "feed": feed,
            "region": "ID",
            "scope": "messaging",
            **_about(releases[-1]),
            "last_entry": last_entry,
            "releases": offered,
        }
        change(index)
        self.put(f"{feed}/index.json", document(index))
        self.publish(feed, *also)

    def beside(self, base: "Repository") -> dict[str, bytes]:
        """The files that differ from those of another repository: what has to be laid over it."""
        return {path: data for path, data in sorted(self.files.items()) if base.files.get(path) != data}


def _about(release: Release) -> dict[str, Any]:
    return {name: getattr(release, name) for name in ("serial", "published_at", "rows", "digest")}


def document(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def stored(path: str, data: bytes, hash_name: str = "sha256") -> str:
    folder, slash, name = path.rpartition("/")
    return f"targets/{folder}{slash}{hashlib.new(hash_name, data).hexdigest()}.{name}"
