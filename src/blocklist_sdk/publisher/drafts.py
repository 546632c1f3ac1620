"""A release that is drafted from a list, and neither judged by the guard nor signed yet."""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput, Refused, mask
from blocklist_sdk.numbers import FormDecision
from blocklist_sdk.numbers.reference import NOT_FROM_ABROAD, TOO_SHORT
from blocklist_sdk.numbers.text import LOOKALIKES
from blocklist_sdk.publisher.cells import read_cells
from blocklist_sdk.publisher.limits import check_list, check_rows, check_texts, reject_never_in_force
from blocklist_sdk.publisher.list_options import Edit, ListCall
from blocklist_sdk.publisher.next_release import NO_ENTRY, NOT_GIVEN_MS, ListRows, in_order
from blocklist_sdk.publisher.plans import Plan, plan_added, plan_removed, plan_whole
from blocklist_sdk.publisher.protected_rows import cut_list
from blocklist_sdk.publisher.remarks import remarks
from blocklist_sdk.publisher.results import ListedRange
from blocklist_sdk.publisher.rows import LEVELS, WrittenRanges, has_no_gaps, read_rows
from blocklist_sdk.publisher.scopes import choose_scope
from blocklist_sdk.publisher.signed_feed import SignedFeed
from blocklist_sdk.publisher.wide import measure, refuse_too_wide
from blocklist_sdk.publisher.working_copy import PublishedList
from blocklist_sdk.records import SCOPES
from blocklist_sdk.release.rows import FOREVER_MS, TEXT_COLUMNS, Int64s, Rows
from blocklist_sdk.tables.rejects import Reject
from blocklist_sdk.texts import counted

log: logging.Logger = logging.getLogger(__name__)

_SHOWN: Final = 3
"""How many lines a message names."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A release that is drafted.

    Attributes:
        plan: the release, and what it changes of the current one.
        current: the current list, on which it was planned.
        has_snapshot: whether the release gets a snapshot of its own.
        column: the list's name for the column with the numbers; None if the list has no header.
        form: the form in which digits without a plus were read.
        invalid: the rejects, by line.
        blank: number of empty lines in the list.
        widest: the pattern or range of the list that covers most, if it has one.
        last_entry: the highest entry id given out before.
        now_ms: the moment at which new entries begin, milliseconds since 1970 UTC.
        feed_scope: the scope that the index carries as the feed's; None while the feed has none.
    """

    plan: Plan
    current: PublishedList
    has_snapshot: bool
    column: str | None
    form: FormDecision
    invalid: tuple[Reject, ...]
    blank: int
    widest: ListedRange | None
    last_entry: int
    now_ms: int
    feed_scope: str | None


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
        now_ms: the moment at which new entries begin, milliseconds since 1970 UTC, whole seconds.
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
        signed_feed.name,
        given=call.scope,
        declared=declared_scope,
        is_in_list=has_no_gaps(cells.columns.get("scope")),
    )
    if chosen.notice is not None and call.edit != "remove":
        (call.notify or log.warning)(chosen.notice)
    call = replace(call, defaults=replace(call.defaults, scope=chosen.entries))
    count, column, blank = len(cells.line) + len(cells.rejects), cells.column, cells.blank
    ranges = WrittenRanges()
    rows, rejects, form = read_rows(cells, region=region, form=call.form, defaults=call.defaults, ranges=ranges)
    del cells
    pa.default_memory_pool().release_unused()
    unreadable = rejects
    check_list(rows)
    # A whole list is compared with all rows; one to add or to remove with those of its numbers.
    current = signed_feed.verified(signed_feed.current(), None if call.edit == "replace" else rows.number)
    if call.edit != "remove":
        rows, refused, cut = cut_list(rows, protected)
        rows, never = reject_never_in_force(rows, current.layers, now_ms=now_ms)
        rejects = sorted([*rejects, *refused, *never], key=lambda reject: reject.line)
        unreadable = sorted([*unreadable, *never], key=lambda reject: reject.line)
        if cut:
            _say(call, f"{counted(cut, 'range')} of the list cut around protected numbers")
    if call.notify and form.is_doubtful:
        call.notify(f"check the form, since the numbers look otherwise: {form}")
    if not len(rows) and (rejects or call.edit != "replace" or not call.allow_empty):
        raise InvalidInput(_why_empty(rejects, call.edit))
    _refuse_other_column(unreadable, count=count)
    # A row on a protected number is left out on purpose.
    if len({reject.line for reject in unreadable}) > call.max_rejects * count:
        path = keep_rejects(rejects)
        raise Refused(_why_refused(unreadable, count=count, max_rejects=call.max_rejects, path=path))
    widest = None
    if call.edit != "remove":
        widths = measure(rows, text=ranges.text, max_cover=call.max_cover)
        refuse_too_wide(widths, max_cover=call.max_cover)
        widest = widths.widest[0] if widths.widest else None
    # A long list is kept once, in the order in which it is planned.
    rows = in_order(rows)
    last_entry = signed_feed.last_entry
    planned = partial(
        _planned,
        call,
        rows,
        protected=protected,
        last_entry=last_entry,
        published_entry=signed_feed.index.last_entry if signed_feed.index else 0,
        now_ms=now_ms,
        published_ms=times.to_ms(signed_feed.index.published_at) if signed_feed.index else 0,
    )
    plan = planned(current)
    has_snapshot = signed_feed.needs_snapshot(plan)
    if call.edit != "replace" and (plan.concerned or has_snapshot):
        # More rows count than those of the list's numbers.
        whole = signed_feed.verified(current)
        plan, current = (plan, current) if whole is current else (planned(whole), whole)
    _say_protected(call, plan.concerned)
    if call.edit == "replace":
        _say_renumbered(call, plan, last_entry)
    if call.edit != "remove":
        for remark in remarks(
            signed_feed.name, plan, rows, is_whole=call.edit == "replace", scope=chosen.feed, now_ms=now_ms
        ):
            _say(call, remark)
    check_rows(len(plan.after))
    for name in TEXT_COLUMNS:
        check_texts(name, plan.distinct_texts(name))
    if plan.not_listed and call.notify is not None:
        lines = ", ".join(map(str, plan.not_listed[:_SHOWN]))
        more = ", …" if len(plan.not_listed) > _SHOWN else ""
        found = counted(len(plan.not_listed), "number")
        call.notify(f"{found} to remove {'is' if len(plan.not_listed) == 1 else 'are'} not listed: line {lines}{more}")
    return Draft(
        plan=plan,
        current=current,
        has_snapshot=has_snapshot,
        column=column,
        form=form,
        invalid=tuple(rejects),
        blank=blank,
        widest=widest,
        last_entry=last_entry,
        now_ms=now_ms,
        feed_scope=declared_scope if call.edit == "remove" else chosen.feed,
    )


def content_of(draft: Draft) -> str:
    """A hash of what a draft changes of the current release: SHA-256, hexadecimal.

    It is the same whenever the draft is made and in whatever order the list is, so new ids and the moment at which new
    entries begin are left out.
    """
    changes = draft.plan.changes
    sha = hashlib.sha256()
    _hash(sha, np.sort(changes.removed.entry))
    for part in (changes.added, changes.changed_new):
        _hash(sha, part.number, part.last, part.until)
        _hash(sha, np.where(part.since == draft.now_ms, NOT_GIVEN_MS, part.since))
        _hash(sha, np.where(part.entry > draft.last_entry, NO_ENTRY, part.entry))
        for texts in (part.level, part.category, part.issuer, part.scope):
            sha.update(json.dumps(texts.values).encode())
            _hash(sha, texts.codes.astype(np.int64))
    return sha.hexdigest()


def _hash(sha: "hashlib._Hash", *columns: Int64s) -> None:
    for column in columns:
        sha.update(len(column).to_bytes(8, "big"))
        sha.update(np.ascontiguousarray(column).data)


def _planned(
    call: ListCall,
    rows: ListRows,
    current: PublishedList,
    *,
    protected: Int64s,
    last_entry: int,
    published_entry: int,
    now_ms: int,
    published_ms: int,
) -> Plan:
    """What the list makes of the current release."""
    before = current.layers
    if call.edit == "remove":
        plan = plan_removed(
            before,
            rows,
            protected=protected,
            now_ms=now_ms,
            last_entry=last_entry,
            issuer=call.defaults.issuer,
            allow_empty=call.allow_empty,
        )
    elif call.edit == "replace":
        plan = plan_whole(
            before,
            rows,
            protected=protected,
            now_ms=now_ms,
            last_entry=last_entry,
            defaults=call.defaults,
            published_entry=published_entry,
        )
    else:
        if call.until_ms != FOREVER_MS:
            until = np.full(len(rows), FOREVER_MS, np.int64) if rows.until is None else rows.until
            rows = replace(rows, until=np.where(until == FOREVER_MS, call.until_ms, until))
        plan = plan_added(
            before,
            rows,
            protected=protected,
            now_ms=now_ms,
            last_entry=last_entry,
            defaults=call.defaults,
            published_ms=published_ms,
            published_entry=published_entry,
        )
    return replace(plan, texts_before=None if current.tree is None else current.tree.texts)


def _say_protected(call: ListCall, count: int) -> None:
    """Say how many entries of the current list are on numbers that were protected since."""
    if count:
        _say(
            call,
            f"{counted(count, 'entry', 'entries')} of the current list on numbers that are protected now: a single "
            "number will be removed, and a range cut around it",
        )


def _say_renumbered(call: ListCall, plan: Plan, last_entry: int) -> None:
    """Say how many new entries stand in the place of one of another issuer, number for number."""
    count = _renumbered(plan.lawful_old, plan.new, last_entry)
    if count:
        _say(
            call,
            f"{counted(count, 'entry', 'entries')} with a new id, because the list names another issuer for the "
            "number than the current release: recipients see one entry end and another begin. If that is not meant, "
            "name the same issuer: --issuer (issuer=), or the list's column",
        )


def _renumbered(before: Rows, after: Rows, last_entry: int) -> int:
    """How many new entries stand in the place of one of another issuer, number for number."""
    new = np.flatnonzero(after.entry > last_entry) if len(before) else np.empty(0, np.intp)
    place = np.searchsorted(before.number, after.number[new])
    inside = place < len(before)
    new, place = new[inside], place[inside]
    is_same = (before.number[place] == after.number[new]) & (before.last[place] == after.last[new])
    new, place = new[is_same], place[is_same]
    if not len(new):
        return 0
    old = {value: i for i, value in enumerate(before.issuer.values)}
    codes = np.array([old.get(value, -1) for value in after.issuer.values], np.int64)[after.issuer.codes[new]]
    is_other = codes != before.issuer.codes[place]
    return int(np.count_nonzero(is_other & ~np.isin(before.entry[place], after.entry)))


def _say(call: ListCall, text: str) -> None:
    """Tell the caller what happens besides what was asked for."""
    (call.notify or log.warning)(text)


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
