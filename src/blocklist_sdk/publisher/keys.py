"""The publisher's private keys: encrypted files in one folder, or references to keys that live elsewhere.

::

    DIR/keys/                mode 0700
        keys.json            which key signs what; public halves only
        root.1.pem, …        PKCS#8, encrypted with a passphrase, mode 0600

A key is available if it can be opened now. It is not if its file has been moved away (offline, into a safe), if its
hardware module is not plugged in, or if its passphrase is missing or wrong.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.exceptions import KeyMismatchError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from blocklist_sdk.disk import read_json, storage, write_file
from blocklist_sdk.errors import BlocklistError, InvalidInput, Malformed
from blocklist_sdk.publisher.arguments import is_text

Passphrase = str | Callable[[str], str]
"""A passphrase, or a function that takes a key's name (``root.1``, ``online``, …) and returns its passphrase."""

ROOT, TARGETS, ONLINE = "root", "targets", "online"

_FEED_PREFIX = "feed."
"""A feed's name has no dot, so the key of a feed called `online` is not taken for the online key."""

_FORMAT = 1
_PRIVATE_FILE_MODE = 0o600

_PASSPHRASE_CHARS_MIN = 12
"""PKCS#8 as OpenSSL writes it stretches a passphrase by 2,048 rounds only, so the passphrase itself must be long."""


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A reference to a private key in a hardware module or a key management service.

    Attributes:
        uri: a private key URI of securesystemslib: ``hsm:…``, ``awskms:…``, ``gcpkms:…``, ``azurekms:…``, ``hv:…``,
            ``file2:PATH``.
        public_key: the file with the public half, PEM.
    """

    uri: str
    public_key: Path


@dataclass(frozen=True, slots=True)
class _KeyRecord:
    """One key as `keys.json` describes it: the private half is a file in the folder, or behind a URI."""

    name: str
    public: Key
    file: str | None
    uri: str | None

    def to_json(self) -> dict[str, Any]:
        private = {"file": self.file} if self.file else {"uri": self.uri}
        return {"name": self.name, "keyid": self.public.keyid, "public": self.public.to_dict(), **private}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        public = Key.from_dict(document["keyid"], dict(document["public"]))
        return cls(document["name"], public, document.get("file"), document.get("uri"))


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """The keys of one name.

    Attributes:
        signers: the keys that are available.
        remedies: for each key that is not, what is wrong or what to do.
    """

    signers: tuple[Signer, ...]
    remedies: tuple[str, ...]


def feed_key(feed: str) -> str:
    """The name of a feed's key."""
    return _FEED_PREFIX + feed


class Keyring:
    """The keys of one publisher; each is opened when it is first needed."""

    def __init__(self, directory: Path, passphrase: Passphrase | None) -> None:
        """Read ``keys.json`` in an existing folder; :meth:`create` makes a new one.

        Raises:
            InvalidInput: the folder has no ``keys.json``.
            Malformed: ``keys.json`` is damaged.
            StorageFailed: ``keys.json`` cannot be read.
        """
        self._directory = directory
        self._passphrase = passphrase
        self._signers: dict[str, Signer] = {}
        document = read_json(directory / "keys.json", format_version=_FORMAT)
        if document is None:
            raise InvalidInput(f"{directory} has no keys.json: give the folder that `publish init` made")
        try:
            self._records = [_KeyRecord.from_json(key) for key in document["keys"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{directory / 'keys.json'} is damaged: bring it back from your backup") from error

    @classmethod
    def create(cls, directory: Path, passphrase: Passphrase | None) -> Self:
        """Make an empty folder for keys.

        Raises:
            StorageFailed: the folder cannot be written.
        """
        with storage(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            _write(directory, [])
        return cls(directory, passphrase)

    def add(self, name: str, *, count: int = 1, uris: Sequence[KeyUri] = ()) -> None:
        """Make `count` key pairs under a name, or add references to existing keys.

        Raises:
            InvalidInput: the name is taken, the passphrase is too short, or a public key cannot be read.
            StorageFailed: the folder cannot be written.
        """
        if self.public(name):
            raise InvalidInput(f"{self._directory} already has a key called {name!r}")
        if uris:
            added = [_KeyRecord(name, _read_public_key(uri.public_key), None, uri.uri) for uri in uris]
        else:
            added = [self._generate(name, i if count > 1 else None) for i in range(1, count + 1)]
        records = [*self._records, *added]
        with storage(self._directory):
            _write(self._directory, records)
        self._records = records

    def public(self, name: str) -> list[Key]:
        """The public halves of a name's keys."""
        return [key.public for key in self._records if key.name == name]

    def open(self, name: str) -> OpenedKeys:
        """Open the keys of a name; a key that is not available is returned as a remedy, not raised."""
        signers: list[Signer] = []
        remedies: list[str] = []
        for key in self._records:
            if key.name == name:
                try:
                    signers.append(self._signer(key))
                except InvalidInput as error:
                    remedies.append(str(error))
        return OpenedKeys(tuple(signers), tuple(remedies))

    def absent(self, names: Iterable[str]) -> list[str]:
        """The names of key files that are not in the folder."""
        return [
            key.file
            for name in names
            for key in self._records
            if key.name == name and key.file and not (self._directory / key.file).exists()
        ]

    def _generate(self, name: str, ordinal: int | None) -> _KeyRecord:
        label = name if ordinal is None else f"{name}.{ordinal}"
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self._new_passphrase(label))
        )
        path = self._directory / f"{label}.pem"
        with storage(path):
            write_file(path, pem, mode=_PRIVATE_FILE_MODE)
        return _KeyRecord(name, SSlibKey.from_crypto(private.public_key()), path.name, None)

    def _signer(self, key: _KeyRecord) -> Signer:
        keyid = key.public.keyid
        if keyid not in self._signers:
            self._signers[keyid] = self._open_uri(key, key.uri) if key.uri else self._open_file(key, str(key.file))
        return self._signers[keyid]

    def _open_file(self, key: _KeyRecord, file: str) -> Signer:
        path = self._directory / file
        try:
            pem = path.read_bytes()
        except FileNotFoundError as error:
            raise InvalidInput(f"put back {file}") from error
        except OSError as error:
            raise InvalidInput(
                f"cannot read the key {path}: {error.strerror}. Make it readable for your user"
            ) from error
        passphrase = self._ask(path.stem).encode()
        try:
            private = load_pem_private_key(pem, passphrase)
            public = key.public
            return CryptoSigner(private, public if isinstance(public, SSlibKey) else None)
        except (ValueError, TypeError, KeyMismatchError) as error:
            raise InvalidInput(
                f"cannot open the key {path}: wrong passphrase, or the file is damaged. Give the key's passphrase, or "
                "restore the file from your backup"
            ) from error

    def _open_uri(self, key: _KeyRecord, uri: str) -> Signer:
        try:
            return Signer.from_priv_key_uri(uri, key.public, lambda secret: self._ask(f"{key.name} ({secret})"))
        except BlocklistError:
            raise
        except Exception as error:
            # securesystemslib documents that errors of the services' own libraries pass through.
            raise InvalidInput(f"cannot use the key {key.name!r} at {uri}: {error}") from error

    def _ask(self, label: str) -> str:
        if self._passphrase is None:
            raise InvalidInput(f"the key {label!r} is encrypted: give its passphrase")
        passphrase = self._passphrase(label) if callable(self._passphrase) else self._passphrase
        if not is_text(passphrase):
            raise InvalidInput(f"the passphrase for the key {label!r} is not UTF-8 text")
        return passphrase

    def _new_passphrase(self, label: str) -> bytes:
        passphrase = self._ask(label)
        if len(passphrase) < _PASSPHRASE_CHARS_MIN:
            raise InvalidInput(
                f"the passphrase for the key {label!r} is too short: give at least {_PASSPHRASE_CHARS_MIN} characters"
            )
        return passphrase.encode()


def _write(directory: Path, records: Sequence[_KeyRecord]) -> None:
    document = {"format": _FORMAT, "keys": [record.to_json() for record in records]}
    write_file(directory / "keys.json", json.dumps(document, indent=1).encode(), mode=_PRIVATE_FILE_MODE)


def _read_public_key(path: Path) -> SSlibKey:
    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except (ValueError, OSError) as error:
        raise InvalidInput(f"{path} is not a public key in PEM format: {error}") from error
