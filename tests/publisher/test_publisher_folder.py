"""The publisher's folder: keys, signatures, releases, renewal, and what is refused."""

import csv
import json
import random
import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from filelock import FileLock
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signature, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from blocklist_sdk.errors import InvalidInput, InvalidNumber, Locked, Malformed, Untrusted
from blocklist_sdk.publisher import KeyUri, Lifetimes, Publisher, Timing
from blocklist_sdk.publisher.offer import DELTAS_MAX
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.release.files import read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PASSPHRASE = "correct horse battery"
START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that moves only when it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def publisher(tmp_path: Path, clock: Clock) -> Publisher:
    return Publisher.init(
        tmp_path / "p",
        feeds=["id-all", "id-telkomsel"],
        passphrase=PASSPHRASE,
        region="ID",
        timing=Timing(clock=clock, grace_s=0, lock_wait_s=0.05),
    )


def reopened(publisher: Publisher, *, passphrase: str | Callable[[str], str] | None = PASSPHRASE) -> Publisher:
    return Publisher.open(publisher.directory, passphrase=passphrase, timing=publisher._folder.timing)


def numbers(*tails: int) -> pa.Table:
    return pa.table({"number": [f"+6281234567{tail:03}" for tail in tails]})


def index_of(publisher: Publisher, feed: str = "id-all") -> FeedIndex:
    index = SignedFeed.find(publisher._folder.load(), feed).index
    assert index is not None
    return index


def everything(publisher: Publisher) -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for path in publisher.directory.rglob("*") if path.is_file() and path.name != "lock"
    }


def versions(publisher: Publisher) -> dict[str, int]:
    return {role.role: role.version for role in publisher.status().roles}


# Making one


def test_init_makes_the_folder_that_the_design_names(publisher: Publisher) -> None:
    directory = publisher.directory
    root = Metadata[Root].from_file(str(directory / "root.json")).signed
    assert (len(root.roles["root"].keyids), root.roles["root"].threshold) == (3, 2)
    assert root.roles["snapshot"].keyids == root.roles["timestamp"].keyids
    assert root.consistent_snapshot
    targets = Metadata[Targets].from_file(str(directory / "repository" / "metadata" / "1.targets.json")).signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    role = targets.delegations.roles["id-telkomsel"]
    assert (role.terminating, role.paths) == (True, ["id-telkomsel/*"])
    (protected,) = (directory / "repository" / "targets").glob("*.protected.json")
    assert json.loads(protected.read_bytes()) == {"protocol": 1, "numbers": []}
    assert {role.role: role.expires - START for role in publisher.status().roles} == {
        "root": timedelta(days=365),
        "targets": timedelta(days=365),
        "snapshot": timedelta(days=7),
        "timestamp": timedelta(hours=48),
        "id-all": timedelta(days=90),
        "id-telkomsel": timedelta(days=90),
    }


def test_private_keys_are_for_the_owner_only_and_the_rest_can_be_served(publisher: Publisher) -> None:
    publisher.release("id-all", numbers(1))
    keys = publisher.directory / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    served = list(publisher.repository.rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in served if path.is_file()} == {0o644}
    assert {stat.S_IMODE(path.stat().st_mode) for path in served if path.is_dir()} == {0o755}


def test_private_keys_cannot_be_read_without_their_passphrase(publisher: Publisher) -> None:
    pems = sorted((publisher.directory / "keys").glob("*.pem"))
    assert len(pems) == 3 + 1 + 1 + 2
    for pem in pems:
        load_pem_private_key(pem.read_bytes(), PASSPHRASE.encode())
        with pytest.raises(TypeError, match="encrypted"):
            load_pem_private_key(pem.read_bytes(), None)
        with pytest.raises(ValueError, match=r"password|deserialize"):
            load_pem_private_key(pem.read_bytes(), b"wrong horse battery")


def test_each_key_may_have_a_passphrase_of_its_own(tmp_path: Path) -> None:
    asked: list[str] = []

    def passphrase(name: str) -> str:
        asked.append(name)
        return f"passphrase of {name}"

    made = Publisher.init(tmp_path / "p", feeds=["a"], passphrase=passphrase)
    assert sorted(set(asked)) == ["feed.a", "online", "root.1", "root.2", "root.3", "targets"]
    asked.clear()
    reopened(made, passphrase=passphrase).release("a", numbers(1))
    assert sorted(asked) == ["feed.a", "online"]


@pytest.mark.parametrize(
    ("feeds", "passphrase", "region", "message"),
    [
        ([], PASSPHRASE, None, "at least one feed"),
        (["ID All"], PASSPHRASE, None, "not a feed name"),
        (["root"], PASSPHRASE, None, "not a feed name"),
        (["a"], "short", None, "at least 12 characters"),
        (["a"], None, None, "give its passphrase"),
        (["a"], PASSPHRASE, "XX", "XX"),
    ],
)
def test_init_refuses_and_leaves_nothing(
    tmp_path: Path, feeds: list[str], passphrase: str | None, region: str | None, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        Publisher.init(tmp_path / "p", feeds=feeds, passphrase=passphrase, region=region)
    assert list(tmp_path.iterdir()) == []


def test_init_never_writes_over_a_folder(publisher: Publisher) -> None:
    before = everything(publisher)
    with pytest.raises(InvalidInput, match="exists already"):
        Publisher.init(publisher.directory, feeds=["id-all"], passphrase=PASSPHRASE)
    assert everything(publisher) == before


def test_open_wants_a_publishers_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="publish init"):
        Publisher.open(tmp_path, passphrase=None)


def test_a_key_may_live_elsewhere(tmp_path: Path) -> None:
    """A feed may have the name of the online key: each has its own."""
    uris = {name: [elsewhere(tmp_path, name)] for name in ("online", "feed.online")}
    made = Publisher.init(tmp_path / "p", feeds=["online"], passphrase=PASSPHRASE, key_uris=uris)
    assert {path.name.split(".")[0] for path in (made.directory / "keys").glob("*.pem")} == {"root", "targets"}
    assert reopened(made).release("online", numbers(1)).serial == 1
    (tmp_path / "online.pem").unlink()
    with pytest.raises(InvalidInput, match="cannot use the key 'online'"):
        reopened(made).refresh()


def test_a_key_elsewhere_must_make_sense(tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_text("no key")
    for uris, message in (
        ({"nobody": [KeyUri("file2:x", public)]}, "'nobody' is not the name of a key here"),
        ({"feed.b": [KeyUri("file2:x", public)]}, "'feed.b' is not the name of a key here"),
        ({"targets": [KeyUri("file2:x", public)]}, "not a public key"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, key_uris=uris)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("names", [["1"], ["1", "1"]], ids=["one", "the same twice"])
def test_one_root_key_is_too_few(tmp_path: Path, names: list[str]) -> None:
    """Who stole it, or lost it, would hold or lose everything."""
    uris = {"root": [elsewhere(tmp_path, name) for name in dict.fromkeys(names)] * len(names)}
    with pytest.raises(InvalidInput, match="at least 2 root keys"):
        Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, key_uris=uris)
    assert not (tmp_path / "p").exists()


def test_two_root_keys_both_sign(tmp_path: Path) -> None:
    uris = {"root": [elsewhere(tmp_path, name) for name in ("1", "2")]}
    made = Publisher.init(tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, key_uris=uris)
    root = Metadata[Root].from_file(str(made.root)).signed
    assert (len(root.roles["root"].keyids), root.roles["root"].threshold) == (2, 2)


# Releasing


def test_releases_add_remove_and_keep(publisher: Publisher, clock: Clock) -> None:
    first = publisher.release("id-all", numbers(1, 2, 3))
    clock.move(hours=1)
    second = reopened(publisher).release("id-all", numbers(2, 3, 4, 4))
    assert (first.serial, first.rows, first.added, first.removed, first.delta_bytes) == (1, 3, 3, 0, None)
    assert (second.serial, second.rows, second.added, second.removed, second.changed) == (2, 3, 1, 1, 0)
    assert (second.duplicates, second.invalid, second.rejects_path) == (1, 0, None)
    rows = SignedFeed.find(publisher._folder.load(), "id-all").rows()
    assert rows.entry.tolist() == [2, 3, 4]
    assert rows.since.tolist() == [int(START.timestamp()) * 1000] * 2 + [int(clock.now.timestamp()) * 1000]
    index = index_of(publisher)
    assert (index.region, index.published_at, index.last_entry) == ("ID", clock.now, 4)


def test_a_release_that_changes_nothing_is_published_all_the_same(publisher: Publisher) -> None:
    first = publisher.release("id-all", numbers(1, 2))
    second = publisher.release("id-all", numbers(2, 1))
    assert (second.serial, second.added, second.removed, second.changed) == (2, 0, 0, 0)
    assert second.digest == first.digest
    repository = publisher._folder.load()
    delta = index_of(publisher).current.delta
    assert delta is not None
    path = repository.file("id-all", delta.path)
    assert path is not None
    assert len(read_delta(path)) == 0


def test_rejects_are_listed_and_for_the_owner_only(publisher: Publisher, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("number\n0812-3456-7890\n\nGoPay\n*****\n")
    result = publisher.release("id-all", source, max_rejects=1)
    assert (result.rows, result.invalid, result.blank) == (1, 2, 1)
    assert result.rejects_path is not None
    assert stat.S_IMODE(result.rejects_path.stat().st_mode) == 0o600
    with result.rejects_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["line"], row["text"]) for row in rows] == [("4", "GoPay"), ("5", "*****")]
    assert all(row["reason"] for row in rows)


def test_a_rejects_file_that_was_asked_for_is_there_even_if_nothing_was_rejected(
    publisher: Publisher, tmp_path: Path
) -> None:
    result = publisher.release("id-all", numbers(1), rejects=tmp_path / "out" / "rejects.csv")
    assert result.rejects_path == tmp_path / "out" / "rejects.csv"
    assert result.rejects_path.read_text() == "line,reason,text\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("number\n", {}, "no rows"),
        ("number\nGoPay\n112\n", {}, "0 of 2 rows in the list can be published; the first is line 2"),
        ("number\nGoPay\n", {"allow_empty": True}, "0 of 1 rows in the list"),
        ("number\n081234567890\n", {"column": "msisdn"}, "its columns are: number"),
        ("number\n081234567890\n", {"feed": "id-none"}, "only: id-all, id-telkomsel"),
        ("number\n081234567890\n", {"region": "XX"}, "XX"),
        ("number\n081234567890\n", {"level": "blocked"}, "level must be block or advisory, not 'blocked'"),
        ("number\n081234567890\n", {"scope": ["fax"]}, "scope must be data"),
        ("number\n081234567890\n", {"published_at": START - timedelta(days=1)}, "set the clock right"),
        ("number\n081234567890\n", {"published_at": datetime(2031, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_bad_input_changes_nothing(
    publisher: Publisher, tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    publisher.release("id-all", numbers(1))
    source = tmp_path / "list.csv"
    source.write_text(text)
    before = everything(publisher)
    with pytest.raises(InvalidInput, match=message):
        publisher.release(str(options.pop("feed", "id-all")), source, **options)  # type: ignore[arg-type]
    assert everything(publisher) == before


def test_an_empty_list_is_published_on_purpose_only(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("id-all", numbers(1))
    (tmp_path / "list.csv").write_text("number\n")
    result = publisher.release("id-all", tmp_path / "list.csv", allow_empty=True)
    assert (result.rows, result.removed) == (0, 1)
    assert publisher.release("id-all", numbers(1)).added == 1
    assert index_of(publisher).last_entry == 2


def test_a_published_snapshot_can_be_given_back(publisher: Publisher) -> None:
    source = pa.table({"number": ["+3316200####", "+442079460958", "081234567890"], "issuer": ["ojk", "bssn", "ojk"]})
    first = publisher.release("id-all", source)
    snapshot = index_of(publisher).current.snapshot
    assert snapshot is not None
    path = publisher._folder.load().file("id-all", snapshot.path)
    assert path is not None
    again = publisher.release("id-all", path)
    assert (again.digest, again.invalid, again.duplicates) == (first.digest, 0, 0)


@pytest.mark.parametrize("passphrase", ["wrong horse battery", None])
def test_without_the_passphrase_nothing_is_published(publisher: Publisher, passphrase: str | None) -> None:
    before = everything(publisher)
    with pytest.raises(InvalidInput, match="passphrase"):
        reopened(publisher, passphrase=passphrase).release("id-all", numbers(1))
    with pytest.raises(InvalidInput, match="passphrase"):
        reopened(publisher, passphrase=passphrase).refresh()
    assert everything(publisher) == before


def test_one_run_at_a_time(publisher: Publisher) -> None:
    with FileLock(publisher.directory / "lock"), pytest.raises(Locked, match="another run") as caught:
        publisher.refresh()
    assert caught.value.path == publisher.directory / "lock"


def test_deltas_stay_on_offer_while_they_are_cheaper_than_the_snapshot(publisher: Publisher) -> None:
    many = [f"+62812{tail:08}" for tail in random.Random(1).sample(range(10**8), 3000)]
    for serial in range(1, 8):
        publisher.release("id-all", pa.table({"number": many[10 * serial :]}))
    index = index_of(publisher)
    snapshot = index.current.snapshot
    assert snapshot is not None
    deltas = [release.delta.length for release in index.releases if release.delta]
    assert 1 < len(deltas) < 6
    assert sum(deltas) <= snapshot.length
    assert [release.serial for release in index.releases if release.snapshot] == [7]
    assert len(index.releases) <= DELTAS_MAX
    # What is not on offer any more is not kept either, once the grace is over.
    files = {path.name.split(".", 1)[1] for path in publisher._folder.load().folder("id-all").iterdir()}
    assert files == {
        "index.json",
        "7.snapshot.parquet",
        *(f"{release.serial}.delta.parquet" for release in index.releases),
    }


def test_dropped_files_stay_for_the_grace(tmp_path: Path, clock: Clock) -> None:
    publisher = Publisher.init(
        tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, timing=Timing(clock=clock, grace_s=3600)
    )
    publisher.release("a", numbers(1))
    clock.move(days=2)
    publisher.refresh()
    before = {path for path in publisher.repository.rglob("*") if path.is_file()}
    publisher.release("a", numbers(2))
    clock.move(minutes=59)
    publisher.refresh()
    assert all(path.exists() for path in before)
    clock.move(minutes=2)
    publisher.refresh()
    gone = {path.name for path in before if not path.exists()}
    assert {"2.a.json", "2.snapshot.json"} <= gone
    assert any(name.endswith(".1.snapshot.parquet") for name in gone)
    assert publisher.status().feeds[0].serial == 2


# Feeds and protected numbers


def test_a_feed_can_be_added(publisher: Publisher) -> None:
    publisher.release("id-all", numbers(1))
    publisher.add_feed("id-xl")
    assert reopened(publisher).release("id-xl", numbers(1)).serial == 1
    assert [(feed.feed, feed.serial) for feed in publisher.status().feeds] == [
        ("id-all", 1),
        ("id-telkomsel", None),
        ("id-xl", 1),
    ]
    for name in ("id-xl", "Nonsense"):
        with pytest.raises(InvalidInput):
            publisher.add_feed(name)


def test_protected_numbers_never_reach_a_feed(publisher: Publisher, tmp_path: Path) -> None:
    assert publisher.protect(["0812-3456-7001", "0812-3456-7001"]) == 1
    source = pa.table({"number": ["+6281234567001", "+6281234567002", "+62812345670##"]})
    result = publisher.release("id-all", source, max_rejects=1)
    # The range is cut around the number.
    assert (result.rows, result.invalid, result.reach) == (3, 1, 99)
    assert result.rejects_path is not None
    assert result.rejects_path.read_text().count("a protected number") == 1
    assert publisher.status().protected_numbers == 1
    with pytest.raises(InvalidNumber):
        publisher.protect(["112"])
    assert publisher.protect([], allow_empty=True) == 0


# Renewal


def test_refresh_signs_the_timestamp_and_what_expires_soon(publisher: Publisher, clock: Clock) -> None:
    before = versions(publisher)
    assert publisher.refresh().renewed == ("timestamp",)
    assert versions(publisher) == before | {"timestamp": before["timestamp"] + 1}
    clock.move(days=5)
    assert publisher.refresh().renewed == ("snapshot", "timestamp")
    clock.move(days=60)
    result = publisher.refresh()
    assert set(result.renewed) == {"id-all", "id-telkomsel", "snapshot", "timestamp"}
    assert result.expires == clock.now + timedelta(hours=48)
    clock.move(days=200)
    result = publisher.refresh()
    assert {"root", "targets"} <= set(result.renewed)
    assert result.overdue == ()
    assert (publisher.repository / "metadata" / "2.root.json").read_bytes() == publisher.root.read_bytes()
    assert publisher.release("id-all", numbers(1)).serial == 1


def test_refresh_says_which_roles_it_could_not_renew(publisher: Publisher, clock: Clock, tmp_path: Path) -> None:
    keys = publisher.directory / "keys"
    safe = tmp_path / "safe"
    safe.mkdir()
    for name in ("root.1.pem", "root.2.pem", "targets.pem"):
        shutil.move(keys / name, safe)
    assert publisher.status().absent_keys == ("root.1.pem", "root.2.pem", "targets.pem")
    clock.move(days=300)
    result = reopened(publisher).refresh()
    assert [overdue.role for overdue in result.overdue] == ["root", "targets"]
    assert [overdue.expires for overdue in result.overdue] == [START + timedelta(days=365)] * 2
    assert result.overdue[0].reason.endswith("put back root.1.pem; put back root.2.pem")
    assert max(role.expires for role in publisher.status().roles) == START + timedelta(days=390)
    assert min(role.expires for role in publisher.status().roles) == result.expires
    for call in (
        lambda: reopened(publisher).add_feed("id-xl"),
        lambda: reopened(publisher).protect(["0812-3456-7001"]),
    ):
        with pytest.raises(InvalidInput, match=r"put back targets\.pem"):
            call()
    # Two of three root keys are enough.
    for name in ("root.2.pem", "targets.pem"):
        shutil.move(safe / name, keys)
    result = reopened(publisher).refresh()
    assert result.overdue == ()
    assert {"root", "targets"} <= set(result.renewed)


def elsewhere(directory: Path, name: str, private: PrivateKey | None = None) -> KeyUri:
    """A key in a file outside the publisher's folder, Ed25519 unless another is given."""
    made = private or Ed25519PrivateKey.generate()
    pem, public = directory / f"{name}.pem", directory / f"{name}.pub.pem"
    pem.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return KeyUri(f"file2:{pem}", public)


def test_a_key_elsewhere_that_is_away_keeps_nothing_else_from_being_signed(tmp_path: Path, clock: Clock) -> None:
    uris = {name: [elsewhere(tmp_path, name)] for name in ("targets", "online")}
    publisher = Publisher.init(
        tmp_path / "p", feeds=["a", "b"], passphrase=PASSPHRASE, key_uris=uris, timing=Timing(clock=clock)
    )
    (tmp_path / "targets.pem").unlink()
    clock.move(days=300)
    result = reopened(publisher).refresh()
    assert set(result.renewed) == {"root", "a", "b", "snapshot", "timestamp"}
    (overdue,) = result.overdue
    assert overdue.role == "targets"
    assert "cannot use the key 'targets' at file2:" in overdue.reason
    assert result.expires == clock.now + timedelta(hours=48)
    (tmp_path / "online.pem").unlink()
    before = everything(publisher)
    with pytest.raises(InvalidInput, match="cannot use the key 'online'"):
        reopened(publisher).refresh()
    assert everything(publisher) == before


@pytest.mark.parametrize("known", [{}, {"targets": "wrong horse battery"}], ids=["missing", "wrong"])
def test_a_passphrase_that_does_not_fit_keeps_nothing_else_from_being_signed(
    publisher: Publisher, clock: Clock, known: dict[str, str]
) -> None:
    def passphrase(key: str) -> str:
        if key == "targets" and key not in known:
            raise InvalidInput("no passphrase of the targets key here")
        return known.get(key, PASSPHRASE)

    clock.move(days=300)
    result = reopened(publisher, passphrase=passphrase).refresh()
    assert set(result.renewed) == {"root", "id-all", "id-telkomsel", "snapshot", "timestamp"}
    (overdue,) = result.overdue
    assert overdue.role == "targets"
    assert "passphrase" in overdue.reason


def test_two_root_keys_sign_though_the_third_cannot_be_opened(publisher: Publisher, clock: Clock) -> None:
    clock.move(days=300)
    wrong = reopened(
        publisher, passphrase=lambda key: "wrong horse battery" if key in ("root.1", "targets") else PASSPHRASE
    )
    assert "root" in wrong.refresh().renewed


class Unplugged(CryptoSigner):
    """A hardware module: found out to be absent only when it is to sign."""

    absent: ClassVar[set[str]] = set()
    name: str

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> "Unplugged":
        path = priv_key_uri.removeprefix("module:")
        signer = cls(load_pem_private_key(Path(path).read_bytes(), None), cast("SSlibKey", public_key))
        signer.name = Path(path).stem
        return signer

    def sign(self, payload: bytes) -> Signature:
        if self.name in self.absent:
            raise RuntimeError("no token in the slot")
        return super().sign(payload)


def test_a_module_that_is_not_plugged_in_keeps_nothing_else_from_being_signed(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "module", Unplugged)
    monkeypatch.setattr(Unplugged, "absent", set())

    def module(name: str) -> KeyUri:
        key = elsewhere(tmp_path, name)
        return KeyUri(key.uri.replace("file2:", "module:"), key.public_key)

    uris = {"root": [module(f"root.{i}") for i in (1, 2, 3)], "targets": [module("targets")], "feed.a": [module("a")]}
    publisher = Publisher.init(
        tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, key_uris=uris, timing=Timing(clock=clock)
    )
    Unplugged.absent.update({"root.2", "targets"})
    clock.move(days=300)
    result = reopened(publisher).refresh()
    assert set(result.renewed) == {"root", "a", "snapshot", "timestamp"}
    assert [(overdue.role, "no token in the slot" in overdue.reason) for overdue in result.overdue] == [
        ("targets", True)
    ]


def test_an_expired_repository_can_be_brought_back(publisher: Publisher, clock: Clock) -> None:
    publisher.release("id-all", numbers(1))
    clock.move(days=1000)
    assert all(role.expires < clock.now for role in publisher.status().roles)
    publisher.refresh()
    assert all(role.expires > clock.now for role in publisher.status().roles)
    assert publisher.release("id-all", numbers(1, 2)).added == 1


def test_lifetimes_may_be_set(tmp_path: Path, clock: Clock) -> None:
    lifetimes = Lifetimes(timestamp=timedelta(minutes=5))
    publisher = Publisher.init(
        tmp_path / "p", feeds=["a"], passphrase=PASSPHRASE, timing=Timing(lifetimes=lifetimes, clock=clock)
    )
    assert publisher.refresh().expires == clock.now + timedelta(minutes=5)


# Damage


def test_damage_is_found_before_anything_is_built_on_it(publisher: Publisher) -> None:
    publisher.release("id-all", numbers(1))
    whole = everything(publisher)
    snapshot = index_of(publisher).current.snapshot
    assert snapshot is not None
    parquet = publisher._folder.load().file("id-all", snapshot.path)
    assert parquet is not None
    metadata = publisher.repository / "metadata"
    for path, content, error in (
        (parquet, parquet.read_bytes()[:-1] + b"x", Untrusted),
        (parquet, None, Malformed),
        (metadata / "timestamp.json", b"{", Malformed),
        (metadata / "timestamp.json", (metadata / "timestamp.json").read_bytes().replace(b"203", b"204"), Untrusted),
        (metadata / "2.id-all.json", (metadata / "1.id-telkomsel.json").read_bytes(), Untrusted),
        (metadata / "2.id-all.json", None, Malformed),
        (publisher.root, None, Malformed),
    ):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        # The working copy would do for the snapshot, and the release would get a new one.
        shutil.rmtree(publisher.directory / "working", ignore_errors=True)
        with pytest.raises(error, match=r"backup|does not verify"):
            publisher.release("id-all", numbers(2))
        path.write_bytes(whole[path])
    assert publisher.release("id-all", numbers(2)).serial == 2


def test_what_is_published_reads_back_as_what_was_planned(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours in a codec must never be signed."""
    publisher.release("id-all", numbers(1, 2))
    before = everything(publisher)
    monkeypatch.setattr(
        "blocklist_sdk.publisher.signed_feed.read_delta",
        lambda path: read_delta(path).__class__(
            puts=read_delta(path).puts.take(np.arange(0)), removes=read_delta(path).removes
        ),
    )
    with pytest.raises(Malformed, match="nothing was published"):
        publisher.release("id-all", numbers(2, 3))
    monkeypatch.setattr(
        "blocklist_sdk.publisher.signed_feed.snapshot_parts", lambda path: [read_snapshot(path).take(np.arange(1))]
    )
    with pytest.raises(Malformed, match="nothing was published"):
        publisher.release("id-telkomsel", numbers(2, 3))
    assert everything(publisher) == before
