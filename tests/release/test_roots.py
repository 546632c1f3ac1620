"""A root leads to the next only if both have signed it, and only to the version after its own."""

from collections.abc import Sequence

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import BadVersionNumberError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root

from blocklist_sdk.release.roots import follow_roots

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
