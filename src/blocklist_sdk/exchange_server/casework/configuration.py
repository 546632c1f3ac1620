"""What an exchange is run with: its settings, rules and keys, as the audit trail has them."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from blocklist_sdk.exchange_server.casework.cases import SYSTEM
from blocklist_sdk.exchange_server.settings import ExchangeSettings
from blocklist_sdk.exchange_server.store.tables import ALARMING_ONLY, CONFIGURATION, AuditRow
from blocklist_sdk.exchange_server.store.trail import Act, record
from blocklist_sdk.publisher.publisher import Publisher

_DATABASE: Final = "database"


def configuration_of(settings: ExchangeSettings, routing: bytes, publisher: Publisher) -> dict[str, Any]:
    """The settings, the hash of the routing rules, and the IDs of the keys of each role. No password is in it.

    Args:
        settings: the settings in use.
        routing: the file with the rules.
        publisher: has the keys.
    """
    url = make_url(settings.database)
    place = f"{url.get_backend_name()}://{url.host or ''}/{url.database or ''}"
    return {
        "settings": settings.model_dump(mode="json", exclude={_DATABASE}) | {_DATABASE: place},
        "routing": hashlib.sha256(routing).hexdigest(),
        "keys": {
            role.role: {"threshold": role.threshold, "keys": sorted(key.keyid for key in role.keys)}
            for role in publisher.key_roles()
        },
    }


def note_configuration(session: Session, configuration: dict[str, Any]) -> None:
    """Add a line to the audit trail, unless the last one of its kind says the same."""
    if configuration != configuration_before(session):
        record(session, Act(SYSTEM, CONFIGURATION, configuration))


def configuration_before(session: Session, line: int | None = None) -> dict[str, Any] | None:
    """The configuration that the trail has before a line, or at its end; None if it has none."""
    lines = select(AuditRow.detail).where(ALARMING_ONLY, AuditRow.event == CONFIGURATION)
    if line is not None:
        lines = lines.where(AuditRow.sequence < line)
    found: dict[str, Any] | None = session.scalar(lines.order_by(AuditRow.sequence.desc()).limit(1))
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any], *, within: str = "") -> list[str]:
    """What is different in a later configuration, in words.

    >>> differences({"settings": {"two_person": True}}, {"settings": {"two_person": False}})
    ['settings.two_person was True and is False']
    """
    found: list[str] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, within=f"{within}{name}.")
        elif old != new:
            found.append(f"{within}{name} was {old} and is {new}")
    return found
