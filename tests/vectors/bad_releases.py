"""Releases that are validly signed, and that a reader must refuse for what is in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from vectors.bad_metadata import ADDED, longer_list, offered
from vectors.case import Case, refused
from vectors.repository import Release
from vectors.rows import Row, by_names, delta, delta_of, digest_of, in_order, ms, row, snapshot, stable, table
from vectors.sample import Sample, applied, by_entry, first, release

_MALFORMED = "malformed"


def all_bad_releases(sample: Sample) -> Iterator[Case]:
    yield from _indexes(sample)
    yield from _digests(sample)
    yield from _orders(sample)
    yield from _rows(sample)
    yield from _columns(sample)
    yield from _deltas(sample)
    yield from _limits(sample)


def _indexes(sample: Sample) -> Iterator[Case]:
    def index_of(name: str, reason: str, change: Callable[[dict[str, Any]], None], *, required: bool = True) -> Case:
        return refused(
            sample, name, reason, offered(sample.stages[0].copy(), change), _MALFORMED, "untrusted", required=required
        )

    yield index_of("protocol-2", "the index speaks version 2 of the protocol", lambda index: index.update(protocol=2))
    yield index_of("protocol-missing", "the index says no version of the protocol", lambda index: index.pop("protocol"))
    yield index_of("digest-kind", "the digest is of a kind that nobody knows", _with_digest("forest-" + "0" * 64))
    yield index_of("serial-text", "the index writes its serial as a text", lambda index: index.update(serial="2"))
    yield index_of(
        "serial-differs", "the index's serial is not that of its last release", lambda index: index.update(serial=3)
    )
    yield index_of(
        "rows-differ", "the index's rows are not those of its last release", lambda index: index.update(rows=7)
    )
    yield index_of(
        "moment-without-offset",
        "the index says without an offset when it was published",
        lambda index: index.update(published_at="2026-02-05T06:00:00"),
        required=False,
    )
    yield index_of(
        "no-way", "no snapshot leads to the current release", lambda index: index["releases"][0].update(snapshot=None)
    )


def _with_digest(digest: str) -> Callable[[dict[str, Any]], None]:
    def change(index: dict[str, Any]) -> None:
        index["digest"] = index["releases"][-1]["digest"] = digest

    return change


def _bad(sample: Sample, name: str, reason: str, offer: Release, *, last_entry: int = 1000, **others: Any) -> Case:
    repository = sample.stages[0].copy()
    repository.offer([offer], last_entry=last_entry)
    return refused(sample, name, reason, repository, _MALFORMED, **others)


def _digests(sample: Sample) -> Iterator[Case]:
    rows = longer_list()
    offer = release(2, rows, snapshot=snapshot(rows))
    yield _bad(
        sample,
        "digest-differs",
        "the snapshot's digest is not that of the index",
        replace(offer, digest=digest_of(first())),
    )
    yield _bad(
        sample, "rows-missing", "the snapshot has one row fewer than the index says", replace(offer, rows=len(rows) + 1)
    )


def _orders(sample: Sample) -> Iterator[Case]:
    rows = longer_list()
    swapped = [*rows[:-3], rows[-2], rows[-3], rows[-1]]
    digests = {"as it stands": digest_of(swapped), "sorted": digest_of(rows)}
    for name, (hashed, digest) in zip(("order", "order-sorted"), digests.items(), strict=True):
        reason = f"two rows of the snapshot are not in order; its digest is that of the list {hashed}"
        yield _bad(sample, name, reason, release(2, swapped, snapshot=snapshot(swapped), digest=digest))
    twice = in_order([*rows, ADDED])
    yield _bad(sample, "row-twice", "a row is there twice", release(2, twice, snapshot=snapshot(twice)))
    # By entry and not by number where two rows are of one number.
    same = [row(97, ADDED["number"]), row(96, ADDED["number"])]
    rows = in_order([*first(), *same])
    at = rows.index(same[0])
    rows[at - 1 : at + 1] = same
    yield _bad(
        sample,
        "order-entries",
        "two rows of one number are not in the order of their ids",
        release(2, rows, snapshot=snapshot(rows)),
    )


def _rows(sample: Sample) -> Iterator[Case]:
    def with_row(name: str, reason: str, *flawed: Row, last_entry: int = 1000) -> Case:
        rows = in_order([*first(), ADDED, *flawed])
        return _bad(sample, name, reason, release(2, rows, snapshot=snapshot(rows)), last_entry=last_entry)

    yield with_row("range-backwards", "a range ends before it begins", row(98, 6281200000700, 6281200000690))
    yield with_row("number-zero", "a number is 0", row(98, 0))
    yield with_row("number-long", "a number has 16 digits", row(98, 1_000_000_000_000_000))
    yield with_row(
        "range-long", "a range ends with a number of 16 digits", row(98, 999_999_999_999_998, 1_000_000_000_000_000)
    )
    yield with_row("entry-twice", "an entry id is there twice", row(99, 6281200000700))
    yield with_row("entry-above-last", "an entry id is above the index's last_entry", last_entry=98)
    yield with_row("entry-zero", "an entry id is 0", row(0, 6281200000700))
    since = ms("2026-05-01T00:00:00Z")
    yield with_row(
        "ends-before", "an entry ends before it begins", row(98, 6281200000700, since=since, until=since - 1000)
    )
    yield with_row("ends-at-once", "an entry ends when it begins", row(98, 6281200000700, since=since, until=since))
    yield with_row("half-second", "an entry begins at half a second", row(98, 6281200000700, since=since + 500))
    yield with_row("scope-order", "a scope's parts are not in their order", row(98, 6281200000700, scope="voice+sms"))
    yield with_row("scope-twice", "a scope has a part twice", row(98, 6281200000700, scope="sms+sms"))


def _columns(sample: Sample) -> Iterator[Case]:
    rows = longer_list()
    offer = release(2, rows)

    def file(name: str, reason: str, content: pa.Table, **others: Any) -> Case:
        return _bad(sample, name, reason, replace(offer, snapshot=stable(content)), **others)

    content = table(rows)
    yield file("column-missing", "the snapshot has no column until", content.drop_columns(["until"]))
    yield file(
        "column-text", "the column number holds texts", by_names(content, number=content["number"].cast(pa.string()))
    )
    issuers = content["issuer"].cast(pa.string()).to_pylist()
    yield file("column-null", "a row has no issuer", by_names(content, issuer=pa.array([None, *issuers[1:]])))
    data = snapshot(rows)
    yield _bad(
        sample,
        "not-parquet",
        "the snapshot is no Parquet file",
        replace(offer, snapshot=b"number,entry\n" + data[:200]),
    )


def _deltas(sample: Sample) -> Iterator[Case]:
    before = by_entry(first())
    base = sample.releases[0]

    def changed(name: str, reason: str, rows: Sequence[Row], data: bytes, **others: Any) -> Case:
        repository = sample.stages[0].copy()
        repository.offer([base, release(2, list(rows), delta=data)])
        return refused(sample, name, reason, repository, _MALFORMED, **others)

    gone = row(50, 6281200000050)
    yield changed("delta-unfit", "a delta removes a row that is not there", longer_list(), delta([ADDED], [gone]))
    fewer = applied(longer_list(), [], [before[2]])
    yield changed(
        "delta-digest",
        "what a delta leads to does not have the digest of the index",
        fewer,
        delta([ADDED], [before[3]]),
    )
    puts = [{**ADDED, "op": "put"}]
    yield changed(
        "delta-op", "a delta has an op that nobody knows", longer_list(), delta_of([{**ADDED, "op": "upsert"}])
    )
    both = [{**ADDED, "op": "put"}, {**ADDED, "op": "remove"}]
    yield changed("delta-twice", "a delta puts and removes one row", longer_list(), delta_of(both))
    order = [*puts, {**row(51, 6281200000051), "op": "put"}]
    rows = in_order([*longer_list(), row(51, 6281200000051)])
    yield changed("delta-order", "a delta's rows are not in order", rows, delta_of(order))
    moved = {**before[1], "number": 6281200000700}
    rows = applied(first(), [moved, ADDED], [])
    yield changed("entry-moved", "an entry id has moved to another number", rows, delta([moved, ADDED], [before[1]]))
    rows = in_order([*first(), ADDED, row(1, 6281200000700)])
    yield changed(
        "entry-doubled", "a delta puts an entry id on a second number", rows, delta([ADDED, row(1, 6281200000700)])
    )


def _limits(sample: Sample) -> Iterator[Case]:
    def with_rows(name: str, reason: str, *many: Row) -> Case:
        rows = in_order([*first(), ADDED, *many])
        return _bad(
            sample,
            name,
            reason,
            release(2, rows, snapshot=snapshot(rows)),
            last_entry=2**40,
            group="limits",
            required=False,
        )

    ranges = [row(2000 + i, 6281200001000 + i, 6281200009000 - i) for i in range(65)]
    yield with_rows("ranges-deep", "65 ranges cover one number, and at most 64 may", *ranges)
    entries = [row(2000 + i, 6281200001000) for i in range(1001)]
    yield with_rows("entries-many", "a number has 1,001 entries, and at most 1,000 may be", *entries)
    yield with_rows(
        "issuer-long", "an issuer has 257 bytes, and at most 256 may be", row(98, 6281200000700, issuer="x" * 257)
    )
