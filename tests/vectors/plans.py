"""Which files a reader fetches. Lengths and digests are made up, and no such files are there."""

import hashlib
from typing import Any, Final

_SERIALS: Final = range(1, 7)


def _digest(serial: int) -> str:
    return "tree-" + hashlib.sha256(f"release {serial}".encode()).hexdigest()


def _index(releases: dict[int, dict[str, int]]) -> dict[str, Any]:
    """An index of releases by their serial, each with the lengths of its snapshot and its delta."""
    offered = [
        {
            "serial": serial,
            "published_at": f"2026-01-{serial:02}T06:00:00Z",
            "rows": 10,
            "digest": _digest(serial),
            **{
                kind: {"path": f"id-messaging/{serial}.{kind}.parquet", "length": lengths[kind]}
                if kind in lengths
                else None
                for kind in ("snapshot", "delta")
            },
        }
        for serial, lengths in releases.items()
    ]
    about = {name: offered[-1][name] for name in ("serial", "published_at", "rows", "digest")}
    return {"protocol": 1, "feed": "id-messaging", "region": None, **about, "last_entry": 100, "releases": offered}


def _files(*names: str) -> list[str]:
    return [f"id-messaging/{name}.parquet" for name in names]


def _have(serial: int, *, era: int = 1, digest: str | None = None) -> dict[str, Any]:
    return {"era": era, "serial": serial, "digest": digest or _digest(serial)}


def all_plans() -> list[dict[str, Any]]:
    long = {1: {"snapshot": 9000}, 2: {"delta": 100}, 3: {"snapshot": 5000, "delta": 4000}, 4: {"delta": 300}}
    no_delta = {1: {"snapshot": 9000}, 2: {"delta": 100}, 3: {"snapshot": 9000}, 4: {"delta": 300}}
    gap = {1: {"snapshot": 10}, 3: {"snapshot": 9000, "delta": 5}, 4: {"delta": 300}}
    dear = {1: {"snapshot": 100}, 2: {"delta": 5000, "snapshot": 120}}
    tie = {1: {"snapshot": 100}, 2: {"delta": 120, "snapshot": 120}}
    equal = {1: {"snapshot": 100}, 2: {"delta": 20, "snapshot": 120}}
    no_way = {1: {"delta": 10}, 2: {"delta": 20}}
    only_deltas = {3: {"delta": 10}, 4: {"delta": 10, "snapshot": 9000}}

    def plan(
        about: str, releases: dict[int, dict[str, int]], have: dict[str, Any] | None, *wanted: Any, era: int = 1
    ) -> dict[str, Any]:
        """Wanted are the files, in order; several lists where any of them will do, or none where there is no way."""
        expect: dict[str, Any] = {"any_of": list(wanted)} if wanted else {"error": ["malformed"]}
        return {"about": about, "have": have, "era": era, "index": _index(releases), "expect": expect}

    return [
        plan("nothing here: the cheapest snapshot, and what follows it", long, None, _files("3.snapshot", "4.delta")),
        plan("an old release here: all deltas since", long, _have(1), _files("2.delta", "3.delta", "4.delta")),
        plan("the release before here", long, _have(3), _files("4.delta")),
        plan("the current release here", long, _have(4), []),
        plan("a delta is missing on the way", no_delta, _have(1), _files("3.snapshot", "4.delta")),
        plan("a serial is missing on the way", gap, _have(1), _files("3.snapshot", "4.delta")),
        plan("the first snapshot is cheap and leads nowhere", gap, None, _files("3.snapshot", "4.delta")),
        plan("the release here is not on offer, and what follows it is", gap, _have(2), _files("3.delta", "4.delta")),
        plan("the release here is older than all on offer", only_deltas, _have(1), _files("4.snapshot")),
        plan("the deltas begin where the release here ends", only_deltas, _have(2), _files("3.delta", "4.delta")),
        plan("a snapshot that is cheaper than the delta", dear, _have(1), _files("2.snapshot")),
        plan("a tie between the delta and a snapshot: the delta", tie, _have(1), _files("2.delta")),
        plan(
            "a tie between two ways from snapshots", equal, None, _files("2.snapshot"), _files("1.snapshot", "2.delta")
        ),
        plan(
            "the release here has another digest on offer",
            long,
            _have(1, digest=_digest(99)),
            _files("3.snapshot", "4.delta"),
        ),
        plan(
            "the current serial here, with another digest",
            long,
            _have(4, digest=_digest(99)),
            _files("3.snapshot", "4.delta"),
        ),
        plan("a release of an earlier era, on offer with its digest", long, _have(3), _files("4.delta"), era=7),
        plan("a release of an earlier era, not on offer", gap, _have(2), _files("3.snapshot", "4.delta"), era=7),
        plan("a higher release of an earlier era", long, _have(9), _files("3.snapshot", "4.delta"), era=7),
        plan("no snapshot at all", no_way, None),
        plan("no snapshot, and the release before is here", no_way, _have(1), _files("2.delta")),
    ]
