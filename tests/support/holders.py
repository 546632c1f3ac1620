"""Holders of keys: folders of their own, each with nothing but a private key and its public half."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from securesystemslib.signer import SSlibKey

PASSPHRASE = "generated for a test"


@dataclass(frozen=True)
class Holder:
    """A holder's machine.

    Attributes:
        key: the private key, PEM.
        public: its public half, PEM.
        keyid: its key id.
    """

    key: Path
    public: Path
    keyid: str


def holder(directory: Path, name: str, *, passphrase: str | None = PASSPHRASE) -> Holder:
    """A holder who has just made a key."""
    folder = directory / name
    folder.mkdir(parents=True)
    private = Ed25519PrivateKey.generate()
    locked = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    (folder / "key.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public = private.public_key()
    (folder / "key.pub.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Holder(folder / "key.pem", folder / "key.pub.pem", SSlibKey.from_crypto(public).keyid)


def holders(directory: Path, names: Iterable[str]) -> list[Holder]:
    """Several of them."""
    return [holder(directory, name) for name in names]


class Killed(BaseException):
    """A power cut in the middle of a write."""


class Renames:
    """Renames of files, of which only so many are made before the power is cut."""

    def __init__(self, allowed: int) -> None:
        self.left = allowed
        self._rename = os.replace

    def __call__(self, source: Path, target: Path) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        self._rename(source, target)
