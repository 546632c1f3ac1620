"""What the audit trail's lines say of a listing, and whether a row to be signed is what they say. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from blocklist_sdk.exchange_server.casework.release_guard import Content
from blocklist_sdk.exchange_server.store.tables import ListingRow
from blocklist_sdk.exchange_server.store.trail_lines import TrailLine, canonical, commitment

ListingImage: TypeAlias = dict[str, Any]
"""A listing's columns as the lines have them: the number is a commitment, moments are texts; a missing one is null."""

LISTINGS: Final = ListingRow.__tablename__


def listing_changes(line: TrailLine) -> Iterable[tuple[int, str, Mapping[str, Any]]]:
    """The listings that a line changes: the ID, the operation, and the columns."""
    return ((key[0], operation, columns) for table, key, operation, columns in line.changes if table == LISTINGS)


def image_after(before: ListingImage | None, operation: str, columns: Mapping[str, Any]) -> ListingImage | None:
    """A listing's image after one change; None if the lines say nothing of it.

    A change of a listing that no line added adds none: the row may have been put into the database by another way, and
    one column that the exchange sets later would account for it.

    >>> image_after(None, "insert", {"level": "block"}), image_after(None, "update", {"entry": 7})
    ({'level': 'block'}, None)
    """
    if operation == "insert":
        return dict(columns)
    if before is None or operation == "delete":
        return None
    return {**before, **columns}


def is_lifted(image: ListingImage) -> bool:
    """Whether a release has lifted it, after which none shows it again."""
    return image.get("lifted_at") is not None


def is_retracted(image: ListingImage) -> bool:
    """Whether it was retracted, or has ended."""
    return image.get("retracted_at") is not None


def agrees(image: ListingImage, row: ListingRow) -> bool:
    """Whether a row of the database is the listing that the lines say, in all that a release shows of it."""
    # Written out, since it is asked of every listing in force at every release.
    said = image.get
    return (
        said("retracted_at") is None
        and said("feed") == row.feed
        and said("case_id") == row.case_id
        and said("entry") == row.entry
        and said("level") == row.level
        and said("category") == row.category
        and said("scope") == row.scope
        and said("since") == canonical(row.since)
        and said("until") == canonical(row.until)
        and said("number") == commitment(row.salt, "number", row.number)
    )


def is_no_more_than(shown: Content, allowed: Content) -> bool:
    """Whether a row blocks nothing that another one does not: the same, weaker, or an advisory in its place.

    So does what is published while the guard holds back its gain (`NextEntry.without_gain`).
    """
    if shown in (allowed, allowed._replace(level="advisory")):
        return True
    is_within = shown.since >= allowed.since and (
        allowed.until is None or (shown.until is not None and shown.until <= allowed.until)
    )
    return (
        shown.level == allowed.level
        and shown.category == allowed.category
        and {*shown.scope.split("+")} <= {*allowed.scope.split("+")}
        and is_within
    )
