"""A reader written from `docs/reference/protocol.md`, with nothing of this package: tuf, pyarrow, the standard library.

And readers that leave something out, each one thing: what the conformance kit must notice.
"""

import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater

from vectors.rows import digest_of

Row = dict[str, Any]

_MOMENT = pa.timestamp("ms", "UTC")
_INTEGERS = {"number": pa.int64(), "last": pa.int64(), "entry": pa.int64(), "since": _MOMENT, "until": _MOMENT}
_TEXTS = ("level", "category", "issuer", "scope")
_SCOPES = ("data", "messaging", "sms", "voice")
_MOST_NUMBER = 999_999_999_999_999
_MOST_MS = 253_402_300_799_000
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_INDEX_BYTES_MAX = 1_048_576


class Refusal(Exception):
    """What the reader refuses, with its kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _malformed(*, unless: Any, why: str) -> None:
    if not unless:
        raise Refusal("malformed", why)


def key_of(row: Row) -> tuple[int, int, int]:
    return row["number"], row["number"] if row["last"] is None else row["last"], row["entry"]


class PlainReader:
    """An honest reader; each method that a broken one overrides is one thing that the page asks for."""

    def __call__(self, action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            match action:
                case "sync":
                    return self.sync(document)
                case "check":
                    return self.check(document)
                case "digest":
                    return {"digest": digest_of(document["rows"])}
                case "plans":
                    return {"answers": [self.planned(**each) for each in document["plans"]]}
                case _:
                    return {"error": "not-offered", "message": "it reads no texts"}
        except Refusal as error:
            return {"error": error.kind, "message": str(error)}

    # Sync

    def sync(self, document: Mapping[str, Any]) -> dict[str, Any]:
        feed, cache, now = document["feed"], Path(document["cache"]), datetime.fromisoformat(document["now"])
        with _translated(), self.trusting():
            repository = _Repository(document, self.moment_of_expiry(now))
            state = self.state(cache, feed)
            index = self.index(repository, feed, state)
            self.forbid_going_back(state, repository.era, index)
            if state is not None and (state["era"], state["serial"]) == (repository.era, index["serial"]):
                rows = state["rows"]
            else:
                rows = self.built(repository, index, state)
            known = (state or {}) | {name: index[name] for name in ("serial", "digest", "published_at")}
            protected = self.protected(repository)
            known |= {"era": repository.era, "rows": rows, "protected": protected, "expires": repository.expires()}
        (cache / f"{feed}.state.json").write_text(json.dumps(known), encoding="utf-8")
        return {"serial": known["serial"], "digest": known["digest"]}

    @staticmethod
    def state(cache: Path, feed: str) -> dict[str, Any] | None:
        path = cache / f"{feed}.state.json"
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def moment_of_expiry(self, now: datetime) -> datetime:
        return now

    @contextmanager
    def trusting(self) -> Iterator[None]:
        yield

    def index(self, repository: "_Repository", feed: str, state: Any) -> dict[str, Any]:
        path = f"{feed}/index.json"
        target = repository.updater.get_targetinfo(path)
        if target is None:
            raise Refusal("invalid" if state is None else "untrusted", f"no role that may sign {path} signs it")
        role = Metadata[Targets].from_file(str(repository.metadata / f"{feed}.json")).signed
        _malformed(unless=role.delegations is None, why="the feed's role delegates")
        data = self.fetched(repository, target, most=_INDEX_BYTES_MAX)
        try:
            index = json.loads(data)
        except ValueError as error:
            raise Refusal("malformed", f"the index is no JSON: {error}") from error
        check_index(index, feed)
        return dict(index)

    def forbid_going_back(self, state: dict[str, Any] | None, era: int, index: Mapping[str, Any]) -> None:
        if state is None:
            return
        before, offered = (state["era"], state["serial"]), (era, index["serial"])
        same_era = state["era"] == era
        if (
            offered < before
            or (offered == before and index["digest"] != state["digest"])
            or (same_era and _moment(index["published_at"]) < _moment(state["published_at"]))
        ):
            raise Refusal("untrusted", f"release {offered} is older than, or another one than {before}")

    def fetched(self, repository: "_Repository", target: TargetFile, *, most: int) -> bytes:
        _malformed(unless="sha256" in target.hashes, why=f"{target.path} has no SHA-256 hash")
        _malformed(unless=target.length <= most, why=f"{target.path} is too long")
        folder, _, name = target.path.rpartition("/")
        data = _get(
            f"{repository.url}/targets/{folder}/{target.hashes['sha256']}.{name}".replace("//", "/").replace(
                ":/", "://"
            )
        )
        self.check_hash(target, data)
        return data

    def check_hash(self, target: TargetFile, data: bytes) -> None:
        if len(data) != target.length or hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
            raise Refusal("untrusted", f"{target.path} is not what was signed")

    def protected(self, repository: "_Repository") -> list[int]:
        target = repository.updater.get_targetinfo("protected.json")
        if target is None:
            return []
        numbers = json.loads(self.fetched(repository, target, most=4_194_304))["numbers"]
        _malformed(unless=all(type(number) is int for number in numbers), why="a protected number is no integer")
        _malformed(unless=numbers == sorted(set(numbers)), why="the protected numbers are not in order")
        return list(numbers)

    # Building

    def built(self, repository: "_Repository", index: Mapping[str, Any], state: dict[str, Any] | None) -> list[Row]:
        have = None if state is None else {name: state[name] for name in ("era", "serial", "digest")}
        problem: Refusal | None = None
        # The cheapest way, and if that leads elsewhere, one that begins with a snapshot.
        for way in (*ways(index, have, repository.era)[:1], *ways(index, None, repository.era)):
            try:
                return self.followed(way, repository, index, state["rows"] if state else [])
            except Refusal as error:
                if error.kind != "malformed":
                    raise
                problem = error
        raise problem or Refusal("malformed", "nothing on offer leads to the current release")

    def followed(
        self, way: Sequence[Mapping[str, Any]], repository: "_Repository", index: Mapping[str, Any], local: list[Row]
    ) -> list[Row]:
        rows = {key_of(row): row for row in local}
        for file in way:
            target = repository.updater.get_targetinfo(file["path"])
            if target is None:
                raise Refusal("untrusted", f"no role signs {file['path']}")
            _malformed(unless=target.length == file["length"], why="index and role do not agree on a length")
            data = self.fetched(repository, target, most=1 << 30)
            is_delta = file["path"].endswith(".delta.parquet")
            read = read_rows(data, is_delta=is_delta)
            self.check_order(read)
            rows = applied(rows, read) if is_delta else {key_of(row): row for row in read}
            in_order = list(rows.values()) if not is_delta else sorted(rows.values(), key=key_of)
            rows = {key_of(row): row for row in in_order}
        found = list(rows.values())
        for row in found:
            check_row(row, index["last_entry"])
        _malformed(unless=len({row["entry"] for row in found}) == len(found), why="an entry id is there twice")
        moved = {row["entry"]: key_of(row) for row in local}
        _malformed(
            unless=all(moved.get(row["entry"], key_of(row)) == key_of(row) for row in found), why="an entry moved"
        )
        _malformed(unless=len(found) == index["rows"], why="the number of rows is not that of the index")
        self.check_digest(found, index)
        return found

    def check_order(self, rows: list[Row]) -> None:
        keys = [key_of(row) for row in rows]
        _malformed(unless=all(a < b for a, b in pairwise(keys)), why="rows are not in order")

    def check_digest(self, rows: list[Row], index: Mapping[str, Any]) -> None:
        _malformed(unless=digest_of(rows) == index["digest"], why="the digest is not that of the index")

    # Questions

    def check(self, document: Mapping[str, Any]) -> dict[str, Any]:
        state = self.state(Path(document["cache"]), document["feed"])
        if state is None:
            raise Refusal("not-synced", "nothing was synced yet")
        now = datetime.fromisoformat(document["now"])
        answers = [self.verdict(state, now, each["number"], each["scope"]) for each in document["questions"]]
        stale = self.moment_of_expiry(now) >= datetime.fromisoformat(state["expires"])
        return {"serial": state["serial"], "stale": stale, "answers": answers}

    def verdict(self, state: Mapping[str, Any], now: datetime, number: int, scope: str | None) -> dict[str, Any]:
        if number in state["protected"]:
            return {"blocked": False, "reason": "protected"}
        asked = [row for row in state["rows"] if self.covers(row, number) and self.has_scope(row, scope)]
        now_ms, published_ms = int(now.timestamp() * 1000), int(_moment(state["published_at"]).timestamp() * 1000)
        begun = [row for row in asked if row["since"] <= max(now_ms, published_ms)]
        standing = [row for row in begun if not self.has_ended(row, now_ms)]
        blocked = any(row["level"] == "block" for row in standing)
        if blocked or standing:
            reason = "listed" if blocked else "advisory"
        elif any(self.has_ended(row, now_ms) for row in asked):
            reason = "expired"
        else:
            reason = "not-yet" if asked else "not-listed"
        return {"blocked": blocked, "reason": reason}

    def covers(self, row: Row, number: int) -> bool:
        return bool(row["number"] <= number <= key_of(row)[1])

    def has_scope(self, row: Row, scope: str | None) -> bool:
        return scope is None or scope in row["scope"].split("+")

    def has_ended(self, row: Row, now_ms: int) -> bool:
        return row["until"] is not None and row["until"] <= now_ms

    @staticmethod
    def planned(have: Mapping[str, Any] | None, era: int, index: Mapping[str, Any]) -> dict[str, Any]:
        if have is not None and _is_current(index, have, era):
            return {"files": []}
        found = ways(index, have, era)
        return {"files": [file["path"] for file in found[0]]} if found else {"error": "malformed", "message": "no way"}


def _is_current(index: Mapping[str, Any], have: Mapping[str, Any], era: int) -> bool:
    return (have["serial"], have["digest"]) == (index["serial"], index["digest"])


def ways(index: Mapping[str, Any], have: Mapping[str, Any] | None, era: int) -> list[list[Mapping[str, Any]]]:
    """The ways to the current release, the cheapest first; on a tie the one by deltas alone."""
    releases = {release["serial"]: release for release in index["releases"]}

    def chain(after: int) -> list[Mapping[str, Any]] | None:
        deltas = [releases.get(serial, {}).get("delta") for serial in range(after + 1, index["serial"] + 1)]
        return None if None in deltas or after > index["serial"] else deltas

    found = []
    if have is not None:
        offered = releases.get(have["serial"])
        fits = offered["digest"] == have["digest"] if offered else have["era"] == era
        if fits and (by_deltas := chain(have["serial"])) is not None:
            found.append(by_deltas)
    for serial, release in releases.items():
        if release.get("snapshot") is not None and (following := chain(serial)) is not None:
            found.append([release["snapshot"], *following])
    return sorted(found, key=lambda way: sum(file["length"] for file in way))


def check_index(index: Any, feed: str) -> None:
    _malformed(unless=isinstance(index, dict) and index.get("protocol") == 1, why="the protocol is not 1")
    _malformed(unless=index.get("feed") == feed, why="the index is of another feed")
    releases = index.get("releases")
    _malformed(unless=isinstance(releases, list) and releases, why="there are no releases")
    for about in (index, *releases):
        _malformed(unless=type(about.get("serial")) is int and type(about.get("rows")) is int, why="no integer")
        _malformed(
            unless=re.fullmatch("tree-[0-9a-f]{64}", about.get("digest", "")), why="the digest is of no known kind"
        )
        _moment(about.get("published_at"))
        for file in (about.get("snapshot"), about.get("delta")):
            if file is not None:
                folder, _, name = file["path"].partition("/")
                _malformed(unless=folder == feed and _PATH.fullmatch(name), why="a file is not one of the feed")
    serials = [release["serial"] for release in releases]
    _malformed(unless=serials == sorted(set(serials)), why="serials do not ascend")
    last = releases[-1]
    _malformed(unless=all(index[name] == last[name] for name in ("serial", "rows", "digest")), why="the last differs")


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Refusal("malformed", f"{text!r} is no moment") from error
    _malformed(unless=moment.tzinfo is not None, why=f"{text} has no offset")
    return moment.astimezone(UTC)


def read_rows(data: bytes, *, is_delta: bool) -> list[Row]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise Refusal("malformed", f"it is no Parquet file: {error}") from error
    columns = {}
    for name in (*_INTEGERS, *_TEXTS, *(("op",) if is_delta else ())):
        _malformed(unless=table.schema.names.count(name) == 1, why=f"the column {name} is not there once")
        column = table[name]
        if name in _INTEGERS:
            _malformed(unless=column.type == _INTEGERS[name], why=f"the column {name} is of another type")
            column = column.cast(pa.int64())
        else:
            column = column.cast(pa.string())
        columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_row(row: Row, last_entry: int) -> None:
    number, last, entry = key_of(row)
    _malformed(
        unless=all(row[name] is not None for name in row if name not in ("last", "until")), why="a cell is empty"
    )
    _malformed(unless=1 <= number <= last <= _MOST_NUMBER, why="a number or a range is not one")
    _malformed(unless=1 <= entry <= last_entry, why="an entry id is none that was given out")
    until = _MOST_MS if row["until"] is None else row["until"]
    _malformed(unless=row["since"] % 1000 == 0 == until % 1000, why="a moment is no whole second")
    _malformed(unless=0 <= row["since"] < until <= _MOST_MS, why="an entry ends before it begins")
    known = [part for part in row["scope"].split("+") if part in _SCOPES]
    _malformed(unless=known == sorted(set(known)), why="a scope is not in order")


def applied(rows: dict[tuple[int, int, int], Row], delta: list[Row]) -> dict[tuple[int, int, int], Row]:
    found = dict(rows)
    for change in delta:
        key, op = key_of(change), change.pop("op")
        _malformed(unless=op in ("put", "remove"), why=f"an op is {op!r}")
        if op == "put":
            found[key] = change
        else:
            _malformed(unless=found.pop(key, None) is not None, why="a delta removes a row that is not there")
    return found


class _Repository:
    """A repository whose metadata is verified from the pinned root on."""

    def __init__(self, document: Mapping[str, Any], reference: datetime) -> None:
        self.url, self.feed = document["url"], document["feed"]
        self.metadata = Path(document["cache"]) / "metadata"
        self.metadata.mkdir(parents=True, exist_ok=True)
        root = Path(document["root"]).read_bytes()
        url = f"{self.url}/metadata/"
        self.updater = Updater(str(self.metadata), url, fetcher=_Fetcher(), bootstrap=root)
        self.updater._trusted_set.reference_time = reference
        self.updater.refresh()

    def _signed(self, role: str) -> Any:
        return Metadata.from_file(str(self.metadata / f"{role}.json")).signed

    @property
    def era(self) -> int:
        era = self._signed("targets").delegations.roles[self.feed].unrecognized_fields.get("era", 1)
        _malformed(unless=type(era) is int and era >= 1, why="the era is no integer")
        return int(era)

    def expires(self) -> str:
        roles = ("timestamp", "snapshot", "targets", self.feed)
        return str(min(self._signed(role).expires for role in roles).isoformat())


class _Fetcher(FetcherInterface):
    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter((_get(url),))


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            data: bytes = response.read()
            return data
    except urllib.error.HTTPError as error:
        raise DownloadHTTPError(str(error), error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise Refusal("unreachable", str(error)) from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ExpiredMetadataError as error:
        raise Refusal("stale", str(error)) from error
    except DeserializationError as error:
        raise Refusal("malformed", str(error)) from error
    except DownloadHTTPError as error:
        raise Refusal("unreachable", str(error)) from error
    except (RepositoryError, DownloadLengthMismatchError) as error:
        raise Refusal("untrusted", str(error)) from error


# Broken readers


class SkipsDigest(PlainReader):
    def check_digest(self, rows: list[Row], index: Mapping[str, Any]) -> None:
        pass


class SkipsExpiry(PlainReader):
    def moment_of_expiry(self, now: datetime) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


class SkipsOrder(PlainReader):
    def check_order(self, rows: list[Row]) -> None:
        pass


class SortsRows(PlainReader):
    """Puts rows in order in place of refusing them."""

    def check_order(self, rows: list[Row]) -> None:
        rows.sort(key=key_of)


class SkipsRanges(PlainReader):
    """Asks for the first number of a range only."""

    def covers(self, row: Row, number: int) -> bool:
        return bool(row["number"] == number)


class SkipsEnds(PlainReader):
    def has_ended(self, row: Row, now_ms: int) -> bool:
        return False


class SkipsScopes(PlainReader):
    def has_scope(self, row: Row, scope: str | None) -> bool:
        return True


class SkipsRollbacks(PlainReader):
    """Keeps no mark of its own; tuf still keeps its own of the metadata."""

    def forbid_going_back(self, state: dict[str, Any] | None, era: int, index: Mapping[str, Any]) -> None:
        pass


class SkipsSignatures(PlainReader):
    @contextmanager
    def trusting(self) -> Iterator[None]:
        with mock.patch.object(Root, "verify_delegate"), mock.patch.object(Targets, "verify_delegate"):
            yield


class SkipsHashes(PlainReader):
    def check_hash(self, target: TargetFile, data: bytes) -> None:
        pass


class SkipsProtected(PlainReader):
    def protected(self, repository: _Repository) -> list[int]:
        return []


class RefusesEverything(PlainReader):
    def __call__(self, action: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return {"error": "untrusted", "message": "one never knows"}
