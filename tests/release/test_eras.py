"""Eras: what a feed's delegation says about since when its keys sign it."""

from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.eras import ERA_FIELD, begin_era, era_of


def _targets(*, version: int = 7, **fields: Any) -> Targets:
    role = DelegatedRole("id-all", [], 1, True, paths=["id-all/*"], unrecognized_fields=fields)
    return Targets(version=version, delegations=Delegations({}, {"id-all": role}))


def _read_again(targets: Targets) -> Targets:
    return Metadata[Targets].from_bytes(Metadata(targets).to_bytes()).signed


def test_a_delegation_that_names_no_era_is_of_the_first() -> None:
    assert era_of(_targets(), "id-all") == 1


def test_an_era_is_signed_with_the_delegation_and_stays_in_later_versions() -> None:
    targets = _targets()
    begin_era(targets, "id-all")
    targets = _read_again(targets)
    targets.version = 9
    assert era_of(_read_again(targets), "id-all") == 7


@pytest.mark.parametrize("era", [0, -1, 8, "7", 7.0, True, None, [7]])
def test_an_era_that_no_version_of_the_role_began_is_malformed(era: object) -> None:
    with pytest.raises(Malformed, match="era of feed 'id-all' must be an integer from 1 to 7"):
        era_of(_targets(**{ERA_FIELD: era}), "id-all")


def test_an_unknown_feed_has_no_era() -> None:
    with pytest.raises(Malformed, match="no feed 'id-xl'"):
        era_of(_targets(), "id-xl")
    with pytest.raises(Malformed, match="no feed 'id-xl'"):
        begin_era(Targets(), "id-xl")
