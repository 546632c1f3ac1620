"""A publisher that signs validly and wishes its recipients ill buys a list, or an error of ours, and nothing else."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocklist_sdk import Blocklist, Malformed, Refused, StorageFailed
from blocklist_sdk.recipient.blocklist import internals_of
from blocklist_sdk.recipient.cache.state import load_state
from support.hostile_releases import FIRST_NUMBER, KINDS, HostileFile, list_of, made, offer, texts, valid
from support.measured_sync import Measured, measured_sync
from support.scale import scaled
from support.world import FEED, FIRST, LISTED, Forger, World, assert_still_answers, copy_world, make_world

pytest.importorskip("resource", reason="memory is measured as Linux says it")

MEMORY_MAX = 512 << 20
CPU_S_MAX = 2.0
CPU_S_SLACK = 3.0
"""On a machine that others share, a second of a processor does less."""

MEMORY_SLACK = 192 << 20
"""The most texts of full length are 17 MB, and take eight times as much while they are read, whatever the rows."""

ROW_BYTES = 200
"""What a row of a release may cost that comes into force, beyond `MEMORY_MAX`: an honest one costs 53."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("template"))
    world.recipient().sync()
    return world


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


def check(world: World, file: HostileFile, *, cache: str = "cache", **options: Any) -> Measured:
    """Sync to a hostile release, and check what it cost and what answers afterwards."""
    had = 1 if cache == "cache" else None
    found = measured_sync(world, cache=cache, **options)
    assert found.is_ours, found
    has_passed = found.outcome in ("snapshot", "delta")
    assert file.may_pass or not has_passed, found
    assert found.peak < MEMORY_MAX + (ROW_BYTES * file.rows if has_passed else 0), found
    if not has_passed:
        assert found.cpu_s < CPU_S_MAX * CPU_S_SLACK, found
        assert found.serial == had, found
        assert found.answers is (True if had else None), found
        if had:
            assert_still_answers(world.recipient(cache=cache))
    return found


@settings(
    max_examples=scaled(5, long=300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(kind=st.sampled_from(sorted(KINDS)), size=st.integers(1, 100), is_guarded=st.booleans(), is_new=st.booleans())
def test_a_hostile_release_costs_little(
    template: World,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    size: int,
    is_guarded: bool,
    is_new: bool,
) -> None:
    world = copy_world(template, tmp_path_factory.mktemp("world"))
    file = made(kind, size, world.directory)
    if file.is_delta and is_new:
        return  # a newcomer needs a snapshot, which is not offered
    offer(Forger(world), file)
    check(world, file, cache="new" if is_new else "cache", **({} if is_guarded else {"guard": None}))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_an_error_of_ours_or_a_list(world: World, kind: str) -> None:
    file = made(kind, 5, world.directory)
    offer(Forger(world), file)
    found = check(world, file, guard=None)
    if not file.may_pass:
        assert found.outcome == Malformed.__name__, found


@pytest.mark.parametrize("kind", ["most_texts", "most_entries", "deepest_ranges", "as_many_kinds"])
def test_what_comes_into_force_costs_no_more_than_an_honest_list_of_as_many_rows(world: World, kind: str) -> None:
    file = made(kind, 100, world.directory)
    spread = np.sort(np.random.default_rng(14).permutation(50 * file.rows)[: file.rows])
    rows = list_of(file.rows, number=FIRST_NUMBER + spread, issuer=texts(["komdigi", "ojk", "polri"], file.rows))
    honest_world = copy_world(world, world.directory / "honest")
    offer(Forger(honest_world), valid("an honest list", rows, honest_world.directory / "honest.parquet"))
    offer(Forger(world), file)
    honest, hostile = (measured_sync(each, guard=None) for each in (honest_world, world))
    assert (honest.outcome, hostile.outcome, hostile.serial) == ("snapshot", "snapshot", 2), hostile
    assert hostile.peak - hostile.before < 2 * (honest.peak - honest.before) + MEMORY_SLACK, (honest, hostile)
    assert hostile.cpu_s < CPU_S_SLACK * honest.cpu_s + CPU_S_MAX, (honest, hostile)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("equal_rows", 96),
        ("equal_puts", 98),
        ("undeclared_puts", 57),
        ("long_text", 60),
        ("many_texts", 100),
        ("long_plain_text", 100),
    ],
)
def test_what_once_took_gigabytes(world: World, kind: str, size: int) -> None:
    """A file of a few kilobytes that took from 0.8 to 5 GB, or ended the process, in every case within the limits."""
    file = made(kind, size, world.directory)
    assert len(file.data) < 1 << 21
    offer(Forger(world), file)
    found = check(world, file, guard=None, spare=6 << 30)
    assert found.outcome == Malformed.__name__, found


def test_a_release_that_the_guard_cannot_let_through_is_not_downloaded(world: World) -> None:
    file = made("dense_list", 100, world.directory)
    offer(Forger(world), file)
    for path in world.release_files("*2.snapshot.parquet"):
        path.unlink()
    recipient = world.recipient()
    with pytest.raises(Refused, match=r"997,000 more rows than the release in force.*--accept 2"):
        recipient.sync()
    assert_still_answers(recipient)
    # Refused again without a look at the network, and remembered as any refusal is.
    with pytest.raises(Refused, match="997,000 more rows"):
        recipient.sync()


def test_a_release_beyond_the_recipients_own_limit_is_not_downloaded(world: World) -> None:
    file = made("dense_list", 1, world.directory)
    offer(Forger(world), file)
    for options in ({"max_rows": 9_999, "guard": None}, {"max_rows": 9_999}):
        found = check(world, dataclasses.replace(file, may_pass=False), **options)
        assert found.outcome == Refused.__name__
        assert "max_rows" in found.message or "more rows" in found.message
    assert check(world, file, max_rows=10_000, guard=None).outcome == "snapshot"


def test_a_release_that_does_not_fit_into_memory_is_not_downloaded(world: World) -> None:
    file = made("dense_list", 100, world.directory)
    offer(Forger(world), file)
    for path in world.release_files("*2.snapshot.parquet"):
        path.unlink()
    found = check(world, dataclasses.replace(file, may_pass=False), guard=None, spare=64 << 20)
    assert found.outcome == StorageFailed.__name__, found
    assert "1,000,000 rows and needs about 77 MB of memory" in found.message


@pytest.mark.parametrize("spare_mb", scaled([120, 300], long=[90, 120, 150, 300, 600]))
def test_memory_that_ends_in_the_middle_is_an_error_of_ours(world: World, spare_mb: int) -> None:
    """Arrow, numpy, threads and mapped files each fail in a way of their own."""
    file = made("dense_list", 100, world.directory)
    offer(Forger(world), file)
    try:
        found = check(world, file, guard=None, spare=spare_mb << 20)
    except AssertionError as error:
        if "cannot allocate memory for thread-local data" not in str(error):
            raise
        return  # the C library ends the process by itself where a thread finds no memory for its own data
    assert found.outcome in ("snapshot", StorageFailed.__name__), found


def test_a_release_that_kills_the_process_is_left_alone_after_the_second_time(world: World) -> None:
    offer(Forger(world), made("dense_list", 1, world.directory))
    killed = "import os, signal; from blocklist_sdk.recipient.sync import build; "
    killed += "build.Fetch.build = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
    recipient = world.recipient()
    internals = internals_of(recipient)
    options = f"feed={FEED!r}, root={internals.root!r}, cache_dir={str(world.directory / 'cache')!r}, "
    options += f"state_dir={str(world.directory / 'cache-state')!r}, guard=None"
    killed += f"from blocklist_sdk import Blocklist; Blocklist.open({world.url!r}, {options}).sync()"
    for attempts in (1, 2):
        assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -signal.SIGKILL
        begun = load_state(internals.state_file).begun
        assert begun is not None
        assert (begun.serial, begun.attempts) == (2, attempts)
        assert load_state(internals.state_file).last_attempt == begun.at
    unguarded = Blocklist.open(
        world.url,
        feed=FEED,
        root=internals.root,
        cache_dir=world.directory / "cache",
        state_dir=world.directory / "cache-state",
        guard=None,
    )
    with (
        internals_of(unguarded).open_transport() as transport,
        pytest.raises(StorageFailed, match=r"begun 2 times.*tried again after"),
    ):
        internals_of(unguarded).syncer(world.url).run(transport, wait_s=0, is_scheduled=True)
    assert_still_answers(recipient)
    # Being held is not an attempt, and by hand the release is tried at once.
    begun = load_state(internals.state_file).begun
    assert begun is not None
    assert begun.attempts == 2
    assert unguarded.sync().after == 2
    assert load_state(internals.state_file).begun is None


def test_an_error_or_a_stop_in_the_middle_is_not_held_against_a_release(world: World) -> None:
    offer(Forger(world), made("wrong_digest", 1, world.directory))
    recipient = world.recipient()
    for _ in range(3):
        with pytest.raises((Malformed, Refused)):
            recipient.sync()
        assert load_state(internals_of(recipient).state_file).begun is None


def test_a_length_that_the_role_signs_and_the_index_does_not_say_is_malformed(world: World) -> None:
    file = made("dense_list", 1, world.directory)
    offer(Forger(world), file, signed_length=2**53)
    found = check(world, dataclasses.replace(file, may_pass=False), guard=None)
    assert found.outcome == Malformed.__name__
    assert "signed with 9,007,199,254,740,992" in found.message


def test_an_honest_list_still_comes_into_force(world: World) -> None:
    world.release([LISTED, *FIRST[50:]])
    assert measured_sync(world).outcome == "delta"
    assert_is_in_force = world.recipient()
    assert LISTED in assert_is_in_force
    assert assert_is_in_force.status().serial == 2
