"""Keys that everybody can make: they are for tests, and nothing that they sign is to be trusted."""

import hashlib
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

REMARK: Final = "For tests only. Everybody can make these keys: trust nothing that they sign."
"""What the root says about its keys, in a field that readers ignore."""


@cache
def key(name: str) -> CryptoSigner:
    """The key of a name, such as ``root-1`` or ``online``; always the same."""
    seed = hashlib.sha256(f"blocklist conformance vectors, for tests only: {name}".encode()).digest()
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed))
