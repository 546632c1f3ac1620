"""A root leads to the next only if both have signed it, and only to the version after its own."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import BadVersionNumberError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from blocklist_sdk import Malformed, Publisher, Untrusted
from blocklist_sdk.release.roots import follow_roots, walk_roots

PASSPHRASE = "generated for a test"

OLD, NEW = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()


def root(version: int, key: CryptoSigner, signers: Sequence[CryptoSigner]) -> Metadata[Root]:
    made = Metadata(Root(version=version))
    made.signed.add_key(key.public_key, Root.type)
    for signer in signers:
        made.sign(signer, append=True)
    return made


FIRST = root(1, OLD, [OLD])


def test_roots_that_both_have_signed_lead_to_the_newest() -> None:
    roots = {2: root(2, NEW, [OLD, NEW]), 3: root(3, NEW, [NEW]), 5: root(5, NEW, [NEW])}
    assert follow_roots(FIRST, roots.get).signed.version == 3


def test_a_root_that_leads_nowhere_is_the_newest() -> None:
    assert follow_roots(FIRST, lambda _: None) is FIRST


@pytest.mark.parametrize("signers", [[OLD], [NEW], []], ids=["the old key", "the new key", "no key"])
def test_a_root_that_one_of_them_has_not_signed_is_an_error(signers: list[CryptoSigner]) -> None:
    with pytest.raises(UnsignedMetadataError):
        follow_roots(FIRST, {2: root(2, NEW, signers)}.get)


@pytest.mark.parametrize("version", [1, 3])
def test_a_root_of_another_version_is_an_error(version: int) -> None:
    with pytest.raises(BadVersionNumberError, match="root 2 says that it is"):
        follow_roots(FIRST, {2: root(version, NEW, [OLD, NEW])}.get)


def offered(publisher: Publisher) -> dict[int, bytes]:
    """The roots of a repository, by version."""
    files = (publisher.repository / "metadata").glob("*.root.json")
    return {int(file.name.partition(".")[0]): file.read_bytes() for file in files}


def test_offered_roots_are_walked_from_the_first_that_is_there(tmp_path: Path) -> None:
    publisher = Publisher.init(tmp_path / "p", feeds=["id-all"], passphrase=PASSPHRASE)
    for _ in range(2):
        publisher.rotate_keys("root")
    known = offered(publisher)
    assert len(known) >= 3
    chain = tuple(known[version] for version in sorted(known))
    assert walk_roots(known.get) == chain
    assert walk_roots({version: data for version, data in known.items() if version > 1}.get) == chain[1:]
    without_second = {version: data for version, data in known.items() if version != 2}
    assert walk_roots(without_second.get) == chain[:1], "a gap ends it"
    assert walk_roots(lambda version: None) == ()


def test_offered_roots_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    ours = Publisher.init(tmp_path / "ours", feeds=["id-all"], passphrase=PASSPHRASE)
    theirs = Publisher.init(tmp_path / "theirs", feeds=["id-all"], passphrase=PASSPHRASE)
    theirs.rotate_keys("root")
    with pytest.raises(Untrusted, match="do not follow from each other"):
        walk_roots({1: offered(ours)[1], 2: offered(theirs)[2]}.get)
    with pytest.raises(Untrusted, match="do not follow from each other"):
        walk_roots({1: offered(theirs)[1], 2: offered(theirs)[1]}.get)
    for data in (b"", b"{}", b"[1]", b"<html>", b'{"signed": {"_type": "root"}, "signatures": []}'):
        with pytest.raises(Malformed, match="captive portal"):
            walk_roots({1: data}.get)
        with pytest.raises(Malformed, match="captive portal"):
            walk_roots({1: offered(ours)[1], 2: data}.get)
