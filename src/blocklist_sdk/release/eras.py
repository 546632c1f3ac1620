"""Eras: since when the present keys of a feed sign it, so that serials may begin anew after a theft.

``docs/reference/protocol.md`` has the rules under "Eras".
"""

from typing import Final

from tuf.api.metadata import DelegatedRole, Targets

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.release_id import FIRST_ERA

ERA_FIELD: Final = "era"
"""The field of a feed's delegation, which the targets role signs with it."""


def era_of(targets: Targets, feed: str) -> int:
    """The era of a feed: the version of the targets role with which the feed's present keys became its only ones.

    Args:
        targets: the signed part of the verified targets role.
        feed: the feed's name.

    Raises:
        Malformed: the targets role delegates no such feed, or the era is not a version that the role can have had.

    Example:
        >>> from tuf.api.metadata import Delegations
        >>> roles = {"id-all": DelegatedRole("id-all", [], 1, True, paths=["id-all/*"])}
        >>> targets = Targets(version=7, delegations=Delegations({}, roles))
        >>> era_of(targets, "id-all")
        1
        >>> begin_era(targets, "id-all")
        >>> era_of(targets, "id-all")
        7
    """
    era = _delegation(targets, feed).unrecognized_fields.get(ERA_FIELD, FIRST_ERA)
    # In Python True is an integer, too.
    if not isinstance(era, int) or isinstance(era, bool) or not FIRST_ERA <= era <= targets.version:
        raise Malformed(
            f"the era of feed {feed!r} must be an integer from 1 to {targets.version}, the version of the targets role "
            "that signs it: tell the publisher"
        )
    return era


def begin_era(targets: Targets, feed: str) -> None:
    """Write into a version of the targets role that is not signed yet that a new era of a feed begins with it.

    Raises:
        Malformed: the targets role delegates no such feed.
    """
    _delegation(targets, feed).unrecognized_fields[ERA_FIELD] = targets.version


def _delegation(targets: Targets, feed: str) -> DelegatedRole:
    delegations = targets.delegations
    found = (delegations.roles or {}).get(feed) if delegations else None
    if found is None:
        raise Malformed(f"the targets role delegates no feed {feed!r}")
    return found
