"""Whatever is signed ends in a `BlocklistError`: signed documents with mutated JSON, columns with edge values.

Hypothesis mutates by structure, and `target` leads it towards documents that are almost accepted.
"""

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner

from blocklist_sdk import BlocklistError
from blocklist_sdk.fetch.transport import Transport, TransportSettings
from blocklist_sdk.fetch.trust import Trust
from blocklist_sdk.mirror import mirror
from blocklist_sdk.publisher import Proposal, ProtectionChange, Publisher
from blocklist_sdk.publisher.holder_keys import open_key
from blocklist_sdk.release.arrow import SCHEMA, to_table
from blocklist_sdk.release.digest import digest
from blocklist_sdk.release.files import DELTA_SCHEMA, read_delta, read_snapshot
from blocklist_sdk.release.index import FeedIndex
from blocklist_sdk.release.protected import read_protected
from blocklist_sdk.texts import is_displayable
from support.holders import PASSPHRASE, holders
from support.scale import scaled
from support.strategies import plain_rows, to_rows
from support.tuf_repository import FEED, INDEX, TufRepository

INDEX_DOCUMENT = {
    "protocol": 1,
    "feed": FEED,
    "region": "ID",
    "scope": "sms+voice",
    "serial": 2,
    "published_at": "2026-01-02T06:00:00Z",
    "rows": 3,
    "digest": "0" * 64,
    "last_entry": 5,
    "releases": [
        {
            "serial": 2,
            "published_at": "2026-01-02T06:00:00Z",
            "rows": 3,
            "digest": "0" * 64,
            "snapshot": {"path": f"{FEED}/2.snapshot.parquet", "length": 2352},
            "delta": {"path": f"{FEED}/2.delta.parquet", "length": 20},
        }
    ],
}

EDGES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308),
    *(float("nan"), float("inf"), "", "1", "\0", "\n", "\x1b[2J", "\u202e", "\ud800", "..", "/", "a" * 300, "root"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z", "2026-01-01T00:00:60Z"),
    *([], {}, [[]], [[1, 2], [3, 4]], {"a": {}}, [None], [{}], {"": ""}),
]

DEEP = st.sampled_from([900, 5_000]).map(lambda depth: "[" * depth + "]" * depth)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a document is."""
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three of its values replaced, dropped, doubled or renamed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([place for place in places(document) if place] or [("x",)]))
        holder = document
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "rename"]))
        if isinstance(holder, list) and isinstance(last, int):
            if what == "drop":
                del holder[last]
            elif what == "double":
                holder.append(copy.deepcopy(holder[last]))
            else:
                holder[last] = copy.deepcopy(draw(st.sampled_from(EDGES)))
        elif what == "drop":
            holder.pop(last, None)
        elif what == "rename":
            holder[draw(st.sampled_from(["", "\0", "keys", "..", "id-all/..", "a" * 300]))] = holder.pop(last, None)
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(EDGES)))
    return document


@st.composite
def spellings(draw: st.DrawFn, document: Any) -> bytes:
    """A document as bytes: mutated, cut, nested without end, or with bytes that are no text."""
    text = json.dumps(draw(mutated(document)))
    what = draw(st.sampled_from(["whole", "whole", "whole", "cut", "deep", "bytes"]))
    if what == "deep":
        text = text.replace("null", draw(DEEP), 1) if "null" in text else f'{{"x": {draw(DEEP)}}}'
    data = text.encode(errors="surrogatepass")
    if what == "cut":
        return data[: draw(st.integers(0, len(data)))]
    return data + b"\xff" if what == "bytes" else data


def ends_well(read: Callable[[], object]) -> bool:
    """Whether reading succeeded; if not, it ended as a failure of this library, in one line."""
    try:
        read()
    except BlocklistError as error:
        failure = error
    else:
        return True
    assert is_displayable(str(failure))
    return False


@given(spellings(INDEX_DOCUMENT))
def test_an_index(data: bytes) -> None:
    target(float(ends_well(lambda: FeedIndex.from_json(data, feed=FEED))))


@given(spellings({"protocol": 1, "numbers": [6281200000001, 6281200000002], "x": None}))
def test_protected_numbers(data: bytes) -> None:
    target(float(ends_well(lambda: read_protected(data))))


@given(spellings({"format": 1, "add": [6281200000001], "remove": [6281200000002], "x": None}))
def test_a_proposal_to_protect_numbers(data: bytes) -> None:
    ends_well(lambda: ProtectionChange.from_json(data))


# A ceremony's file, which goes from holder to holder


@pytest.fixture(scope="module")
def ceremonies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Proposals as they are written: for a new folder, of other root keys, and of a feed's key with a new era."""
    directory = tmp_path_factory.mktemp("ceremonies")
    people = holders(directory, ["first", "second"])
    public = {"root": [each.public for each in people]}
    begun = Publisher.begin(directory / "begun", feeds=[FEED], public_keys=public, passphrase=PASSPHRASE)
    signed, _ = begun.sign(open_key(people[0].key, lambda _: PASSPHRASE))
    publisher = Publisher.init(directory / "p", feeds=[FEED], passphrase=PASSPHRASE)
    written = {
        "first": signed,
        "root": publisher.propose_keys("root", add=[people[0].public]),
        "feed": publisher.propose_keys(f"feed.{FEED}"),
    }
    return {name: json.loads(proposal.to_json()) for name, proposal in written.items()}


@pytest.mark.parametrize("name", ["first", "root", "feed"])
@given(data=st.data())
@settings(max_examples=scaled(40, long=2_000))
def test_a_proposal_of_keys(ceremonies: dict[str, Any], name: str, data: st.DataObject) -> None:
    spelled = data.draw(spellings(ceremonies[name]))
    if ends_well(lambda: Proposal.from_json(spelled)):
        read = Proposal.from_json(spelled)
        assert Proposal.from_json(read.to_json()) == read
        assert all(map(is_displayable, read.changes))


@pytest.mark.parametrize("which", ["root", "targets"])
@given(data=st.data())
@settings(max_examples=scaled(20, long=1_000))
def test_what_a_proposal_calls_present(ceremonies: dict[str, Any], which: str, data: st.DataObject) -> None:
    """A document within the document, as text."""
    document = copy.deepcopy(ceremonies["feed"])
    inner = data.draw(mutated(json.loads(document["present"][which])))
    document["present"][which] = json.dumps(inner)
    ends_well(lambda: Proposal.from_json(json.dumps(document).encode()))


# Metadata


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> TufRepository:
    made = TufRepository(tmp_path_factory.mktemp("repository"))
    made.release(json.dumps(INDEX_DOCUMENT).encode())
    return made


def sign(document: Any, keys: list[CryptoSigner]) -> bytes:
    """Metadata signed over the very bytes that a client works out, where there are any."""
    try:
        data = (encode_canonical(document) or "").encode()
    except Exception:  # noqa: BLE001 -- whatever it cannot write cannot be signed
        data = b"{}"
    signatures = [{"keyid": key.public_key.keyid, "sig": key.sign(data).signature} for key in keys]
    return json.dumps({"signatures": signatures, "signed": document}).encode(errors="surrogatepass")


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", FEED])
@given(data=st.data())
@settings(max_examples=scaled(8, long=200))
def test_metadata(repository: TufRepository, role: str, data: st.DataObject) -> None:
    names = {
        "root": "2.root.json",
        "timestamp": "timestamp.json",
        "snapshot": f"{repository.snapshot.version}.snapshot.json",
        "targets": f"{repository.targets.version}.targets.json",
        FEED: f"{repository.feeds[FEED].version}.{FEED}.json",
    }
    path = repository.metadata(names[role])
    before = path.read_bytes() if path.exists() else None
    document = json.loads(before or repository.pinned)["signed"]
    document["version"] += before is None
    keys = {"root": repository.root_keys, "timestamp": [repository.keys["online"]]}
    keys |= {"snapshot": [repository.keys["online"]], "targets": [repository.keys["targets"]]}
    signed = sign(data.draw(mutated(document)), keys.get(role, [repository.keys[FEED]]))
    with tempfile.TemporaryDirectory() as place, Transport(settings=TransportSettings(attempts=1)) as transport:
        try:
            path.write_bytes(signed)

            def read() -> None:
                trust = Trust(
                    base_url=repository.url, metadata_dir=Path(place) / "a", root=repository.pinned, transport=transport
                )
                trust.refresh()
                trust.fetch(INDEX, max_bytes=1 << 20)
                trust.expires(FEED)
                trust.signers(FEED)

            ends_well(read)
            if data.draw(st.integers(0, 4)) == 0:
                ends_well(lambda: mirror(repository.url, Path(place) / "b", root=repository.pinned))
            # As the root that a recipient pins.
            ends_well(
                lambda: Trust(base_url=repository.url, metadata_dir=Path(place), root=signed, transport=transport)
            )
        finally:
            path.unlink() if before is None else path.write_bytes(before)


# Release files

NUMBERS = [0, 1, -1, 6281200000001, 10**15 - 1, 10**15, 2**53, 2**63 - 1, -(2**63), None]
MOMENTS = [0, 1, 999, 1000, -1000, 253_402_300_799_000, 253_402_300_800_000, 2**63 - 1, -(2**63), None]
WORDS = ["block", "sms", "voice+sms", "", "+", "\0", "\n", "\x1b[2J", "\u202e", "a" * 100_000, "put", "remove", None]


@st.composite
def columns(draw: st.DrawFn, count: int) -> pa.Array:
    """A column of any type with edge values."""
    kind = draw(st.sampled_from(["numbers", "moments", "words", "plain words", "bytes", "floats", "nested", "null"]))
    if kind == "null":
        return pa.nulls(count)

    def some(values: list[Any]) -> list[Any]:
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    if kind == "numbers":
        return pa.array(some(NUMBERS), pa.int64())
    if kind == "moments":
        unit = draw(st.sampled_from([pa.timestamp("ms", "UTC"), pa.timestamp("ms"), pa.timestamp("us", "UTC")]))
        return pa.array(some(MOMENTS), pa.int64()).cast(unit)
    if kind in ("words", "plain words"):
        words = pa.array(some(WORDS), pa.string())
        return words.dictionary_encode() if kind == "words" else words
    if kind == "bytes":
        return pa.array(some([b"\xff\xfe", b"", b"block"]), pa.binary())
    if kind == "floats":
        return pa.array(some([0.0, float("nan"), 1e300]), pa.float64())
    return pa.array(some([[1], []]), pa.list_(pa.int64()))


@given(plain_rows(max_size=6), st.booleans(), st.data())
def test_release_files(plain: list[Any], is_delta: bool, data: st.DataObject) -> None:
    table = to_table(to_rows(plain))
    if is_delta:
        table = table.append_column(
            DELTA_SCHEMA.field("op"), pa.array(["put"] * len(table), pa.string()).dictionary_encode()
        )
    for name in data.draw(st.lists(st.sampled_from(table.schema.names), min_size=1, max_size=2, unique=True)):
        column = data.draw(columns(len(table)))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "file.parquet"
        pq.write_table(table, path)

        def read() -> None:
            rows = read_delta(path).puts if is_delta else read_snapshot(path)
            digest(rows)
            # What is read can be shown.
            assert (rows.until > rows.since).all()
            assert set(to_table(rows).schema.names) == set(SCHEMA.names)
            assert bool((np.diff(rows.number) >= 0).all())

        ends_well(read)
