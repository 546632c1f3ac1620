"""Trust: what is accepted from a repository, and the error for each attack and each accident."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile

from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed, Stale, StorageFailed, Unreachable, Untrusted
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.fetch.trust import Trust
from support.tuf_repository import FEED, INDEX, OTHER_FEED, PAST, TufRepository, tomorrow

FIRST, SECOND = b'{"serial": 1}', b'{"serial": 2}'
PORTAL = b"<!doctype html><title>Free Wi-Fi</title>"


@pytest.fixture
def repository(tmp_path: Path) -> TufRepository:
    made = TufRepository(tmp_path / "repository")
    made.release(FIRST)
    return made


@pytest.fixture
def transport() -> Iterator[Transport]:
    with Transport(settings=TransportSettings(attempts=2), sleep=lambda _: None) as made:
        yield made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "metadata"


@pytest.fixture
def trusted(repository: TufRepository, transport: Transport, cache: Path) -> Callable[[], Trust]:
    """Refresh as a new sync does, on the metadata that earlier syncs stored."""

    def refreshed() -> Trust:
        trust = Trust(base_url=repository.url, metadata_dir=cache, root=repository.pinned, transport=transport)
        trust.refresh()
        return trust

    return refreshed


def index(trust: Trust) -> bytes:
    return trust.fetch(INDEX, max_bytes=1000)


def test_what_is_signed_is_fetched(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    assert index(trusted()) == FIRST
    repository.release(SECOND)
    assert index(trusted()) == SECOND


def test_a_view_may_be_refreshed_again(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    trust = trusted()
    repository.release(SECOND)
    trust.refresh()
    assert index(trust) == SECOND


def test_asking_before_a_refresh_is_a_programming_error(
    repository: TufRepository, cache: Path, transport: Transport
) -> None:
    trust = Trust(base_url=repository.url, metadata_dir=cache, root=repository.pinned, transport=transport)
    assert not cache.exists()
    with pytest.raises(RuntimeError):
        trust.target(INDEX)


# The powers of each role


def test_expiry_is_the_earliest_of_what_the_feed_rests_on(
    trusted: Callable[[], Trust], repository: TufRepository
) -> None:
    later = tomorrow().replace(microsecond=0)
    signed = [repository.timestamp, repository.snapshot, repository.targets, repository.feeds[FEED]]
    for number, earliest in enumerate(signed, start=1):
        for role in signed:
            role.expires = later
        earliest.expires = later - timedelta(hours=number)
        repository.release(FIRST)
        assert trusted().expires(FEED) == earliest.expires


def test_signers_are_the_keys_of_the_feed(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    assert trusted().signers(FEED) == (repository.keys[FEED].public_key.keyid,)


def test_an_unknown_feed(trusted: Callable[[], Trust]) -> None:
    trust = trusted()
    assert trust.target("id-nobody/index.json") is None
    with pytest.raises(InvalidInput, match="no feed 'id-nobody'"):
        trust.expires("id-nobody")


@pytest.mark.parametrize("path", ["protected.json", f"{FEED}/2.snapshot.parquet", f"{OTHER_FEED}/deep/1.delta.parquet"])
def test_a_feed_role_that_signs_outside_its_path_is_not_heard(
    trusted: Callable[[], Trust], repository: TufRepository, path: str
) -> None:
    repository.add(path, b"forged", role=repository.feeds[OTHER_FEED])
    repository.release(SECOND)
    trust = trusted()
    assert trust.target(path) is None
    with pytest.raises(Untrusted, match="not listed by any role"):
        trust.fetch(path, max_bytes=1000)


def test_protected_numbers_are_signed_by_the_targets_role(
    trusted: Callable[[], Trust], repository: TufRepository
) -> None:
    repository.add("protected.json", b"[]", role=repository.targets)
    repository.release(SECOND)
    assert trusted().fetch("protected.json", max_bytes=10) == b"[]"


# The pinned root


@pytest.mark.parametrize("root", [b"", b"{}", PORTAL, b"\xff\xfe"])
def test_a_pinned_root_that_is_not_root_metadata(tmp_path: Path, transport: Transport, root: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"root\.json"):
        Trust(base_url="https://exchange.example", metadata_dir=tmp_path, root=root, transport=transport)


def test_a_pinned_root_of_another_kind_or_unsigned(
    tmp_path: Path, repository: TufRepository, transport: Transport
) -> None:
    repository.write_root(signers=repository.root_keys[:1], name="unsigned.json")
    for name in ("timestamp.json", "unsigned.json"):
        root = repository.metadata(name).read_bytes()
        with pytest.raises(InvalidInput, match=r"root\.json"):
            Trust(base_url=repository.url, metadata_dir=tmp_path, root=root, transport=transport)


def test_the_pinned_root_of_another_authority(
    tmp_path: Path, repository: TufRepository, cache: Path, transport: Transport
) -> None:
    other = TufRepository(tmp_path / "other")
    trust = Trust(base_url=repository.url, metadata_dir=cache, root=other.pinned, transport=transport)
    with pytest.raises(Untrusted, match="pinned root"):
        trust.refresh()


def test_a_rotated_root_is_followed(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    trusted()
    stolen = repository.root_keys[2]
    repository.root_keys[2] = CryptoSigner.generate_ed25519()
    repository.root.revoke_key(stolen.public_key.keyid, "root")
    repository.root.add_key(repository.root_keys[2].public_key, "root")
    repository.root.version = 2
    repository.write_root()
    repository.root.version = 3
    repository.write_root(signers=repository.root_keys[1:])
    repository.release(SECOND)
    assert index(trusted()) == SECOND
    assert index(trusted()) == SECOND


# Attacks


def roll_back_snapshot(repository: TufRepository) -> None:
    repository.snapshot.version -= 1
    repository.timestamp.version += 1
    repository.write_online()


def roll_back_in_snapshot(role: str) -> Callable[[TufRepository], None]:
    def attack(repository: TufRepository) -> None:
        repository.snapshot.meta[f"{role}.json"] = MetaFile(1)
        repository.snapshot.version += 1
        repository.timestamp.version += 1
        repository.write_online()

    return attack


def drop_from_snapshot(repository: TufRepository) -> None:
    del repository.snapshot.meta[f"{FEED}.json"]
    repository.snapshot.version += 1
    repository.timestamp.version += 1
    repository.write_online()


def root_by_one_of_three(repository: TufRepository) -> None:
    repository.root.version = 2
    repository.write_root(signers=repository.root_keys[:1])


def root_by_strangers(repository: TufRepository) -> None:
    repository.root.version = 2
    repository.write_root(signers=[CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()])


def root_of_wrong_version(repository: TufRepository) -> None:
    repository.root.version = 3
    repository.write_root(name="2.root.json")


def unknown_online_key(repository: TufRepository) -> None:
    repository.keys["online"] = CryptoSigner.generate_ed25519()
    repository.release(SECOND)


def key_of_another_feed(repository: TufRepository) -> None:
    repository.keys[FEED] = repository.keys[OTHER_FEED]
    repository.release(SECOND)


def mixed_files(repository: TufRepository) -> None:
    """The feed's role as it was, under the name that its successor has."""
    old = repository.metadata(f"{repository.feeds[FEED].version}.{FEED}.json").read_bytes()
    repository.release(SECOND)
    repository.metadata(f"{repository.feeds[FEED].version}.{FEED}.json").write_bytes(old)


def endless_timestamp(repository: TufRepository) -> None:
    with repository.metadata("timestamp.json").open("ab") as file:
        file.truncate(1 << 30)


def another_role_in_its_place(repository: TufRepository) -> None:
    shutil.copy(repository.metadata("1.root.json"), repository.metadata("timestamp.json"))


ATTACKS = [
    roll_back_snapshot,
    roll_back_in_snapshot("targets"),
    roll_back_in_snapshot(FEED),
    drop_from_snapshot,
    root_by_one_of_three,
    root_by_strangers,
    root_of_wrong_version,
    unknown_online_key,
    key_of_another_feed,
    mixed_files,
    endless_timestamp,
    another_role_in_its_place,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_untrusted_and_takes_nothing_back(
    trusted: Callable[[], Trust], repository: TufRepository, attack: Callable[[TufRepository], None]
) -> None:
    repository.release(FIRST)
    before = trusted()
    assert index(before) == FIRST
    attack(repository)
    with pytest.raises(Untrusted, match=r"Nothing was changed|longer than"):
        index(trusted())
    assert index(before) == FIRST


def test_a_replayed_timestamp(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    old = repository.metadata("timestamp.json").read_bytes()
    repository.release(SECOND)
    trusted()
    new = repository.metadata("timestamp.json").read_bytes()
    repository.metadata("timestamp.json").write_bytes(old)
    with pytest.raises(Untrusted, match=r"timestamp\.json .*version"):
        trusted()
    repository.metadata("timestamp.json").write_bytes(new)
    assert index(trusted()) == SECOND


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", FEED])
@pytest.mark.parametrize("fresh", [True, False], ids=["first-sync", "later-sync"])
def test_expired_metadata_is_stale_and_named(
    trusted: Callable[[], Trust], repository: TufRepository, role: str, fresh: bool
) -> None:
    if not fresh:
        index(trusted())
    if role == "root":
        repository.root.version = 2
        repository.root.expires = PAST
        repository.write_root()
    else:
        signed = {
            "timestamp": repository.timestamp,
            "snapshot": repository.snapshot,
            "targets": repository.targets,
            **repository.feeds,
        }
        signed[role].expires = PAST
    repository.release(SECOND)
    with pytest.raises(Stale, match="2020-01-01") as caught:
        index(trusted())
    assert (caught.value.role, caught.value.expired) == (role, PAST)


def test_an_expired_pinned_root_leads_to_its_successor(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    repository.root.expires = PAST
    repository.write_root()
    repository.pinned = repository.metadata("1.root.json").read_bytes()
    with pytest.raises(Stale) as caught:
        trusted()
    assert caught.value.role == "root"
    repository.root.version = 2
    repository.root.expires = tomorrow()
    repository.write_root()
    assert index(trusted()) == FIRST


# Files


@pytest.mark.parametrize("spoilt", [b'{"serial": 9}', FIRST[:-1], FIRST + b" ", b"", PORTAL])
def test_a_spoilt_target(
    trusted: Callable[[], Trust], repository: TufRepository, tmp_path: Path, spoilt: bytes
) -> None:
    repository.target_file(INDEX, FIRST).write_bytes(spoilt)
    destination = tmp_path / "index.json"
    destination.write_bytes(b"as it was")
    trust = trusted()
    with pytest.raises(Untrusted):
        index(trust)
    with pytest.raises(Untrusted):
        trust.download(INDEX, destination)
    assert destination.read_bytes() == b"as it was"
    assert not list(tmp_path.glob("*.part"))


def test_a_download_replaces_its_destination(trusted: Callable[[], Trust], tmp_path: Path) -> None:
    destination = tmp_path / "index.json"
    destination.write_bytes(b"as it was")
    assert trusted().download(INDEX, destination) == len(FIRST)
    assert destination.read_bytes() == FIRST
    assert not list(tmp_path.glob("*.part"))


def test_a_target_larger_than_the_caller_takes(trusted: Callable[[], Trust]) -> None:
    with pytest.raises(Malformed, match="more than the 3"):
        trusted().fetch(INDEX, max_bytes=3)


def test_a_target_without_sha256(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    repository.feeds[FEED].targets[INDEX].hashes = {"sha256": "../../../../etc/passwd"}
    repository.feeds[FEED].version += 10
    repository.snapshot.version += 10
    repository.timestamp.version += 10
    repository.publish()
    with pytest.raises(Malformed, match="SHA-256"):
        index(trusted())


def test_missing_files_are_unreachable(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    trust = trusted()
    repository.target_file(INDEX, FIRST).unlink()
    with pytest.raises(Unreachable) as caught:
        index(trust)
    assert caught.value.status == 404
    repository.metadata("timestamp.json").unlink()
    with pytest.raises(Unreachable) as caught:
        trust.refresh()
    assert caught.value.status == 404
    assert caught.value.url.endswith("/metadata/timestamp.json")


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "9.snapshot.json"])
@pytest.mark.parametrize("answer", [PORTAL, b"", b'{"signed": {', b'{"signatures": [], "signed": {}}'])
def test_an_answer_that_is_not_metadata_is_malformed(
    trusted: Callable[[], Trust], repository: TufRepository, name: str, answer: bytes
) -> None:
    repository.snapshot.version = 9
    repository.timestamp.version = 9
    repository.publish()
    repository.metadata(name).write_bytes(answer)
    with pytest.raises(Malformed, match=f"{name} from file:.*captive portal"):
        trusted()


# The cache


def place_garbage(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"\x00garbage")


def place_nothing(path: Path) -> None:
    path.unlink()
    path.touch()


def place_directory(path: Path) -> None:
    path.unlink()
    (path / "in" / "it").mkdir(parents=True)


def place_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def place_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("place", [place_garbage, place_nothing, place_directory, place_dangling_link, place_pipe])
@pytest.mark.parametrize(
    "name",
    ["root.json", "timestamp.json", "snapshot.json", "targets.json", f"{FEED}.json", "root_history/2.root.json"],
)
def test_a_damaged_cache_heals(
    trusted: Callable[[], Trust], repository: TufRepository, cache: Path, name: str, place: Callable[[Path], None]
) -> None:
    repository.root.version = 2
    repository.write_root()
    index(trusted())
    place(cache / name)
    assert index(trusted()) == FIRST
    repository.release(SECOND)
    assert index(trusted()) == SECOND


def test_a_file_in_the_place_of_the_roots_heals(trusted: Callable[[], Trust], cache: Path) -> None:
    trusted()
    shutil.rmtree(cache / "root_history")
    (cache / "root_history").write_bytes(b"")
    assert index(trusted()) == FIRST


def test_what_a_killed_run_left_is_cleared_away(trusted: Callable[[], Trust], cache: Path) -> None:
    trusted()
    (cache / "tmpabcd1234").write_bytes(b"half")
    trusted()
    assert not list(cache.glob("tmp*"))


def test_a_cache_many_versions_behind(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    index(trusted())
    for _ in range(5):
        repository.root.version += 1
        repository.write_root()
        repository.release(SECOND)
    assert index(trusted()) == SECOND


def test_a_file_in_the_place_of_the_cache(trusted: Callable[[], Trust], cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"")
    with pytest.raises(StorageFailed) as caught:
        trusted()
    assert caught.value.path == cache


def test_every_error_is_ours(trusted: Callable[[], Trust], repository: TufRepository) -> None:
    """Cut a repository's every file short, at its start, its middle and its end."""
    repository.root.version = 2
    repository.write_root()
    for file in sorted(repository.directory.rglob("*.json")):
        whole = file.read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 2):
            file.write_bytes(whole[:length])
            with contextlib.suppress(BlocklistError):
                index(trusted())
        file.write_bytes(whole)
    assert index(trusted()) == FIRST
