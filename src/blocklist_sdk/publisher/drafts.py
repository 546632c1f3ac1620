"""A release that is drafted from a list, and neither judged by the guard nor signed yet."""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from blocklist_sdk.errors import InvalidInput, Refused, mask
from blocklist_sdk.numbers import FormDecision
from blocklist_sdk.numbers.reference import NOT_FROM_ABROAD, TOO_SHORT
from blocklist_sdk.numbers.text import LOOKALIKES
from blocklist_sdk.publisher.amendments import Amended, with_added, without
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.limits import check_list, check_release, reject_never_in_force
from blocklist_sdk.publisher.list_options import Edit, ListCall
from blocklist_sdk.publisher.next_release import EntryDefaults, ListRows, NextRelease, distinct_rows, plan_release
from blocklist_sdk.publisher.results import ListedRange
from blocklist_sdk.publisher.rows import LEVELS, read_rows, reject_protected
from blocklist_sdk.publisher.scopes import choose_scope
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.publisher.wide import measure, refuse_too_wide
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, Int64s, Rows, Texts
from blocklist_sdk.tables.rejects import Reject
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

_SHOWN: Final = 3
"""How many lines a message names."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A release that is drafted.

    Attributes:
        before: the rows of the current release.
        following: the release.
        column: the list's name for the column with the numbers; None if the list has no header.
        form: the form in which digits without a plus were read.
        invalid: the rejects, by line.
        blank: number of empty lines in the list.
        widest: the pattern or range of the list that covers most, if it has one.
        list_rows: the rows of the list.
        feed_scope: the scope that the index carries as the feed's; None while the feed has none.
        already_listed, not_listed: as in `ReleaseResult`.
    """

    before: Rows
    following: NextRelease
    column: str | None
    form: FormDecision
    invalid: tuple[Reject, ...]
    blank: int
    widest: ListedRange | None
    list_rows: ListRows
    feed_scope: str | None
    already_listed: int = 0
    not_listed: int = 0


def draft_release(
    call: ListCall,
    signed_feed: SignedFeed,
    *,
    protected: Int64s,
    region: str | None,
    now_ms: int,
    declared_scope: str | None,
    keep_rejects: Callable[[Sequence[Reject]], Path | None],
) -> Draft:
    """Read a list, and draft the release that it makes of the current one.

    Args:
        call: the list, and how to read it.
        signed_feed: the feed.
        protected: the protected numbers, ascending.
        region: the region in which national numbers are read.
        now_ms: the moment of the release, milliseconds since 1970 UTC, whole seconds.
        declared_scope: the scope declared for the feed.
        keep_rejects: called with the rejects if there are too many; returns the file that lists them.

    Raises:
        Refused: too many rows are rejects, or a pattern or range covers too many numbers.
        InvalidInput: the list cannot be read, has no valid number, cannot be added or removed, or is beyond a limit of
            the protocol.
        Malformed, Untrusted: the current release was damaged.
    """
    cells = read_cells(call.source, column=call.column, options=call.options, notify=call.notify)
    chosen = choose_scope(
        signed_feed.name, given=call.scope, declared=declared_scope, is_in_list="scope" in cells.columns
    )
    if chosen.notice is not None and call.edit != "remove":
        (call.notify or log.warning)(chosen.notice)
    call = replace(call, defaults=replace(call.defaults, scope=chosen.entries))
    rows, rejects, form = read_rows(cells, region=region, form=call.form, defaults=call.defaults)
    check_list(rows)
    before = signed_feed.rows()
    if call.edit != "remove":
        rows, refused = reject_protected(rows, protected)
        rows, never = reject_never_in_force(rows, before, now_ms=now_ms)
        rejects = sorted([*rejects, *refused, *never], key=lambda reject: reject.line)
    if call.notify and form.is_doubtful:
        call.notify(f"check the form, since the numbers look otherwise: {form}")
    if not len(rows) and (rejects or not call.allow_empty):
        raise InvalidInput(_why_empty(rejects, call.edit))
    count = len(cells.line) + len(cells.rejects)
    _refuse_other_column(rejects, count=count)
    if len({reject.line for reject in rejects}) > call.max_rejects * count:
        path = keep_rejects(rejects)
        raise Refused(_why_refused(rejects, count=count, max_rejects=call.max_rejects, path=path))
    widest = None
    if call.edit != "remove":
        widths = measure(rows, line=cells.line, texts=cells.columns["number"], max_cover=call.max_cover)
        refuse_too_wide(widths, max_cover=call.max_cover)
        widest = widths.widest[0] if widths.widest else None
    amended = _amended(call, signed_feed, before, rows, protected=protected, now_ms=now_ms)
    check_release(amended.following.rows, rows)
    if amended.not_listed and call.notify is not None:
        lines = ", ".join(map(str, amended.not_listed[:_SHOWN]))
        more = ", …" if len(amended.not_listed) > _SHOWN else ""
        found = counted(len(amended.not_listed), "number")
        call.notify(
            f"{found} to remove {'is' if len(amended.not_listed) == 1 else 'are'} not listed: line {lines}{more}"
        )
    return Draft(
        before=before,
        following=amended.following,
        column=cells.column,
        form=form,
        invalid=tuple(rejects),
        blank=cells.blank,
        widest=widest,
        list_rows=rows,
        feed_scope=declared_scope if call.edit == "remove" else chosen.feed,
        already_listed=amended.already_listed,
        not_listed=len(amended.not_listed),
    )


def content_of(call: ListCall, list_rows: ListRows) -> str:
    """A hash of what a list asks for, whenever and in whatever order it does: SHA-256, hexadecimal."""
    rows = distinct_rows(list_rows)
    given = (call.edit, call.scope, _named(call.defaults), call.until_ms if call.edit == "add" else None, len(rows))
    sha = hashlib.sha256(json.dumps(given).encode())
    for name in ("number", "last", "entry", "since", "until", "level", "category", "issuer", "scope"):
        column: Int64s | Texts | None = getattr(rows, name)
        values = column.values if isinstance(column, Texts) else None
        sha.update(json.dumps([name, column is not None, values]).encode())
        if column is not None:
            sha.update(np.ascontiguousarray(column.codes if isinstance(column, Texts) else column).data)
    return sha.hexdigest()


def _named(defaults: EntryDefaults) -> dict[str, str]:
    """The defaults by name."""
    return {name: getattr(defaults, name) for name in ("level", "category", "issuer", "scope")}


def _amended(
    call: ListCall, signed_feed: SignedFeed, before: Rows, rows: ListRows, *, protected: Int64s, now_ms: int
) -> Amended:
    last_entry = signed_feed.index.last_entry if signed_feed.index else 0
    if call.edit == "replace":
        following = plan_release(before, rows, now_ms=now_ms, last_entry=last_entry, defaults=call.defaults)
        return Amended(following)
    kept = _without_protected(before, protected, call.notify)
    if call.edit == "remove":
        return without(kept, rows, last_entry=last_entry, issuer=call.defaults.issuer)
    if call.until_ms != FOREVER_MS:
        until = np.full(len(rows), FOREVER_MS, np.int64) if rows.until is None else rows.until
        rows = replace(rows, until=np.where(until == FOREVER_MS, call.until_ms, until))
    return with_added(kept, rows, now_ms=now_ms, last_entry=last_entry, defaults=call.defaults)


def _without_protected(rows: Rows, protected: Int64s, notify: Callable[[str], None] | None) -> Rows:
    """The current release without numbers that were protected after they were listed: no feed may list them."""
    covers = np.searchsorted(protected, rows.last, "right") > np.searchsorted(protected, rows.number, "left")
    if not covers.any():
        return rows
    if notify is not None:
        count = int(covers.sum())
        notify(f"{counted(count, 'entry', 'entries')} of the current list on protected numbers will be removed")
    return rows.take(~covers)


def _refuse_other_column(invalid: Sequence[Reject], *, count: int) -> None:
    """Refuse a list most of whose texts are dates, amounts or the like: another column has the numbers.

    Raises:
        InvalidInput: it is such a list.
    """
    reasons = Counter(reject.reason for reject in invalid if reject.reason in LOOKALIKES.values())
    if reasons.total() * 2 > count:
        raise InvalidInput(
            f"{reasons.total():,} of {count:,} texts in the list's column are not telephone numbers; the commonest "
            f"reason is: {reasons.most_common(1)[0][0]}. Nothing was published. Name the column with the numbers."
        )


def _why_empty(invalid: Sequence[Reject], edit: Edit) -> str:
    if not invalid and edit != "replace":
        return f"there are no numbers to {edit}, so nothing was published. Name some, or give a file with some."
    if not invalid:
        return "the list has no rows, so nothing was published. To lift every entry on purpose, allow an empty list."
    hints = Counter(_hint(reject.reason) for reject in invalid)
    return (
        f"0 of {len(invalid):,} rows in the list can be published; {_first_of(invalid)}. Nothing was published. "
        f"{hints.most_common(1)[0][0]}"
    )


def _hint(reason: str) -> str:
    """What to do if most rows are rejected for a reason; those of other columns than the number's begin with a name."""
    column = re.split("[ :]", reason)[0]
    if reason in (TOO_SHORT, NOT_FROM_ABROAD):
        return "Leave short codes such as 110 out, since no feed can list them. If they are none, check the column."
    if column in ("level", "scope"):
        known = " and ".join(LEVELS) if column == "level" else ", ".join(SCOPES)
        return f"Map the words of the column to {known}, as with --map {column}:WORD=VALUE (values=)."
    if re.match("(since|until)(:| must be a moment such)", reason):
        return "Name the form of the dates with --date-format (date_format=)."
    if column in ("entry", "category", "issuer", "since", "until"):
        return f"Check the column {column!r}."
    return "Check the column and the region."


def _why_refused(invalid: Sequence[Reject], *, count: int, max_rejects: float, path: Path | None) -> str:
    lines = len({reject.line for reject in invalid})
    listed = "" if path is None else f"{path} lists the rows. "
    return (
        f"{lines:,} of {count:,} rows in the list cannot be published, a share of more than {max_rejects:g}; "
        f"{_first_of(invalid)}. Nothing was published, since the entries of these rows would be lifted. {listed}"
        "Correct the list, or allow a larger share of rejects: --max-rejects (max_rejects=)."
    )


def _first_of(invalid: Sequence[Reject]) -> str:
    first = invalid[0]
    # A reason quotes the cell, which may be a number if the columns of the list are mixed up.
    reason = re.sub(r"\d{6,}", lambda digits: mask(digits[0]), first.reason)
    return f"the first is line {first.line}: {reason}"
