"""What who signs validly tries: a thief of a feed's and the online key, or a publisher that is malicious or careless.

After each the last verified generation goes on answering, and no exception of another library leaves the sync.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile

from blocklist_sdk import Blocklists, InvalidInput, Malformed, SyncResult
from blocklist_sdk.records import ENTRY_MAX
from blocklist_sdk.release.arrow import SCHEMA, from_table, to_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import DELTA_SCHEMA, read_snapshot, write_delta, write_snapshot
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.merge import Delta, Removals, delta_between
from blocklist_sdk.release.names import delta_path, index_path, snapshot_path
from blocklist_sdk.release.rows import Rows, Texts
from support.world import (
    ADDED,
    FEED,
    FIRST,
    LISTED,
    OTHER_FEED,
    SECOND,
    Forger,
    World,
    assert_still_answers,
    copy_world,
    make_world,
    refused,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    return copy_world(template, tmp_path)


@pytest.fixture
def thief(world: World) -> "Thief":
    return Thief(world)


@dataclass
class Thief:
    """Signs whatever he likes on one feed."""

    world: World

    def __post_init__(self) -> None:
        self.forger = Forger(self.world)

    def rows(self) -> Rows:
        return read_snapshot(self.world.release_files("*.1.snapshot.parquet")[0])

    def index(self) -> dict[str, Any]:
        name = f"{self.forger.index_target().hashes['sha256']}.index.json"
        document: dict[str, Any] = json.loads((self.world.repository / "targets" / FEED / name).read_bytes())
        return document

    def sign(self, index: Any, files: dict[str, bytes]) -> None:
        """Publish an index and release files, whatever is in them."""
        data = index if isinstance(index, bytes) else json.dumps(index).encode()
        targets = {path: self.forger.store(path, content) for path, content in files.items()}
        targets[index_path(FEED)] = self.forger.store(index_path(FEED), data)
        self.forger.forge(FEED, lambda role: role.targets.update(targets))

    def release(
        self,
        rows: Rows,
        *,
        snapshot: pa.Table | None = None,
        delta: pa.Table | None = None,
        last_entry: int | None = None,
    ) -> None:
        """Publish release 2, with files that need not be the list's."""
        place = self.world.directory / "forged.parquet"
        old, index = self.rows(), self.index()
        files: dict[str, bytes] = {}
        release: dict[str, Any] = {"serial": 2, "published_at": index["published_at"], "rows": len(rows)}
        release |= {"digest": digest(rows), "snapshot": None, "delta": None}
        if snapshot is not None or delta is None:
            pq.write_table(to_table(rows) if snapshot is None else snapshot, place)
            files[snapshot_path(FEED, 2)] = place.read_bytes()
            release["snapshot"] = {"path": snapshot_path(FEED, 2), "length": len(place.read_bytes())}
        if delta is not None:
            pq.write_table(delta, place)
            files[delta_path(FEED, 2)] = place.read_bytes()
            release["delta"] = {"path": delta_path(FEED, 2), "length": len(files[delta_path(FEED, 2)])}
        highest = int(max(rows.entry.max(), old.entry.max()))
        index |= {name: release[name] for name in ("serial", "published_at", "rows", "digest")}
        index["last_entry"] = highest if last_entry is None else last_entry
        index["releases"] = [*index["releases"], release]
        self.sign(index, files)


def delta_table(delta: Delta, directory: Path) -> pa.Table:
    path = directory / "delta.parquet"
    write_delta(delta, path)
    return pq.read_table(path)


def text(value: str, rows: Rows) -> Texts:
    return Texts.repeat(value, len(rows))


# Rows


def twice(rows: Rows) -> Rows:
    entry = rows.entry.copy()
    entry[5] = entry[9]
    return replace(rows, entry=entry)


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (twice, "an entry id twice"),
        (lambda rows: replace(rows, until=np.where(np.arange(len(rows)) == 7, rows.since, rows.until)), "ends before"),
        (lambda rows: replace(rows, since=rows.since + 999_000, until=rows.since + 1000), "ends before"),
        (lambda rows: replace(rows, scope=text("voice+sms", rows)), "a scope that is not"),
        (lambda rows: replace(rows, scope=text("sms+sms", rows)), "a scope that is not"),
        (lambda rows: replace(rows, scope=text("", rows)), "a scope that is not"),
        (lambda rows: replace(rows, scope=text("sms+", rows)), "a scope that is not"),
    ],
)
def test_rows_that_the_protocol_forbids(world: World, thief: Thief, harm: Callable[[Rows], Rows], match: str) -> None:
    recipient, newcomer = world.recipient(), world.recipient(cache="new")
    recipient.sync()
    thief.release(harm(thief.rows()))
    refused(recipient, Malformed, match)
    with pytest.raises(Malformed, match=match):
        newcomer.sync()


def test_an_entry_above_the_highest_that_was_given_out(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = thief.rows()
    thief.release(rows, last_entry=int(rows.entry.max()) - 1)
    refused(recipient, Malformed, "above last_entry")


def test_an_entry_that_not_every_reader_of_json_agrees_on(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = thief.rows()
    entry = rows.entry.copy()
    entry[3] = ENTRY_MAX + 1
    thief.release(replace(rows, entry=entry), last_entry=ENTRY_MAX)
    refused(recipient, Malformed, "an entry id above 9,007,199,254,740,991")


def test_the_highest_entry_that_there_may_be(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = thief.rows()
    entry = rows.entry.copy()
    entry[3] = ENTRY_MAX
    thief.release(replace(rows, entry=entry))
    assert recipient.sync().after == 2


def test_an_end_that_is_written_out(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    rows = thief.rows()
    table = to_table(rows)
    forever = pa.array(rows.until).cast(SCHEMA.field("until").type)
    thief.release(
        rows, snapshot=table.set_column(table.schema.get_field_index("until"), SCHEMA.field("until"), forever)
    )
    refused(recipient, Malformed, "written out")


def moved(rows: Rows) -> Rows:
    """The first entry, on the number after the one that it had."""
    number = rows.number.copy()
    number[0] += 1
    assert number[0] < number[1]
    return replace(rows, number=number, last=number)


def test_an_entry_that_moves(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    old = thief.rows()
    thief.release(moved(old))
    refused(recipient, Malformed, "has moved to another number")


def test_an_entry_that_moves_by_a_delta(world: World, thief: Thief) -> None:
    recipient = world.recipient()
    recipient.sync()
    old = thief.rows()
    new = moved(old)
    thief.release(new, delta=delta_table(delta_between(old, new), world.directory))
    refused(recipient, Malformed, "has moved to another number")


def test_puts_and_removes_have_one_order(world: World, thief: Thief, tmp_path: Path) -> None:
    recipient = world.recipient()
    recipient.sync()
    old = thief.rows()
    new = old.take(np.arange(len(old)) != 0)
    new = replace(new, entry=new.entry.copy(), category=text("spam", new))
    table = delta_table(delta_between(old, new), tmp_path)
    assert table.column("op").to_pylist()[0] == "remove"
    thief.release(new, delta=table.take(np.roll(np.arange(len(table)), -1)).cast(DELTA_SCHEMA))
    refused(recipient, Malformed, "not in order")


def test_an_entry_that_is_put_and_removed(world: World, thief: Thief, tmp_path: Path) -> None:
    recipient = world.recipient()
    recipient.sync()
    old = thief.rows()
    one = old.take(np.arange(1))
    both = Delta(puts=one, removes=Removals(one.number, one.last, one.entry))
    thief.release(old, delta=delta_table(both, tmp_path))
    refused(recipient, Malformed, "not in order, or a row occurs twice")


def test_an_unknown_scope_is_kept_and_blocks_for_no_known_one(world: World, thief: Thief) -> None:
    rows = thief.rows()
    thief.release(replace(rows, scope=text("satellite", rows)))
    recipient = world.recipient()
    assert recipient.sync().after == 2
    for scope in ("data", "messaging", "sms", "voice"):
        assert not recipient.check(LISTED, scope=scope).blocked
        assert recipient.screen(pa.array([LISTED]), scope=scope).column("blocked").to_pylist() == [False]
    assert recipient.check(LISTED).entries[0].scope == {"satellite"}


def test_a_delta_that_is_wrong_is_healed_by_a_plan_without_it(world: World, thief: Thief, tmp_path: Path) -> None:
    """Also for a newcomer, whose cheapest way is an older snapshot and that delta."""
    recipient, newcomer = world.recipient(), world.recipient(cache="new")
    recipient.sync()
    world.release(SECOND)
    world.release([*SECOND, FIRST[5]])
    index = thief.index()
    old = read_snapshot(world.release_files("*.1.snapshot.parquet")[0])
    name = world.release_files("*.1.snapshot.parquet")[0].name.partition(".")[2]
    one = old.take(np.arange(1))
    write_delta(Delta(Rows.empty(), Removals(one.number + 1, one.last + 1, one.entry)), tmp_path / "wrong")
    old_snapshot = {"path": f"{FEED}/{name}", "length": 1}
    first = {**index["releases"][0], "serial": 1, "snapshot": old_snapshot, "delta": None}
    bad = {"path": delta_path(FEED, 2), "length": 1}
    deltas = [{**each, "delta": bad} if each["serial"] == 2 else each for each in index["releases"]]
    assert [each["serial"] for each in deltas] == [2, 3]
    index["releases"] = [first, *deltas]
    thief.sign(
        index,
        {
            f"{FEED}/{name}": world.release_files("*.1.snapshot.parquet")[0].read_bytes(),
            delta_path(FEED, 2): (tmp_path / "wrong").read_bytes(),
        },
    )
    for each in (recipient, newcomer):
        result = each.sync()
        assert (result.after, result.kind) == (3, "snapshot")
        assert ADDED in each


# Index


def deep(depth: int = 100_000) -> bytes:
    return b'{"protocol": 1, "x": ' + b"[" * depth + b"]" * depth + b"}"


INDEXES: dict[str, Callable[[dict[str, Any]], object]] = {
    "text-as-serial": lambda index: index.update(serial="1"),
    "true-as-serial": lambda index: index.update(serial=True),
    "float-as-rows": lambda index: index.update(rows=3000.0),
    "number-as-moment": lambda index: index.update(published_at=5),
    "digits-as-moment": lambda index: index.update(published_at="5"),
    "day-as-moment": lambda index: index.update(published_at="2026-01-02"),
    "before-year-1": lambda index: index.update(published_at="0001-01-01T00:00:00+23:59"),
    "after-year-9999": lambda index: index.update(published_at="9999-12-31T23:59:59-23:59"),
    "no-protocol": lambda index: index.pop("protocol"),
    "true-as-protocol": lambda index: index.update(protocol=True),
    "text-as-protocol": lambda index: index.update(protocol="1"),
    "dots": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/.."),
    "dot": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/."),
    "no-name": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/"),
    "nul": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/a\0b"),
    "long": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/{'a' * 250}"),
    "escape": lambda index: index["releases"][-1]["snapshot"].update(path=f"{FEED}/\x1b[2J\u202e"),
    "another-feeds-file": lambda index: index["releases"][-1]["snapshot"].update(path=f"{OTHER_FEED}/1.x"),
}


@pytest.mark.parametrize("harm", INDEXES)
def test_an_index_that_the_protocol_forbids(world: World, thief: Thief, harm: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    index = thief.index()
    INDEXES[harm](index)
    path = index["releases"][-1]["snapshot"]["path"]
    # He signs the file as well, wherever it is said to be.
    target = TargetFile.from_data(path, b"", ["sha256"])
    thief.forger.forge(FEED, lambda role: role.targets.__setitem__(path, target))
    thief.sign(index, {})
    error = refused(recipient, Malformed)
    assert str(error).isprintable()
    assert not list(recipient_files(world))


@pytest.mark.parametrize("data", [b"[]", b"\xff", b"{", b"null", deep()], ids=["array", "bytes", "cut", "null", "deep"])
def test_an_index_that_is_none(world: World, thief: Thief, data: bytes) -> None:
    recipient = world.recipient()
    recipient.sync()
    thief.sign(data, {})
    refused(recipient, Malformed)


def recipient_files(world: World) -> list[Path]:
    """What a sync left beside its workspace."""
    return [path for path in (world.directory / "cache").rglob("*") if path.suffix == ".part" or "fetch-" in path.name]


# Roles


def test_a_feed_that_delegates(world: World, thief: Thief) -> None:
    """Its expiry would not count, and its holder could be anybody."""
    recipient = world.recipient()
    recipient.sync()
    deputy = DelegatedRole("deputy", [], 1, terminating=True, paths=[f"{FEED}/*"])
    thief.forger.forge(FEED, lambda role: setattr(role, "delegations", Delegations({}, {"deputy": deputy})))
    refused(recipient, Malformed, "delegates to others")


@pytest.mark.parametrize("role", ["targets", "root"])
def test_a_key_of_an_unknown_kind_says_which_versions_are_needed(world: World, role: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger = Forger(world)
    forger.forge(role)
    path = forger.newest(role)
    document = json.loads(path.read_bytes())
    keys = document["signed"]["keys"] if role == "root" else document["signed"]["delegations"]["keys"]
    next(iter(keys.values())).update(keytype="ml-dsa", scheme="ml-dsa-65")
    path.write_text(json.dumps(document))
    if role == "targets":
        forger.forge("snapshot", lambda snapshot: setattr(snapshot.meta["targets.json"], "hashes", None))
        forger.forge("snapshot", lambda snapshot: setattr(snapshot.meta["targets.json"], "length", None))
        forger.forge("timestamp")
    error = refused(recipient, Malformed, "ml-dsa with ml-dsa-65.*securesystemslib")
    assert "captive portal" not in str(error)


# Protected numbers

PROTECTED: dict[str, bytes] = {
    "nested": b'{"protocol": 1, "numbers": [[1, 2], [3, 4]]}',
    "nested-empty": b'{"protocol": 1, "numbers": [[]]}',
    "deep": b'{"protocol": 1, "numbers": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "text": b'{"protocol": 1, "numbers": ["6281200000001"]}',
    "float": b'{"protocol": 1, "numbers": [1.5]}',
    "true": b'{"protocol": 1, "numbers": [true]}',
    "negative": b'{"protocol": 1, "numbers": [-6281200000001]}',
    "huge": b'{"protocol": 1, "numbers": [1' + b"0" * 30 + b"]}",
    "endless": b'{"protocol": 1, "numbers": [1' + b"0" * 5000 + b"]}",
    "twice": b'{"protocol": 1, "numbers": [6281200000001, 6281200000001]}',
    "falling": b'{"protocol": 1, "numbers": [6281200000002, 6281200000001]}',
    "protocol-9": b'{"protocol": 9, "numbers": []}',
    "protocol-true": b'{"protocol": true, "numbers": []}',
    "no-protocol": b'{"numbers": []}',
    "object": b'{"protocol": 1, "numbers": {}}',
    "array": b"[]",
    "bytes": b"\xff",
}


@pytest.mark.parametrize("harm", PROTECTED)
def test_protected_numbers_that_the_protocol_forbids(world: World, harm: str) -> None:
    recipient = world.recipient()
    recipient.sync()
    forger = Forger(world)
    target = forger.store("protected.json", PROTECTED[harm])
    forger.forge("targets", lambda role: role.targets.__setitem__("protected.json", target))
    refused(recipient, Malformed, "protected numbers")
    # What was protected before still is read.
    assert json.loads((world.directory / "cache" / FEED / "protected.json").read_bytes())["numbers"] == []


# Several feeds


def test_no_feed_stops_another(world: World, thief: Thief, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Blocklists([world.recipient(cache="a"), world.recipient(cache="b", feed=OTHER_FEED)])
    lists.sync()
    world.release(SECOND, OTHER_FEED)
    index = thief.index()
    index["published_at"] = "0001-01-01T00:00:00+23:59"
    thief.sign(index, {})
    found = lists.sync()
    assert isinstance(found[FEED], Malformed)
    other = found[OTHER_FEED]
    assert isinstance(other, SyncResult)
    assert other.after == 2
    assert LISTED in lists[FEED]

    def faulty(*args: object, **named: object) -> FeedIndex:
        raise LookupError("generated for a test")

    monkeypatch.setattr(FeedIndex, "from_json", faulty)
    again = lists.sync()
    assert {str(error) for error in again.values()} == {"unexpected LookupError: a fault of this library: report it"}
    assert isinstance(again[FEED].__cause__, LookupError)  # type: ignore[union-attr]
    assert LISTED in lists[FEED]


# The publisher's own


def test_a_release_always_has_a_snapshot_and_one_can_be_written_anew(world: World) -> None:
    world.release(SECOND)
    recipient = world.recipient()
    recipient.sync()
    before = world.publisher.status().feeds
    made = world.publisher.snapshot(FEED)
    assert (made.serial, made.rows) == (2, len(SECOND))
    assert world.publisher.status().feeds == before
    assert recipient.sync().kind == "none"
    newcomer = world.recipient(cache="new")
    assert newcomer.sync().after == 2
    assert newcomer.status().digest == made.digest
    assert_still_answers(recipient, 2)


def test_a_snapshot_that_is_missing_is_made_of_an_earlier_one_and_deltas(world: World, thief: Thief) -> None:
    """Such as where another publisher's software keeps one in thirty releases."""
    recipient = world.recipient()
    recipient.sync()
    old_snapshot = world.release_files("*.1.snapshot.parquet")[0].read_bytes()
    world.release(SECOND)
    index = thief.index()
    delta = world.release_files("*.2.delta.parquet")[0].read_bytes()
    old = thief.rows()
    index["releases"] = [
        {
            "serial": 1,
            "published_at": index["published_at"],
            "rows": len(old),
            "digest": digest(old),
            "snapshot": {"path": snapshot_path(FEED, 1), "length": len(old_snapshot)},
        },
        {**index["releases"][-1], "snapshot": None},
    ]
    thief.sign(index, {snapshot_path(FEED, 1): old_snapshot, delta_path(FEED, 2): delta})
    assert world.publisher.snapshot(FEED).digest == index["digest"]
    assert world.recipient(cache="new").sync().kind == "snapshot"
    assert recipient.sync().after == 2
    assert world.release([*SECOND, FIRST[7]]).serial == 3


def test_a_feed_without_a_release_has_no_snapshot(world: World) -> None:
    world.publisher.add_feed("id-new")
    with pytest.raises(InvalidInput, match="no release yet"):
        world.publisher.snapshot("id-new")


def test_the_forged_files_are_right_where_nothing_is_changed(world: World, thief: Thief, tmp_path: Path) -> None:
    """Or the tests above would pass for another reason."""
    recipient = world.recipient()
    recipient.sync()
    old = thief.rows()
    new = old.take(np.arange(1, len(old)))
    write_snapshot(new, tmp_path / "new")
    assert digest(from_table(pq.read_table(tmp_path / "new"))) == digest(new)
    thief.release(new, delta=delta_table(delta_between(old, new), tmp_path))
    assert recipient.sync().kind == "delta"
