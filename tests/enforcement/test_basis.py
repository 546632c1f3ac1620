"""What the last run went by: what follows where it is lost, which list it was, and what may be accepted.

All numbers are generated.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from blocklist_sdk import Blocklist
from blocklist_sdk.cli.exit_codes import enforcement_code
from blocklist_sdk.enforcement import EnforcementSettings, enforce
from blocklist_sdk.enforcement.basis import Basis, KnownRules
from blocklist_sdk.records import Override
from blocklist_sdk.release.release_id import ReleaseId
from support.lost_overrides import lose
from support.memory_sink import MemorySink
from support.world import FEED, Forger, World, copy_world, make_world, stranger

TELKOMSEL, INDOSAT = 6_281_200_100_000, 6_281_500_100_000
TELKOMSEL_ONLY = EnforcementSettings(only_operator="telkomsel")
INDOSAT_ONLY = EnforcementSettings(only_operator="indosat")


def some(count: int, start: int = 0, first: int = TELKOMSEL) -> list[int]:
    """Numbers with gaps between them, so that none of them become one range."""
    return [first + 2 * place for place in range(start, start + count)]


STAY, GO, OWN, FEW = some(60), some(40, start=100), some(40, first=INDOSAT), some(25, first=INDOSAT)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@contextmanager
def opened(
    world: World, *, cache: str = "cache", state: str = "state", root: bytes | None = None
) -> Iterator[Blocklist]:
    with Blocklist.open(
        world.url,
        feed=FEED,
        root=root or world.publisher.root,
        region="ID",
        cache_dir=world.directory / cache,
        state_dir=world.directory / state,
        guard=None,
    ) as blocklist:
        blocklist.sync()
        yield blocklist


def put(world: World, numbers: Sequence[int], until: Sequence[datetime | None] | None = None) -> None:
    table = pa.table({"number": pa.array(numbers, pa.int64())})
    if until is not None:
        table = table.append_column("until", pa.array(until, pa.timestamp("s", "UTC")))
    world.publisher.release(FEED, table, allow_empty=True)


def path_of(world: World, name: str = "basis.json") -> Path:
    return world.directory / "state" / FEED / "sinks" / "default" / name


def spoil(world: World, how: str) -> None:
    """Lose the basis: the file, a part of it, or what it refers to."""
    path = path_of(world)
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:40])
    elif how == "rules":
        for file in path.parent.glob("rules-*.arrow"):
            file.unlink()
    else:
        for file in path.parent.glob("rules-*.arrow"):
            file.write_bytes(file.read_bytes().replace(b"own", b"odd"))


HOW = ("missing", "damaged", "rules", "changed rules")


# Where it is lost


@pytest.mark.parametrize("how", HOW)
def test_a_lost_basis_holds_what_nothing_explains(world: World, how: str) -> None:
    put(world, STAY + GO)
    sink = MemorySink()
    with opened(world) as blocklist:
        for number in OWN:
            blocklist.overrides.block(f"+{number}", reason="own")
        enforce(blocklist, sink)
        spoil(world, how)
        assert lose(world.directory / "state", OWN) == 40
        dry = enforce(blocklist, sink, settings=INDOSAT_ONLY, dry_run=True)
        for _ in range(2):
            result = enforce(blocklist, sink, settings=INDOSAT_ONLY)
            assert result.waiting == dry.waiting
            assert result.waiting is not None
            assert (result.waiting.removed, len(sink.numbers)) == (140, 140)
            (warning,) = result.warnings
            assert warning.kind == "lost basis"
            assert str(path_of(world).parent) in warning.message
            assert "what the sink holds counts as explained" in warning.message
        accepted = enforce(blocklist, sink, settings=INDOSAT_ONLY, accept=True)
        assert (accepted.waiting, accepted.not_accepted, sink.numbers) == (None, None, set())
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).warnings == ()


@pytest.mark.parametrize("how", HOW)
def test_what_is_surely_lifted_goes_though_the_basis_is_lost(world: World, how: str) -> None:
    """By a release, an end, the authority, a new allow, a removal; and the filter that was mistyped waits."""
    lists = [some(30, start=1000 * place) for place in range(6)]
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    everything = [number for each in lists[:5] for number in each]
    put(world, everything, [end if number in lists[1] else None for number in everything])
    sink = MemorySink()
    with opened(world) as blocklist:
        for number in lists[5]:
            blocklist.overrides.block(f"+{number}", reason="own")
        enforce(blocklist, sink)
        assert len(sink.numbers) == 180
        spoil(world, how)
        left = [number for number in everything if number not in lists[0]]
        put(world, left, [end if number in lists[1] else None for number in left])
        world.publisher.protect([f"+{number}" for number in lists[2]])
        blocklist.sync()
        blocklist.overrides.allow(f"+{lists[3][0]}-+{lists[3][-1]}", reason="appeal")
        for number in lists[5]:
            blocklist.overrides.remove(f"+{number}")
        result = enforce(blocklist, sink, settings=INDOSAT_ONLY, clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    assert result.waiting is not None
    assert result.outcomes == {"reversed": 150}
    assert sink.numbers == {*lists[4]}


def test_a_lost_basis_lets_the_authority_go_on(world: World) -> None:
    """Nothing but the list changes, and it changes little: nothing waits, and the next run has a basis again."""
    put(world, some(100))
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
        path_of(world).unlink()
        put(world, some(100, start=50))
        blocklist.sync()
        result = enforce(blocklist, sink)
        assert result.waiting is not None
        assert (result.waiting.removed, result.waiting.added) == (0, 50)
        put(world, some(70, start=50))
        blocklist.sync()
        result = enforce(blocklist, sink)
        assert (result.waiting, sink.numbers) == (None, {*some(70, start=50)})
        assert enforce(blocklist, sink).warnings == ()


def test_another_list_waits_also_where_the_basis_is_lost(world: World, tmp_path: Path) -> None:
    put(world, STAY + GO)
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
    path_of(world).unlink()
    other = make_world(tmp_path / "other")
    for _ in range(5):
        put(other, OWN)
    other.directory = world.directory
    with opened(other, cache="other-cache") as switched:
        result = enforce(switched, sink)
    assert result.waiting is not None
    assert sink.numbers == {*STAY, *GO}


@pytest.mark.parametrize("change", [{"only_operator": "no-such-one"}, {"scopes": 99}, {"scopes": 0}])
def test_filters_that_this_version_does_not_know_count_as_changed(world: World, change: dict[str, object]) -> None:
    put(world, STAY + GO)
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
        path = path_of(world)
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None
        put(world, STAY)
        blocklist.sync()
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).outcomes == {"reversed": 40}
        assert (enforce(blocklist, sink).waiting, len(sink.numbers)) == (None, 60)


# Which list it was


def test_another_list_with_a_higher_serial_waits(world: World, tmp_path: Path) -> None:
    """Another authority, the same feed's name, and a cache of its own."""
    put(world, STAY + GO)
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
    other = make_world(tmp_path / "other")
    for _ in range(5):
        put(other, OWN)
    other.directory = world.directory
    ledgers = [world.directory / state / FEED / "sinks" for state in ("state", "other-state")]
    ledgers[1].parent.mkdir(parents=True)
    ledgers[0].rename(ledgers[1])
    with opened(other, cache="other-cache", state="other-state") as switched:
        for _ in range(2):
            result = enforce(switched, sink)
            assert result.waiting is not None
            (reason,) = result.waiting.reasons
            assert reason == "the list is another one: release 6 after release 2, signed by other keys than before"
            assert sink.numbers == {*STAY, *GO}
    ledgers[1].rename(ledgers[0])
    put(world, STAY)
    with opened(world) as blocklist:
        result = enforce(blocklist, sink)
        assert (result.waiting, result.outcomes) == (None, {"reversed": 40}), "back at the list that it was"
    ledgers[0].rename(ledgers[1])
    with opened(other, cache="other-cache", state="other-state") as switched:
        enforce(switched, sink)
        assert enforce(switched, sink, accept=True).waiting is None
        assert sink.numbers == {*OWN}
        put(other, some(100, first=INDOSAT))
        switched.sync()
        assert enforce(switched, sink).waiting is None, "it is the ledger's list from now on"


def test_a_list_whose_root_has_new_keys_is_the_same(world: World) -> None:
    put(world, STAY + GO)
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
    put(world, STAY)
    forger = Forger(world)
    pinned = world.publisher.root.read_bytes()
    root, (online,) = [stranger() for _ in range(3)], [stranger()]
    metadata = forger.load("root")
    metadata.signed.version += 1
    for role, keys in (("root", root), ("snapshot", [online]), ("timestamp", [online])):
        for keyid in list(metadata.signed.roles[role].keyids):
            metadata.signed.revoke_key(keyid, role)
        for key in keys:
            metadata.signed.add_key(key.public_key, role)
    forger.write("root", metadata, [*forger.keys("root")[:2], *root[:2]])
    forger.known.update(root=root, online=[online])
    forger.forge("snapshot")
    with opened(world, root=pinned) as blocklist:
        assert enforce(blocklist, sink).outcomes == {"reversed": 40}
    # Whoever is given the new root in another way has a cache without the old one.
    with opened(world, cache="new-cache", root=metadata.to_bytes()) as blocklist:
        for number in FEW:
            blocklist.overrides.block(f"+{number}", reason="own")
        assert (enforce(blocklist, sink).waiting, sink.numbers) == (None, {*STAY, *FEW})
    with opened(world, root=pinned) as blocklist:
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None, (
            "so it is compared with the last run"
        )


# What may be accepted


def test_what_waited_is_accepted_and_nothing_else(world: World) -> None:
    put(world, STAY + FEW)
    sink = MemorySink()
    with opened(world) as blocklist:
        first = enforce(blocklist, sink, accept=True)
        assert (len(sink.numbers), enforcement_code(first)) == (85, 6)
        assert "nothing waited at the last run" in (first.not_accepted or "")
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY, dry_run=True).waiting is not None
        unasked = enforce(blocklist, sink, settings=INDOSAT_ONLY, accept=True)
        assert unasked.waiting is not None, "a dry run has shown it, and a run has not"
        # Another mistake than the one that was looked at.
        other = enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=True)
        assert other.waiting is not None
        assert "is not what waited" in (other.not_accepted or "")
        put(world, STAY + FEW[1:])
        blocklist.sync()
        changed = enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=True)
        assert changed.outcomes == {"reversed": 1}, "all else is done"
        assert changed.waiting is not None
        dry = enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=True, dry_run=True)
        assert (dry.waiting, dry.planned["unblock"]) == (None, 24)
        taken = enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=True)
        assert (taken.waiting, taken.not_accepted, enforcement_code(taken)) == (None, None, 0)
        assert sink.numbers == {*STAY}
        assert enforcement_code(enforce(blocklist, sink, settings=TELKOMSEL_ONLY, accept=True)) == 6, "once"


def test_what_was_corrected_cannot_be_accepted_later(world: World) -> None:
    put(world, STAY + FEW)
    sink = MemorySink()
    with opened(world) as blocklist:
        enforce(blocklist, sink)
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY).waiting is not None
        assert enforce(blocklist, sink).waiting is None
        assert enforce(blocklist, sink, settings=INDOSAT_ONLY, accept=True).waiting is not None
    assert len(sink.numbers) == 85


# The files


def rules_of(count: int) -> KnownRules:
    at = datetime(2026, 10, 5, 6, 7, 8, 901_234, tzinfo=UTC)
    overrides = {
        (first, first + width): Override(
            first,
            "allow" if first % 2 else "block",
            "a reason – of words",
            "ops",
            at,
            None if first % 3 else at + timedelta(days=9),
            last=first + width if width else None,
        )
        for width, first in ((place % 2, TELKOMSEL + 5 * place) for place in range(count))
    }
    missing = {key: at for place, key in enumerate(overrides) if place % 4 == 0}
    return KnownRules(frozenset({1_234_567, 6_281_200_000_001}), overrides, missing)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_rules_are_read_as_they_were_written_and_written_only_if_they_differ(tmp_path: Path, count: int) -> None:
    def basis(serial: int, rules: KnownRules) -> Basis:
        return Basis(
            at=datetime(2026, 10, 5, tzinfo=UTC),
            release=ReleaseId(2, serial),
            digest="d",
            scopes=4,
            only_operator=None,
            rules=rules,
        )

    path = tmp_path / "basis.json"
    basis(1, rules_of(count)).save(path)
    (file,) = tmp_path.glob("rules-*.arrow")
    before = file.stat().st_ino
    basis(2, rules_of(count)).save(path)
    assert [each.stat().st_ino for each in tmp_path.glob("rules-*.arrow")] == [before]
    assert Basis.load(path, likely=KnownRules()) == basis(2, rules_of(count))
    basis(3, KnownRules()).save(path)
    assert len(list(tmp_path.glob("rules-*.arrow"))) == 1
    assert Basis.load(path, likely=rules_of(count)) == basis(3, KnownRules())
    shutil.rmtree(tmp_path)
