"""Repositories that a reader must be able to read, and what it then answers."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from vectors.bad_metadata import ADDED, eras, longer_list
from vectors.case import FIRST, STANDING, Case, check, in_force, sync
from vectors.look_ups import LATER, LOOK_UPS, TEXTS, TEXTS_LATER
from vectors.repository import FEED, OTHER_FEED
from vectors.rows import delta, in_order, snapshot, stable, table
from vectors.sample import NOW, Sample, by_entry, first, release

_LATER = "2099-06-01T00:00:00Z"
"""After everything that is signed has expired."""


def all_good(sample: Sample) -> Iterator[Case]:
    second, third = ("sample", "sample-2"), ("sample", "sample-3")
    one, two, three = (in_force(sample, serial) for serial in (1, 2, 3))
    added = {"number": ADDED["number"], "scope": None, "blocked": True, "reason": "listed"}

    def case(name: str, about: str, *steps: dict[str, Any], **others: Any) -> Case:
        return Case(name, about, list(steps), group="sync", **others)

    yield case("snapshot", "The first release, from its snapshot.", sync(*FIRST, expect=one), check(STANDING))
    yield case(
        "to-the-newest",
        "The third release, by whichever files.",
        sync(*third, expect=three),
        check(LOOK_UPS[2], serial=3),
    )
    yield case(
        "delta-after-snapshot",
        "The second release has no snapshot: from the first one's, and a delta.",
        sync(*second, expect=two),
        check(LOOK_UPS[1], serial=2),
    )
    yield case(
        "release-by-release",
        "Each release when it comes; the second brings another root.",
        sync(*FIRST, expect=one),
        check(LOOK_UPS[0]),
        sync(*second, expect=two),
        check(LOOK_UPS[1], serial=2),
        sync(*third, expect=three),
        check(LOOK_UPS[2], serial=3),
    )
    yield case(
        "two-at-once",
        "From the first release to the third.",
        sync(*FIRST, expect=one),
        sync(*third, expect=three),
        check(LOOK_UPS[2], serial=3),
    )
    yield case(
        "nothing-new", "The same release again.", sync(*FIRST, expect=one), sync(*FIRST, expect=one), check(STANDING)
    )
    yield case(
        "not-synced",
        "Questions before the first sync are no answers.",
        {"do": "check", "feed": FEED, "now": "2026-06-15T12:00:00Z", "answers": STANDING, "error": ["not-synced"]},
    )
    yield case(
        "stale",
        "A list whose signatures have expired goes on answering, and says that it is stale.",
        sync(*FIRST, expect=one),
        check(STANDING, now=_LATER, stale=True),
        sync(*FIRST, expect={"error": ["stale"]}, now=_LATER),
        check(STANDING, now=_LATER, stale=True),
    )
    yield case(
        "moments",
        "Ends and beginnings are decided when the question is asked.",
        sync(*third, expect=three),
        *(
            check([{key: value for key, value in answer.items() if key != "now"}], serial=3, now=answer["now"])
            for answer in LOOK_UPS["moments"]
        ),
    )
    yield case(
        "another-feed",
        "Another feed of the same repository, in the same cache.",
        sync(*FIRST, expect=one),
        sync(*FIRST, feed=OTHER_FEED, expect=_other_in_force(sample)),
        check([{**STANDING[0], "blocked": False, "reason": "not-listed"}], feed=OTHER_FEED),
        check(STANDING),
    )
    repository = sample.stages[0].copy()
    rows = longer_list()
    content = table(rows)
    wider = content.add_column(0, "region", pa.array(["ID"] * len(rows))).append_column(
        "note", pa.nulls(len(rows), pa.float64())
    )
    later = release(2, rows, snapshot=stable(wider.select([*reversed(wider.schema.names)])))
    repository.offer([later], change=_of_a_later_version)
    second_list = {"serial": 2, "digest": later.digest}
    yield case(
        "later-version",
        "Fields and columns that a reader does not know are ignored, and columns may stand in any order.",
        sync(*FIRST, expect=one),
        sync(*FIRST, "later-version", expect=second_list),
        check([*STANDING[:1], added], serial=2),
        files=repository.beside(sample.stages[0]),
    )
    encodings: dict[str, dict[str, Any]] = {
        "gzip": {"compression": "gzip", "row_group_size": 7, "column_encoding": None, "use_dictionary": False},
        "snappy-v2": {"compression": "snappy", "data_page_version": "2.0", "write_statistics": True},
        "plain": {"compression": "none", "column_encoding": None, "use_dictionary": True, "store_schema": True},
    }
    for name, settings in encodings.items():
        repository = sample.stages[0].copy()
        repository.offer([release(2, rows, snapshot=snapshot(rows, **settings))])
        layer = f"encoding-{name}"
        yield case(
            layer,
            "A snapshot that another writer has packed in its own way.",
            sync(*FIRST, layer, expect=second_list),
            check([*STANDING[:1], added], serial=2),
            files=repository.beside(sample.stages[0]),
        )
    repository = sample.stages[0].copy()
    repository.offer([sample.releases[0], release(2, first(), delta=delta())])
    yield case(
        "delta-empty",
        "A delta without rows: the same list under the next serial.",
        sync(*FIRST, expect=one),
        sync(*FIRST, "delta-empty", expect={"serial": 2, "digest": sample.releases[0].digest}),
        check(STANDING, serial=2),
        files=repository.beside(sample.stages[0]),
    )
    same = {**by_entry(first())[2], "last": 6281200000002}
    repository = sample.stages[0].copy()
    rows = in_order([*(each for each in first() if each["entry"] != 2), same, ADDED])
    later = release(2, rows, snapshot=snapshot(rows))
    repository.offer([later])
    yield case(
        "last-repeated",
        "A last that equals the number means the same as none.",
        sync(*FIRST, expect=one),
        sync(*FIRST, "last-repeated", expect={"serial": 2, "digest": later.digest}),
        check([*STANDING[:1], added], serial=2),
        files=repository.beside(sample.stages[0]),
    )
    repository = sample.stages[0].copy()
    rows = in_order([*first(), {**ADDED, "entry": 2**53 - 1}])
    later = release(2, rows, snapshot=snapshot(rows))
    repository.offer([later], last_entry=2**53 - 1)
    yield case(
        "entry-highest",
        "An entry id of 2^53 - 1, the highest that there is.",
        sync(*FIRST, "entry-highest", expect={"serial": 2, "digest": later.digest}),
        check([*STANDING[:1], added], serial=2),
        files=repository.beside(sample.stages[0]),
    )
    repository = sample.stages[0].copy()
    empty = release(2, [], snapshot=snapshot([]))
    repository.offer([empty])
    yield case(
        "empty-list",
        "A list without rows.",
        sync(*FIRST, "empty-list", expect={"serial": 2, "digest": empty.digest}),
        check([{**STANDING[0], "blocked": False, "reason": "not-listed"}], serial=2),
        files=repository.beside(sample.stages[0]),
    )
    yield case(
        "healed",
        "The delta is wrong and smaller than the snapshot, which is right: a reader tries it next.",
        sync(*FIRST, expect=one),
        sync(*FIRST, "healed", expect=second_list),
        check([*STANDING[:1], added], serial=2),
        files=_healed(sample),
    )
    begun = eras(sample)
    yield case(
        "new-era",
        "The feed's key was replaced: a new era begins, whose serials begin at 1 again.",
        sync(*third, expect=three),
        sync(*third, "new-era", expect={"serial": 1, "digest": three["digest"]}),
        check([{"number": 6281200000025, "scope": None, "blocked": True, "reason": "listed"}], serial=1),
        files=begun.beside(sample.stages[2]),
    )
    repository = sample.stages[2].copy()
    rows = in_order([*sample.rows[2], ADDED])
    later = release(4000, rows, snapshot=snapshot(rows))
    repository.offer([type(later)(9, "2026-05-01T06:00:00Z", later.rows, later.digest, snapshot=later.snapshot)])
    yield case(
        "gap",
        "The release that is here is no longer on offer, nor are those that follow it.",
        sync(*third, expect=three),
        sync(*third, "gap", expect={"serial": 9, "digest": later.digest}),
        check([added], serial=9),
        files=repository.beside(sample.stages[2]),
    )


def look_ups(sample: Sample) -> Case:
    """Questions in the words of people, for readers that read texts."""
    about = "Questions as people write them, answered by the third release."
    steps = [sync("sample", "sample-3", expect=in_force(sample, 3))]
    for now, answers in ((NOW, TEXTS), (LATER, TEXTS_LATER)):
        steps.append({"do": "look-ups", "feed": FEED, "now": now, "answers": answers})
    return Case("look-ups", about, steps, group="look-ups", required=False)


def _of_a_later_version(index: dict[str, Any]) -> None:
    index["remark"] = {"of": "a later version"}
    index["releases"][0]["weight"] = 1.5
    index["releases"][0]["snapshot"]["sha256"] = "not this one"


def _other_in_force(sample: Sample) -> dict[str, Any]:
    files = sample.stages[0].files
    index = next(data for path, data in files.items() if OTHER_FEED in path and path.endswith("index.json"))
    return {name: json.loads(index)[name] for name in ("serial", "digest")}


def _healed(sample: Sample) -> dict[str, bytes]:
    repository = sample.stages[0].copy()
    rows = longer_list()
    wrong = delta([{**ADDED, "category": "spam"}])
    repository.offer([sample.releases[0], release(2, rows, delta=wrong, snapshot=snapshot(rows))])
    return repository.beside(sample.stages[0])
