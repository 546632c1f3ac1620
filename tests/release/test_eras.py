"""Eras: what a feed's delegation says about since when its keys sign it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from blocklist_sdk.errors import Malformed
from blocklist_sdk.release.eras import ERA_FIELD, begin_era, era_of


def _targets(fields: dict[str, Any] | None = None) -> Targets:
    role = DelegatedRole("id-all", [], 1, True, paths=["id-all/*"], unrecognized_fields=fields)
    return Targets(version=7, delegations=Delegations({}, {"id-all": role}))


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
        era_of(_targets({ERA_FIELD: era}), "id-all")


def test_an_unknown_feed_has_no_era() -> None:
    with pytest.raises(Malformed, match="no feed 'id-xl'"):
        era_of(_targets(), "id-xl")
    with pytest.raises(Malformed, match="no feed 'id-xl'"):
        begin_era(Targets(), "id-xl")


def test_the_example_of_the_protocol_page_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")
    example = page.partition("<!-- era -->\n```json\n")[2].partition("```")[0]
    role = DelegatedRole.from_dict(json.loads(example))
    targets = Targets(version=8, delegations=Delegations({}, {role.name: role}))
    assert era_of(_read_again(targets), "id-telkomsel") == 7
