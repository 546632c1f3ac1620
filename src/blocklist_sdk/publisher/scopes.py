"""A feed's scope: where its new entries apply if the list does not say. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from blocklist_sdk.publisher.arguments import check_list, check_scope
from blocklist_sdk.publisher.rows import read_scope
from blocklist_sdk.release.names import feed_name
from blocklist_sdk.texts import counted

DEFAULT_SCOPE: Final = "sms+voice"
"""The scope of a feed that has none declared."""

_MESSAGING: Final = "messaging"

_MESSAGING_PARTS: Final = ("messaging", "messenger", "chat", "whatsapp", "telegram", "viber", "wechat")
_MESSAGING_WORDS: Final = frozenset({"im", "ott"})
"""Such a part or word in a feed's name says that the feed is for messaging providers."""


_ABOUT_THE_COLUMN: Final = (
    "the list has a column scope, which goes before --scope (scope=): it counts only where a cell is empty. To give "
    "entries another scope, change the column in the list"
)


@dataclass(frozen=True, slots=True)
class ChosenScope:
    """The scopes of one release.

    Attributes:
        entries: the scope of new entries for which the list gives none.
        feed: the scope that the index carries as the feed's; None while the feed has none.
        notice: what the publisher should know; None if there is nothing.
    """

    entries: str
    feed: str | None
    notice: str | None = None


def feed_scopes(feeds: Collection[str] | Mapping[str, str | Iterable[str] | None]) -> dict[str, str | None]:
    """The feeds' names, sorted, each with its scope as in a release, or None.

    Raises:
        InvalidInput: `feeds` is not a list or a mapping, or a name or a scope is invalid.

    >>> feed_scopes({"id-messaging": "messaging", "id-all": None})
    {'id-all': None, 'id-messaging': 'messaging'}
    """
    if not isinstance(feeds, Mapping):
        return dict.fromkeys(sorted({feed_name(feed) for feed in check_list("feeds", feeds)}))
    scopes = {feed_name(feed): None if scope is None else declared_scope(scope) for feed, scope in feeds.items()}
    return dict(sorted(scopes.items()))


def declared_scope(scope: str | Iterable[str]) -> str:
    """A scope as in a release.

    Raises:
        InvalidInput: a part of it is not a scope.
    """
    return read_scope(check_scope(scope))


def choose_scope(feed: str, *, given: str | None, declared: str | None, is_in_list: bool) -> ChosenScope:
    """Choose the scope of a release's new entries: as given for the release, or else the feed's.

    A feed without a scope gets the default with the first release that relies on it. So a notice comes once.

    Args:
        feed: the feed's name.
        given: the scope given for this release.
        declared: the scope declared for the feed.
        is_in_list: whether the list gives the scope of each of its rows.
    """
    if given is not None:
        return ChosenScope(given, declared, _ABOUT_THE_COLUMN if is_in_list else None)
    if declared is not None:
        return ChosenScope(declared, declared)
    if is_in_list:
        return ChosenScope(DEFAULT_SCOPE, None)
    notice = _about_messaging(feed) if is_for_messaging(feed) else None
    return ChosenScope(DEFAULT_SCOPE, DEFAULT_SCOPE, notice)


def scope_remark(feed: str, entries: Callable[[], Mapping[str, int]], *, scope: str | None) -> str | None:
    """Say how many entries those do not find whom the feed is for.

    They have no part of the feed's scope; or they lack a part that most of the list lacks. On a feed without a scope
    whose name says that it is for messaging, ``messaging`` is meant.

    Args:
        feed: the feed's name.
        entries: counts its entries by their scopes; called where somebody may not find them.
        scope: the feed's scope; None while it has none.

    >>> scope_remark("id-ott", lambda: {"sms+voice": 3}, scope="messaging").split(":")[0]
    "3 of 3 entries of feed 'id-ott' lack its scope messaging"
    """
    if scope is None and not is_for_messaging(feed):
        return None
    wanted = frozenset((scope or _MESSAGING).split("+"))
    count = [(frozenset(value.split("+")), n) for value, n in entries().items()]
    whole = sum(n for _, n in count)

    def lacking(parts: frozenset[str]) -> int:
        """How many entries have none of the parts."""
        return sum(n for own, n in count if parts.isdisjoint(own))

    lost, what = lacking(wanted), "+".join(sorted(wanted))
    for part in sorted(wanted):
        if (without := lacking(frozenset({part}))) > max(whole / 2, lost):
            lost, what = without, part
    if not lost:
        return None
    first = f"{lost:,} of {counted(whole, 'entry', 'entries')} of feed {feed!r} lack{'s' if lost == 1 else ''}"
    asks = f"a recipient that asks for {what} does not find {'it' if lost == 1 else 'them'}"
    if scope is None:
        return (
            f"{first} the scope {what}, which the feed's name speaks of: {asks}. If the feed is for messaging, set its "
            f"scope with `blocklist publish set-scope DIR --feed {feed} --scope messaging`, and give the scope of "
            "these entries in a column of the list"
        )
    return f"{first} its scope {what}: {asks}. To give it to them, publish the whole list once with a column scope"


def is_for_messaging(feed: str) -> bool:
    """Whether a feed's name says that it is for messaging providers.

    >>> [is_for_messaging(feed) for feed in ("id-messaging", "id-ott", "id-telkomsel", "id-scotty")]
    [True, True, False, False]
    """
    return any(part in feed for part in _MESSAGING_PARTS) or not _MESSAGING_WORDS.isdisjoint(feed.split("-"))


def _about_messaging(feed: str) -> str:
    return (
        f"new entries of feed {feed!r} get the scope {DEFAULT_SCOPE}, since the feed has no scope of its own. A "
        "recipient that asks for messaging finds none of them. If the feed is for messaging, set its scope with "
        f"`blocklist publish set-scope DIR --feed {feed} --scope messaging`, and give the scope of these entries in a "
        "column of the list"
    )
