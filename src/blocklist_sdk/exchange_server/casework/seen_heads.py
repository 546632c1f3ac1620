"""Audit heads that recipients have exported, compared with the exchange's trail."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from blocklist_sdk.disk import storage
from blocklist_sdk.errors import InvalidInput, Malformed
from blocklist_sdk.exchange_server.casework.trail_book import EMPTY
from blocklist_sdk.exchange_server.store.tables import AuditRow
from blocklist_sdk.release.audit import SeenAuditHead, contradictions

_AT_ONCE: Final = 500
"""Lines that are looked up by one statement."""


def read_heads(file: Path) -> Iterator[SeenAuditHead]:
    """The heads that `blocklist verify --audit --export` wrote.

    Raises:
        InvalidInput: the file does not exist, or a line is no such head.
        StorageFailed: the file cannot be read.
    """
    if not file.exists():
        raise InvalidInput(f"{file} does not exist: give a file that `blocklist verify --audit --export` wrote")
    with storage(file), file.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            if not line.strip():
                continue
            try:
                yield SeenAuditHead.of_document(json.loads(line))
            except (Malformed, ValueError, RecursionError) as error:
                raise InvalidInput(
                    f"line {number} of {file} is no audit head: {error}. Give a file that `blocklist verify --audit "
                    "--export` wrote"
                ) from error


def unproved_heads(session: Session, heads: Iterable[SeenAuditHead]) -> Iterator[str]:
    """Name each head that the trail does not have, and each two that no trail can have.

    Args:
        session: one that reads.
        heads: what recipients have seen, of all feeds.
    """
    seen = list(heads)
    for start in range(0, len(seen), _AT_ONCE):
        some = seen[start : start + _AT_ONCE]
        hashes = _hashes(session, sorted({each.length for each in some}))
        for each in some:
            if hashes.get(each.length) != each.head:
                is_there = each.length in hashes
                yield (
                    f"release {each.release} of {each.feed} was signed with {each.length:,} lines in the audit trail, "
                    f"up to {each.head}, but "
                    + ("that line is another one here" if is_there else "the trail has fewer lines here")
                    + f"; it was seen at {each.seen_at:%Y-%m-%d %H:%M} UTC"
                )
    yield from contradictions(seen)


def _hashes(session: Session, lengths: Sequence[int]) -> dict[int, str]:
    found = session.execute(select(AuditRow.sequence, AuditRow.hash).where(AuditRow.sequence.in_(lengths)))
    return {EMPTY.length: EMPTY.head} | {row.sequence: row.hash for row in found}
