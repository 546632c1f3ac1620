"""All checks, one after the other; a check that fails stops no other."""

from collections.abc import Callable, Iterator
from typing import Final

from blocklist_sdk.doctor import disk_checks, list_checks, network_checks, settings_checks, version_checks
from blocklist_sdk.doctor.findings import Finding, fail
from blocklist_sdk.doctor.patient import Patient
from blocklist_sdk.errors import BlocklistError, unexpected

CHECKS: Final[tuple[Callable[[Patient], Iterator[Finding]], ...]] = (
    version_checks.versions,
    settings_checks.settings_found,
    settings_checks.permissions,
    settings_checks.group,
    settings_checks.root,
    settings_checks.account,
    settings_checks.own_protected,
    disk_checks.disk,
    disk_checks.lock,
    network_checks.address,
    network_checks.proxy,
    network_checks.certificates,
    network_checks.connection,
    network_checks.repository,
    list_checks.freshness,
    list_checks.overrides,
    list_checks.ledgers,
    list_checks.sinks,
)
"""In the order in which a person would look: what comes later needs what comes before."""


def examine(patient: Patient) -> Iterator[Finding]:
    """Run all checks; yields each finding as it is made."""
    for check in CHECKS:
        try:
            yield from check(patient)
        except BlocklistError as error:
            yield fail(check.__name__.replace("_", " "), error, "correct what the message names, then run this again")
        except Exception as error:  # noqa: BLE001 -- the other checks may say why
            yield fail(check.__name__.replace("_", " "), unexpected(error), "report it, with BLOCKLIST_DEBUG=1")
