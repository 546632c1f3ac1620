"""A publisher's folder that begins from public keys: it waits until the holders have signed the first metadata.

::

    DIR/
        keys/            the keys that are made here: online, feeds, perhaps targets
        publisher.json   settings
        proposal.json    the first metadata, as the holders get it

`root.json` is written last, and makes it a publisher's folder like any other.
"""

import secrets
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from blocklist_sdk.disk import storage, sweep, write_file
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.locks import file_lock
from blocklist_sdk.modes import PUBLIC, SHARED
from blocklist_sdk.publisher.ceremony import Proposal, missing_in_words
from blocklist_sdk.publisher.folder import Timing, make_folder
from blocklist_sdk.publisher.key_changes import NextMetadata
from blocklist_sdk.publisher.keys import ROOT, TARGETS, Keyring, KeyUri, Passphrase, read_public_key
from blocklist_sdk.publisher.repository import ROOT_THRESHOLD, Repository, first_metadata
from blocklist_sdk.release.protected import write_protected

PROPOSAL: Final = "proposal.json"


def is_waiting(directory: Path) -> bool:
    """Whether a folder waits for the signatures of its first metadata."""
    return (directory / PROPOSAL).is_file() and not (directory / "root.json").exists()


def begin_folder(
    directory: Path,
    *,
    feeds: Collection[str] | Mapping[str, str | Iterable[str] | None],
    public_keys: Mapping[str, Sequence[Path]],
    passphrase: Passphrase | None,
    root_threshold: int,
    region: str | None,
    key_uris: Mapping[str, Sequence[KeyUri]] | None,
    timing: Timing,
) -> None:
    """Make a folder that waits, whole or not at all. Arguments and errors are those of `Publisher.begin`."""
    unknown = sorted(public_keys.keys() - {ROOT, TARGETS})
    if unknown:
        raise InvalidInput(f"public keys alone may be given for root and targets, not for {unknown[0]!r}")
    both = sorted(public_keys.keys() & (key_uris or {}).keys())
    if both:
        raise InvalidInput(f"the {both[0]} keys are given by their URIs and by their public halves: give one of them")
    if not public_keys.get(ROOT):
        raise InvalidInput("give the public halves of the root keys: only then are the holders of others asked to sign")
    if root_threshold < ROOT_THRESHOLD:
        raise InvalidInput(f"the root needs at least {ROOT_THRESHOLD} signatures, not {root_threshold}")

    def fill(building: Path, keys: Keyring, names: list[str]) -> None:
        for name, paths in public_keys.items():
            given = [read_public_key(path) for path in paths]
            if len({key.keyid for key in given}) < len(given):
                raise InvalidInput(f"{len(given)} {name} keys are given, and two of them are the same")
            keys.add_public(name, given)
        first = first_metadata(
            keys,
            feeds=names,
            protected=write_protected([]),
            lifetimes=timing.lifetimes,
            now=timing.clock(),
            root_threshold=root_threshold,
        )
        targets = first.targets if public_keys.get(TARGETS) else None
        proposal = Proposal.of(ROOT, None, NextMetadata((first.root,), targets))
        proposal.check()
        write_file(building / PROPOSAL, proposal.to_json(), SHARED)

    make_folder(
        directory,
        feeds=feeds,
        passphrase=passphrase,
        region=region,
        key_uris=key_uris,
        timing=timing,
        fill=fill,
        elsewhere=[name for name, paths in public_keys.items() if paths],
    )


def complete_folder(
    directory: Path, proposals: Sequence[Proposal], *, passphrase: Passphrase | None, timing: Timing
) -> Proposal:
    """Make the repository of a folder that waits, from the signed copies of its proposal.

    Raises:
        InvalidInput: the files are of another proposal, signatures are missing, or a key is not available.
        Locked: another run took longer than the wait.
        Malformed, Untrusted: a file was damaged or changed.
        StorageFailed: the disk refused.
    """
    busy = f"another run is publishing in {directory}"
    with file_lock(directory / "lock", wait_s=timing.lock_wait_s, busy=busy):
        with storage(directory):
            sweep(directory)
            own = Proposal.from_json((directory / PROPOSAL).read_bytes())
        proposal = own.merged(proposals)
        proposal.check()
        proposal.check_expiry(timing.clock())
        if missing := missing_in_words(proposal.needed):
            raise InvalidInput(f"nothing was changed: {'; '.join(missing)}: have the holders of these keys sign")
        with storage(directory):
            if not (directory / "repository").exists():
                _make_repository(directory, proposal, passphrase=passphrase, timing=timing)
            # A killed run may have published a root with more signatures, or fewer.
            root = (directory / "repository" / "metadata" / "1.root.json").read_bytes()
            write_file(directory / "root.json", root, PUBLIC)
            (directory / PROPOSAL).unlink()
        return proposal


def _make_repository(directory: Path, proposal: Proposal, *, passphrase: Passphrase | None, timing: Timing) -> None:
    keys = Keyring(directory / "keys", passphrase)
    for leftover in directory.glob(".repository.*"):
        shutil.rmtree(leftover)
    building = directory / f".repository.{secrets.token_hex(4)}"
    with storage(building):
        building.mkdir(mode=0o700)
    try:
        Repository.create(
            building,
            keys,
            feeds=keys.feeds,
            protected=write_protected([]),
            lifetimes=timing.lifetimes,
            clock=timing.clock,
            root=proposal.roots[0],
            targets=proposal.targets,
        )
        PUBLIC.give(building)
        building.replace(directory / "repository")
    finally:
        shutil.rmtree(building, ignore_errors=True)
