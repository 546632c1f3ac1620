"""Which releases have a snapshot, and which stay on offer: every recipient has a way, and never a dear one."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from blocklist_sdk.publisher.offer import (
    CHAIN_SHARE,
    DELTAS_MAX,
    SNAPSHOT_EVERY,
    SNAPSHOT_ROWS,
    needs_snapshot,
    still_offered,
)
from blocklist_sdk.recipient.sync.admission import rows_of_chain
from blocklist_sdk.recipient.sync.planner import plan, snapshot_plan
from blocklist_sdk.release.index import FeedIndex, FileRef, Release
from blocklist_sdk.release.names import delta_path, snapshot_path

FEED = "id-all"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 1_000, 11_000, 60_000, 700_000]),
        st.sampled_from([-1, 0, 1, 1]),
        st.sampled_from([False] * 12 + [True]),
    ),
    max_size=120,
)


def digest_of(serial: int) -> str:
    return f"{serial:064x}"


def release_of(serial: int, rows: int, *, snapshot: int | None, delta: int | None) -> Release:
    return Release(
        serial=serial,
        published_at=MOMENT,
        rows=rows,
        digest=digest_of(serial),
        snapshot=None if snapshot is None else FileRef(path=snapshot_path(FEED, serial), length=snapshot),
        delta=None if delta is None else FileRef(path=delta_path(FEED, serial), length=delta),
    )


def index_of(releases: list[Release]) -> FeedIndex:
    last = releases[-1]
    return FeedIndex(
        feed=FEED,
        serial=last.serial,
        published_at=MOMENT,
        rows=last.rows,
        digest=last.digest,
        last_entry=1,
        releases=tuple(releases),
    )


@given(st.integers(0, 1_500_000), steps)
def test_everybody_has_a_way_whatever_is_published(rows: int, steps: list[tuple[int, int, bool]]) -> None:
    """Releases change so many rows, so that the list grows or shrinks; now and then an older copy was brought back."""
    index: FeedIndex | None = None
    serial, delta_rows = 0, dict[int, int]()
    with_snapshot: list[int] = []
    for changes, sign, is_gap in [(rows, 1, False), *steps]:
        serial += 2 if is_gap and index else 1
        rows = max(0, rows + sign * changes) if index else rows
        is_next = index is not None and index.serial + 1 == serial
        has_snapshot = needs_snapshot(index, serial=serial, changes=changes, rows=rows)
        delta_rows[serial] = changes
        made = release_of(
            serial,
            rows,
            snapshot=1_000 + 7 * rows if has_snapshot else None,
            delta=3_000 + 2 * changes if is_next else None,
        )
        index = index_of([*still_offered(index.releases if index else (), made), made])
        with_snapshot += [serial] * has_snapshot
        last = max(with_snapshot)
        assert has_snapshot or (is_next and rows > SNAPSHOT_ROWS)
        # One of the last thirty releases has a snapshot on offer.
        assert serial - last < SNAPSHOT_EVERY
        assert any(each.snapshot for each in index.releases if each.serial > serial - SNAPSHOT_EVERY)
        assert [each.serial for each in index.releases if each.snapshot] == [last]
        # A newcomer's way: the snapshot and all deltas since, within what recipients take.
        newcomer = snapshot_plan(index)
        assert newcomer.snapshot is not None
        assert len(newcomer.deltas) == serial - last
        assert sum(delta_rows[each] for each in range(last + 1, serial + 1)) <= rows_of_chain(index, have=0)
        earlier = sum(each.length for each in newcomer.deltas[:-1])
        assert earlier <= CHAIN_SHARE * newcomer.snapshot.length
        # Whoever has a release that is on offer has a way that is no dearer than the newcomer's.
        assert len(index.releases) <= DELTAS_MAX
        for have in index.releases:
            assert plan(index, serial=have.serial, digest=have.digest).bytes <= newcomer.bytes


def test_a_list_that_hardly_changes_has_a_snapshot_with_every_thirtieth_release() -> None:
    index: FeedIndex | None = None
    found = []
    for serial in range(1, 100):
        has_snapshot = needs_snapshot(index, serial=serial, changes=10, rows=100_000)
        made = release_of(
            serial, 100_000, snapshot=700_000 if has_snapshot else None, delta=4_000 if serial > 1 else None
        )
        index = index_of([*still_offered(index.releases if index else (), made), made])
        found += [serial] * has_snapshot
    assert found == [1, 31, 61, 91]
    assert index is not None
    assert len(index.releases) == DELTAS_MAX
