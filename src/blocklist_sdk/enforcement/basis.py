"""What the last run into a sink went by: filters, rules and release. Two files in the ledger.

::

    basis.json            when the run began, its release and filters, and the name of the file of rules
    rules-DIGEST.arrow    overrides and protected numbers, named by the SHA-256 of the file

Most runs have the rules of the run before, which may be a hundred thousand. So they are written only if they differ.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from blocklist_sdk.disk import storage, write_file, write_json
from blocklist_sdk.enforcement.ledger_documents import member, read_document
from blocklist_sdk.enforcement.ledger_files import moment_in, reading
from blocklist_sdk.recipient.rules import Rules
from blocklist_sdk.records import Override
from blocklist_sdk.release.release_id import BEFORE_ALL, FIRST_ERA, ReleaseId

_ADVICE: Final = (
    "what the sink holds counts as explained, so what the list, ends, protected numbers and what you allow do not lift "
    "waits if it is much, until it is accepted (--accept). The next run after which nothing waits writes it anew"
)
_FORMAT: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_PROTECTED: Final = "protected"
"""What stands for a decision where a row is a protected number."""

Named = tuple[int, int]
"""What an override names: the first and the last number."""


def named(override: Override) -> Named:
    """What an override names."""
    return override.number, override.number if override.last is None else override.last


@dataclass(frozen=True)
class KnownRules:
    """The rules that a run went by.

    Attributes:
        protected: the numbers that the recipient itself protects. Those of the authority are explained.
        overrides: the overrides, by what they name.
        missing: of those that are gone, and nobody removed: since when they may be.
    """

    protected: frozenset[int] = frozenset()
    overrides: Mapping[Named, Override] = field(default_factory=dict)
    missing: Mapping[Named, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: Rules) -> Self:
        """The rules that a run goes by now."""
        return cls(rules.own_protected, {named(override): override for override in rules.decisions()})

    @cached_property
    def file(self) -> tuple[str, bytes]:
        """The name and the bytes of a file that has them."""
        overrides = [override for _, override in sorted(self.overrides.items(), key=itemgetter(0))]
        protected = sorted(self.protected)
        more = len(protected)
        texts = {
            "decision": [override.decision for override in overrides] + [_PROTECTED] * more,
            "reason": [override.reason for override in overrides] + [""] * more,
            "author": [override.author for override in overrides] + [""] * more,
        }
        moments: dict[str, list[datetime | None]] = {
            "created": [override.created for override in overrides],
            "until": [override.until for override in overrides],
            "missing": [self.missing.get(named(override)) for override in overrides] if self.missing else [],
        }
        columns: dict[str, Any] = {
            "number": np.array([override.number for override in overrides] + protected, np.int64),
            "last": np.array([named(override)[1] for override in overrides] + protected, np.int64),
        }
        for name, text in texts.items():  # the same few texts again and again
            columns[name] = pa.array(text, pa.string()).dictionary_encode()
        for name, column in moments.items():
            microseconds = _microseconds(column)
            columns[name] = pa.array(microseconds + [None] * (len(overrides) + more - len(microseconds)), pa.int64())
        table = pa.table(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue().to_pybytes()
        return f"rules-{hashlib.sha256(data).hexdigest()}.arrow", data

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            Malformed: it is missing or damaged.
            StorageFailed: it cannot be read.
        """
        with reading(path, advice=_ADVICE):
            if not path.exists():
                raise ValueError("it is missing")
            with storage(path):
                data = path.read_bytes()
            if path.name != f"rules-{hashlib.sha256(data).hexdigest()}.arrow":
                raise ValueError("its checksum does not match")
            table = pa.ipc.open_file(data).read_all()
            numbers, lasts = (table.column(name).to_numpy().tolist() for name in ("number", "last"))
            decisions, reasons, authors = (_texts(table.column(name)) for name in ("decision", "reason", "author"))
            created, until, missing = (_moments(table.column(name)) for name in ("created", "until", "missing"))
            overrides: dict[Named, Override] = {}
            protected, gone = set[int](), dict[Named, datetime]()
            for at, (number, last, decision) in enumerate(zip(numbers, lasts, decisions, strict=True)):
                if decision == _PROTECTED:
                    protected.add(number)
                    continue
                begun, moment = created[at], missing[at]
                if begun is None:
                    raise ValueError("a moment is missing")
                one = None if last == number else last
                overrides[number, last] = Override(number, decision, reasons[at], authors[at], begun, until[at], one)
                if moment is not None:
                    gone[number, last] = moment
            return cls(frozenset(protected), overrides, gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the last run went by.

    Attributes:
        at: when that run began.
        release: the release that was in force, by era and serial.
        digest: its digest.
        scopes: the scopes that were enforced, as bits of `mask_of`.
        only_operator: the operator whose numbers were enforced; None for all numbers.
        rules: overrides and protected numbers.
        is_list_refused: whether another list came in the place of that release, and waits.
    """

    at: datetime
    release: ReleaseId
    digest: str
    scopes: int
    only_operator: str | None
    rules: KnownRules
    is_list_refused: bool = False

    @classmethod
    def load(cls, path: Path, *, likely: KnownRules) -> Self | None:
        """Read it; None if there is no such file.

        Args:
            path: ``basis.json``.
            likely: rules that need not be read if they are the ones.

        Raises:
            Malformed, InvalidInput, StorageFailed: as for `LedgerDocument.load`.
        """
        document = read_document(path, advice=_ADVICE)
        if document is None:
            return None
        with reading(path, advice=_ADVICE):
            operator, rules = document["only_operator"], member(document, "rules", str)
            era = member(document, "era", int) if "era" in document else FIRST_ERA
            if Path(rules).name != rules:
                raise ValueError("it names no file of rules")
            return cls(
                at=moment_in(document, "at"),
                release=ReleaseId(era, member(document, "serial", int)),
                digest=member(document, "digest", str),
                scopes=member(document, "scopes", int),
                only_operator=None if operator is None else member(document, "only_operator", str),
                rules=likely if rules == likely.file[0] else KnownRules.load(path.with_name(rules)),
                is_list_refused=document["is_list_refused"] is True,
            )

    def save(self, path: Path) -> None:
        """Write it, and the rules if they differ; errors of the disk are the caller's to translate."""
        name, data = self.rules.file
        if not path.with_name(name).exists():
            write_file(path.with_name(name), data)
        document = {
            "format": _FORMAT,
            "at": self.at.isoformat(),
            "serial": self.release.serial,
            "era": self.release.era,
            "digest": self.digest,
            "scopes": self.scopes,
            "only_operator": self.only_operator,
            "is_list_refused": self.is_list_refused,
            "rules": name,
        }
        write_json(path, document)
        _remove(file for file in path.parent.glob("rules-*.arrow") if file.name != name)


@dataclass(frozen=True, slots=True)
class LostBasis:
    """Stands for what the last run went by where that is lost.

    Attributes:
        message: what is wrong with the file, and what follows, for a person.
        release: the release of the last batch; one before all others if there is none.
    """

    message: str
    release: ReleaseId = BEFORE_ALL


def missing_message(path: Path) -> str:
    """What to say where the file is missing, though the ledger has batches."""
    return f"{path} is missing: {_ADVICE}"


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _microseconds(moments: Sequence[datetime | None]) -> list[int | None]:
    """Moments as microseconds since 1970; equal ones, as of one import, follow each other."""
    found: list[int | None] = []
    before: datetime | None = None
    value: int | None = None
    for moment in moments:
        if moment is not before:
            before, value = moment, None if moment is None else (moment - _EPOCH) // _MICROSECOND
        found.append(value)
    return found


def _moments(column: pa.ChunkedArray) -> list[datetime | None]:
    encoded = column.combine_chunks().dictionary_encode()
    known = [_EPOCH + timedelta(microseconds=value) for value in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(known)).to_numpy().tolist()
    return [known[place] if place < len(known) else None for place in places]


def _texts(column: pa.ChunkedArray) -> list[Any]:
    encoded = column.combine_chunks()
    known = encoded.dictionary.to_pylist()
    return [known[place] for place in encoded.indices.to_numpy().tolist()]
