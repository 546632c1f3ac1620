"""What a caller says about a list to publish: how it is read, and what its entries get where it says nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import pyarrow as pa

from blocklist_sdk import times
from blocklist_sdk.errors import InvalidInput
from blocklist_sdk.numbers import Form
from blocklist_sdk.numbers.reach import MAX_COVER
from blocklist_sdk.publisher.amendments import ANY_ISSUER
from blocklist_sdk.publisher.arguments import check_count, check_moment, check_share, check_text
from blocklist_sdk.publisher.next_release import EntryDefaults
from blocklist_sdk.publisher.rows import read_level
from blocklist_sdk.publisher.scopes import DEFAULT_SCOPE, declared_scope
from blocklist_sdk.release.rows import FOREVER_MS
from blocklist_sdk.tables.options import PLAIN, TableOptions

MAX_REJECTS: Final = 0.1
"""Real lists have about 1 % of rejects: three daily lists of complaints of the US FTC have 0.99, 1.00 and 0.99 %. The
wrong column, or numbers in another format, make rejects of all rows."""

Edit = Literal["replace", "add", "remove"]
"""What a list does to the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What a caller gives beside a list, as it was given; `Publisher.release` and `Publisher.add` describe each.

    Attributes:
        issuer: None for the authority, or in a list of what to remove for the only issuer.
        max_rejects: counts for a whole list only: whoever adds or removes a part lifts nothing by a reject.
    """

    column: str | None = None
    region: str | None = None
    form: Form = "auto"
    issuer: str | None = None
    level: str = "block"
    category: str = "fraud"
    scope: str | Iterable[str] | None = None
    until: datetime | None = None
    allow_empty: bool = False
    max_rejects: float = MAX_REJECTS
    max_cover: int = MAX_COVER
    options: TableOptions = PLAIN
    notify: Callable[[str], None] | None = None

    def call(self, source: Any, edit: Edit, *, now: datetime) -> "ListCall":
        """Check what was given.

        Args:
            source: the list.
            edit: what it does to the current one.
            now: this moment, UTC.

        Raises:
            InvalidInput: a value cannot be used.
        """
        nobody_named = ANY_ISSUER if edit == "remove" else "authority"
        return ListCall(
            source=table_of(source),
            edit=edit,
            column=self.column,
            region=self.region,
            form=self.form,
            defaults=EntryDefaults(
                level=read_level(check_text("level", self.level)),
                category=check_text("category", self.category),
                issuer=nobody_named if self.issuer is None else check_text("issuer", self.issuer),
                scope=DEFAULT_SCOPE,
            ),
            scope=None if self.scope is None else declared_scope(self.scope),
            allow_empty=self.allow_empty,
            max_rejects=check_share("max_rejects", self.max_rejects) if edit == "replace" else 1.0,
            max_cover=check_count("max_cover", self.max_cover),
            options=self.options,
            notify=self.notify,
            until_ms=_end(self.until, now),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCall:
    """What a caller wants to publish; the values are checked. `Publisher.release` describes them.

    Attributes:
        edit: what the list does to the current one.
        scope: the scope of new entries for which the list gives none; None for the feed's.
        until_ms: when entries end for which the list gives no end; `FOREVER_MS` if they do not.
    """

    source: Any
    edit: Edit
    column: str | None
    region: str | None
    form: Form
    defaults: EntryDefaults
    options: TableOptions
    notify: Callable[[str], None] | None
    max_cover: int
    max_rejects: float = 1.0
    allow_empty: bool = False
    scope: str | None = None
    until_ms: int = FOREVER_MS


def table_of(source: Any) -> Any:
    """Numbers given as texts, as a table; any other list as it is."""
    if isinstance(source, (list, tuple)) and all(isinstance(each, str) for each in source):
        return pa.table({"number": pa.array(source, pa.string())})
    return source


def _end(until: datetime | None, now: datetime) -> int:
    until = check_moment("until", until)
    if until is None:
        return FOREVER_MS
    if until <= now:
        raise InvalidInput(f"until is {until.isoformat()}, which is in the past: give a later moment")
    return times.to_ms(until.replace(microsecond=0))
