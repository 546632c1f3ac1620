"""A network with every kind of fault: a sync succeeds or says what is wrong, and the list goes on answering."""

import random
import shutil
from pathlib import Path

import pytest

from blocklist_sdk import BlocklistError, Malformed, Unreachable, Untrusted
from blocklist_sdk.publisher import serving
from support.audit import audited
from support.proxy import FAULTS, Chaos, proxied
from support.scale import LONG, Tally, scaled
from support.world import FIRST, IMPATIENT, SECOND, World, make_world

ROUNDS = scaled(4, long=60)
SYNCS_PER_ROUND = scaled(4, long=8)

NETWORK_ERRORS = (Unreachable, Untrusted, Malformed)
"""Errors that a fault of the network may end in."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.mark.timing
def test_a_proxy_that_does_what_it_likes(world: World, tally: Tally) -> None:
    chaos, chance = Chaos(31), random.Random(32)
    lists = {1: FIRST}
    errors: list[BlocklistError] = []
    syncs = 0
    with serving(world.repository) as honest, proxied(honest, chaos) as url:
        world.recipient(url=url).sync()
        for serial in range(2, ROUNDS + 2):
            lists[serial] = (FIRST, SECOND)[serial % 2]
            world.release(lists[serial])
            if serial % 7 == 0:
                # A newcomer, who has to find everything out through the proxy.
                shutil.rmtree(world.directory / "cache")
            recipient = world.recipient(url=url, transport=IMPATIENT)
            chaos.share = chance.choice((0.05, 0.2, 0.5))
            in_force = recipient.status().serial
            for _ in range(SYNCS_PER_ROUND):
                syncs += 1
                try:
                    assert recipient.sync().after in (serial, in_force)
                except BlocklistError as error:
                    errors.append(error)
                found = recipient.status().serial
                assert found in (serial, in_force)
                for each in (recipient, recipient.anew()):
                    assert each.status().serial == found
                    assert found is None or audited(each, lists, chance=chance) == found
                in_force = found
            chaos.share = 0.0
            patient = world.recipient(url=url)
            assert patient.sync().after == serial
            assert audited(patient, lists, chance=chance) == serial
            syncs += 1
    assert [error for error in errors if type(error) not in NETWORK_ERRORS] == []
    assert errors
    assert set(chaos.done) == {fault.__name__ for fault in FAULTS} or not LONG
    tally(syncs=syncs, failed_syncs=len(errors), faults=chaos.done.total())
