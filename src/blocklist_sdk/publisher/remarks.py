"""What a person should know about a release that is drafted, though it may be right. Pure."""

from collections.abc import Iterator

import numpy as np

from blocklist_sdk.publisher.next_release import ListRows
from blocklist_sdk.publisher.plans import Plan
from blocklist_sdk.publisher.scopes import scope_remark
from blocklist_sdk.release.layers import LayeredRows
from blocklist_sdk.release.windows import ended_by
from blocklist_sdk.texts import counted


def remarks(feed: str, plan: Plan, list_rows: ListRows, *, is_whole: bool, scope: str | None, now_ms: int) -> list[str]:
    """Entries that nobody finds: those that have ended, and those that lack the feed's scope.

    Args:
        feed: the feed's name.
        plan: the release.
        list_rows: the rows of the list.
        is_whole: whether the list is the whole one.
        scope: the feed's scope; None while it has none.
        now_ms: the moment of the release, milliseconds since 1970 UTC.
    """
    found = [*_about_ends(plan.after, list_rows, is_whole=is_whole, now_ms=now_ms)]
    about_scope = scope_remark(feed, lambda: plan.texts_after("scope"), scope=scope)
    return found if about_scope is None else [*found, about_scope]


def _about_ends(rows: LayeredRows, list_rows: ListRows, *, is_whole: bool, now_ms: int) -> Iterator[str]:
    if is_whole and list_rows.until is None:
        ended = ended_by(rows, now_ms)
        if ended:
            yield (
                f"{ended:,} of {counted(len(rows), 'entry', 'entries')} keep{'s' if ended == 1 else ''} an end in the "
                "past from the release before, since the list has no column until: nobody is blocked by "
                f"{'it' if ended == 1 else 'them'}. Give the ends in a column until; empty cells mean no end"
            )
    elif list_rows.until is not None:
        ended = int(np.count_nonzero(list_rows.until <= now_ms))
        if ended:
            yield (
                f"{ended:,} of {counted(len(list_rows), 'row')} of the list end{'s' if ended == 1 else ''} in the past:"
                f" nobody is blocked by {'it' if ended == 1 else 'them'}. Check the column until, and --date-format "
                "(date_format=)"
            )
