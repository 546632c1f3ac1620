"""The plan is the cheapest way in bytes, and always leads to the current release."""

import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.errors import Malformed
from blocklist_sdk.recipient.sync.planner import FetchPlan, plan
from blocklist_sdk.records import ENTRY_MAX
from blocklist_sdk.release.index import COUNT_MAX, SERIAL_MAX, FeedIndex, FileRef, Release
from blocklist_sdk.release.limits import INDEX_BYTES_MAX, RELEASES_MAX
from blocklist_sdk.release.names import delta_path, snapshot_path

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def digest_of(serial: int) -> str:
    return f"{serial:064x}"


def make_index(files: list[tuple[int | None, int | None]], *, first: int = 1) -> FeedIndex:
    """Releases from `first` on, each with the length of its snapshot and of its delta, None if it is not offered."""
    releases = tuple(
        Release(
            serial=serial,
            published_at=MOMENT,
            rows=1,
            digest=digest_of(serial),
            snapshot=None if snapshot is None else FileRef(path=snapshot_path("id-all", serial), length=snapshot),
            delta=None if delta is None else FileRef(path=delta_path("id-all", serial), length=delta),
        )
        for serial, (snapshot, delta) in enumerate(files, start=first)
    )
    last = releases[-1]
    return FeedIndex(
        feed="id-all",
        serial=last.serial,
        published_at=MOMENT,
        rows=1,
        digest=last.digest,
        last_entry=1,
        releases=releases,
    )


def serial_of(file: FileRef) -> int:
    return int(file.path.split("/")[1].split(".")[0])


def every_way(index: FeedIndex, serial: int | None) -> list[int]:
    """The bytes of every possible way, found by trying all of them."""
    ways = []

    def walk(at: int, cost: int) -> None:
        if at == index.serial:
            ways.append(cost)
            return
        following = index.find(at + 1)
        if following is not None and following.delta is not None:
            walk(at + 1, cost + following.delta.length)

    if serial is not None:
        walk(serial, 0)
    for release in index.releases:
        if release.snapshot is not None:
            walk(release.serial, release.snapshot.length)
    return ways


lengths = st.one_of(st.none(), st.integers(1, 50))


@given(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=8), st.integers(1, 4), st.data())
def test_the_cheapest_way(files: list[tuple[int | None, int | None]], first: int, data: st.DataObject) -> None:
    files[-1] = (files[-1][0] or 60, files[-1][1])
    index = make_index(files, first=first)
    serial = data.draw(st.one_of(st.none(), st.integers(1, index.serial)))
    found = plan(index, serial=serial, digest=None if serial is None else digest_of(serial))
    assert found.bytes == min(every_way(index, serial))
    if found.kind == "none":
        assert serial == index.serial
        return
    start = serial if found.snapshot is None else serial_of(found.snapshot)
    assert start is not None
    assert [serial_of(file) for file in found.deltas] == list(range(start + 1, index.serial + 1))


def obvious_plan(index: FeedIndex, serial: int | None) -> FetchPlan | None:
    """The plan, from all plans there are, each written out; None without one."""

    def deltas(after: int) -> tuple[FileRef, ...] | None:
        chain = [release for release in index.releases if release.serial > after]
        found = tuple(release.delta for release in chain if release.delta is not None)
        return found if len(found) == len(chain) == index.serial - after else None

    snapshots = [
        FetchPlan("snapshot", release.snapshot, chain)
        for release in index.releases
        if release.snapshot is not None and (chain := deltas(release.serial)) is not None
    ]
    by_deltas = None if serial is None else deltas(serial)
    if by_deltas is not None:
        return min([FetchPlan("delta", None, by_deltas), *snapshots], key=lambda found: found.bytes)
    return min(snapshots, key=lambda found: (found.bytes, len(found.deltas)), default=None)


@given(st.lists(st.tuples(lengths, lengths, st.integers(0, 9)), min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_also_where_releases_are_missing(
    files: list[tuple[int | None, int | None, int]], first: int, data: st.DataObject
) -> None:
    """The very plan that comes first among all that there are, with ties and gaps."""
    index = make_index([(snapshot, delta) for snapshot, delta, _ in files], first=first)
    kept = [release for release, (*_, fate) in zip(index.releases[:-1], files[:-1], strict=True) if fate > 0]
    index = index.model_copy(update={"releases": (*kept, index.releases[-1])})
    serial = data.draw(st.one_of(st.none(), st.integers(1, index.serial + 2).filter(lambda each: each != index.serial)))
    expected = obvious_plan(index, serial)
    if expected is None:
        with pytest.raises(Malformed, match="offers no snapshot"):
            plan(index, serial=serial)
    else:
        assert plan(index, serial=serial) == expected


def test_an_index_of_thousands_of_releases_is_planned_in_one_pass() -> None:
    """Each of them with a snapshot: so many ways, of thousands of files each, are not written out to be compared."""
    index = make_index([(50, 5)] * RELEASES_MAX)
    tracemalloc.start()
    try:
        found = plan(index, serial=1, digest=digest_of(1))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.bytes, serial_of(found.snapshot or found.deltas[0])) == (50, RELEASES_MAX)
    assert peak_bytes < 1000 * RELEASES_MAX


def test_an_index_of_more_releases_than_the_protocol_allows_is_malformed() -> None:
    """For who writes it, and for who reads it: without white space so many would still fit into its bytes."""
    most = make_index([(5, None)] * RELEASES_MAX)
    written = most.model_dump(mode="json", exclude_none=True)
    assert FeedIndex.from_json(json.dumps(written, separators=(",", ":")).encode(), feed="id-all") == most
    with pytest.raises(ValueError, match="5,001 releases; an index may have at most 5,000"):
        make_index([(5, None)] * (RELEASES_MAX + 1))
    extra = {**written["releases"][-1], "serial": RELEASES_MAX + 1}
    written.update(serial=extra["serial"], releases=[*written["releases"], extra])
    data = json.dumps(written, separators=(",", ":")).encode()
    assert len(data) <= INDEX_BYTES_MAX
    with pytest.raises(Malformed, match="5,001 releases; an index may have at most 5,000"):
        FeedIndex.from_json(data, feed="id-all")


def test_up_to_date() -> None:
    assert plan(make_index([(9, None)]), serial=1, digest=digest_of(1)) == FetchPlan("none")


def test_on_a_tie_the_delta_wins() -> None:
    assert plan(make_index([(9, None), (5, 5)]), serial=1, digest=digest_of(1)).kind == "delta"


@pytest.mark.parametrize("serial", [1, 2])
def test_a_list_that_differs_from_what_was_signed_is_fetched_whole(serial: int) -> None:
    """The publisher restored a backup, or the generation here is damaged: deltas would not fit."""
    index = make_index([(90, None), (90, 5)])
    assert plan(index, serial=serial, digest="f" * 64).kind == "snapshot"


def test_a_gap_of_millions_costs_nothing_to_plan() -> None:
    """A stolen feed key must not make recipients run out of memory."""
    first, last = make_index([(9, None)]).releases[0], make_index([(9, 5)], first=SERIAL_MAX // 1000)
    index = last.model_copy(update={"releases": (first, last.releases[0])})
    tracemalloc.start()
    try:
        found = plan(index, serial=1, digest=digest_of(1))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.kind == "snapshot"
    assert found.snapshot == last.releases[0].snapshot
    assert peak_bytes < 1 << 20


def test_a_recipient_that_is_ahead_of_the_feed_gets_no_deltas() -> None:
    assert plan(make_index([(9, None), (9, 1)]), serial=3).kind == "snapshot"


BEYOND: dict[tuple[str | int, ...], list[int]] = {
    ("serial",): [0, SERIAL_MAX + 1, 10**400],
    ("rows",): [-1, COUNT_MAX + 1],
    ("last_entry",): [-1, ENTRY_MAX + 1, 2**63],
    ("releases", 0, "rows"): [COUNT_MAX + 1],
    ("releases", 0, "serial"): [0, SERIAL_MAX + 1],
    ("releases", 0, "snapshot", "length"): [-1, COUNT_MAX + 1, 2**64],
}


@pytest.mark.parametrize(("where", "value"), [(where, value) for where, values in BEYOND.items() for value in values])
def test_an_index_with_a_number_beyond_all_sense_is_malformed(where: tuple[str | int, ...], value: int) -> None:
    document = json.loads(make_index([(9, None)]).to_json())
    *path, name = where
    inner = document
    for step in path:
        inner = inner[step]
    inner[name] = value
    if where == ("serial",):
        document["releases"][0]["serial"] = value
    if where == ("rows",):
        document["releases"][0]["rows"] = value
    with pytest.raises(Malformed, match="malformed at"):
        FeedIndex.from_json(json.dumps(document).encode(), feed="id-all")


def test_an_index_may_go_to_its_bounds() -> None:
    document = json.loads(make_index([(COUNT_MAX, None)], first=SERIAL_MAX).to_json())
    document["rows"] = document["releases"][0]["rows"] = COUNT_MAX
    document["last_entry"] = ENTRY_MAX
    assert FeedIndex.from_json(json.dumps(document).encode(), feed="id-all").serial == SERIAL_MAX


def test_no_way_at_all() -> None:
    with pytest.raises(Malformed, match="offers no snapshot"):
        plan(make_index([(None, 5)]), serial=None)


def test_deltas_alone_are_a_way() -> None:
    assert plan(make_index([(None, 5), (None, 7)]), serial=1, digest=digest_of(1)).bytes == 7
