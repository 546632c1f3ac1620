"""A publisher, a repository and a recipient for scenarios, and a forger who has whatever keys a test gives him.

All numbers are generated, none is anybody's.
"""

import copy
import dataclasses
import json
import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from blocklist_sdk import Blocklist, BlocklistError, Publisher, Refused, SyncResult
from blocklist_sdk.fetch.transport import TransportSettings
from blocklist_sdk.publisher import PublisherGuard, Timing
from blocklist_sdk.publisher.keys import Keyring
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.release.arrow import from_table
from blocklist_sdk.release.digest import digest

FEED, OTHER_FEED = "id-telkomsel", "id-messaging"
PASSPHRASE = "generated for a test"
LISTED = "+6281200000001"
ADDED = "+6281200009777"
FIRST = [LISTED, *(f"+62812{i:08d}" for i in random.Random(7).sample(range(10_000, 10**8), 2999))]
"""The first release's numbers; the second lacks the first hundred, but for LISTED, and has ADDED."""
SECOND = [LISTED, *FIRST[100:], ADDED]

PATIENT = TransportSettings(attempts=3, backoff_initial_s=0.01, backoff_max_s=0.02)
"""Waits as long as anybody for a server, which on a busy machine has its reasons, and not at all between attempts."""

IMPATIENT = dataclasses.replace(
    PATIENT, connect_timeout_s=2, read_timeout_s=0.6, minimum_bytes_per_s=2000, minimum_rate_window_s=0.6
)
"""For servers that shall not be waited for."""


class Recipient(Blocklist):
    """A list that can be opened once more on the same cache, as another process would.

    Attributes:
        anew: opens it.
    """

    anew: Callable[[], "Recipient"]


def sync_accepting(recipient: Blocklist) -> SyncResult:
    """Sync, and let in what the guard refuses: for its number of rows, and then for what it blocks."""
    accept: int | str | None = None
    for _ in range(2):
        try:
            return recipient.sync(accept=accept)
        except Refused as error:
            accept = error.accept or error.serial
    return recipient.sync(accept=accept)


@dataclass
class World:
    """One publisher and one recipient; another process opens the publisher anew."""

    directory: Path
    publisher: Publisher
    url: str

    def __reduce__(self) -> tuple[Callable[[Path, str], "World"], tuple[Path, str]]:
        return opened_world, (self.directory, self.url)

    @property
    def repository(self) -> Path:
        return self.directory / "publisher" / "repository"

    @property
    def metadata(self) -> Path:
        return self.repository / "metadata"

    def release(self, numbers: Iterable[str], feed: str = FEED) -> Any:
        source = self.directory / "list.txt"
        source.write_text("\n".join(numbers) + "\n")
        return self.publisher.release(feed, source)

    def recipient(
        self,
        *,
        url: str | None = None,
        cache: str = "cache",
        feed: str = FEED,
        transport: TransportSettings = PATIENT,
        is_guarded: bool = True,
    ) -> "Recipient":
        opened = Recipient.open(
            url or self.url,
            guard="default" if is_guarded else None,
            feed=feed,
            root=self.directory / "publisher" / "root.json",
            region="ID",
            cache_dir=self.directory / cache,
            state_dir=self.directory / f"{cache}-state",
            transport=transport,
        )
        opened.anew = lambda: self.recipient(url=url, cache=cache, feed=feed, transport=transport)
        return opened

    def release_files(self, pattern: str = "*.parquet") -> list[Path]:
        return sorted((self.repository / "targets" / FEED).glob(pattern))

    def signers(self, name: str) -> list[Signer]:
        """Keys of ``root``, ``targets``, ``online`` or a feed, as a thief would have them."""
        return list(Keyring(self.directory / "publisher" / "keys", PASSPHRASE).open(name).signers)


def half_a_second_later(recipient: Blocklist) -> None:
    """Have the next question look at the disk again."""
    current = internals_of(recipient).current
    current.fast_path = replace(current.fast_path, stop=0.0)


def whole_releases_only(recipient: Blocklist) -> str | None:
    """What is wrong, if anything: of two numbers one stands on every even release, the other on every odd one."""
    for number, is_even in ((ADDED, True), (FIRST[1], False)):
        verdict = recipient.check(number)
        if verdict.blocked != ((verdict.serial % 2 == 0) is is_even):
            return f"release {verdict.serial} says {verdict.blocked} about {number}"
    return None


def is_whole(recipient: Blocklist) -> bool:
    """Whether the rows of the generation in force have its digest; True where it was switched in between."""
    before = recipient.status()
    rows = from_table(recipient.to_arrow())
    return recipient.status().digest != before.digest or digest(rows) == before.digest


def unguarded(directory: Path, *, timing: Timing | None = None) -> Publisher:
    """A publisher that publishes whatever it is given, so that recipients are seen to guard themselves."""
    return Publisher.open(directory, passphrase=PASSPHRASE, timing=timing, guard=PublisherGuard.off())


def opened_world(directory: Path, url: str) -> World:
    return World(directory, unguarded(directory / "publisher"), url)


def make_world(directory: Path) -> World:
    Publisher.init(directory / "publisher", feeds=[FEED, OTHER_FEED], passphrase=PASSPHRASE, region="ID")
    publisher = unguarded(directory / "publisher")
    world = World(directory, publisher, (directory / "publisher" / "repository").as_uri())
    world.release(FIRST)
    world.release(FIRST, OTHER_FEED)
    return world


def copy_world(template: World, directory: Path) -> World:
    shutil.copytree(template.directory, directory, dirs_exist_ok=True, symlinks=True)
    publisher = unguarded(directory / "publisher")
    return World(directory, publisher, (directory / "publisher" / "repository").as_uri())


def assert_still_answers(recipient: Recipient, serial: int = 1) -> None:
    """The last verified generation is in force, for this list and for one opened anew."""
    for each in (recipient, recipient.anew()):
        for number, listed in ((ADDED, serial > 1), (LISTED, True)):
            assert (number in each) is listed
        assert each.status().serial == serial
        assert is_whole(each)


def refused(
    recipient: Recipient, error: type[BlocklistError], match: str | None = None, *, serial: int = 1
) -> BlocklistError:
    """Sync fails with that error, says so in the status, and changes nothing."""
    with pytest.raises(error, match=match) as caught:
        recipient.sync()
    assert type(caught.value) is error
    assert_still_answers(recipient, serial)
    last_error = recipient.status().last_error
    assert last_error is not None
    assert last_error.startswith(error.__name__)
    return caught.value


class Forger:
    """Changes metadata and signs it again, with the keys that he has.

    Attributes:
        known: keys that are not the publisher's, by ``root``, ``targets``, ``online`` or the feed's key.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, list[Signer]] = {}

    def newest(self, role: str) -> Path:
        if role == "timestamp":
            return self.world.metadata / "timestamp.json"
        return max(self.world.metadata.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))

    def load(self, role: str) -> Metadata[Any]:
        return Metadata.from_file(str(self.newest(role)))

    def forge(
        self,
        role: str,
        change: Callable[[Any], None] = lambda signed: None,
        *,
        signers: Sequence[Signer] | None = None,
        relink: bool = True,
    ) -> None:
        """A new version of a role; snapshot and timestamp are signed again to refer to it, unless told otherwise."""
        metadata = copy.deepcopy(self.load(role))
        metadata.signed.version += 1
        change(metadata.signed)
        self.write(role, metadata, self.keys(role) if signers is None else signers)
        if not relink or role in ("root", "timestamp"):
            return
        if role != "snapshot":
            data = self.newest(role).read_bytes()
            meta = MetaFile.from_data(metadata.signed.version, data, ["sha256"])
            self.forge("snapshot", lambda snapshot: snapshot.meta.__setitem__(f"{role}.json", meta))
            return
        meta = MetaFile.from_data(metadata.signed.version, self.newest("snapshot").read_bytes(), ["sha256"])
        self.forge("timestamp", lambda timestamp: setattr(timestamp, "snapshot_meta", meta))

    def index_target(self) -> TargetFile:
        """The feed's index as its role signs it."""
        target: TargetFile = self.load(FEED).signed.targets[f"{FEED}/index.json"]
        return target

    def store(self, path: str, data: bytes) -> TargetFile:
        """Put a target where recipients look for it; signing it is another matter."""
        target = TargetFile.from_data(path, data, ["sha256"])
        folder, _, name = path.rpartition("/")
        (self.world.repository / "targets" / folder / f"{target.hashes['sha256']}.{name}").write_bytes(data)
        return target

    def forge_index(self, change: Callable[[Any], None]) -> None:
        """The feed's index changed and signed."""
        path = f"{FEED}/index.json"
        name = f"{self.index_target().hashes['sha256']}.index.json"
        index = json.loads((self.world.repository / "targets" / FEED / name).read_bytes())
        change(index)
        target = self.store(path, json.dumps(index).encode())
        self.forge(FEED, lambda signed: signed.targets.__setitem__(path, target))

    def keys(self, role: str) -> list[Signer]:
        name = {"snapshot": "online", "timestamp": "online"}.get(role, self.key_name(role))
        return self.known.get(name) or self.world.signers(name)

    @staticmethod
    def key_name(role: str) -> str:
        from blocklist_sdk.publisher.keys import feed_key

        return role if role in ("root", "targets") else feed_key(role)

    def write(self, role: str, metadata: Metadata[Any], signers: Sequence[Signer], name: str | None = None) -> None:
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        version = metadata.signed.version
        path = self.world.metadata / (name or ("timestamp.json" if role == "timestamp" else f"{version}.{role}.json"))
        metadata.to_file(str(path))


def stranger() -> Signer:
    """A key that nobody trusts."""
    return CryptoSigner.generate_ed25519()


def past(signed: Any) -> None:
    signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
