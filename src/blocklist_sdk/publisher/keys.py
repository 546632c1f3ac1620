"""The publisher's private keys: encrypted files in one folder, or references to keys that live elsewhere.

::

    DIR/keys/                mode 0700
        keys.json            which key signs what; public halves only
        root.1.pem, …        PKCS#8, encrypted with a passphrase, mode 0600
        offline/             where root and targets keys have a passphrase of their own, they lie here

A key is available if it can be opened now. It is not if its file has been moved away (offline, into a safe), if its
hardware module is not plugged in, if its passphrase is missing or wrong, or if only its public half was ever here,
because a holder elsewhere signs with it.

A key that is made to replace another is marked as the next one until it does. What was replaced is no longer in
`keys.json`, and its file is called `NAME.pem.replaced`.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from blocklist_sdk.modes import PRIVATE
from blocklist_sdk.publisher.arguments import is_text

Passphrase = str | Callable[[str], str]
"""A passphrase, or a function that takes a key's name (``root.1``, ``online``, …) and returns its passphrase."""

ROOT, TARGETS, ONLINE = "root", "targets", "online"
OFFLINE = (ROOT, TARGETS)
"""The names of keys that no release needs."""

OFFLINE_FOLDER = "offline"
"""Where the keys of `OFFLINE` lie in the folder of keys if they are kept apart: one folder to carry away."""

_FEED_PREFIX = "feed."
"""A feed's name has no dot, so the key of a feed called `online` is not taken for the online key."""

_FORMAT = 1
_REPLACED = ".replaced"
"""Ends the name of the file of a key that was replaced."""

PASSPHRASE_CHARS_MIN = 12
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
    """One key as `keys.json` describes it: the private half is a file in the folder, behind a URI, or not here."""

    name: str
    public: Key
    file: str | None
    uri: str | None
    is_next: bool = False

    @property
    def borrowed_file(self) -> str:
        """What the file of a holder's key is called while it is here, such as on a medium that is plugged in."""
        return f"{self.name}.{self.public.keyid[:16]}.pem"

    def to_json(self) -> dict[str, Any]:
        private = {"file": self.file} if self.file else {"uri": self.uri} if self.uri else {}
        mark = {"next": True} if self.is_next else {}
        return {"name": self.name, "keyid": self.public.keyid, "public": self.public.to_dict(), **private, **mark}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        public = Key.from_dict(document["keyid"], dict(document["public"]))
        is_next = document.get("next") is True
        return cls(document["name"], public, document.get("file"), document.get("uri"), is_next)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key is.

    Attributes:
        keyid: its key id.
        file: the file of the private half, in the folder of keys; None if it is not a file here.
        uri: the private key URI; None if the private half is not behind one.
        is_available: whether the file is there, or a URI is known. Hardware modules are not asked.
    """

    keyid: str
    file: str | None
    uri: str | None
    is_available: bool


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


def is_offline(label: str) -> bool:
    """Whether a passphrase is asked for a key of root or targets; labels are such as ``root.1`` and ``targets``."""
    return label.partition(".")[0] in OFFLINE


class Keyring:
    """The keys of one publisher; each is opened when it is first needed."""

    def __init__(self, directory: Path, passphrase: Passphrase | None, *, apart: bool = False) -> None:
        """Read ``keys.json`` in an existing folder; :meth:`create` makes a new one.

        Args:
            directory: the folder of keys.
            passphrase: as for `Publisher.open`.
            apart: make root and targets keys in a folder of their own. Where one lies there already, others follow it.

        Raises:
            InvalidInput: the folder has no ``keys.json``.
            Malformed: ``keys.json`` is damaged.
            StorageFailed: ``keys.json`` cannot be read.
        """
        self.directory = directory
        self._passphrase = passphrase
        self._signers: dict[str, Signer] = {}
        document = read_json(directory / "keys.json", format_version=_FORMAT)
        if document is None:
            raise InvalidInput(f"{directory} has no keys.json: give the folder that `publish init` made")
        try:
            self._records = [_KeyRecord.from_json(key) for key in document["keys"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Malformed(f"{directory / 'keys.json'} is damaged: bring it back from your backup") from error
        self.is_apart: bool = apart or any(
            key.file is not None and Path(key.file).parent.name == OFFLINE_FOLDER for key in self._records
        )

    @classmethod
    def create(cls, directory: Path, passphrase: Passphrase | None, *, apart: bool = False) -> Self:
        """Make an empty folder for keys. Arguments are those of the class.

        Raises:
            StorageFailed: the folder cannot be written.
        """
        with storage(directory):
            PRIVATE.make(directory)
            PRIVATE.give(directory)
            _write(directory, [])
        return cls(directory, passphrase, apart=apart)

    def add(self, name: str, *, count: int = 1, uris: Sequence[KeyUri] = ()) -> None:
        """Make `count` key pairs under a name, or add references to existing keys.

        Raises:
            InvalidInput: the name is taken, the passphrase is too short, or a public key cannot be read.
            StorageFailed: the folder cannot be written.
        """
        if self.public(name):
            raise InvalidInput(f"{self.directory} already has a key called {name!r}")
        if uris:
            added = [_KeyRecord(name, read_public_key(uri.public_key), None, uri.uri) for uri in uris]
        else:
            added = [self._generate(name, i if count > 1 else None) for i in range(1, count + 1)]
        records = [*self._records, *added]
        with storage(self.directory):
            _write(self.directory, records)
        self._records = records

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds that have a key here, in the order in which they were added."""
        names = dict.fromkeys(key.name for key in self._records if key.name.startswith(_FEED_PREFIX))
        return tuple(name.removeprefix(_FEED_PREFIX) for name in names)

    def public(self, name: str) -> list[Key]:
        """The public halves of a name's keys."""
        return [key.public for key in self._records if key.name == name]

    def open(self, name: str, *, only: Collection[str] | None = None) -> OpenedKeys:
        """Open the keys of a name; a key that is not available is returned as a remedy, not raised.

        Args:
            name: the name.
            only: key ids of the keys to open; None for all of them.
        """
        signers: list[Signer] = []
        remedies: list[str] = []
        for key in self._records:
            if key.name == name and (only is None or key.public.keyid in only):
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
            if key.name == name and key.file and not self._path(key.file).exists()
        ]

    def opened(self, names: Collection[str]) -> list[Path]:
        """The key files of some names that are here, and that the passphrase opens."""
        found: list[Path] = []
        for key in self._records:
            path = None if key.uri else self._path(key.file or key.borrowed_file)
            if key.name in names and path is not None and path.exists():
                with contextlib.suppress(InvalidInput):
                    self._signer(key)
                    found.append(path)
        return found

    def add_public(self, name: str, keys: Iterable[Key]) -> None:
        """Add keys with which holders elsewhere sign.

        Raises:
            StorageFailed: the folder cannot be written.
        """
        records = [*self._records, *(_KeyRecord(name, key, None, None) for key in keys)]
        with storage(self.directory):
            _write(self.directory, records)
        self._records = records

    def next(self, name: str, *, count: int = 1, uri: KeyUri | None = None) -> list[Key]:
        """The keys that are to replace others; made now, unless a run before this one has made them already.

        Args:
            name: the name under which they will sign.
            count: how many to make.
            uri: an existing key to take instead of one that is made.

        Raises:
            InvalidInput: the passphrase is too short, or a public key cannot be read.
            StorageFailed: the folder cannot be written.
        """
        if uri is not None:
            public = read_public_key(uri.public_key)
            kept = [key for key in self._records if not (key.name == name and key.public.keyid == public.keyid)]
            found = [_KeyRecord(name, public, None, uri.uri, is_next=True)]
        else:
            kept = self._records
            waiting = [
                key
                for key in self._records
                if key.name == name and key.is_next and key.file and self._path(key.file).exists()
            ]
            found = waiting[:count]
            kept = [key for key in self._records if key not in found]
            labels = self._free_labels(name)
            while len(found) < count:
                found.append(replace(self._generate_file(name, next(labels)), is_next=True))
        records = [*kept, *found]
        if records != self._records:
            with storage(self.directory):
                _write(self.directory, records)
            self._records = records
        return [key.public for key in found]

    def next_ids(self, name: str) -> set[str]:
        """Key ids of the keys of a name that wait to replace others."""
        return {key.public.keyid for key in self._records if key.name == name and key.is_next}

    def settle(self, name: str, keys: Mapping[str, Key]) -> None:
        """Make the keys of a name those that sign under it now, after a change of keys was published.

        Keys that sign no longer are forgotten, and their files renamed; a key that waits to be the next one stays.

        Args:
            name: the name of the keys.
            keys: the public halves by key id, as the repository has them.

        Raises:
            StorageFailed: the folder cannot be written.
        """
        mine = [key for key in self._records if key.name == name]
        gone = [key for key in mine if key.public.keyid not in keys and not key.is_next]
        known = {key.public.keyid for key in mine}
        records = [
            replace(key, is_next=False) if key.name == name and key.public.keyid in keys else key
            for key in self._records
            if key not in gone
        ]
        records += [_KeyRecord(name, key, None, None) for keyid, key in keys.items() if keyid not in known]
        if records == self._records:
            return
        with storage(self.directory):
            _write(self.directory, records)
            self._records = records
            for key in gone:
                if key.file and (path := self._path(key.file)).exists():
                    os.replace(path, path.with_name(path.name + _REPLACED))

    def places(self, name: str) -> list[KeyPlace]:
        """Where the keys of a name are."""
        places: list[KeyPlace] = []
        for key in self._records:
            if key.name == name:
                is_borrowed = not key.file and not key.uri and self._path(key.borrowed_file).exists()
                file = key.borrowed_file if is_borrowed else key.file
                path = self._path(file) if file else None
                is_available = path.exists() if path else key.uri is not None
                shown = str(path.relative_to(self.directory)) if path else None
                places.append(KeyPlace(key.public.keyid, shown, key.uri, is_available))
        return places

    def _free_labels(self, name: str) -> Iterator[str]:
        """Names for new key files, such as `online.2`, under which there never was one."""
        for ordinal in itertools.count(2):
            file = f"{name}.{ordinal}.pem"
            paths = (self._path(file), self._path(file + _REPLACED))
            if not any(path.exists() for path in paths) and file not in {
                Path(key.file).name for key in self._records if key.file
            }:
                yield f"{name}.{ordinal}"

    def _generate(self, name: str, ordinal: int | None) -> _KeyRecord:
        return self._generate_file(name, name if ordinal is None else f"{name}.{ordinal}")

    def _generate_file(self, name: str, label: str) -> _KeyRecord:
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self._new_passphrase(label))
        )
        file = f"{OFFLINE_FOLDER}/{label}.pem" if self.is_apart and name in OFFLINE else f"{label}.pem"
        path = self.directory / file
        with storage(path):
            PRIVATE.make(path.parent)
            write_file(path, pem, PRIVATE)
        return _KeyRecord(name, SSlibKey.from_crypto(private.public_key()), file, None)

    def _path(self, file: str) -> Path:
        """Where a key's file is, or has to be put. Whoever brings it back may put it into either folder."""
        places = (self.directory / file, self.directory / Path(file).name, self.directory / OFFLINE_FOLDER / file)
        return next((path for path in places if path.exists()), places[0])

    def _signer(self, key: _KeyRecord) -> Signer:
        keyid = key.public.keyid
        if keyid not in self._signers:
            file = key.file or key.borrowed_file
            if not key.uri and not key.file and not self._path(file).exists():
                raise InvalidInput(
                    f"the holder of the key {keyid[:16]} has to sign: see `blocklist publish keys propose`, or put the "
                    f"private key here as {file}"
                )
            self._signers[keyid] = self._open_uri(key, key.uri) if key.uri else self._open_file(key, file)
        return self._signers[keyid]

    def _open_file(self, key: _KeyRecord, file: str) -> Signer:
        path = self._path(file)
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
            own = " Root and targets keys have a passphrase of their own here." if self._has_own(key) else ""
            raise InvalidInput(
                f"cannot open the key {path}: wrong passphrase, or the file is damaged. Give the key's passphrase, or "
                f"restore the file from your backup.{own}"
            ) from error

    def _has_own(self, key: _KeyRecord) -> bool:
        return self.is_apart and key.name in OFFLINE

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
        if len(passphrase) < PASSPHRASE_CHARS_MIN:
            raise InvalidInput(
                f"the passphrase for the key {label!r} is too short: give at least {PASSPHRASE_CHARS_MIN} characters"
            )
        return passphrase.encode()


def _write(directory: Path, records: Sequence[_KeyRecord]) -> None:
    document = {"format": _FORMAT, "keys": [record.to_json() for record in records]}
    write_file(directory / "keys.json", json.dumps(document, indent=1).encode(), PRIVATE)


def read_public_key(path: Path) -> SSlibKey:
    """The public key in a PEM file.

    Raises:
        InvalidInput: the file has none.
    """
    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except (ValueError, OSError) as error:
        raise InvalidInput(f"{path} is not a public key in PEM format: {error}") from error
