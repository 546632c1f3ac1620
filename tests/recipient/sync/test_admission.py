"""What is refused before anything is downloaded, and how much room a system has."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocklist_sdk import Guard, Malformed, Refused, StorageFailed
from blocklist_sdk.recipient.cache.state import BegunBuild
from blocklist_sdk.recipient.sync.admission import (
    DISK_BYTES_PER_ROW,
    MEMORY_BYTES_BASE,
    MEMORY_BYTES_PER_ROW,
    Room,
    check_lengths,
    check_room,
    check_rows,
    growth_refusal,
    rows_of_chain,
    rows_of_files,
)
from blocklist_sdk.recipient.sync.planner import FetchPlan, plan
from blocklist_sdk.recipient.sync.room import free_disk, free_memory
from blocklist_sdk.recipient.sync.schedule import held_until
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.limits import ROWS_MAX, file_bytes_max
from blocklist_sdk.release.release_id import ReleaseId

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DIGEST = "0" * 64


def index_of(*rows: int, snapshot: int = 0, length: int = 1_000) -> FeedIndex:
    """An index of releases 1, 2, … of so many rows; one has a snapshot, and all later ones a delta."""
    releases = tuple(
        Release(
            serial=serial,
            published_at=NOW,
            rows=count,
            digest=DIGEST,
            snapshot=FileRef(path=f"a/{serial}.snapshot", length=length) if serial - 1 == snapshot else None,
            delta=FileRef(path=f"a/{serial}.delta", length=100) if serial > 1 else None,
        )
        for serial, count in enumerate(rows, start=1)
    )
    current = releases[-1]
    return FeedIndex(
        feed="a",
        serial=current.serial,
        published_at=NOW,
        rows=current.rows,
        digest=DIGEST,
        last_entry=9,
        releases=releases,
    )


def test_the_rows_of_each_file_follow_from_the_index() -> None:
    index = index_of(10, 20, 5)
    assert rows_of_files(index, plan(index, serial=None), have=0) == (10, 30, 25)
    assert rows_of_files(index, plan(index, serial=2), have=21) == (26,)
    last = index_of(10, 20, 5, snapshot=2)
    assert rows_of_files(last, plan(last, serial=None), have=0) == (5,)
    assert rows_of_files(index, FetchPlan("none"), have=7) == ()
    assert rows_of_chain(index, have=100) == 1_000_400


def test_a_length_that_is_not_the_signed_one_is_malformed() -> None:
    index = index_of(10)
    planned = plan(index, serial=None)
    check_lengths(index, planned, [1_000], have=0)
    check_lengths(index, planned, [None], have=0)
    for length in (999, 1_001, 2**53):
        with pytest.raises(Malformed, match=f"1,000 bytes, but it is signed with {length:,}"):
            check_lengths(index, planned, [length], have=0)


def test_a_file_is_no_longer_than_its_rows_can_be() -> None:
    for length, is_fine in ((file_bytes_max(10), True), (file_bytes_max(10) + 1, False), (2**53, False)):
        index = index_of(10, length=length)
        planned = plan(index, serial=None)
        if is_fine:
            check_lengths(index, planned, [length], have=0)
        else:
            with pytest.raises(Malformed, match="for 10 rows"):
                check_lengths(index, planned, [length], have=0)


def test_rows_have_the_protocols_limit_and_the_recipients() -> None:
    def check(rows: int, max_rows: int) -> None:
        index = index_of(rows)
        check_rows(index, plan(index, serial=None), max_rows=max_rows)

    check(ROWS_MAX, ROWS_MAX)
    check(1_000, 1_000)
    with pytest.raises(Refused, match=r"1,001 rows, more than the 1,000 .*--max-rows") as caught:
        check(1_001, 1_000)
    assert caught.value.serial == 1
    with pytest.raises(Malformed, match="at most 500,000,000"):
        check(ROWS_MAX + 1, ROWS_MAX)


def test_only_lists_that_are_built_count() -> None:
    index = index_of(10, 2_000, 10)
    check_rows(index, plan(index, serial=1), max_rows=1_000)  # its deltas are made one
    begun = index_of(10, 2_000, 10, snapshot=1)
    with pytest.raises(Refused, match="2,000 rows"):
        check_rows(begun, plan(begun, serial=None), max_rows=1_000)
    check_rows(index, plan(index, serial=2), max_rows=1_000)


@pytest.mark.parametrize(("have", "rows"), [(0, ROWS_MAX), (1_000, 2_000), (10, 1_010), (1_000, 1), (1_000, 1_000)])
def test_growth_that_the_guard_may_let_through_is_not_refused(have: int, rows: int) -> None:
    assert growth_refusal(Guard(), index_of(rows), have=have) is None
    assert growth_refusal(None, index_of(10 * rows), have=have) is None


@pytest.mark.parametrize(("have", "rows"), [(1_000, 2_001), (10, 1_011), (3_000, 67_000_000)])
def test_growth_that_the_guard_cannot_let_through_is_refused(have: int, rows: int) -> None:
    assert f"{rows - have:,} more rows" in (growth_refusal(Guard(), index_of(rows), have=have) or "")


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_a_release_that_this_machine_has_no_room_for_is_not_fetched(what: str) -> None:
    rows = 1_000_000
    needed = {"memory": MEMORY_BYTES_BASE + MEMORY_BYTES_PER_ROW * rows, "disk": DISK_BYTES_PER_ROW * rows + 1_000}
    index = index_of(rows)
    planned = plan(index, serial=None)
    check_room(index, planned, Room(needed["disk"], needed["memory"], Path("/cache")))
    check_room(index, planned, Room(needed["disk"], None, Path("/cache")))
    short = Room(**{"disk": 1 << 40, "memory": 1 << 40} | {what: needed[what] - 1}, directory=Path("/cache"))
    with pytest.raises(StorageFailed, match=f"1,000,000 rows and needs about .* of {what}"):
        check_room(index, planned, short)


def test_deltas_need_room_for_a_tenth_of_the_list() -> None:
    rows = 1_000_000
    index = index_of(rows, rows)
    planned = plan(index, serial=1)
    assert planned.kind == "delta"
    tenth = MEMORY_BYTES_BASE + MEMORY_BYTES_PER_ROW * rows // 10
    check_room(index, planned, Room(DISK_BYTES_PER_ROW * rows // 10 + planned.bytes, tenth, Path("/cache")))
    with pytest.raises(StorageFailed, match="of memory"):
        check_room(index, planned, Room(1 << 40, tenth - 1, Path("/cache")))
    longer = replace(planned, deltas=tuple(file.model_copy(update={"length": 1_000_000}) for file in planned.deltas))
    with pytest.raises(StorageFailed, match="of memory"):
        check_room(index, longer, Room(1 << 40, tenth, Path("/cache")))


def system(folder: Path, **files: str) -> tuple[Path, Path]:
    """A `/proc` and a `/sys/fs/cgroup` with some files; `__` in a name is a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


def test_memory_is_the_least_of_what_the_system_leaves(tmp_path: Path) -> None:
    machine = "MemTotal: 9 kB\nMemAvailable:  2000000 kB\n"
    proc, cgroups = system(tmp_path, proc__meminfo=machine)
    assert free_memory(proc=proc, cgroups=cgroups) == 2_048_000_000
    # The second version: the limit of a group above counts too, and files that can be given up do not.
    system(tmp_path, proc__self__cgroup="0::/service/worker\n")
    group = {"memory_DOT_max": "max\n", "memory_DOT_current": "5\n"}
    system(tmp_path, **{f"cgroup__service__worker__{name}": text for name, text in group.items()})
    assert free_memory(proc=proc, cgroups=cgroups) == 2_048_000_000
    group = {
        "memory_DOT_max": "1000\n",
        "memory_DOT_current": "900\n",
        "memory_DOT_stat": "anon 1\ninactive_file 200\nactive_file 90\nslab_reclaimable 10\n",
    }
    system(tmp_path, **{f"cgroup__service__{name}": text for name, text in group.items()})
    assert free_memory(proc=proc, cgroups=cgroups) == 400
    # The first version, in a container that sees its own group as the root; one that has used too much has nothing.
    system(tmp_path, proc__self__cgroup="9:name=systemd:/x\n4:memory:/docker/abc\n")
    group = {"memory_DOT_limit_in_bytes": "800\n", "memory_DOT_usage_in_bytes": "700\n"}
    system(tmp_path, **{f"cgroup__memory__{name}": text for name, text in group.items()})
    assert free_memory(proc=proc, cgroups=cgroups) == 100
    system(tmp_path, cgroup__memory__memory_DOT_usage_in_bytes="900\n")
    assert free_memory(proc=proc, cgroups=cgroups) == 0
    system(tmp_path, cgroup__memory__memory_DOT_limit_in_bytes=f"{2**63 - 4096}\n")
    assert free_memory(proc=proc, cgroups=cgroups) == 2_048_000_000


def test_a_process_that_limits_itself_has_no_more_than_that(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    proc, cgroups = system(
        tmp_path, proc__meminfo="MemAvailable: 900000000 kB\n", proc__self__status="VmSize: 100 kB\n"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = 1 << 38
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        assert free_memory(proc=proc, cgroups=cgroups) == most - 102_400
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_this_machine_says_what_it_has(tmp_path: Path) -> None:
    memory = free_memory()
    assert memory is None or 0 < memory < 1 << 50
    assert free_disk(tmp_path / "not" / "there") > 0


def test_a_release_is_held_from_the_second_time_that_it_ended_the_process() -> None:
    def held(attempts: int, after: timedelta, serial: int = 2, digest: str = DIGEST) -> bool:
        begun = BegunBuild(2, DIGEST, NOW, attempts)
        return held_until(begun, release=ReleaseId(1, serial), digest=digest, now=NOW + after) is not None

    second = timedelta(seconds=1)
    assert held_until(None, release=ReleaseId(1, 2), digest=DIGEST, now=NOW) is None
    assert not held(1, second)
    assert held(2, second)
    assert not held(2, timedelta(minutes=15))
    assert held(3, timedelta(minutes=29))
    assert not held(3, timedelta(minutes=30))
    assert held(50, timedelta(hours=23))
    assert not held(50, timedelta(hours=24))
    # Another release is not held, nor is any when the clock was set back.
    assert not held(9, second, serial=3)
    assert not held(9, second, digest="1" * 64)
    assert not held(9, -second)
