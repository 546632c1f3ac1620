"""The JSON documents of a ledger, checked when they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from blocklist_sdk.disk import read_json, write_json
from blocklist_sdk.enforcement.ledger_files import REPAIR_ADVICE, moment_in, reading
from blocklist_sdk.errors import Malformed

T = TypeVar("T")

_FORMAT: Final = 1

_TRIES_ADVICE: Final = "remove this file; failures are then counted from 0"
_RECEIPTS_ADVICE: Final = "remove this file, and the receipts are sent again; the exchange counts each of them once"


@dataclass(frozen=True, slots=True)
class LedgerDocument:
    """What ``ledger.json`` says.

    Attributes:
        id: the ledger's id, unlike any other's.
        feed: the feed whose changes are enforced.
        base: the file of the base; None before the first.
        folded: the number of the last record in the base.
        last: the number of a record that was written. Records up to it must not be missing; a later one may exist, if
            a run was killed in between. 0 in ledgers of an earlier version that did not keep it.
        sink: the address of the sink to which the ledger belongs; None if it is not known.
        mark: the sink's own mark; None if it has none.
        cursor: the number of a batch that the sink said it had applied, so it must never say less; None if it is not
            known. 0 if the sink said nothing yet.
        roots: the digest of the roots of the list that is enforced, so that their keys need not be read again; None if
            it is not known.
        root_keys: the ids of the keys of these roots: the list's identity, whatever its URL.
        patches: files with what records after the base changed, oldest first, so that these need not be read one by
            one. The records say the same, so an earlier version that leaves them out loses nothing.
    """

    id: str
    feed: str
    base: str | None = None
    folded: int = 0
    last: int = 0
    sink: str | None = None
    mark: str | None = None
    cursor: int | None = None
    roots: str | None = None
    root_keys: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read it; None if it does not exist.

        Raises:
            Malformed: it is damaged.
            InvalidInput: it was written by a newer version of this library.
            StorageFailed: it cannot be read.
        """
        document = read_document(path)
        if document is None:
            return None
        with reading(path):
            found = cls(
                id=member(document, "id", str),
                feed=member(document, "feed", str),
                base=None if document["base"] is None else member(document, "base", str),
                folded=member(document, "folded", int),
                last=member({"last": 0} | document, "last", int),
                sink=None if document.get("sink") is None else member(document, "sink", str),
                mark=None if document.get("mark") is None else member(document, "mark", str),
                cursor=None if document.get("cursor") is None else member(document, "cursor", int),
                roots=None if document.get("roots") is None else member(document, "roots", str),
                root_keys=tuple(str(key) for key in document.get("root_keys") or ()),
                patches=tuple(str(name) for name in document.get("patches") or ()),
            )
            if min(found.folded, found.last, found.cursor or 0) < 0 or (found.base is None and found.folded):
                raise ValueError("its numbers contradict each other")
            return found

    def save(self, path: Path) -> None:
        """Write it; errors of the disk are the caller's to translate."""
        write_json(path, {"format": _FORMAT, **asdict(self)})


def load_tries(path: Path) -> dict[str, int]:
    """How often each change has failed, by its key.

    Raises:
        Malformed, InvalidInput, StorageFailed: as for `LedgerDocument.load`.
    """
    document = read_document(path, advice=_TRIES_ADVICE)
    if document is None:
        return {}
    with reading(path, advice=_TRIES_ADVICE):
        tries = member(document, "tries", dict)
        return {key: member(tries, key, int) for key in tries}


def save_tries(path: Path, tries: Mapping[str, int]) -> None:
    """Write down how often each change has failed."""
    write_json(path, {"format": _FORMAT, "tries": dict(tries)})


def load_waiting(path: Path) -> str | None:
    """The digest of what waited at the last run; None if nothing did.

    A file that is damaged counts as none: nothing is then accepted, and the next run that waits writes it anew.

    Raises:
        InvalidInput, StorageFailed: as for `LedgerDocument.load`.
    """
    try:
        document = read_document(path)
    except Malformed:
        return None
    digest = None if document is None else document.get("digest")
    return digest if isinstance(digest, str) else None


def save_waiting(path: Path, digest: str | None) -> None:
    """Write down what waits; None if nothing does."""
    if digest is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, {"format": _FORMAT, "digest": digest})


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What is written down about the receipts of a record once the exchange has answered for each of them.

    Attributes:
        at: when the exchange had answered.
        refused: the receipts that it refused, each with ``entry``, ``outcome`` and ``reason``.
    """

    at: datetime
    refused: Sequence[Mapping[str, Any]]

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read it; None if the exchange has not answered for each receipt.

        Raises:
            Malformed, InvalidInput, StorageFailed: as for `LedgerDocument.load`.
        """
        document = read_document(path, advice=_RECEIPTS_ADVICE)
        if document is None:
            return None
        with reading(path, advice=_RECEIPTS_ADVICE):
            return cls(moment_in(document, "at"), refusals_in(document))

    def save(self, path: Path) -> None:
        """Write it; errors of the disk are the caller's to translate."""
        write_json(path, {"format": _FORMAT, "at": self.at.isoformat(), "refused": list(self.refused)})


def refusals_in(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The refused receipts in a document, each with ``entry``, ``outcome`` and ``reason``.

    One that only counts more of them has neither entry nor outcome.

    Raises:
        KeyError, TypeError: a member is missing, or of another kind.
    """
    refused = member(document, "refused", list)
    for each in refused:
        member(each, "reason", str)
        if each["entry"] is not None:
            member(each, "entry", int)
            member(each, "outcome", str)
    return refused


def read_document(path: Path, *, advice: str = REPAIR_ADVICE) -> dict[str, Any] | None:
    """Read a document of a ledger, whose members are still to be checked; None if it does not exist.

    Raises:
        Malformed, InvalidInput, StorageFailed: as for `LedgerDocument.load`.
    """
    try:
        return read_json(path, format_version=_FORMAT)
    except Malformed as error:
        raise Malformed(f"{error}: {advice}") from error


def member(document: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A member of a document.

    Raises:
        KeyError: it is missing.
        TypeError: it is of another kind.
    """
    value = document[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is of the wrong kind")
    return value
